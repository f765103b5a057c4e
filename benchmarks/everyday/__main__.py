"""Command line: `python -m benchmarks.everyday --help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.detection import output
from benchmarks.everyday.report import as_json, markdown
from benchmarks.everyday.runner import run, scenarios


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.everyday",
        description="What the breaker does with healthy load that is not simple. A full run takes about "
        "half an hour on two cores.",
    )
    parser.add_argument("--quick", action="store_true", help="a coarse run of under 90 s")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="scenarios with this in the name or heading"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the report there")
    parser.add_argument("--append", type=Path, metavar="FILE", help="add the report to that file")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument(
        "--seeds", type=int, metavar="N", help="runs of each variant; default: 5, quick: 1"
    )
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="default: 2")
    arguments = parser.parse_args(argv)
    for name in ("seeds", "processes"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            parser.error(f"--{name} must be 1 or more, not {value}")
    return arguments


def _shown(arguments: argparse.Namespace) -> str:
    words = [" --quick"] if arguments.quick else []
    words += [f" --seeds {arguments.seeds}"] if arguments.seeds else []
    words += [f" --only '{arguments.only}'"] if arguments.only else []
    return "".join(words)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark, print and write the report. Return 0, or 2 if the input is not valid."""
    arguments = _arguments(argv)
    quick: bool = arguments.quick
    chosen = [
        scenario
        for scenario in scenarios().values()
        if (arguments.only in scenario.name or arguments.only in scenario.group)
        and scenario.chosen(quick=quick)
    ]
    if not chosen:
        print(f"no scenario has {arguments.only!r} in its name or heading", file=sys.stderr)
        return 2
    seeds = arguments.seeds or (1 if quick else 5)
    results = run(chosen, quick=quick, seeds=seeds, processes=arguments.processes)
    shown = _shown(arguments)
    output.write(
        markdown(shown, chosen, results),
        lambda: as_json(shown, chosen, results),
        markdown=arguments.markdown,
        json=arguments.json,
        append=arguments.append,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
