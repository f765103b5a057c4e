"""Command line: `python -m benchmarks.fleet --help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.detection import output
from benchmarks.fleet import runner
from benchmarks.fleet.cases import Options
from benchmarks.fleet.parts import PARTS
from benchmarks.fleet.report import Played, as_json, from_json, markdown

_SEEDS = 5
_WORKERS = (8, 64)


def _numbers(text: str) -> tuple[int, ...]:
    numbers = tuple(int(word) for word in text.split(","))
    if min(numbers) < 2:
        raise ValueError(text)
    return numbers


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fleet",
        description="What workers that share a store gain, and what it costs, on virtual time.",
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)}; default: all"
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="cases with this in the name")
    parser.add_argument(
        "--seeds", type=int, default=_SEEDS, metavar="N", help=f"runs of each; default: {_SEEDS}"
    )
    parser.add_argument(
        "--workers",
        type=_numbers,
        default=_WORKERS,
        metavar="8,64",
        help="numbers of workers, each 2 or more; default: 8,64; `growth` and `idle` have their own",
    )
    parser.add_argument("--quick", action="store_true", help="leave out what takes minutes")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the report there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument(
        "--read",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="add what another run wrote with --json, instead of playing these parts",
    )
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="draw an SVG of some parts")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="default: 2")
    arguments = parser.parse_args(argv)
    for name in ("processes", "seeds"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name} must be 1 or more, not {getattr(arguments, name)}")
    unknown = [name for name in arguments.parts if name not in PARTS]
    if unknown:
        parser.error(f"{unknown[0]!r} is none of {', '.join(PARTS)}")
    return arguments


def _command(name: str, arguments: argparse.Namespace) -> str:
    words = ["python -m benchmarks.fleet", name]
    words += ["--quick"] if arguments.quick else []
    words += [f"--seeds {arguments.seeds}"] if arguments.seeds != _SEEDS else []
    words += [f"--only '{arguments.only}'"] if arguments.only else []
    if arguments.workers != _WORKERS:
        words.append(f"--workers {','.join(map(str, arguments.workers))}")
    return " ".join(words)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark, print and write the report. Return 0, or 2 if the input is not valid."""
    arguments = _arguments(argv)
    options = Options(arguments.workers, arguments.seeds, arguments.quick)
    every: list[Played] = []
    try:
        for file in arguments.read:
            every += from_json(file.read_text(encoding="utf-8"), PARTS)
    except (OSError, ValueError) as error:
        print(f"--read: {error}", file=sys.stderr)
        return 2
    known = {played.part.name for played in every}
    for part in PARTS.values():
        if part.name in known or ((arguments.parts or known) and part.name not in arguments.parts):
            continue
        cases = [case for case in part.cases(options) if arguments.only in case.name]
        if not cases:
            continue
        results = runner.run(part, cases, seeds=arguments.seeds, processes=arguments.processes)
        every.append(Played(part, _command(part.name, arguments), arguments.seeds, results))
    if not every:
        print(f"no case has {arguments.only!r} in its name", file=sys.stderr)
        return 2
    every.sort(key=lambda played: [*PARTS].index(played.part.name))
    output.write(
        markdown(every), lambda: as_json(every), markdown=arguments.markdown, json=arguments.json
    )
    drawn = [played for played in every if played.part.picture is not None]
    output.draw(drawn, _draw, arguments.pictures)
    return 0


def _draw(played: Played, folder: Path) -> None:
    assert played.part.picture is not None
    file = folder / f"fleet-{played.part.name}.svg"
    file.write_text(played.part.picture(played.results), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
