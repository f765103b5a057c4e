"""Which provider is asked next: the rules, one by one, without a call."""

from __future__ import annotations

import asyncio
import random as random_module
from collections import Counter
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

import pytest
from tests.support.outage import ask_to_wait
from tests.support.training import learned, teach

from recloser import Delivery, Failover, Fate, Mode, Outcome, Permit, Provider, Registry, State
from recloser._classify_error import classify_error
from recloser._failover.call import Call
from recloser._failover.memory import Memory
from recloser._failover.report import Record
from recloser._failover.selection import Selection
from recloser._failover.settings import Settings
from recloser._outcome import nothing_sent
from recloser.testing import ManualClock, open_breaker


class Field:
    """A registry, what is remembered of it, and selections from it."""

    def __init__(self, registry: Registry, **changed: Any) -> None:
        usual: dict[str, Any] = {
            "registry": registry,
            "order": "listed",
            "max_attempts": 3,
            "time_budget": 60.0,
            "patience": 2.0,
            "probe_wait": 60.0,
            "when_all_open": "refuse",
            "classify": classify_error,
            "nothing_sent": nothing_sent,
            "on_delivery": None,
            "random": random_module.Random(7).random,
        }
        self.settings = Settings(**{**usual, **changed})
        self.memory = Memory()
        self.deliveries: list[Delivery] = []

    def selection(
        self, keys: str = "abc", *, repeatable: bool = True, prefer: str | None = None
    ) -> Selection[str]:
        return self.of([Provider(key, key.upper()) for key in keys], repeatable, prefer)

    def of(
        self, providers: list[Provider[str]], repeatable: bool = True, prefer: str | None = None
    ) -> Selection[str]:
        registry, clock = self.settings.registry, self.settings.clock
        record = Record(self.deliveries.append, registry.fault, clock, clock())
        call = Call(repeatable=repeatable, prefer=prefer)
        return Selection(self.settings, self.memory, providers, record, call)

    def passed_over(self, selection: Selection[str]) -> list[tuple[str, Fate]]:
        assert selection.record is not None
        selection.record.deliver(None)
        return [(leg.key, leg.fate) for leg in self.deliveries.pop().legs]


def next_of(selection: Selection[str]) -> str | None:
    """The key of the next provider, which is then taken; None if there is none."""
    if not selection.choose():
        assert selection.chosen is None
        return None
    assert selection.chosen is not None
    (provider, _, _), selection.chosen = selection.chosen, None
    return provider.key


def all_of(selection: Selection[str]) -> str:
    """The keys of all that are chosen, in order."""
    return "".join(iter(lambda: next_of(selection) or "", ""))


def trip(registry: Registry, key: str) -> None:
    while (permit := registry[key].try_acquire()) is not None:
        permit.failure("test")
    assert registry[key].state is State.OPEN


# Order


def test_providers_are_chosen_as_listed_and_each_once(registry: Registry) -> None:
    assert all_of(Field(registry).selection("cab")) == "cab"


def test_the_preferred_one_comes_first_and_the_others_keep_their_order(registry: Registry) -> None:
    assert all_of(Field(registry).selection(prefer="c")) == "cab"


def test_each_place_is_drawn_by_weight_from_those_that_are_left(registry: Registry) -> None:
    field = Field(registry, order="weighted", max_attempts=4)
    weights = {"a": 1.0, "b": 2.0, "c": 1.0, "d": 0.0}
    providers = [Provider(key, "", weight=weight) for key, weight in weights.items()]
    orders: Counter[str] = Counter()
    for _ in range(4000):
        orders[all_of(field.of(providers))] += 1

    assert all(order.endswith("d") for order in orders)
    first = Counter(order[0] for order in orders.elements())
    assert first["b"] / 4000 == pytest.approx(0.5, abs=0.03)
    # With b gone, a and c are alike.
    assert orders["bacd"] / first["b"] == pytest.approx(0.5, abs=0.05)


def test_no_more_are_chosen_than_attempts_are_allowed(registry: Registry) -> None:
    selection = Field(registry, max_attempts=2).selection()

    assert all_of(selection) == "ab"
    assert selection.attempts_left == 0


# Refusals


def test_a_provider_that_refuses_is_passed_over_and_costs_no_attempt(registry: Registry) -> None:
    field = Field(registry, max_attempts=1)
    open_breaker(registry["a"])
    selection = field.selection()

    assert all_of(selection) == "b"
    assert field.passed_over(selection) == [("a", Fate.REFUSED)]


def test_if_all_refuse_the_refusal_is_that_with_the_shortest_wait(registry: Registry) -> None:
    for key, wait in (("a", 30.0), ("b", 7.0), ("c", 90.0)):
        registry[key].open("test", for_=wait)
    selection = Field(registry).selection()

    assert next_of(selection) is None
    assert selection.refusal().key == "b"


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.DISABLED])
def test_a_breaker_that_refuses_nothing_gives_a_permit_without_a_vote(
    registry: Registry, clock: ManualClock, mode: Mode
) -> None:
    open_breaker(registry["a"])
    registry.mode = mode
    field = Field(registry)
    selection = field.selection()

    assert selection.choose()
    assert selection.chosen is not None
    provider, permit, is_least_bad = selection.chosen
    assert (provider.key, is_least_bad) == ("a", False)
    assert registry["a"].metrics().in_flight == 0
    permit.failure("HTTP 500")
    assert registry["a"].metrics().failures == 0
    # The time spent on the provider is counted from here.
    assert permit.started == clock()
    assert field.memory.called_at == {"a": clock()}


def test_without_a_record_nothing_is_recorded(registry: Registry) -> None:
    open_breaker(registry["a"])
    field = Field(registry)
    providers = [Provider("a", ""), Provider("b", "")]
    call = Call(repeatable=True)
    selection = Selection(field.settings, field.memory, providers, None, call)

    assert all_of(selection) == "b"


# The first probe of an open provider


def test_a_call_that_may_not_be_repeated_asks_a_provider_due_for_its_probe_last(
    registry: Registry, clock: ManualClock
) -> None:
    field = Field(registry)
    trip(registry, "a")
    clock.advance(5.0)
    selection = field.selection(repeatable=False)

    assert next_of(selection) == "b"
    assert field.passed_over(selection) == [("a", Fate.HELD_BACK)]
    assert all_of(selection) == "ca"


def test_a_call_that_may_be_repeated_is_the_probe(registry: Registry, clock: ManualClock) -> None:
    trip(registry, "a")
    clock.advance(5.0)

    assert next_of(Field(registry).selection()) == "a"


def test_the_last_provider_is_not_held_back(registry: Registry, clock: ManualClock) -> None:
    trip(registry, "a")
    clock.advance(5.0)

    field = Field(registry)
    selection = field.selection("a", repeatable=False)

    assert next_of(selection) == "a"
    assert field.passed_over(selection) == []


def test_of_two_that_are_held_back_the_first_is_the_first_again(
    registry: Registry, clock: ManualClock
) -> None:
    trip(registry, "a")
    trip(registry, "b")
    clock.advance(5.0)
    field = Field(registry)
    selection = field.selection("ab", repeatable=False)

    assert next_of(selection) == "a"
    assert field.passed_over(selection) == [("a", Fate.HELD_BACK), ("b", Fate.HELD_BACK)]


def test_one_that_still_refuses_is_refused_and_not_held_back(registry: Registry) -> None:
    field = Field(registry)
    trip(registry, "a")
    selection = field.selection(repeatable=False)

    assert next_of(selection) == "b"
    assert field.passed_over(selection) == [("a", Fate.REFUSED)]


def test_after_probe_wait_without_a_call_any_call_is_the_probe(
    registry: Registry, clock: ManualClock
) -> None:
    field = Field(registry, probe_wait=20.0)
    assert next_of(field.selection()) == "a"
    trip(registry, "a")

    clock.advance(19.9)
    assert next_of(field.selection(repeatable=False)) == "b"
    clock.advance(0.2)
    assert next_of(field.selection(repeatable=False)) == "a"


def test_for_one_that_never_had_a_call_the_wait_begins_when_it_is_first_held_back(
    registry: Registry, clock: ManualClock
) -> None:
    field = Field(registry, probe_wait=20.0)
    trip(registry, "a")
    clock.advance(100.0)

    assert next_of(field.selection(repeatable=False)) == "b"
    clock.advance(20.0)
    assert next_of(field.selection(repeatable=False)) == "a"


def test_a_breaker_that_only_observes_is_not_held_back(
    registry: Registry, clock: ManualClock
) -> None:
    trip(registry, "a")
    clock.advance(5.0)
    registry["a"].mode = Mode.OBSERVE

    assert next_of(Field(registry).selection(repeatable=False)) == "a"


# A provider that asked for a pause


def pause(registry: Registry, *keys: str, wait: float = 30.0) -> None:
    for key in keys:
        registry[key].acquire().throttled(wait)
        assert registry[key].state is State.CLOSED


@pytest.mark.parametrize("repeatable", [True, False])
def test_a_provider_that_asked_for_a_pause_is_put_last_until_it_is_over(
    registry: Registry, clock: ManualClock, repeatable: bool
) -> None:
    field = Field(registry)
    pause(registry, "a")
    selection = field.selection(repeatable=repeatable)

    assert all_of(selection) == "bca"
    assert field.passed_over(selection) == [("a", Fate.PAUSED)]
    clock.advance(30.1)
    assert all_of(field.selection(repeatable=repeatable)) == "abc"


def test_it_is_put_last_even_if_it_is_preferred(registry: Registry) -> None:
    pause(registry, "c")

    assert all_of(Field(registry).selection(prefer="c")) == "abc"


def test_those_that_refuse_do_not_come_before_it(registry: Registry) -> None:
    field = Field(registry)
    pause(registry, "a")
    open_breaker(registry["b"])
    selection = field.selection("ab")

    assert next_of(selection) == "a"
    assert field.passed_over(selection) == [("a", Fate.PAUSED), ("b", Fate.REFUSED)]


def test_of_two_that_asked_for_a_pause_the_first_is_the_first_again(registry: Registry) -> None:
    pause(registry, "a", "b")

    assert all_of(Field(registry).selection()) == "cab"


def test_the_last_provider_is_not_put_behind_itself(registry: Registry) -> None:
    field = Field(registry)
    pause(registry, "a")
    selection = field.selection("a")

    assert next_of(selection) == "a"
    assert field.passed_over(selection) == []


def test_one_whose_breaker_refuses_because_of_the_pause_is_refused(registry: Registry) -> None:
    field = Field(registry)
    ask_to_wait(registry["a"], 30.0)
    selection = field.selection()

    assert next_of(selection) == "b"
    assert field.passed_over(selection) == [("a", Fate.REFUSED)]


def test_who_observes_only_puts_nobody_last(registry: Registry) -> None:
    pause(registry, "a")
    registry["a"].mode = Mode.OBSERVE

    assert all_of(Field(registry).selection()) == "abc"


def test_one_that_asked_for_a_pause_takes_over_from_nobody(registry: Registry) -> None:
    pause(registry, "b")
    selection = Field(registry).selection()
    assert next_of(selection) == "a"

    assert selection.count_healthy() == 1


# A limited provider


@pytest.fixture
def limited(registry: Registry, clock: ManualClock) -> Registry:
    """`a` is limited, and serves as many calls as it can."""
    learned(registry["a"], clock)
    permits = [registry["a"].acquire() for _ in range(8)]
    clock.advance(2.0)
    for permit in permits:
        permit.success()
    assert registry["a"].state is State.LIMITED
    return registry


def fill(registry: Registry, key: str) -> list[Permit]:
    """Begin as many calls as are admitted."""
    return list(iter(registry[key].try_acquire, None))


def test_a_limited_provider_that_admits_is_used(limited: Registry) -> None:
    assert all_of(Field(limited).selection()) == "abc"


def test_a_limited_provider_that_refuses_is_passed_over_and_costs_no_attempt(
    limited: Registry,
) -> None:
    running = fill(limited, "a")
    field = Field(limited, max_attempts=1)
    selection = field.selection()

    assert running
    assert all_of(selection) == "b"
    assert field.passed_over(selection) == [("a", Fate.REFUSED)]


def test_who_has_as_many_calls_as_it_can_take_is_not_the_least_bad(limited: Registry) -> None:
    running = fill(limited, "a")
    trip(limited, "b")
    field = Field(limited, when_all_open="least_bad")
    field.memory.served_at.update(a=2.0, b=1.0)
    selection = field.selection("ab")

    assert running
    assert all_of(selection) == "b"
    assert selection.count_least_bad() == 0


def test_who_is_sick_may_be_the_least_bad(registry: Registry, clock: ManualClock) -> None:
    """Then one call is sent at a time, and the others are refused though it could take them."""
    learned(registry["a"], clock)
    breaker = registry["a"]
    clock.advance(600.0)  # so that the usual latency has been known for long
    for _ in range(500):
        permits = [permit for _ in range(4) if (permit := breaker.try_acquire()) is not None]
        if len(permits) == 1 and breaker.refusal().reason.rule == "sick":  # type: ignore[union-attr]
            break
        clock.advance(5.0)
        for permit in permits:
            permit.success()

    assert breaker.state is State.LIMITED
    assert next_of(Field(registry).selection("a")) is None
    assert next_of(Field(registry, when_all_open="least_bad").selection("a")) == "a"


# The least bad


def test_the_least_bad_are_those_that_served_most_recently(registry: Registry) -> None:
    field = Field(registry, when_all_open="least_bad")
    field.memory.served_at.update(a=1.0, b=3.0, c=2.0)
    for key in "abc":
        trip(registry, key)

    assert all_of(field.selection()) == "bca"


def test_among_those_that_never_served_it_is_the_one_probed_soonest(
    registry: Registry, clock: ManualClock
) -> None:
    trip(registry, "b")
    clock.advance(0.1)
    trip(registry, "a")
    trip(registry, "c")

    assert all_of(Field(registry, when_all_open="least_bad").selection()) == "bac"


def test_any_that_served_is_less_bad_than_one_that_never_did(registry: Registry) -> None:
    """Whatever the clock says: its zero may be anywhere."""
    field = Field(registry, when_all_open="least_bad")
    field.memory.served_at.update(c=-5.0)
    for key in "abc":
        trip(registry, key)

    assert next_of(field.selection()) == "c"


def test_the_least_bad_is_asked_without_a_vote(registry: Registry, clock: ManualClock) -> None:
    field = Field(registry, when_all_open="least_bad")
    trip(registry, "a")
    before = registry["a"].metrics()
    selection = field.selection("a")

    assert selection.choose()
    assert selection.chosen is not None
    provider, permit, is_least_bad = selection.chosen
    permit.failure("still bad")

    after = registry["a"].metrics()
    assert (provider.key, is_least_bad, permit.started) == ("a", True, clock())
    assert permit.breaker is registry["a"]
    assert (after.failures, after.in_flight) == (before.failures, 0)
    # It was no call by the rules, so it does not put off the probe that any call may be.
    assert field.memory.called_at == {}


def test_the_least_bad_costs_an_attempt(registry: Registry) -> None:
    for key in "abc":
        trip(registry, key)

    assert all_of(Field(registry, when_all_open="least_bad", max_attempts=2).selection()) == "ab"


def test_one_that_asked_for_a_pause_or_was_opened_by_hand_is_not_the_least_bad(
    registry: Registry,
) -> None:
    ask_to_wait(registry["a"], 5.0)
    ask_to_wait(registry["b"], quota=True)
    open_breaker(registry["c"])
    selection = Field(registry, when_all_open="least_bad").selection()

    assert next_of(selection) is None
    assert selection.count_least_bad() == 0


# A choice that was made


def test_a_choice_is_kept_if_only_the_cleanup_of_the_attempt_before_is_cut_off(
    registry: Registry, clock: ManualClock, run: Callable[[Awaitable[Any]], Any]
) -> None:
    """A client may need longer to close a bad answer than the attempt has time."""
    deliveries: list[Delivery] = []
    providers = [Provider(key, "") for key in "abc"]
    failover = Failover(registry, providers, time_budget=30.0, on_delivery=deliveries.append)
    tried: list[str] = []

    async def call() -> None:
        for attempt in failover.attempts(repeatable=True):
            async with attempt:
                tried.append(attempt.key)
                if attempt.key == "a" and attempt.moves_on(Outcome.FAILURE, error="HTTP 502"):
                    await asyncio.sleep(3600.0)

    run(call())

    assert tried == ["a", "b"]
    (delivery,) = deliveries
    assert [(leg.key, leg.fate) for leg in delivery.legs] == [
        ("a", Fate.FAILED),
        ("b", Fate.SERVED),
    ]
    assert registry["a"].metrics().failures == 1


# What could take over


def test_the_healthy_ones_are_those_not_asked_yet_with_a_closed_breaker(
    registry: Registry,
) -> None:
    trip(registry, "b")
    selection = Field(registry).selection("abcd")

    assert selection.count_healthy() == 3
    assert next_of(selection) == "a"
    assert selection.count_healthy() == 2


def test_the_least_bad_are_counted_only_where_they_can_be_asked(registry: Registry) -> None:
    for key in "ab":
        trip(registry, key)
    asked, refused = (Field(registry, when_all_open=rule) for rule in ("least_bad", "refuse"))

    for field, counted in ((asked, 2), (refused, 0)):
        selection = field.selection("abc")
        assert next_of(selection) == "c"
        assert selection.count_least_bad() == counted


@pytest.fixture
def probed(registry: Registry, clock: ManualClock) -> Registry:
    """`a` is due for its probe, `b` open for 4 s more."""
    trip(registry, "a")
    clock.advance(5.0)
    registry["b"].open("test", for_=4.0)
    return registry


def test_one_that_served_more_recently_takes_over_when_it_may_be_probed(probed: Registry) -> None:
    field = Field(probed)
    field.memory.served_at.update(a=1.0, b=2.0)
    selection = field.selection("ab")
    assert next_of(selection) == "a"

    assert selection.takeover_in("a") == pytest.approx(4.0)


@pytest.mark.parametrize("served_at", [{}, {"a": 1.0}, {"a": 2.0, "b": 1.0}])
def test_one_that_did_not_takes_over_from_nobody(
    probed: Registry, served_at: dict[str, float]
) -> None:
    field = Field(probed, when_all_open="least_bad")
    field.memory.served_at.update(served_at)
    selection = field.selection("ab")
    assert next_of(selection) == "a"

    assert selection.takeover_in("a") == inf


def test_nobody_takes_over_from_a_healthy_provider(registry: Registry, clock: ManualClock) -> None:
    teach(registry["a"], clock, [0.1] * 20)
    trip(registry, "b")
    field = Field(registry, when_all_open="least_bad")
    field.memory.served_at.update(b=2.0)
    selection = field.selection("ab")
    assert next_of(selection) == "a"

    assert selection.takeover_in("a") == inf


@pytest.mark.parametrize("keys", ["ab", "ba"], ids=["not asked yet", "it refused"])
def test_the_least_bad_takes_over_at_once(
    registry: Registry, clock: ManualClock, keys: str
) -> None:
    trip(registry, "a")
    clock.advance(5.0)
    trip(registry, "b")
    field = Field(registry, when_all_open="least_bad")
    field.memory.served_at.update(b=2.0)
    selection = field.selection(keys)
    assert next_of(selection) == "a"

    assert selection.takeover_in("a") == 0.0
