"""Sum the JUnit files of all tox environments into one line: `N passed, N failed[, N skipped]`.

An environment that fails without a failing test (lint, typing, an installation) counts as one
failure. So does one that runs tests but wrote no JUnit file: success must mean that tests ran.
"""

import json
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

# These environments check files instead of running tests.
WITHOUT_TESTS = {"lint", "typing", "typing-installed", "coverage"}


def read(junit: Path) -> tuple[int, int, int]:
    """Return how many tests passed, failed and were skipped."""
    passed = failed = skipped = 0
    for suite in ElementTree.parse(junit).getroot().iter("testsuite"):
        total, errors, failures, skips = (
            int(suite.get(name, "0")) for name in ("tests", "errors", "failures", "skipped")
        )
        failed += errors + failures
        skipped += skips
        passed += total - errors - failures - skips
    return passed, failed, skipped


def environments(result: Path) -> dict[str, Any]:
    """Return the results of a tox run by environment; empty if tox wrote no result file."""
    if not result.exists():
        print(f"tox wrote no {result}", file=sys.stderr)
        return {}
    found: dict[str, Any] = json.loads(result.read_text())["testenvs"]
    # The environment that builds the wheel has no result.
    return {name: found[name] for name in sorted(found) if "result" in found[name]}


def main(totals: Path, *results: Path) -> int:
    """Print the sum over several runs of tox and return the exit status."""
    passed = failed = skipped = 0
    for result in results:
        ran = environments(result)
        if not ran:
            failed += 1
        for name, environment in ran.items():
            junits = sorted(totals.glob(f"{name}.xml")) + sorted(totals.glob(f"{name}.*.xml"))
            counts = [sum(column) for column in zip(*map(read, junits), strict=True)] or [0, 0, 0]
            if not environment["result"]["success"] and not counts[1]:
                print(f"{name}: failed outside its tests", file=sys.stderr)
                counts[1] = 1
            elif name not in WITHOUT_TESTS and not counts[0] and not counts[1]:
                print(f"{name}: ran no test", file=sys.stderr)
                counts[1] = 1
            passed, failed, skipped = passed + counts[0], failed + counts[1], skipped + counts[2]
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
