"""Generate the adapter for httpx2 from the one for httpx: only the name of the library differs.

`python .ci/generate_httpx2.py` writes the file. With `--check` it writes nothing, and the exit
status is 1 if the file is out of date.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "adapters" / "recloser_adapters"
SOURCE, TARGET = FOLDER / "httpx.py", FOLDER / "httpx2.py"
NOTE = "# Generated from httpx.py by .ci/generate_httpx2.py: change that one, and run the script.\n"


def generated() -> str:
    """The text of the adapter for httpx2."""
    # `_httpx`, the package that both adapters share, stays: `\b` does not match after `_`.
    return NOTE + re.sub(r"\bhttpx\b", "httpx2", SOURCE.read_text())


def main() -> None:
    """Write the file, or check it."""
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(generated())
    elif TARGET.read_text() != generated():
        sys.exit(f"{TARGET.name} is out of date: run python .ci/{Path(__file__).name}")


if __name__ == "__main__":
    main()
