"""Measure everything and print the report: `python -m benchmarks.speed [--quick]`.

The exit status is 1 if a goal was missed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from . import (
    calls,
    exporters,
    footprint,
    frames,
    frameworks,
    outbound,
    peers,
    report,
    routes,
    scaling,
    server,
    web,
)
from .rounds import QUICK, THOROUGH, Effort

Tick = Callable[[], None]


class Progress:
    """A progress bar on standard error, if that is a terminal. The report is on standard output."""

    WIDTH = 30

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._title = ""
        self._shown = sys.stderr.isatty()
        self._start = time.monotonic()

    def title(self, title: str) -> None:
        """Set the name of what is being measured."""
        self._title = title
        self._draw()

    def tick(self) -> None:
        """Advance the bar by one round."""
        self._done = min(self._done + 1, self._total)
        self._draw()

    def _draw(self) -> None:
        if not self._shown:
            return
        done = self.WIDTH * self._done // self._total
        bar = "█" * done + "░" * (self.WIDTH - done)
        seconds = time.monotonic() - self._start
        sys.stderr.write(
            f"\r\x1b[K{bar} {self._done / self._total:4.0%} {seconds:4.0f} s  {self._title}"
        )
        sys.stderr.flush()

    def close(self) -> None:
        """Remove the bar from the terminal."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")


def sections(effort: Effort) -> dict[str, tuple[Callable[[Tick], report.Section], int]]:
    """Return all sections by name, each with its number of rounds."""
    rivals, missing = peers.installed()
    for distribution in missing:
        print(f"skipped: {distribution} is not installed", file=sys.stderr)
    rounds = effort.rounds
    obstacle = server.obstacle()
    if obstacle is not None:
        print(f"skipped: server: {obstacle}", file=sys.stderr)
    on_server: dict[str, tuple[Callable[[Tick], report.Section], int]] = {
        "server": (lambda tick: server.real_server(effort, tick), rounds)
    }
    lacking = exporters.obstacle()
    if lacking is not None:
        print(f"skipped: exporters: {lacking}", file=sys.stderr)
    with_exporters: dict[str, tuple[Callable[[Tick], report.Section], int]] = {
        "exporters": (lambda tick: exporters.exporters(effort, tick), rounds),
        "scrape": (lambda tick: exporters.scrape(effort, tick), effort.keep),
    }
    return {
        "calls": (lambda tick: calls.sync_calls(rivals, effort, tick), rounds),
        "async": (lambda tick: calls.async_calls(rivals, effort, tick), rounds),
        "refused": (lambda tick: calls.refused_calls(effort, tick), rounds),
        "asgi": (lambda tick: web.asgi_requests(effort, tick), rounds),
        "starlette": (lambda tick: frameworks.starlette_requests(effort, tick), rounds),
        "wsgi": (lambda tick: web.wsgi_requests(effort, tick), rounds),
        "flask": (lambda tick: frameworks.flask_requests(effort, tick), rounds),
        "django": (lambda tick: frameworks.django_requests(effort, tick), rounds),
        "routes": (lambda tick: routes.key_resolution(effort, tick), rounds),
        "memory": (footprint.memory, 2),
        "import": (lambda tick: footprint.import_time(effort, tick), effort.keep),
        "threads": (lambda tick: scaling.threads(effort, tick), max(5, effort.keep // 3)),
        "keys": (lambda tick: scaling.keys(effort, tick), rounds),
        "history": (lambda tick: scaling.history(effort, tick), rounds),
        "frames": (lambda tick: frames.frames(), 1),
        **{name: (partial(section, effort), rounds) for name, section in outbound.SECTIONS.items()},
        **({} if lacking else with_exporters),
        **({} if obstacle else on_server),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write the report; return the exit status."""
    options = _parse(arguments)
    if options.profile:
        print(frames.profile())
        return 0
    effort = QUICK if options.quick else THOROUGH
    known = sections(effort)
    unknown = set(options.only) - set(known)
    if unknown:
        print(
            f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(known)}",
            file=sys.stderr,
        )
        return 2
    chosen = {name: known[name] for name in known if not options.only or name in options.only}
    progress = Progress(sum(rounds for _, rounds in chosen.values()))
    found: list[report.Section] = []
    for name, (measure, _) in chosen.items():
        progress.title(name)
        found.append(measure(progress.tick))
    progress.close()
    text = report.markdown(found, effort)
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "speed.md").write_text(text)
        (options.output / "speed.json").write_text(report.as_json(found, effort))
    print(report.as_json(found, effort) if options.json else text, end="")
    missed = report.missed(found)
    for goal in missed:
        print(
            f"missed: {goal.promise}: {goal.measured:.3g}, limit {goal.limit:g} {goal.unit}",
            file=sys.stderr,
        )
    return 1 if missed else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("only", nargs="*", metavar="SECTION", help="measure these only")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="also write speed.md and speed.json there"
    )
    parser.add_argument(
        "--profile", action="store_true", help="print a profile of ASGI requests and stop"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
