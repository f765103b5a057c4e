"""The show as a whole: start the processes, watch, sum up, and end them again."""

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
from recloser_adapters._command.demo.plan import BARE, GUARDED, PHASES
from recloser_adapters._command.demo.screen import LiveScreen
from recloser_adapters._command.demo.story import Story
from recloser_adapters._command.demo.summary import invitation, summary
from recloser_adapters._command.demo.verdict import Verdict, judge

PACKAGE = "recloser_adapters._command.demo"
# The load tells something ten times a second; when it is silent for so long, something broke.
SILENCE = 15.0


@dataclass(frozen=True, slots=True)
class Stage:
    """The processes of a show, all of them serving.

    Attributes:
        load: The process whose events tell the story.
        upstream: URL of the service that falls ill.
        urls: By app, its URL.
    """

    load: Child
    upstream: str
    urls: dict[str, str]


@contextmanager
def stage(seconds: float) -> Generator[Stage, None, None]:
    """Start upstream, apps and load; end them when the block ends, however it ends.

    Raises:
        ChildError: One of them did not start.
    """
    with ExitStack() as children:

        def start(module: str, *arguments: str) -> Child:
            return children.enter_context(Child(f"{PACKAGE}.{module}", *arguments))

        upstream = start("upstream").url()
        guarded = start("webapp", upstream, "--guarded")
        bare = start("webapp", upstream)
        urls = {GUARDED: guarded.url(), BARE: bare.url()}
        load = start("load", upstream, urls[GUARDED], urls[BARE], str(seconds))
        yield Stage(load, upstream, urls)


def run(*, seconds: float, serve: bool = False, as_json: bool = False) -> int:
    """Give the show.

    Args:
        seconds: How long the schedule takes.
        serve: Keep the processes up afterwards, until Ctrl-C.
        as_json: Print the summary as JSON; everything else goes to standard error.

    Returns:
        0 if all went as it should, else 1.

    Raises:
        ChildError: A process did not start or ended on its own.
    """
    console = Console(stderr=as_json, highlight=False)
    lively = console.is_terminal and not as_json and "NO_COLOR" not in os.environ
    console.print("Starting an upstream, two web apps and their callers …", style="dim")
    story = Story()
    with stage(seconds) as it:
        if not lively:
            console.print("  ".join((*it.urls.values(), it.upstream)), soft_wrap=True)
        plain = PlainScreen(lambda line: console.print(line, markup=False, soft_wrap=True))
        with LiveScreen(console, seconds, it.urls) if lively else plain as screen:
            _watch(it.load, story, screen)
        verdict = judge(story)
        _conclude(console, story, verdict, lively=lively, as_json=as_json)
        if serve:
            console.print(invitation(it.urls, it.upstream, list(PHASES)), soft_wrap=True)
            _keep_up(it.load, story, plain)
    return 1 if verdict.failed else 0


def _watch(load: Child, story: Story, screen: LiveScreen | PlainScreen) -> None:
    for event in load.events(SILENCE):
        story.fold(event)
        screen.draw(story)
        if story.over:
            return
    raise ChildError(f"the load said nothing for {SILENCE:g} s")


def _keep_up(load: Child, story: Story, screen: PlainScreen) -> None:
    screen.begin_at(story)
    try:
        for event in load.events(SILENCE):
            story.fold(event)
            screen.draw(story)
    except KeyboardInterrupt:
        return


def _conclude(
    console: Console, story: Story, verdict: Verdict, *, lively: bool, as_json: bool
) -> None:
    if as_json:
        json.dump(verdict.as_json(), sys.stdout, indent=2)
        sys.stdout.write("\n")
    elif lively:
        console.print(summary(story, verdict))
    else:
        for line in summary_lines(verdict):
            console.print(line, markup=False, soft_wrap=True)
    for each in verdict.failed:
        print(f"recloser demo: expected: {each.promise}; {each.found}", file=sys.stderr)
