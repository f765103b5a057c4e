"""Writes what is expected anew, or shows how long each play takes.

python -m tests.support.plays --write
python -m tests.support.plays --times
"""

from __future__ import annotations

import logging
import sys
from time import process_time

from tests.support.plays.expectations import PLAYS, write


def main() -> None:
    logging.disable()  # each opening is one line
    if sys.argv[1:] == ["--write"]:
        write()
    elif sys.argv[1:] == ["--times"]:
        for name, played in PLAYS.items():
            began = process_time()
            lines = played().count("\n")
            print(f"{process_time() - began:.3f} s {lines:4} lines  {name}")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
