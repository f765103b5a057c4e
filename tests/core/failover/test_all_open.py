"""A failover whose providers all refuse: what the caller is told, and who is asked all the same."""

from __future__ import annotations

import pytest
from tests.support.failover_fleet import Fleet, Invoke, fates, limits, trip, warm
from tests.support.outage import ask_to_wait

from recloser import BreakerOpenError, Fate, Registry, State
from recloser.testing import ManualClock, open_breaker


def test_when_all_refuse_the_earliest_time_to_try_again_is_told(
    registry: Registry, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b", "c")
    for key, wait in (("a", 30.0), ("b", 7.0), ("c", 90.0)):
        registry[key].open("test", for_=wait)

    with pytest.raises(BreakerOpenError) as caught:
        invoke(fleet.failover, fleet.send)

    assert caught.value.key == "b"
    assert caught.value.retry_after == pytest.approx(7.0, abs=0.5)
    assert not fleet.sent
    assert fleet.deliveries[-1].served_by is None
    assert fates(fleet.deliveries[-1]) == [(key, Fate.REFUSED) for key in "abc"]


def test_the_least_bad_is_who_gave_the_latest_good_answer_and_its_call_has_no_vote(
    registry: Registry, clock: ManualClock, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b", "c", when_all_open="least_bad")
    for key in "cab":
        clock.advance(1.0)
        invoke(fleet.failover, fleet.send, prefer=key)
    for key in "bca":
        trip(registry, key)
    before = registry["b"].metrics()

    assert invoke(fleet.failover, fleet.send) == "answer of b"

    after = registry["b"].metrics()
    assert registry["b"].state is State.OPEN
    assert (after.successes, after.failures) == (before.successes, before.failures)
    assert fates(fleet.deliveries[-1])[-1] == ("b", Fate.SERVED)


def test_nobody_who_is_open_is_called_unless_that_was_asked_for(
    registry: Registry, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b")
    trip(registry, "a")
    trip(registry, "b")

    with pytest.raises(BreakerOpenError):
        invoke(fleet.failover, fleet.send, repeatable=True)

    assert not fleet.sent


def test_among_those_who_never_answered_it_is_who_may_be_probed_soonest(
    registry: Registry, clock: ManualClock, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b", when_all_open="least_bad")
    trip(registry, "b")
    clock.advance(0.1)
    trip(registry, "a")

    assert invoke(fleet.failover, fleet.send) == "answer of b"


@pytest.mark.parametrize(("repeatable", "served_by"), [(True, "b"), (False, None)])
def test_after_the_least_bad_comes_the_next_where_that_is_safe(
    registry: Registry, invoke: Invoke, repeatable: bool, served_by: str | None
) -> None:
    fleet = Fleet(registry, "a", "b", when_all_open="least_bad")
    trip(registry, "a")
    trip(registry, "b")
    fleet.faults["a"] = OSError("sick indeed")

    if served_by is None:
        with pytest.raises(OSError, match="sick indeed"):
            invoke(fleet.failover, fleet.send, repeatable=repeatable)
    else:
        assert invoke(fleet.failover, fleet.send, repeatable=repeatable) == "answer of b"
    assert fleet.deliveries[-1].served_by == served_by


def test_the_least_bad_also_takes_over_from_one_that_was_admitted(
    registry: Registry, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b", when_all_open="least_bad")
    trip(registry, "b")
    fleet.faults["a"] = OSError("new here")

    assert invoke(fleet.failover, fleet.send, repeatable=True) == "answer of b"


def test_who_is_well_is_not_cut_off_for_one_that_is_not(
    registry: Registry, clock: ManualClock
) -> None:
    warm(registry, clock, "a")
    fleet = Fleet(registry, "a", "b", when_all_open="least_bad", time_budget=30.0)
    trip(registry, "b")

    assert limits(fleet.failover, repeatable=True) == [(30.0, 30.0), (30.0, 30.0)]


def test_a_probe_is_cut_off_once_one_may_be_asked_that_was_well_more_recently(
    registry: Registry, clock: ManualClock
) -> None:
    warm(registry, clock, "a")
    fleet = Fleet(registry, "a", "b", time_budget=30.0)
    fleet.failover.call(fleet.send, prefer="b")
    trip(registry, "a")
    clock.advance(5.0)
    registry["b"].open("test", for_=4.0)

    assert limits(fleet.failover, repeatable=True) == [(4.0, 4.0)]


def test_or_at_once_if_that_one_is_taken_for_the_least_bad(
    registry: Registry, clock: ManualClock
) -> None:
    warm(registry, clock, "a")
    slow = registry["a"].slow_threshold
    fleet = Fleet(registry, "b", "a", time_budget=30.0, when_all_open="least_bad")
    fleet.failover.call(fleet.send)
    trip(registry, "a")
    clock.advance(60.0)
    trip(registry, "b")

    assert limits(fleet.failover, repeatable=True)[0] == pytest.approx((2 * slow, 2 * slow))


def test_a_probe_is_not_cut_off_for_one_that_was_not(
    registry: Registry, clock: ManualClock
) -> None:
    """A slow machine made the healthy one open, and the other is down."""
    warm(registry, clock, "b")
    fleet = Fleet(registry, "a", "b", time_budget=30.0, when_all_open="least_bad")
    fleet.failover.call(fleet.send, prefer="b")
    trip(registry, "b")
    clock.advance(5.0)
    trip(registry, "a")

    assert limits(fleet.failover, repeatable=True)[0] == (30.0, 30.0)


def test_a_probe_that_nobody_can_take_over_gets_all_the_time(
    registry: Registry, clock: ManualClock
) -> None:
    trip(registry, "a")
    clock.advance(5.0)
    open_breaker(registry["b"])

    fleet = Fleet(registry, "a", "b", time_budget=30.0)
    assert limits(fleet.failover, repeatable=True) == [(30.0, 30.0)]
    clock.advance(60.0)
    registry["b"].open("test", for_=4.0)
    fleet = Fleet(registry, "a", "b", time_budget=30.0, max_attempts=1)
    assert limits(fleet.failover, repeatable=True) == [(30.0, 30.0)]


def test_the_least_bad_share_the_time_there_is(registry: Registry, clock: ManualClock) -> None:
    warm(registry, clock, "a")
    fleet = Fleet(registry, "a", "b", "c", when_all_open="least_bad", time_budget=30.0)
    trip(registry, "a")
    trip(registry, "b")
    ask_to_wait(registry["c"], 5.0)

    assert limits(fleet.failover, repeatable=True) == [(15.0, 15.0), (30.0, 30.0)]


def test_who_asked_for_a_pause_is_never_the_least_bad(registry: Registry, invoke: Invoke) -> None:
    fleet = Fleet(registry, "a", "b", when_all_open="least_bad")
    ask_to_wait(registry["a"], 5.0)
    open_breaker(registry["b"])

    with pytest.raises(BreakerOpenError) as caught:
        invoke(fleet.failover, fleet.send)

    assert caught.value.key == "a"
    assert not fleet.sent
