"""Records: what is told of each call afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.failover_fleet import Fleet, Invoke, StatusError, fates

from recloser import (
    Answer,
    Attempt,
    BreakerOpenError,
    Delivery,
    Failover,
    Fate,
    Leg,
    Provider,
    Registry,
)
from recloser.testing import ManualClock, open_breaker


def test_a_record_says_who_served_and_why_the_others_did_not(
    registry: Registry, clock: ManualClock
) -> None:
    fleet = Fleet(registry, "a", "b", "c")
    registry["a"].open("test", for_=9.0)

    def send(attempt: Any) -> None:
        clock.advance(0.25)
        if attempt.key == "b":
            raise OSError("no route to host")

    fleet.failover.call(send, repeatable=True)

    (delivery,) = fleet.deliveries
    assert delivery.served_by == "c"
    assert delivery.duration == 0.5
    assert fates(delivery) == [("a", Fate.REFUSED), ("b", Fate.FAILED), ("c", Fate.SERVED)]
    assert isinstance(delivery.legs[0].error, BreakerOpenError)
    assert str(delivery) == (
        "served by 'c' in 0.5 s; 'a' was refused (manual, 9 s more); "
        "'b' failed after 0.25 s (OSError: 'no route to host')"
    )


@pytest.mark.parametrize("error", [None, OSError(), StatusError(404), KeyboardInterrupt()])
@pytest.mark.parametrize("repeatable", [False, True])
def test_every_call_is_recorded_once(
    registry: Registry, error: BaseException | None, repeatable: bool
) -> None:
    fleet = Fleet(registry, "a", "b")
    if error is not None:
        fleet.faults = {"a": error, "b": error}

    for number in range(1, 4):
        try:
            fleet.failover.call(fleet.send, repeatable=repeatable)
        except BaseException as caught:
            assert caught is error  # noqa: PT017 - KeyboardInterrupt passes `pytest.raises` too
        assert len(fleet.deliveries) == number


def test_a_faulty_listener_harms_no_call(registry: Registry, invoke: Invoke) -> None:
    def broken(delivery: Delivery) -> None:
        raise ZeroDivisionError

    failover = Failover(registry, [Provider("a", "")], on_delivery=broken)

    assert invoke(failover, lambda attempt: "answer") == "answer"
    assert registry.faults == 1


def test_its_repr_shows_the_state_of_each(registry: Registry) -> None:
    fleet = Fleet(registry, "a", "b")
    open_breaker(registry["b"])

    assert repr(fleet.failover) == "<Failover [a: closed, b: open]>"


class Watch:
    """Keeps what it is told of an attempt."""

    def __init__(self, told: list[tuple[str, object]], *, broken: bool = False) -> None:
        self.told = told
        self.broken = broken

    def ended(self, leg: Leg) -> None:
        self.told.append(("ended", (leg.key, leg.fate)))
        if self.broken:
            raise ZeroDivisionError

    def reported(self, answer: Answer) -> None:
        self.told.append(("reported", answer))
        if self.broken:
            raise ZeroDivisionError


def test_a_watch_is_told_of_each_attempt_in_turn(registry: Registry, invoke: Invoke) -> None:
    told: list[tuple[str, object]] = []

    def watch(attempt: Attempt[str]) -> Watch:
        told.append(("began", attempt.key))
        return Watch(told)

    def send(attempt: Any) -> str:
        if attempt.key == "a":
            raise OSError
        return "answer"

    providers = [Provider("a", ""), Provider("b", "")]
    failover = Failover(registry, providers, on_attempt=watch)

    assert invoke(failover, send, repeatable=True) == "answer"
    assert told == [
        ("began", "a"),
        ("ended", ("a", Fate.FAILED)),
        ("reported", Answer()),
        ("began", "b"),
        ("ended", ("b", Fate.SERVED)),
        ("reported", Answer()),
    ]


def test_a_faulty_watch_harms_no_call(registry: Registry, invoke: Invoke) -> None:
    told: list[tuple[str, object]] = []

    def watch(attempt: Attempt[str]) -> Watch:
        if attempt.key == "a":
            raise ZeroDivisionError
        return Watch(told, broken=True)

    def send(attempt: Any) -> str:
        if attempt.key == "a":
            raise OSError
        return "answer"

    failover = Failover(registry, [Provider("a", ""), Provider("b", "")], on_attempt=watch)

    assert invoke(failover, send, repeatable=True) == "answer"
    assert [what for what, _ in told] == ["ended", "reported"]
    assert registry.faults == 3


def test_a_watch_of_an_answer_whose_body_is_awaited_is_told_at_its_end(registry: Registry) -> None:
    told: list[tuple[str, object]] = []
    failover = Failover(registry, [Provider("a", "")], on_attempt=lambda attempt: Watch(told))
    (attempt,) = failover.attempts()
    attempt.reported_later().commit()
    assert [what for what, _ in told] == ["ended"]

    attempt.report(Answer(output_tokens=5))
    attempt.end_by_error(None)
    attempt.report(Answer())

    assert told[1:] == [("reported", Answer(output_tokens=5))]
