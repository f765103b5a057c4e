"""What recloser should reach, next to no breaker and to the best peer of each row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from benchmarks.closed_loop.entrants import CUT, NONE, OURS
from benchmarks.closed_loop.runner import Scores
from benchmarks.closed_loop.scenarios import Scenario
from benchmarks.closed_loop.scores import Score, mean

# Points of % that it may lose to no breaker, and to the best of all others.
_LOST_TO_NONE, _LOST_TO_BEST = 1.0, 2.0
_MOST_CHANGES, _LONGEST_RECOVERY = 2.5, 5.0
# With so many workers, one call each is too many for the callee. They may take longer to recover, and
# must do no worse than the best of all others.
_MANY, _LONGEST_RECOVERY_OF_MANY = 64, 15.0
# % of calls that may be refused where nothing is wrong.
_HEALTHY = {"M/G/1 at 0.9": 0.2, "M/G/10 at 0.9": 0.02}
# Rows with a goal of their own: while the callee stands still, calls cannot be told from those that
# hang; and where 60 % fail, refusing saves more bad calls than it costs good ones.
_ELSEWHERE = ("pause of 1 s", "0.6 fail")
_FLOORS = {
    ("pause of 1 s", OURS): 98.5,
    ("0.5 fail", OURS): 73.0,
    ("0.125 hang, 8 x 8 threads", CUT): 85.0,
    ("0.25 hang, 8 x 8 threads", CUT): 72.0,
}


@dataclass(frozen=True, slots=True)
class Goal:
    """One figure of one scenario and what it should be."""

    scenario: str
    figure: str
    wanted: str
    measured: str
    met: bool


def best_peer(scores: Scores, scenario: str) -> tuple[str, float] | None:
    """Who answered most in a scenario except recloser, and the % that it answered."""
    peers = [
        (name, mean([one.answered for one in runs]))
        for (story, name), runs in scores.items()
        if story == scenario and name not in (OURS, CUT)
    ]
    return max(peers, key=lambda peer: peer[1]) if peers else None


def goals(stories: list[Scenario], scores: Scores) -> list[Goal]:
    """Return every goal whose figures were measured."""
    found: list[Goal] = []
    for story in stories:
        if (story.name, OURS) not in scores:
            continue
        if story.group != "healthy":
            found += _of(story, scores)
        elif story.name in _HEALTHY:
            refused = _figure(scores, story.name, OURS, lambda score: score.refused)
            found.append(_at_most(story.name, "refused, %", _HEALTHY[story.name], refused))
    found += [
        _floor(story, name, floor, scores)
        for (story, name), floor in _FLOORS.items()
        if (story, name) in scores
    ]
    return found


def _figure(scores: Scores, story: str, name: str, of: Callable[[Score], float]) -> float:
    return mean([of(score) for score in scores[story, name]])


def _of(story: Scenario, scores: Scores) -> list[Goal]:
    answered = _figure(scores, story.name, OURS, lambda score: score.answered)
    found: list[Goal] = []
    many = story.workers >= _MANY
    graded = story.name not in _ELSEWHERE
    if graded and (story.name, NONE) in scores:
        none = _figure(scores, story.name, NONE, lambda score: score.answered)
        found.append(
            _at_least(story.name, "answered, next to none", none - _LOST_TO_NONE, answered)
        )
    best = best_peer(scores, story.name)
    if graded and best is not None and best[0] != NONE:
        wanted = best[1] - (0.0 if many else _LOST_TO_BEST)
        found.append(_at_least(story.name, f"answered, next to {best[0]}", wanted, answered))
    if story.lasting and not many and story.trigger >= 60.0:
        changes = _figure(scores, story.name, OURS, lambda score: score.changes)
        found.append(_at_most(story.name, "changes a minute", _MOST_CHANGES, changes))
    if not story.threads:  # there, threads are free again only after their time-out
        recovery = _figure(scores, story.name, OURS, lambda score: score.recovery)
        longest = _LONGEST_RECOVERY_OF_MANY if many else _LONGEST_RECOVERY
        found.append(_at_most(story.name, "recovery, s", longest, recovery))
    return found


def _floor(story: str, name: str, floor: float, scores: Scores) -> Goal:
    measured = _figure(scores, story, name, lambda score: score.answered)
    return _at_least(story, f"answered, {name}", floor, measured)


def _at_least(scenario: str, figure: str, wanted: float, measured: float) -> Goal:
    return Goal(
        scenario, figure, f">= {max(wanted, 0.0):.1f}", f"{measured:.1f}", measured >= wanted
    )


def _at_most(scenario: str, figure: str, wanted: float, measured: float) -> Goal:
    shown = "never" if measured == inf else f"{measured:.2g}"
    return Goal(scenario, figure, f"<= {wanted:g}", shown, measured <= wanted)
