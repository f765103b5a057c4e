"""Events: each change of state once, as a value that can be copied and sent elsewhere."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from tests.support.outage import CLOSED, HALF, OPEN, edges, run_through

from recloser import BreakerOpenError, Metrics, Reason, Registry
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
