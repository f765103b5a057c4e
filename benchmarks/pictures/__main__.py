"""Command line: `python -m benchmarks.pictures --help`."""

from __future__ import annotations

import argparse
import logging
import re
from pathlib import Path

from benchmarks.pictures import drawn

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "docs" / "pictures"
_ARROW = re.compile(r"^    (\w+) --> (\w+): (.*)$", re.MULTILINE)
_BY_OTHERS = re.compile(r"by hand|the fleet")


def arrows() -> set[tuple[str, str]]:
    """The changes that a breaker makes by itself, of the generated diagram in the architecture."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    return {
        (before, after)
        for before, after, causes in _ARROW.findall(text)
        if before != after and not all(_BY_OTHERS.search(each) for each in causes.split("<br>"))
    }


def pictures() -> dict[str, str]:
    """Draw all pictures; return their names and texts."""
    return {
        "latency.svg": str(drawn.latency()),
        "evidence.svg": str(drawn.evidence()),
        "recovery.svg": str(drawn.share()),
        "states.svg": str(drawn.states(arrows())),
    }


def main(argv: list[str] | None = None) -> int:
    """Write or check the pictures; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pictures",
        description="Draw the pictures of the documentation from the real breaker on virtual time.",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if one differs")
    check = parser.parse_args(argv).check
    logging.getLogger("recloser").setLevel(logging.CRITICAL)
    stale = []
    for name, text in pictures().items():
        path = FOLDER / name
        if not path.exists() or path.read_text() != text:
            stale.append(name)
            if not check:
                path.write_text(text)
    for name in stale:
        print(f"{name} {'differs' if check else 'is written'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
