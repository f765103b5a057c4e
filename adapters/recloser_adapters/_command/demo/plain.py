"""The output as plain lines, for pipes, logs and terminals without colour."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from recloser_adapters._command.demo.plan import ARMS, GUARDED, PHASES, RATE
from recloser_adapters._command.demo.record import Record
from recloser_adapters._command.demo.results import Results, conclusion

COUNT_EVERY = 2.0  # seconds


INTRODUCTION = (
    f"Two equal web apps get the same {RATE:g} requests per second; one has breakers, one has none.",
    "Soon the service behind the orders hangs, then fails, then is slow. Other routes do not need it.",
    "Each change of a breaker is a line that says why. The counts are what callers of both apps got:",
    "well: a good answer; wasted: an error or a long wait; refused: told at once to come later.",
)


class PlainScreen:
    """Writes a line for each phase and each transition, and the counts every two seconds.

    Args:
        write: Takes one line.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._phases = 0
        self._changes = 0
        self._counted = 0.0

    def begin_at(self, record: Record) -> None:
        """Skip the present content of a record, and write no counts from now on."""
        self._phases, self._changes = len(record.phases), len(record.changes)
        self._counted = float("inf")

    def __enter__(self) -> Self:
        for line in ("", *INTRODUCTION, ""):
            self._write(line)
        return self

    def __exit__(self, *error: object) -> None:
        return

    def draw(self, record: Record) -> None:
        """Write the new phases, transitions and counts."""
        news = [
            (phase.begin, f"the upstream is {phase.name}: {PHASES[phase.name]}")
            for phase in record.phases[self._phases :]
        ]
        news += [
            (change.at, f"{change.key}  {change.before} -> {change.after}: {change.reason}")
            for change in record.changes[self._changes :]
        ]
        self._phases, self._changes = len(record.phases), len(record.changes)
        for at, line in sorted(news):
            self._write(f"{at:6.2f} s  {line}")
        if record.now >= self._counted + COUNT_EVERY and not record.over:
            self._counted = record.now
            self._write(f"{record.now:6.2f} s  last second: {_counts(record)}")


def _counts(record: Record) -> str:
    parts: list[str] = []
    for arm, name in ARMS.items():
        well, wasted, refused = record.last_second(arm)
        part = f"{name} {well} well, {wasted} wasted"
        part += f", {refused} refused" if arm == GUARDED else ""
        parts.append(f"{part}, {record.waiting[arm]} waiting")
    return " | ".join(parts)


def summary_lines(results: Results) -> list[str]:
    """Return the summary as lines. The last one is the conclusion."""
    lines = [""]
    for outage in results.outages:
        lines += [
            f"{outage.phase}, {outage.seconds:.1f} s",
            f"  limited after         {_seconds(outage.limited_after)}",
            f"  opened after          {_seconds(outage.opened_after)}",
            f"  wasted before that    {outage.wasted_before} (no breaker: {outage.bare_wasted})",
            f"  wasted after that     {outage.wasted_after}",
            f"  refused at once       {outage.refused}",
            f"  recovered after       {_seconds(outage.recovered_after)} "
            f"(no breaker: {outage.bare_well_after:.2f} s)",
        ]
    p50, p99 = _millis(results.refusal_p50), _millis(results.refusal_p99)
    lines.append(f"refusals: p50 {p50}, p99 {p99}")
    for arm, name in ARMS.items():
        lines.append(
            f"{name}: {results.calls[arm]} calls, {results.neighbours_well[arm]:.1%} of those to "
            f"the other routes answered well, {results.waited[arm]:,.0f} s waited in vain"
        )
    lines.append("")
    for each in results.expectations:
        lines.append(f"{'ok    ' if each.met else 'FAILED'} {each.promise}: {each.found}")
    return [*lines, "", *conclusion(results)]


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f} s"


def _millis(value: float | None) -> str:
    return "-" if value is None else f"{value * 1000:.1f} ms"
