"""Votes of calls whose answers come in pieces."""

from __future__ import annotations

from math import inf

import pytest

from recloser import Outcome, Policy
from recloser._circuit.counts import Counts
from recloser._circuit.in_flight import InFlight, Timing
from recloser._circuit.streams import Stream
from recloser._circuit.votes import Ending, vote_of
from recloser._stall import StallWatch


@pytest.mark.parametrize("goes_on", [True, False])
@pytest.mark.parametrize("outcome", [Outcome.SUCCESS, Outcome.FAILURE])
def test_a_stream_about_which_is_decided_early_is_one_until_it_ends(
    outcome: Outcome, goes_on: bool
) -> None:
    """What its pieces show is learned at its end, also if it has stalled before."""
    calls, call = InFlight(), Timing()
    call.started, call.answered = 100.0, inf
    calls.voting[7] = call
    calls.note_stream(7, Stream(100.0, 0.1), Policy(), closed=True)
    assert calls.streams is not None
    ending = Ending(7, outcome, 0.1, 101.0)
    ending.going_on = goes_on

    vote_of(ending, calls, Counts(), 1.0, StallWatch())

    assert (7 in calls.streams.by_token) is goes_on
