"""The score of a run: who was answered, how often the breaker changed, and when it was over."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import asdict, dataclass
from math import inf
from statistics import fmean

from benchmarks.closed_loop.scenarios import Scenario
from benchmarks.closed_loop.simulator import Play
from benchmarks.detection.entrants import Recloser
from benchmarks.detection.simulator import Contender
from recloser import State

# It is well again when this share of the calls is answered, in each second for some seconds.
_WELL, _SECONDS = 0.95, 5


@dataclass(frozen=True, slots=True)
class Score:
    """One entrant's run of one scenario.

    Attributes:
        answered: Calls of the trigger that were answered, in %.
        refused: Calls of the trigger that a breaker ended, in %.
        changes: Changes of state, per breaker and minute of the trigger.
        openings: Those that end the closed state, per breaker and minute of the trigger.
        per_million: The same for a million calls.
        recovery: Seconds from the end of the trigger until users are well served; infinite if they
            never are before the end.
    """

    answered: float
    refused: float
    changes: float
    openings: float
    per_million: float
    recovery: float

    def summary(self) -> dict[str, float | None]:
        """Return the figures for JSON, which has no infinity."""
        return {name: None if value == inf else value for name, value in asdict(self).items()}


def score(scenario: Scenario, play: Play, contenders: list[Contender]) -> Score:
    """Score one run."""
    first = bisect_left(play.starts, scenario.warm_up)
    last = bisect_left(play.starts, scenario.over)
    calls = max(last - first, 1)
    changes = openings = 0
    for contender in contenders:
        changed, opened = _times(contender)
        changes += _between(changed, scenario)
        openings += _between(opened, scenario)
    minutes = len(contenders) * scenario.trigger / 60.0
    return Score(
        answered=100.0 * sum(play.good[first:last]) / calls,
        refused=100.0 * sum(play.refused[first:last]) / calls,
        changes=changes / minutes,
        openings=openings / minutes,
        per_million=1e6 * openings / calls,
        recovery=_recovery(scenario, play, last),
    )


def _times(contender: Contender) -> tuple[list[float], list[float]]:
    """When it changed its state, and when it began to refuse."""
    if isinstance(contender, Recloser):
        every = contender.transitions
        return [t.at for t in every], [t.at for t in every if t.before is State.CLOSED]
    return contender.alarms, contender.openings


def _between(times: list[float], scenario: Scenario) -> int:
    return sum(scenario.warm_up <= at < scenario.over for at in times)


def _recovery(scenario: Scenario, play: Play, last: int) -> float:
    seconds = int(scenario.cool_down)
    counts = [[0, 0] for _ in range(seconds)]
    for index in range(last, len(play.starts)):
        number = int(play.starts[index] - scenario.over)
        if number < seconds:
            counts[number][play.good[index]] += 1
    well = [good >= _WELL * (good + bad) for bad, good in counts]
    for number in range(seconds - _SECONDS + 1):
        if all(well[number : number + _SECONDS]):
            return float(number)
    return inf if seconds else 0.0


def mean(values: list[float]) -> float:
    """The average; infinite if one of them is."""
    return fmean(values) if values else inf
