"""The entry point of `python -m recloser_adapters` and of the `recloser` script."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command. Without click, print in one line which extra to install, and exit with 2."""
    # An adapter may fail with ModuleNotFoundError: its user chose the library. The user of a
    # script did not choose click, so the script explains the error.
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
