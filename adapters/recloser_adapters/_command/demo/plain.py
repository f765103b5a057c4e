"""The show in plain lines: for pipes, logs, and terminals that want no colour."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from recloser_adapters._command.demo.plan import ARMS, GUARDED, PHASES
from recloser_adapters._command.demo.story import Story
from recloser_adapters._command.demo.verdict import Verdict, headline

COUNT_EVERY = 2.0  # seconds


class PlainScreen:
    """Writes a line for each phase and each transition, and the counts now and then.

    Args:
        write: Takes one line.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._phases = 0
        self._changes = 0
        self._counted = 0.0

    def begin_at(self, story: Story) -> None:
        """Take all that a story holds so far for written, and leave the counts out from now on."""
        self._phases, self._changes = len(story.stretches), len(story.changes)
        self._counted = float("inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return

    def draw(self, story: Story) -> None:
        """Write what is new."""
        news = [
            (stretch.begin, f"the upstream is {stretch.phase}: {PHASES[stretch.phase]}")
            for stretch in story.stretches[self._phases :]
        ]
        news += [
            (change.at, f"{change.key}  {change.before} -> {change.after}: {change.reason}")
            for change in story.changes[self._changes :]
        ]
        self._phases, self._changes = len(story.stretches), len(story.changes)
        for at, line in sorted(news):
            self._write(f"{at:6.2f} s  {line}")
        if story.now >= self._counted + COUNT_EVERY and not story.over:
            self._counted = story.now
            self._write(f"{story.now:6.2f} s  last second: {_counts(story)}")


def _counts(story: Story) -> str:
    parts: list[str] = []
    for arm, name in ARMS.items():
        well, wasted, refused = story.last_second(arm)
        part = f"{name} {well} well, {wasted} wasted"
        part += f", {refused} refused" if arm == GUARDED else ""
        parts.append(f"{part}, {story.waiting[arm]} waiting")
    return " | ".join(parts)


def summary_lines(verdict: Verdict) -> list[str]:
    """Return the summary as lines."""
    lines = ["", headline(verdict), ""]
    for bout in verdict.bouts:
        lines += [
            f"{bout.phase}, {bout.seconds:.1f} s",
            f"  opened after          {_seconds(bout.opened_after)}",
            f"  wasted before opening {bout.wasted_before_opening} (no breaker: {bout.bare_wasted})",
            f"  wasted on probes      {bout.wasted_on_probes}",
            f"  refused at once       {bout.refused}",
            f"  well again after      {_seconds(bout.closed_after)} "
            f"(no breaker: {bout.bare_well_after:.2f} s)",
        ]
    p50, p99 = _millis(verdict.refusal_p50), _millis(verdict.refusal_p99)
    lines.append(f"refusals: p50 {p50}, p99 {p99}")
    for arm, name in ARMS.items():
        lines.append(
            f"{name}: {verdict.calls[arm]} calls, {verdict.neighbours_well[arm]:.1%} of those to "
            f"the other routes answered well, {verdict.waited[arm]:,.0f} s waited for nothing"
        )
    lines.append("")
    for each in verdict.expectations:
        lines.append(f"{'ok    ' if each.met else 'FAILED'} {each.promise}: {each.found}")
    return lines


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f} s"


def _millis(value: float | None) -> str:
    return "-" if value is None else f"{value * 1000:.1f} ms"
