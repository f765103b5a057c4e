"""The end of the show, drawn with rich: what it cost with and without breakers, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from recloser_adapters._command.demo.plan import ARMS, BARE, GUARDED, SICK
from recloser_adapters._command.demo.screen import changes
from recloser_adapters._command.demo.story import Change, Story
from recloser_adapters._command.demo.verdict import Bout, Verdict, headline


def summary(story: Story, verdict: Verdict) -> RenderableType:
    """Return the summary as one picture."""
    outcome = (
        ("Everything went as it should.", "bold green")
        if not verdict.failed
        else (f"{len(verdict.failed)} expectations were not met.", "bold red")
    )
    return Padding(
        Group(
            Text(f"What the breaker of {SICK} said", "bold"),
            changes(_turning_points(story)),
            Text(),
            Text("What it cost", "bold"),
            _costs(verdict),
            Text(),
            Text("What was expected", "bold"),
            _expectations(verdict),
            Text(),
            Text.assemble((f"{headline(verdict)}. ", "bold"), outcome),
        ),
        (1, 1),
    )


def _turning_points(story: Story) -> Iterator[Change]:
    """Yield the first opening of each illness and every closing; the looks in between are many."""
    for stretch in story.stretches:
        mine = [each for each in story.changes if each.key == SICK and stretch.covers(each.at)]
        opened = [each for each in mine if each.after == "open"]
        yield from opened[:1] if stretch.bad else opened
        yield from (each for each in mine if each.after == "closed")


def _costs(verdict: Verdict) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")
    table.add_column("")
    table.add_column(ARMS[GUARDED], justify="right")
    table.add_column(ARMS[BARE], justify="right")
    for bout in verdict.bouts:
        _add_bout(table, bout)
    table.add_row(Text("over all", "bold"))
    p50, p99 = _millis(verdict.refusal_p50), _millis(verdict.refusal_p99)
    table.add_row("  a refusal takes, p50 / p99", f"{p50} / {p99} ms", Text("-", "dim"))
    well = verdict.neighbours_well
    table.add_row(
        "  other routes answered well",
        Text(f"{well[GUARDED]:.1%}", "green"),
        Text(f"{well[BARE]:.1%}", "red" if well[BARE] < 0.99 else ""),
    )
    waited = verdict.waited
    table.add_row(
        "  callers waited for nothing", f"{waited[GUARDED]:,.0f} s", f"{waited[BARE]:,.0f} s"
    )
    return table


def _add_bout(table: Table, bout: Bout) -> None:
    nothing = Text("-", "dim")
    table.add_row(Text.assemble((bout.phase, "bold"), (f", {bout.seconds:.1f} s", "dim")))
    table.add_row("  opened after", _seconds(bout.opened_after), nothing)
    table.add_row(
        "  calls wasted before that",
        Text(f"{bout.wasted_before_opening}", "green"),
        Text(f"{bout.bare_wasted}", "red"),
    )
    table.add_row("  and on probes", f"{bout.wasted_on_probes}", nothing)
    table.add_row("  refused at once", f"{bout.refused}", nothing)
    table.add_row(
        "  well again, after its recovery",
        _seconds(bout.closed_after),
        f"{bout.bare_well_after:.2f} s",
    )


def _expectations(verdict: Verdict) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    for each in verdict.expectations:
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
    """Return what to try while the processes are kept up."""
    guarded, bare = urls[GUARDED], urls[BARE]
    ill = "|".join(phases[1:])
    return f"""
Still up, under the same load, until Ctrl-C:
  {guarded}  with recloser
  {bare}  no breaker
  {upstream}  their upstream

Make the upstream ill ({ill}), look at both, make it well again:
  curl -X PUT {upstream}/phase/{phases[1]}
  curl -i {guarded}/orders/1
  curl -i -m 10 {bare}/orders/1
  curl {guarded}/demo/status
  curl -X PUT {upstream}/phase/{phases[0]}
"""
