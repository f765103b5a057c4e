"""Failover: who is tried, and which settings and arguments are mistakes; sync and async alike."""

from __future__ import annotations

import asyncio
import random as random_module
import threading
from collections import Counter
from typing import Any

import pytest
from tests.support.failover_fleet import Fleet, Invoke, Run, StatusError, fates, warm
from tests.support.threads import all_at_once

from recloser import BreakerOpenError, Failover, Fate, Provider, Registry, State
from recloser.testing import ManualClock, open_breaker

# Who is tried


def test_the_first_provider_serves_while_it_can(registry: Registry, invoke: Invoke) -> None:
    fleet = Fleet(registry, "a", "b")

    assert invoke(fleet.failover, fleet.send) == "answer of a"
    assert fleet.sent == {"a": 1}
    assert registry["a"].metrics().successes == 1
    assert registry["a"].metrics().in_flight == 0


def test_an_open_provider_is_passed_over_without_a_call(registry: Registry, invoke: Invoke) -> None:
    fleet = Fleet(registry, "a", "b")
    open_breaker(registry["a"])

    assert invoke(fleet.failover, fleet.send) == "answer of b"
    assert fleet.sent == {"b": 1}


def test_attempts_know_their_target_and_number(registry: Registry) -> None:
    seen: list[tuple[str, int]] = []
    failover = Failover(registry, [Provider("a", "A"), Provider("b", "B")])

    def send(attempt: Any) -> None:
        seen.append((attempt.target, attempt.number))
        raise ConnectionRefusedError

    with pytest.raises(ConnectionRefusedError):
        failover.call(send)
    assert seen == [("A", 1), ("B", 2)]


def test_a_throttled_provider_is_left_alone_and_not_blamed(
    registry: Registry, clock: ManualClock, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b")
    fleet.faults["a"] = StatusError(429, retry_after="2")

    for _ in range(20):
        assert invoke(fleet.failover, fleet.send, repeatable=True) == "answer of b"
    clock.advance(1.99)
    invoke(fleet.failover, fleet.send, repeatable=True)

    assert fleet.sent["a"] == 1
    assert fates(fleet.deliveries[-1]) == [("a", Fate.PAUSED), ("b", Fate.SERVED)]
    assert registry["a"].state is State.CLOSED
    assert registry["a"].metrics().failures == 0
    assert registry["a"].metrics().throttled == 1
    del fleet.faults["a"]
    clock.advance(0.02)
    assert invoke(fleet.failover, fleet.send, repeatable=True) == "answer of a"


def test_a_provider_that_names_no_time_is_asked_again_after_growing_pauses(
    registry: Registry, clock: ManualClock, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b")
    fleet.faults["a"] = StatusError(429)
    asked_at: list[float] = []
    began = clock()

    for _ in range(100):
        before = fleet.sent["a"]
        assert invoke(fleet.failover, fleet.send, repeatable=True) == "answer of b"
        if fleet.sent["a"] > before:
            asked_at.append(clock() - began)
        clock.advance(0.25)

    # The fourth in a row opens its breaker, which begins with one second, too.
    assert asked_at == pytest.approx([0.0, 1.0, 3.0, 7.0, 15.0])


def test_who_asked_for_a_pause_is_tried_where_nobody_else_can_serve(
    registry: Registry, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b")
    registry["a"].acquire().throttled(30.0)
    fleet.faults["b"] = OSError("down")

    assert invoke(fleet.failover, fleet.send, repeatable=True) == "answer of a"
    assert fates(fleet.deliveries[-1]) == [
        ("a", Fate.PAUSED),
        ("b", Fate.FAILED),
        ("a", Fate.SERVED),
    ]
    # It serves again.
    assert invoke(fleet.failover, fleet.send) == "answer of a"


def test_nothing_is_held_back_from_a_single_provider(registry: Registry, invoke: Invoke) -> None:
    fleet = Fleet(registry, "a")
    registry["a"].acquire().throttled(30.0)

    assert invoke(fleet.failover, fleet.send) == "answer of a"
    assert fates(fleet.deliveries[-1]) == [("a", Fate.SERVED)]


def test_calls_in_flight_do_not_end_the_pause_that_one_of_them_was_asked_for(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    """Long answers of an LLM still arrive while new calls are turned away."""
    warm(registry, clock, "a", latency=10.0)
    fleet = Fleet(registry, "a", "b")

    async def send(attempt: Any) -> None:
        fleet.send(attempt)
        await asyncio.sleep(10.0)

    async def busy() -> None:
        running = []
        for second in range(20):
            if second == 5:
                fleet.faults["a"] = StatusError(429, retry_after="30")
            running.append(asyncio.ensure_future(fleet.failover.acall(send, repeatable=True)))
            await asyncio.sleep(1.0)
        await asyncio.gather(*running)

    run(busy())

    assert fleet.sent["a"] == 6
    assert registry["a"].metrics().throttled == 1


def test_weights_are_shares_of_the_first_attempts(registry: Registry) -> None:
    failover = Failover(
        registry,
        [Provider("a", "", weight=3.0), Provider("b", "", weight=1.0), Provider("c", "", weight=0)],
        order="weighted",
        random=random_module.Random(7).random,
    )

    served = Counter(failover.call(lambda attempt: attempt.key) for _ in range(4000))

    assert 0.72 < served["a"] / 4000 < 0.78
    assert served["c"] == 0


def test_a_provider_without_weight_stands_by(registry: Registry) -> None:
    failover = Failover(
        registry, [Provider("standby", "", weight=0), Provider("a", "")], order="weighted"
    )
    assert failover.call(lambda attempt: attempt.key) == "a"

    open_breaker(registry["a"])

    assert failover.call(lambda attempt: attempt.key) == "standby"


def test_a_preferred_provider_is_tried_first_and_the_others_after_it(
    registry: Registry, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b", "c")
    assert invoke(fleet.failover, fleet.send, prefer="b") == "answer of b"

    open_breaker(registry["b"])

    assert invoke(fleet.failover, fleet.send, prefer="b") == "answer of a"


# Bad input


def test_weights_of_nothing_but_zero_are_an_error(registry: Registry) -> None:
    with pytest.raises(ValueError, match="weight"):
        Failover(registry, [Provider("a", "", weight=0)], order="weighted")


def test_an_unknown_preference_is_an_error_that_lists_the_known(
    registry: Registry, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b")

    with pytest.raises(ValueError, match=r"\['a', 'b'\], not 'x'"):
        invoke(fleet.failover, fleet.send, prefer="x")

    assert not fleet.sent


@pytest.mark.parametrize("method", ["call", "acall", "stream", "astream"])
def test_the_wrong_kind_of_function_is_an_error_and_blames_nobody(
    registry: Registry, run: Run, method: str
) -> None:
    fleet = Fleet(registry, "a", "b")

    async def coroutine(attempt: Any) -> None:
        fleet.sent[attempt.key] += 1

    def function(attempt: Any) -> None:
        fleet.sent[attempt.key] += 1

    wrong: Any = coroutine if method in ("call", "astream") else function
    called = getattr(fleet.failover, method)

    with pytest.raises(TypeError, match="send"):
        run(called(wrong, repeatable=True)) if method.startswith("a") else called(
            wrong, repeatable=True
        )

    assert set(fleet.sent) <= {"a"}
    assert registry["a"].metrics().failures == 0
    assert registry["a"].metrics().ignored == 1


# Threads


def test_threads_never_repeat_what_was_not_declared_safe() -> None:
    registry = Registry()
    failover = Failover(registry, [Provider(key, "") for key in "abc"])
    sent: Counter[tuple[bool, int, int]] = Counter()
    lock = threading.Lock()

    def work(worker: int) -> None:
        chance = random_module.Random(worker)
        for number in range(200):
            call = (number % 2 == 0, worker, number)

            def send(attempt: Any, call: tuple[bool, int, int] = call) -> None:
                with lock:
                    sent[call] += 1
                if attempt.key == "a" or chance.random() < 0.2:
                    raise OSError

            try:
                failover.call(send, repeatable=call[0])
            except (OSError, BreakerOpenError):
                continue

    all_at_once(8, work)

    assert max(count for (repeatable, *_), count in sent.items() if not repeatable) == 1
    assert max(count for (repeatable, *_), count in sent.items() if repeatable) <= 3
    assert all(registry[key].metrics().in_flight == 0 for key in "abc")
