"""The whole run: starts the processes, shows the events, prints the summary, ends the processes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from rich.console import Console

from recloser_adapters._command.demo.children import Child, ChildError
from recloser_adapters._command.demo.plain import PlainScreen, summary_lines
from recloser_adapters._command.demo.plan import BARE, DASHBOARD, DASHBOARD_PATH, GUARDED, PHASES
from recloser_adapters._command.demo.record import Record
from recloser_adapters._command.demo.results import Results, evaluate
from recloser_adapters._command.demo.screen import LiveScreen
from recloser_adapters._command.demo.summary import invitation, summary

PACKAGE = "recloser_adapters._command.demo"
# Seconds. The load sends ten events per second. Without an event for this long, it is broken.
SILENCE = 15.0


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes of a run. All servers are ready.

    Attributes:
        load: The process that sends the events.
        upstream: URL of the service that becomes unhealthy.
        urls: URL of each app, and of the dashboard if there is one.
    """

    load: Child
    upstream: str
    urls: dict[str, str]


@contextmanager
def start_processes(seconds: float, *, dashboard: bool = False) -> Generator[Processes, None, None]:
    """Start upstream, apps and load; end them when the block ends, also by an error.

    Raises:
        ChildError: A process did not start.
    """
    with ExitStack() as children:

        def start(module: str, *arguments: str) -> Child:
            return children.enter_context(Child(f"{PACKAGE}.{module}", *arguments))

        upstream = start("upstream").url()
        guarded = start("webapp", upstream, "--guarded", *["--dashboard"] * dashboard)
        bare = start("webapp", upstream)
        urls = {GUARDED: guarded.url(), BARE: bare.url()}
        load = start("load", upstream, urls[GUARDED], urls[BARE], str(seconds))
        if dashboard:
            urls[DASHBOARD] = f"{urls[GUARDED]}{DASHBOARD_PATH}/"
        yield Processes(load, upstream, urls)


def run(
    *, seconds: float, serve: bool = False, as_json: bool = False, dashboard: bool = False
) -> int:
    """Run the demo.

    Args:
        seconds: Length of the schedule.
        serve: Keep the processes running afterwards, until Ctrl-C.
        as_json: Print the summary as JSON to standard output, and all else to standard error.
        dashboard: Show the breakers in a browser as well; the address is printed.

    Returns:
        0 if all expectations were met, else 1.

    Raises:
        ChildError: A process did not start or ended unexpectedly.
    """
    console = Console(stderr=as_json, highlight=False)
    lively = console.is_terminal and not as_json and "NO_COLOR" not in os.environ
    console.print("Starting an upstream, two web apps and their callers …", style="dim")
    record = Record()
    with start_processes(seconds, dashboard=dashboard) as processes:
        apps = [url for name, url in processes.urls.items() if name != DASHBOARD]
        if not lively:
            console.print("  ".join((*apps, processes.upstream)), soft_wrap=True)
        if dashboard:
            console.print(f"Dashboard: {processes.urls[DASHBOARD]}", soft_wrap=True)
        plain = PlainScreen(lambda line: console.print(line, markup=False, soft_wrap=True))
        with LiveScreen(console, seconds, processes.urls) if lively else plain as screen:
            _watch(processes.load, record, screen)
        results = evaluate(record)
        _conclude(console, record, results, lively=lively, as_json=as_json)
        if serve:
            console.print(
                invitation(processes.urls, processes.upstream, list(PHASES)), soft_wrap=True
            )
            _keep_up(processes.load, record, plain)
    return 1 if results.failed else 0


def _watch(load: Child, record: Record, screen: LiveScreen | PlainScreen) -> None:
    for event in load.events(SILENCE):
        record.add(event)
        screen.draw(record)
        if record.over:
            return
    raise ChildError(f"the load process sent no event for {SILENCE:g} s")


def _keep_up(load: Child, record: Record, screen: PlainScreen) -> None:
    screen.begin_at(record)
    try:
        for event in load.events(SILENCE):
            record.add(event)
            screen.draw(record)
    except KeyboardInterrupt:
        return


def _conclude(
    console: Console, record: Record, results: Results, *, lively: bool, as_json: bool
) -> None:
    # First, so that the last line is the conclusion.
    for each in results.failed:
        print(f"recloser demo: expected: {each.promise}; {each.found}", file=sys.stderr)
    if as_json:
        json.dump(results.as_json(), sys.stdout, indent=2)
        sys.stdout.write("\n")
    elif lively:
        console.print(summary(record, results))
    else:
        for line in summary_lines(results):
            console.print(line, markup=False, soft_wrap=True)
