"""The last bad calls, which a change of state names."""

from __future__ import annotations

from recloser._circuit import votes
from recloser._circuit.bad_calls import KEPT, REMEMBERED, SeenCall, seen_last, told
from recloser._circuit.votes import Ending
from recloser._outcome import Outcome
from recloser._redaction import seen


def ending(number: int) -> Ending:
    made = Ending(number, Outcome.FAILURE, 0.5, 100.0 + number, seen(OSError(f"number {number}")))
    made.trace = f"trace {number}"
    return made


def test_the_last_ones_are_kept_the_oldest_first() -> None:
    calls: tuple[SeenCall, ...] = ()
    for number in range(20):
        calls = seen_last(calls, votes.FAILED, ending(number))

    names = [each.trace for each in told(calls)]
    assert names == [f"trace {number}" for number in range(12, 20)]
    assert len(names) == KEPT  # "at most eight", as `Transition` says


def test_each_says_how_it_was_bad_and_only_a_failure_what_failed() -> None:
    calls: tuple[SeenCall, ...] = ()
    for vote in REMEMBERED:
        calls = seen_last(calls, vote, ending(1))

    found = {each.outcome: each.error for each in told(calls)}
    assert found == {
        "failure": "OSError: 'number 1'",
        "slow": "",
        "overdue": "",
        "throttled": "",
    }
    assert {(each.latency, each.at) for each in told(calls)} == {(0.5, 101.0)}
