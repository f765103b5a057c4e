"""Command line: `python -m benchmarks.detection --help`."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from benchmarks.detection import bound, output, pictures, runner
from benchmarks.detection.entrants import entrants
from benchmarks.detection.report import Results, as_json, markdown
from benchmarks.detection.scenarios import Scenario, scenarios
from benchmarks.detection.traces import TraceError

# A quick run leaves out what takes long: large worlds, further repeats, half of the peers.
_QUICK_ENTRANTS = {
    "recloser",
    "no breaker",
    "pybreaker",
    "consecutive 10, 1 s",
    "resilience4j",
    "resilience4j, last 20",
    "Polly, 50 % of 10 s",
}
_LONG = ("2,000/s", "8 h", "30 min", "day and night")


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.detection",
        description="How fast breakers detect faults, and how rarely they open without one.",
    )
    parser.add_argument("--quick", action="store_true", help="a coarse run of under a minute")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="scenarios with this in the name"
    )
    parser.add_argument(
        "--traces", type=Path, metavar="DIR", help="replay real traces as well, best unseen ones"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the report there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="draw an SVG per scenario")
    parser.add_argument(
        "--repeats", type=int, default=3, metavar="N", help="draws of each scenario; default: 3"
    )
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="default: 2")
    arguments = parser.parse_args(argv)
    if arguments.processes < 1:
        parser.error(f"--processes must be 1 or more, not {arguments.processes}")
    if arguments.repeats < 1:
        parser.error(f"--repeats must be 1 or more, not {arguments.repeats}")
    return arguments


def _stories(arguments: argparse.Namespace) -> list[Scenario]:
    found = [story for story in scenarios() if arguments.only in story.name]
    if arguments.quick:
        found = [story for story in found if not any(long in story.name for long in _LONG)]
    return found


def _shown(arguments: argparse.Namespace) -> str:
    words = [" --quick"] if arguments.quick else []
    words += [f" --repeats {arguments.repeats}"] if arguments.repeats != 3 else []
    words += [f" --only '{arguments.only}'"] if arguments.only else []
    words += [" --traces DIR"] if arguments.traces else []
    return "".join(words)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark, print and write the report. Return 0, or 2 if the input is not valid."""
    arguments = _arguments(argv)
    logging.getLogger("recloser").setLevel(logging.CRITICAL)
    stories = _stories(arguments)
    if not stories:
        print(f"no scenario has {arguments.only!r} in its name", file=sys.stderr)
        return 2
    everyone, missing = entrants()
    settings = {
        entrant.name: entrant.settings
        for entrant in everyone
        if not arguments.quick or entrant.name in _QUICK_ENTRANTS
    }
    names, processes = list(settings), arguments.processes
    results = Results(_shown(arguments), stories, settings, missing, {})
    try:
        if arguments.traces:
            results.traces = runner.replay(arguments.traces, names, processes=processes)
    except TraceError as error:
        print(error, file=sys.stderr)
        return 2
    repeats = 1 if arguments.quick else arguments.repeats
    results.scores = runner.play(stories, names, repeats=repeats, processes=processes)
    if not arguments.only:
        results.delays = bound.delays(10 if arguments.quick else 100, processes=processes)
        results.intervals = bound.intervals(20_000 if arguments.quick else 200_000)
    output.write(
        markdown(results),
        lambda: as_json(results),
        markdown=arguments.markdown,
        json=arguments.json,
    )
    output.draw(stories, pictures.draw, arguments.pictures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
