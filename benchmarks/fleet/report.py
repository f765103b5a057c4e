"""The report: tables as Markdown, and all figures as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from math import inf
from typing import Any

from benchmarks.detection.report import table
from benchmarks.fleet.cases import Case, Part, Results, Section

_INTRODUCTION = """\
# A fleet: many workers, one opinion

Written by `python -m benchmarks.fleet`, part by part; the commands below reproduce the tables. All of
it happens on virtual time, with real registries and a store in memory: no run depends on the speed of
the computer. {met} of {goals} goals are met.

## What is shared

With `Registry(store=...)`, workers share four things:

- **What was decided.** That a key is open, half-open, limited or closed, with the reason and its
  numbers. It is a fact with an epoch that only grows, and a write that comes too late is refused.
- **What is done by hand.** Openings, closings, resets and other modes.
- **What calls do, while something is wrong.** A worker that suspects something asks the others to
  watch the key. From then on all of them report when calls begin and how they end, 20 times a
  second and more often in the first second, good calls too. Calls that are in flight at that moment are
  told as well: they show how many there are, and are no evidence. If that shows nothing, it ends after
  half a second and 30 calls.
- **What was learned.** Latencies and normal shares of bad calls are kept now and then, so a worker
  that is new knows what is normal.

## What is not shared

- **Calls of healthy keys.** No call waits for the store, or for a thread. The load on the store
  depends on the number of workers, and not on the traffic.
- **Suspicions.** Each worker looks at its own worst moments, so their sum proves nothing. Only calls
  are added up.

## How a fleet decides

1. One worker leads a key for as long as it is watched: the one that has suspected something first. It
   says so at least every 0.6 s, and more rarely on a key with few calls. If it falls silent for more
   than three times as long, another one goes on.
2. The leader puts the calls of all workers, in the order of time, into one circuit. That circuit has the
   rules of one worker that has all the traffic. So a callee that fails in part is tolerated, and a limit
   is searched by all answers.
3. What only one worker has seen opens nobody else's breaker. Such a worker refuses alone. The same
   holds if several are cut off: if the calls of each worker predict the end of its next call better
   than the calls of all do, each decides alone. As long as that is not known, the fleet does not open.
4. A limit is divided by demand: each worker gets its share of the permits. So it is kept on average
   only, and the search for it goes by how many calls there were in flight.
5. While open, the leader hands out tickets for probes: one up to 8 workers, and with more as many as
   give about 0.3 probes at a time. After the first good probe all share the slow start.
6. If the store fails, each worker decides alone after a second, from the state that it is in. When the
   store is back, they agree again: what a worker has decided meanwhile ends when it hears that most of
   the others are closed. If its own way to the callee is broken, five calls more show it.
   A store that answers too late counts as one that fails. It is too late if a round through all keys
   that are watched takes longer than 1.5 s; or longer than 0.6 s, if a worker makes more than three calls
   of a key itself meanwhile. It counts as one that works again when a round would take half as long:
   after 5 s at the earliest, and after up to 60 s if that happens again and again.
7. A worker is alone only if a count says so that is newer than what it suspects.

## How it grows

- **With the rate**, the time until all refuse falls: evidence is a number of calls. At 120 calls/s a
  fleet needs a tenth to a quarter of a second for a callee that fails fast.
- **With the delay**, it grows by about one round trip and one report (50 ms): calls that come meanwhile
  are wasted, so their number grows by rate x (delay + 50 ms).
- **With the number of workers**, two things grow. The first worker must have two bad calls of its own
  before it asks the others, which takes longer if each has few calls. And above 64 workers reports
  come less often, in proportion, so that the leader gets no more than 1,300 a second.
- **The load on the store** is 1.1 operations a second of each worker while nothing is wrong: a look
  each 1.5 s, and a sign of life each 5 s with a count of the others. With 1 % of failures on a busy
  key it is up to 1.7, since single failures are looked at together. While a key is watched, it is
  about 20 reports a second of each of up to 64 workers, if they have calls; while it is open, a fifth
  of it.

![Seconds until 99 % refuse, calls wasted and operations of the store, by the number of workers](pictures/fleet-growth.svg)
"""


@dataclass(slots=True)
class Played:
    """A part that was played.

    Attributes:
        part: The part.
        command: The command line that plays it.
        seeds: How often each case was played.
        results: What was measured.
    """

    part: Part
    command: str
    seeds: int
    results: Results

    @property
    def section(self) -> Section:
        """Its tables and goals."""
        return self.part.report(self.results)


def markdown(every: list[Played]) -> str:
    """Return the whole report as Markdown."""
    goals = [goal for played in every for goal in played.section.goals]
    met = sum(goal.met for goal in goals)
    parts = [_INTRODUCTION.format(met=met, goals=len(goals))]
    return "\n".join([*parts, *[_one(played) for played in every]])


def _one(played: Played) -> str:
    section = played.section
    runs = f"the average of {played.seeds} runs, and the lowest and the highest in brackets"
    parts = [
        f"## {played.part.title}\n",
        f"{played.part.text} Figures are {runs if played.seeds > 1 else 'of one run'}.\n",
        f"```console\n{played.command}\n```\n",
        *[f"{table(head, rows)}\n" for head, rows in section.tables],
    ]
    if section.goals:
        met = sum(goal.met for goal in section.goals)
        rows = [[goal.what, goal.wanted, goal.measured] for goal in section.goals if not goal.met]
        parts.append(
            f"{met} of {len(section.goals)} goals are met. {'Missed:' if rows else ''}".rstrip()
            + "\n"
        )
        if rows:
            parts.append(f"{table(['missed', 'wanted', 'measured'], rows)}\n")
    return "\n".join(parts)


def as_json(every: list[Played]) -> str:
    """Return all figures as JSON. What never happened is null."""
    content = [
        {
            "part": played.part.name,
            "command": played.command,
            "seeds": played.seeds,
            "goals": [asdict(goal) for goal in played.section.goals],
            "cases": [
                {
                    **asdict(case),
                    "runs": [
                        {name: None if value == inf else value for name, value in run.items()}
                        for run in runs
                    ],
                }
                for case, runs in played.results.items()
            ],
        }
        for played in every
    ]
    return json.dumps(content, indent=1) + "\n"


def from_json(text: str, parts: dict[str, Part]) -> list[Played]:
    """What was played before, from its figures.

    Raises:
        ValueError: It is something else.
    """
    try:
        return [_played(each, parts) for each in json.loads(text)]
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"this was not written by --json: {error!r}") from error


def _played(plain: dict[str, Any], parts: dict[str, Part]) -> Played:
    results: Results = {}
    for each in plain["cases"]:
        runs = each.pop("runs")
        results[Case(**each)] = [
            {name: inf if value is None else value for name, value in run.items()} for run in runs
        ]
    return Played(parts[plain["part"]], plain["command"], plain["seeds"], results)
