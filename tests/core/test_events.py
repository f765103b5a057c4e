"""Events: each change of state once, as a value that can be copied and sent elsewhere."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from tests.support.limits import hang, limit
from tests.support.outage import CLOSED, HALF, OPEN, edges, run_through
from tests.support.training import learned

from recloser import BreakerOpenError, Metrics, Reason, Registry, State
from recloser.testing import ManualClock, RecordingListener


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(10.0)


def test_each_change_is_told_once_and_in_order(registry: Registry, clock: ManualClock) -> None:
    listener = RecordingListener()
    registry.subscribe(listener)

    run_through(registry["k"], clock)

    assert edges(listener) == [
        (CLOSED, OPEN),
        (OPEN, HALF),
        (HALF, OPEN),
        (OPEN, HALF),
        (HALF, CLOSED),
    ]
    rules = [each.reason.rule for each in listener.transitions]
    assert rules == ["failures", "look_again", "probe_failed", "look_again", "recovered"]
    assert [each.generation for each in listener.transitions] == [1, 2, 3, 4, 5]
    assert [each.key for each in listener.transitions] == ["k"] * 5
    times = [each.at for each in listener.transitions]
    assert times == sorted(times)
    assert times[0] == 10.0


def test_an_outage_of_slow_calls_goes_through_limited(
    registry: Registry, clock: ManualClock
) -> None:
    breaker, listener = registry["k"], RecordingListener()
    learned(breaker, clock)
    registry.subscribe(listener)

    hang(breaker, clock, until=State.OPEN)
    clock.advance(breaker.retry_after)
    for _ in range(20):
        permit = breaker.acquire()
        clock.advance(0.1)
        permit.success()

    assert edges(listener) == [
        (CLOSED, State.LIMITED),
        (State.LIMITED, OPEN),
        (OPEN, HALF),
        (HALF, State.LIMITED),
        (State.LIMITED, CLOSED),
    ]
    rules = [each.reason.rule for each in listener.transitions]
    assert rules == ["limited", "mute", "look_again", "recovered", "eased"]


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_what_leaves_the_process_can_be_copied_and_pickled(
    registry: Registry, clock: ManualClock, again: Any
) -> None:
    listener = RecordingListener()
    registry.subscribe(listener)
    run_through(registry["k"], clock)
    registry["k"].open("by hand")
    registry["k"].reset()
    limit(registry["k"], clock)
    assert listener.transitions[-1].reason.numbers["limit"] > 0.0
    registry["k"].open("by hand")

    for transition in listener.transitions:
        assert again(transition) == transition
        assert hash(again(transition)) == hash(transition)
    metrics: Metrics = again(registry["k"].metrics())
    assert metrics == registry["k"].metrics()
    error: BreakerOpenError = again(registry["k"].refusal())
    assert error.args == registry["k"].refusal().args
    assert (error.key, error.state, error.retry_after) == ("k", OPEN, error.retry_after)
    assert str(error) == str(registry["k"].refusal())


def test_a_reason_speaks_in_plain_words() -> None:
    reason = Reason("manual", "by hand: 'maintenance'")

    assert str(reason) == "by hand: 'maintenance'"
    assert reason.numbers == {}
