"""Records: what is told of each call afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.failover_fleet import Fleet, Invoke, StatusError, fates

from recloser import BreakerOpenError, Delivery, Failover, Fate, Provider, Registry
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
