"""The last bad calls, which a change of state names."""

from __future__ import annotations

from typing import NamedTuple

from recloser._circuit import votes
from recloser._circuit.votes import Ending, Vote
from recloser._events import BadCall
from recloser._redaction import Raised, shown

KEPT = 8
"""How many are kept: enough to see what they have in common."""
_OUTCOMES = (
    (votes.FAILED, "failure"),
    (votes.SLOW, "slow"),
    (votes.HUNG, "overdue"),
    (votes.ASKED_TO_WAIT, "throttled"),
)
REMEMBERED = tuple(vote for vote, _ in _OUTCOMES)
"""The votes whose calls are kept: bad ones, and calls that were asked to wait."""


class SeenCall(NamedTuple):
    """A bad call as it was. Only `told` makes of it what may leave the breaker."""

    vote: Vote
    latency: float
    what: Raised | str
    at: float
    trace: str


def seen_last(before: tuple[SeenCall, ...], vote: Vote, ending: Ending) -> tuple[SeenCall, ...]:
    """The last bad calls, after one more."""
    what = ending.what if vote is votes.FAILED else ""
    seen = SeenCall(vote, ending.took, what, ending.now, ending.trace)
    return (*before[1 - KEPT :], seen)


def told(calls: tuple[SeenCall, ...]) -> tuple[BadCall, ...]:
    """The same for listeners: without secrets."""
    outcomes = dict(_OUTCOMES)
    return tuple(
        BadCall(outcomes[each.vote], each.latency, shown(each.what), each.at, each.trace)
        for each in calls
    )
