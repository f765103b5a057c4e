"""Metrics: the figures of a breaker, and its own explanation of what it does."""

from __future__ import annotations

import pytest

from recloser import Breaker, Policy, Registry, State
from recloser.testing import ManualClock, RecordingListener


@pytest.fixture
def policy() -> Policy:
    return Policy(open_for=0.5)


@pytest.fixture
def listener() -> RecordingListener:
    return RecordingListener()


@pytest.fixture
def breaker(registry: Registry, listener: RecordingListener) -> Breaker:
    registry.subscribe(listener)
    return registry["k"]


def learn(breaker: Breaker) -> None:
    for _ in range(200):
        breaker.record(0.2, success=True)


def test_a_fresh_breaker_says_what_it_goes_by(breaker: Breaker) -> None:
    assert breaker.explain().startswith("closed: bad is failed or slower than the ceiling of 60 s")


def test_a_closed_breaker_says_what_is_normal(breaker: Breaker) -> None:
    learn(breaker)

    sentence = breaker.explain()

    assert sentence.startswith("closed: ")
    assert "sigma" in sentence
    assert "over a median of " in sentence
    assert "is normal" in sentence


def test_a_suspicious_breaker_says_how_far_it_is(breaker: Breaker) -> None:
    learn(breaker)
    for _ in range(3):
        breaker.record(0.2, success=False)

    assert breaker.explain().startswith("closed, but 3 of the last 3 calls were bad, evidence ")


def test_probes_are_explained_while_they_run_and_when_they_have_decided(
    breaker: Breaker, clock: ManualClock, listener: RecordingListener
) -> None:
    breaker.open(for_=1.0)
    clock.advance(1.0)
    breaker.acquire().success()
    assert breaker.explain().startswith("half-open: 1 good and 0 bad probes of ")

    while breaker.state is not State.CLOSED:
        breaker.acquire().success()
    reason = listener.transitions[-1].reason

    assert reason.rule == "recovered"
    assert str(reason).startswith("recovered after ")
    assert f"{reason.numbers['good']:.0f} of " in str(reason)
