"""Command line: `python -m benchmarks.closed_loop --help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.closed_loop import pictures, runner
from benchmarks.closed_loop.entrants import CUT, NONE, OURS, entrants
from benchmarks.closed_loop.report import Results, as_json, markdown
from benchmarks.closed_loop.scenarios import scenarios
from benchmarks.detection import output

_SEEDS = 5
# A quick run has one seed and leaves out what is slow or rarely the best.
_QUICK = (NONE, OURS, CUT, "resilience4j, last 20", "consecutive 10, 1 s", "Netflix Gradient2")


def _workers(text: str) -> tuple[int, ...]:
    numbers = tuple(int(word) for word in text.split(","))
    if min(numbers) < 1:
        raise ValueError(text)
    return numbers


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.closed_loop",
        description="What breakers do to a callee whose latency depends on what they let through.",
    )
    parser.add_argument("--quick", action="store_true", help="a coarse run of under 90 s")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="scenarios with this in the name"
    )
    parser.add_argument(
        "--seeds", type=int, default=_SEEDS, metavar="N", help=f"runs of each; default: {_SEEDS}"
    )
    parser.add_argument(
        "--workers",
        type=_workers,
        default=(1,),
        metavar="1,8,64",
        help="numbers of workers, each with its own breaker, that share the calls of an overload; "
        "1 is always among them; default: 1",
    )
    parser.add_argument("--entrants", default="", metavar="A,B", help="only these")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the report there")
    parser.add_argument("--append", type=Path, metavar="FILE", help="add the report to that file")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="draw an SVG per scenario")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="default: 2")
    arguments = parser.parse_args(argv)
    if arguments.processes < 1:
        parser.error(f"--processes must be 1 or more, not {arguments.processes}")
    if arguments.seeds < 1:
        parser.error(f"--seeds must be 1 or more, not {arguments.seeds}")
    arguments.names = _names(parser, arguments)
    return arguments


def _names(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> list[str]:
    known = [entrant.name for entrant in entrants()]
    if not arguments.entrants:
        return [name for name in known if not arguments.quick or name in _QUICK]
    asked, words = list[str](), arguments.entrants.split(",")
    while words:
        # Some names have a comma in them.
        for length in range(len(words), 0, -1):
            name = ",".join(words[:length]).strip()
            if name in known:
                asked.append(name)
                del words[:length]
                break
        else:
            parser.error(f"--entrants: {words[0].strip()!r} is none of {'; '.join(known)}")
    return asked


def _shown(arguments: argparse.Namespace) -> str:
    words = [" --quick"] if arguments.quick else []
    words += [f" --seeds {arguments.seeds}"] if arguments.seeds != _SEEDS else []
    words += [f" --only '{arguments.only}'"] if arguments.only else []
    if arguments.workers != (1,):
        words.append(f" --workers {','.join(map(str, arguments.workers))}")
    words += [f" --entrants '{arguments.entrants}'"] if arguments.entrants else []
    return "".join(words)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark, print and write the report. Return 0, or 2 if the input is not valid."""
    arguments = _arguments(argv)
    runner.quiet()
    stories = [each for each in scenarios(arguments.workers) if arguments.only in each.name]
    if not stories:
        print(f"no scenario has {arguments.only!r} in its name", file=sys.stderr)
        return 2
    seeds = 1 if arguments.quick else arguments.seeds
    scores = runner.run(
        stories,
        arguments.names,
        seeds=seeds,
        processes=arguments.processes,
        workers=arguments.workers,
        quick=arguments.quick,
    )
    results = Results(_shown(arguments), stories, arguments.names, seeds, scores)
    output.write(
        markdown(results),
        lambda: as_json(results),
        markdown=arguments.markdown,
        json=arguments.json,
        append=arguments.append,
    )
    output.draw(stories, pictures.draw, arguments.pictures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
