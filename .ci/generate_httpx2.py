"""Write the adapter for httpx2 from the one for httpx: the two libraries differ in their name.

`python .ci/generate_httpx2.py` writes it. With `--check` nothing is written, and the exit status is
1 if it is out of date.
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
    # Not `_httpx`, the package that both share: an underscore is no boundary of a word.
    return NOTE + re.sub(r"\bhttpx\b", "httpx2", SOURCE.read_text())


def main() -> None:
    """Write the file, or check it."""
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(generated())
    elif TARGET.read_text() != generated():
        sys.exit(f"{TARGET.name} is out of date: run python .ci/{Path(__file__).name}")


if __name__ == "__main__":
    main()
