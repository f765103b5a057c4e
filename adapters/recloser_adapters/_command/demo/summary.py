"""The summary of a run, drawn with rich: costs with and without breakers, and expectations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from recloser_adapters._command.demo.plan import AFFECTED, ARMS, BARE, GUARDED
from recloser_adapters._command.demo.record import Change, Record
from recloser_adapters._command.demo.results import Outage, Results, conclusion
from recloser_adapters._command.demo.screen import changes


def summary(record: Record, results: Results) -> RenderableType:
    """Return the summary as one picture of 80 columns. Its last line is the conclusion.

    What follows the transitions fits 24 lines.
    """
    ended = "bold red" if results.failed else "bold green"
    return Padding(
        Group(
            Text(f"Transitions of the breaker of {AFFECTED}", "bold"),
            changes(_turning_points(record)),
            Text(),
            _costs(results),
            Text(),
            *_over_all(results),
            _expectations(results),
            *(Text(line, ended) for line in conclusion(results)),
        ),
        (1, 1, 0, 1),
    )


def _turning_points(record: Record) -> Iterator[Change]:
    """Yield the first limit, the first opening and every closing, but not the many probes."""
    for phase in record.phases:
        mine = [each for each in record.changes if each.key == AFFECTED and phase.covers(each.at)]
        seen: set[str] = set()
        for change in mine:
            # In a good phase, each opening is a surprise.
            if change.after != "half_open" and not (phase.bad and change.after in seen):
                yield change
            seen.add(change.after)


def _costs(results: Results) -> Table:
    table = Table(box=None, show_edge=False, pad_edge=False, header_style="bold")
    table.add_column("Costs", min_width=32)
    for outage in results.outages:
        table.add_column(f"{outage.phase} {outage.seconds:.1f} s", justify="right")
    for name, cells in _measured(results.outages):
        table.add_row(name, *cells)
    return table


def _over_all(results: Results) -> Iterator[Text]:
    p50, p99 = _millis(results.refusal_p50), _millis(results.refusal_p99)
    yield Text(f"A refusal took {p50} ms at the median, {p99} ms at the 99th percentile.")
    well = results.neighbours_well
    yield Text.assemble(
        "The other routes answered well: ",
        (f"{well[GUARDED]:.1%}", "green"),
        f" {ARMS[GUARDED]}, ",
        (f"{well[BARE]:.1%}", "red" if well[BARE] < 0.99 else ""),
        " without.",
    )


def _measured(outages: Sequence[Outage]) -> Iterator[tuple[str, list[str | Text]]]:
    """Yield the name of each figure, and the figure of each outage."""
    yield "limited after", [_seconds(each.limited_after) for each in outages]
    yield "opened after", [_seconds(each.opened_after) for each in outages]
    yield "calls wasted before that", [Text(f"{each.wasted_before}", "green") for each in outages]
    yield "and after that", [f"{each.wasted_after}" for each in outages]
    yield "refused at once", [f"{each.refused}" for each in outages]
    yield "recovered, after the upstream did", [_seconds(each.recovered_after) for each in outages]
    yield (
        f"{ARMS[BARE]}: calls wasted",
        [Text(f"{each.bare_wasted}", "red") for each in outages],
    )
    yield f"{ARMS[BARE]}: recovered", [f"{each.bare_well_after:.2f} s" for each in outages]


def _expectations(results: Results) -> RenderableType:
    if not results.failed:
        return Text.assemble(
            ("✓", "green"), f" All {len(results.expectations)} expectations were met."
        )
    table = Table.grid(padding=(0, 1, 0, 0))
    for each in results.failed:
        table.add_row(Text("✗", "bold red"), each.promise, Text(each.found, "bold red"))
    return table


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f} s"


def _millis(value: float | None) -> str:
    return "-" if value is None else f"{value * 1000:.1f}"


def invitation(urls: Mapping[str, str], upstream: str, phases: Sequence[str]) -> str:
    """Return commands to try while the processes are kept running."""
    guarded, bare = urls[GUARDED], urls[BARE]
    bad = "|".join(phases[1:])
    return f"""
Still running, under the same load, until Ctrl-C:
  {guarded}  with recloser
  {bare}  no breaker
  {upstream}  their upstream

Make the upstream unhealthy ({bad}), look at both apps, make it healthy again:
  curl -X PUT {upstream}/phase/{phases[1]}
  curl -i {guarded}/orders/1
  curl -i -m 10 {bare}/orders/1
  curl {guarded}/demo/status
  curl -X PUT {upstream}/phase/{phases[0]}
"""
