"""The report of a call: its sentences, and the order of its legs."""

from __future__ import annotations

import re

import pytest

from recloser import BreakerOpenError, Delivery, Fate, Leg, Outcome, Reason, State
from recloser._failover.report import Record
from recloser.testing import ManualClock


class SecretError(Exception):
    """Its message must not be shown."""

    def __str__(self) -> str:
        raise AssertionError("nobody may ask")


@pytest.mark.parametrize("fate", Fate)
def test_a_fate_is_an_identifier(fate: Fate) -> None:
    assert re.fullmatch("[a-z]+(_[a-z]+)*", fate.value)
    assert fate is Fate(fate.name.lower())


@pytest.mark.parametrize(
    ("fate", "sentence"),
    [
        (Fate.SERVED, "'eu' served"),
        (Fate.FAILED, "'eu' failed"),
        (Fate.TIMED_OUT, "'eu' timed out"),
        (Fate.UNREACHABLE, "'eu' was not reached"),
        (Fate.THROTTLED, "'eu' was throttled"),
        (Fate.REFUSED, "'eu' was refused"),
        (Fate.PAUSED, "'eu' had asked for a pause"),
        (Fate.REJECTED, "'eu' rejected the credentials or the model"),
        (Fate.BARRED, "'eu' had rejected the credentials or the model"),
        (Fate.SLOW, "'eu' answers slowly"),
        (Fate.HELD_BACK, "'eu' was kept for a call that may be repeated"),
        (Fate.IGNORED, "'eu' rejected the call"),
        (Fate.CANCELLED, "'eu' was cancelled"),
    ],
)
def test_a_leg_is_a_sentence(fate: Fate, sentence: str) -> None:
    assert str(Leg("eu", fate)) == sentence


def test_every_fate_has_a_sentence() -> None:
    assert len({str(Leg("eu", fate)) for fate in Fate}) == len(Fate)


def test_a_leg_says_how_long_and_why() -> None:
    assert str(Leg("eu", Fate.TIMED_OUT, 2.5)) == "'eu' timed out after 2.5 s"
    assert str(Leg("eu", Fate.FAILED, 0.25, "HTTP 502")) == "'eu' failed after 0.25 s (HTTP 502)"


def test_of_an_error_type_and_message_are_named_without_secrets() -> None:
    leaks = OSError("no route to https://user:pass@eu.example/v1?key=abc")

    assert str(Leg("eu", Fate.FAILED, error=SecretError())) == "'eu' failed (SecretError)"
    assert str(Leg("eu", Fate.FAILED, error=leaks)) == (
        "'eu' failed (OSError: 'no route to https://eu.example')"
    )


def test_a_refusal_names_its_rule_and_the_wait() -> None:
    by_rule = BreakerOpenError("eu", State.OPEN, Reason("evidence", "many failures"), 12.34)
    bare = BreakerOpenError("eu", State.HALF_OPEN, None, 1.0)

    assert str(Leg("eu", Fate.REFUSED, error=by_rule)) == "'eu' was refused (evidence, 12.3 s more)"
    assert str(Leg("eu", Fate.REFUSED, error=bare)) == "'eu' was refused (half_open, 1 s more)"


def test_a_key_cannot_forge_a_line_of_a_log() -> None:
    assert "\n" not in str(Leg("eu\nserved by 'us'", Fate.FAILED))


def test_a_delivery_names_the_one_that_served_and_the_others() -> None:
    legs = (Leg("eu", Fate.FAILED, 0.25), Leg("us", Fate.SERVED, 0.5))

    assert str(Delivery("us", legs, 0.75)) == "served by 'us' in 0.75 s; 'eu' failed after 0.25 s"
    assert str(Delivery(None, legs[:1], 0.3)) == "not served in 0.3 s; 'eu' failed after 0.25 s"


@pytest.mark.parametrize("outcome", Outcome)
def test_a_fate_follows_from_the_outcome_and_from_what_was_sent(outcome: Outcome) -> None:
    sent = {
        Outcome.SUCCESS: Fate.SERVED,
        Outcome.FAILURE: Fate.FAILED,
        Outcome.THROTTLED: Fate.THROTTLED,
        Outcome.IGNORED: Fate.IGNORED,
        Outcome.CANCELLED: Fate.CANCELLED,
    }
    unsent = Fate.CANCELLED if outcome is Outcome.CANCELLED else Fate.UNREACHABLE

    assert Fate.of(outcome, sent=True) is sent[outcome]
    assert Fate.of(outcome, sent=False) is unsent


class Told:
    """A listener and a counter of faults, and a record that tells them."""

    def __init__(self, clock: ManualClock) -> None:
        self.deliveries: list[Delivery] = []
        self.faults: list[tuple[str, BaseException]] = []
        self.record = Record(self.deliveries.append, self.fault, clock, clock())

    def fault(self, where: str, error: BaseException) -> None:
        self.faults.append((where, error))


def test_an_attempt_comes_before_the_providers_passed_over_after_it(clock: ManualClock) -> None:
    told = Told(clock)
    record = told.record

    record.pass_over("a", Fate.REFUSED)
    record.begin_attempt()
    record.pass_over("c", Fate.HELD_BACK)
    record.end_attempt("b", Fate.FAILED, clock(), None)
    record.begin_attempt()
    record.end_attempt("d", Fate.SERVED, clock(), None)
    record.deliver("d")

    assert [leg.key for leg in told.deliveries[0].legs] == ["a", "b", "c", "d"]
    assert told.deliveries[0].served_by == "d"


def test_durations_are_those_of_the_clock(clock: ManualClock) -> None:
    told = Told(clock)

    clock.advance(1.0)
    started = clock()
    clock.advance(0.5)
    told.record.begin_attempt()
    told.record.end_attempt("a", Fate.FAILED, started, "HTTP 502")
    told.record.deliver(None)

    (delivery,) = told.deliveries
    assert delivery.duration == 1.5
    assert delivery.legs == (Leg("a", Fate.FAILED, 0.5, "HTTP 502"),)


def test_where_nothing_was_sent_no_time_was_spent(clock: ManualClock) -> None:
    told = Told(clock)
    started = clock()
    clock.advance(0.5)

    told.record.begin_attempt()
    told.record.end_attempt("a", Fate.UNREACHABLE, started, None)
    told.record.deliver(None)

    assert told.deliveries[0].legs[0].duration == 0.0


def test_a_clock_that_goes_back_makes_no_negative_duration(clock: ManualClock) -> None:
    told = Told(clock)
    started = clock()
    clock.advance(-5.0)

    told.record.begin_attempt()
    told.record.end_attempt("a", Fate.SERVED, started, None)
    told.record.deliver("a")

    assert told.deliveries[0].duration == 0.0
    assert told.deliveries[0].legs[0].duration == 0.0


def test_a_listener_that_raises_is_a_fault(clock: ManualClock) -> None:
    told = Told(clock)
    error = ZeroDivisionError()

    def broken(delivery: Delivery) -> None:
        raise error

    Record(broken, told.fault, clock, clock()).deliver(None)

    assert told.faults == [("on_delivery", error)]
