"""Reasons: plain words, the numbers that decided, and nobody else's characters."""

from __future__ import annotations

import logging

import pytest
from tests.support.training import record

from recloser import Breaker, Policy, Registry, State
from recloser._circuit.sentences import seconds
from recloser.testing import ManualClock, RecordingListener, no_jitter

HOSTILE = "k\r\nSet-Cookie: a=b\n2026-01-01 CRITICAL root: pwned\x1b[2J\u2028\x00\x85\ud800"


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


def test_an_opening_by_failures_names_the_calls_and_the_last_failure(
    breaker: Breaker, listener: RecordingListener, clock: ManualClock
) -> None:
    permits = [breaker.acquire() for _ in range(30)]
    for permit in permits:
        permit.failure("HTTP 502")

    reason = listener.transitions[0].reason
    assert reason.rule == "failures"
    assert reason.numbers["bad"] >= 5
    assert reason.numbers["slow"] == 0
    assert reason.numbers["evidence"] >= reason.numbers["evidence_threshold"] - 1e-9
    assert f"{reason.numbers['bad']:.0f} failed: HTTP 502" in str(reason)
    assert breaker.explain() == f"open for 500 ms more: {reason}"
    clock.advance(0.5)
    assert breaker.explain() == f"open, and the next call is a probe: {reason}"


def test_an_opening_by_slowness_names_threshold_sigma_and_median(
    breaker: Breaker, clock: ManualClock, listener: RecordingListener
) -> None:
    record(breaker, 200, success=True, latency=0.2)
    while breaker.state is State.CLOSED:
        permit = breaker.acquire()
        clock.advance(5.0)
        permit.success()

    reason = listener.transitions[0].reason
    assert reason.rule == "slow"
    assert reason.numbers["slow"] == reason.numbers["bad"]
    assert reason.numbers["slow_threshold"] == pytest.approx(breaker.slow_threshold)
    assert reason.numbers["median"] == pytest.approx(0.2, rel=0.1)
    assert " slower than " in str(reason)
    assert " sigma" in str(reason)


def test_a_wait_that_was_asked_for_is_named(breaker: Breaker, listener: RecordingListener) -> None:
    breaker.acquire().throttled(42.0)

    reason = listener.transitions[0].reason
    assert reason.rule == "retry_after"
    assert reason.numbers["wait_seconds"] == 42.0
    assert "42 s" in str(reason)


def test_a_failure_is_named_by_type_and_message_and_in_little_space(breaker: Breaker) -> None:
    permits = [breaker.acquire() for _ in range(30)]
    for permit in permits:
        permit.failure(ConnectionResetError("peer went away " * 1000))

    assert "ConnectionResetError: 'peer went away" in str(breaker.refusal())
    assert len(str(breaker.refusal())) < 500


def test_every_number_of_a_reason_is_finite(
    breaker: Breaker, clock: ManualClock, listener: RecordingListener
) -> None:
    for _ in range(3):
        for _ in range(30):
            breaker.record(0.1, success=False)
        for _ in range(100):
            clock.advance(1.0)
            if (permit := breaker.try_acquire()) is not None:
                permit.success()
    breaker.open()

    for transition in listener.transitions:
        for value in transition.reason.numbers.values():
            assert value - value == 0.0


@pytest.mark.parametrize("hostile", [HOSTILE, HOSTILE * 1000])
def test_nothing_from_outside_forges_a_line_or_moves_a_terminal(
    clock: ManualClock, hostile: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A key, an error's message, a status and an operator's words may hold anything."""
    caplog.set_level(logging.INFO, "recloser")
    registry = Registry(clock=clock, random=no_jitter)
    listener = RecordingListener()
    registry.subscribe(listener)
    shown: list[str] = []

    for error in (OSError(hostile), hostile, type(hostile[:9], (Exception,), {})(hostile)):
        breaker = registry[hostile]
        breaker.reset()
        permits = [breaker.acquire() for _ in range(30)]
        for permit in permits:
            permit.failure(error)
        shown += [breaker.explain(), repr(breaker), str(breaker.refusal()), repr(permits[0])]
        breaker.reset()
        breaker.open(hostile)
        shown += [breaker.explain(), str(breaker.refusal())]
    registry.fault("key function", ValueError(hostile))
    shown += [str(each) for each in listener.transitions]
    formatter = logging.Formatter("%(levelname)s %(name)s: %(message)s")
    shown += [formatter.format(record) for record in caplog.records]

    assert len(shown) > 20
    for line in shown:
        assert line.isprintable(), line
        line.encode("utf-8")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0 ms"),
        (0.000_25, "0.25 ms"),
        (0.042, "42 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1 s"),
        (1.234, "1.23 s"),
        (60.0, "60 s"),
        (998.7, "999 s"),
        (86_400.0, "86400 s"),
    ],
)
def test_a_duration_has_the_unit_that_a_person_would_choose(value: float, shown: str) -> None:
    assert seconds(value) == shown
