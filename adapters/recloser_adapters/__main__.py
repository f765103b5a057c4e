"""`python -m recloser_adapters`, and what the `recloser` script calls."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command, or say in one line which extra it needs."""
    # Whoever runs a script has not chosen its library, unlike whoever imports an adapter.
    try:
        from recloser_adapters._command.cli import main as command
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        print("recloser: the command needs click: pip install 'recloser[demo]'", file=sys.stderr)
        sys.exit(2)
    command(prog_name="recloser")


if __name__ == "__main__":
    main()
