"""The entry point of `python -m recloser_adapters` and of the `recloser` script."""

from __future__ import annotations

import sys

from recloser_adapters._command.cli import main as command


def main() -> None:
    """Run the command, and exit with its status."""
    sys.exit(command())


if __name__ == "__main__":
    main()
