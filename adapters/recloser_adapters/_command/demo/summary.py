"""The summary of a run, drawn with rich: costs with and without breakers, and expectations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from recloser_adapters._command.demo.plan import AFFECTED, ARMS, BARE, GUARDED
from recloser_adapters._command.demo.record import Change, Record
from recloser_adapters._command.demo.results import Outage, Results, headline
from recloser_adapters._command.demo.screen import changes


def summary(record: Record, results: Results) -> RenderableType:
    """Return the summary as one picture."""
    outcome = (
        ("Everything went as it should.", "bold green")
        if not results.failed
        else (f"{len(results.failed)} expectations were not met.", "bold red")
    )
    return Padding(
        Group(
            Text(f"Transitions of the breaker of {AFFECTED}", "bold"),
            changes(_turning_points(record)),
            Text(),
            Text("Costs", "bold"),
            _costs(results),
            Text(),
            Text("Expectations", "bold"),
            _expectations(results),
            Text(),
            Text.assemble((f"{headline(results)}. ", "bold"), outcome),
        ),
        (1, 1),
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
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")
    table.add_column("")
    table.add_column(ARMS[GUARDED], justify="right")
    table.add_column(ARMS[BARE], justify="right")
    for outage in results.outages:
        _add_outage(table, outage)
    table.add_row(Text("over all", "bold"))
    p50, p99 = _millis(results.refusal_p50), _millis(results.refusal_p99)
    table.add_row("  a refusal takes, p50 / p99", f"{p50} / {p99} ms", Text("-", "dim"))
    well = results.neighbours_well
    table.add_row(
        "  other routes answered well",
        Text(f"{well[GUARDED]:.1%}", "green"),
        Text(f"{well[BARE]:.1%}", "red" if well[BARE] < 0.99 else ""),
    )
    waited = results.waited
    table.add_row("  callers waited in vain", f"{waited[GUARDED]:,.0f} s", f"{waited[BARE]:,.0f} s")
    return table


def _add_outage(table: Table, outage: Outage) -> None:
    nothing = Text("-", "dim")
    table.add_row(Text.assemble((outage.phase, "bold"), (f", {outage.seconds:.1f} s", "dim")))
    table.add_row("  limited after", _seconds(outage.limited_after), nothing)
    table.add_row("  opened after", _seconds(outage.opened_after), nothing)
    table.add_row(
        "  calls wasted before that",
        Text(f"{outage.wasted_before}", "green"),
        Text(f"{outage.bare_wasted}", "red"),
    )
    table.add_row("  and after that", f"{outage.wasted_after}", nothing)
    table.add_row("  refused at once", f"{outage.refused}", nothing)
    table.add_row(
        "  recovered, after the upstream did",
        _seconds(outage.recovered_after),
        f"{outage.bare_well_after:.2f} s",
    )


def _expectations(results: Results) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    for each in results.expectations:
        table.add_row(
            Text("✓", "green") if each.met else Text("✗", "bold red"),
            each.promise,
            Text(each.found, "dim" if each.met else "bold red"),
        )
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
