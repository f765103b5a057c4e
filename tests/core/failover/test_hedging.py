"""Hedging: a slow call is sent a second time, within a budget; the first good answer wins."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest
from tests.support.failover_fleet import Run, fates, hang, trip, warm

from recloser import (
    Attempt,
    AttemptWatch,
    Delivery,
    Failover,
    Fate,
    Leg,
    Outcome,
    Policy,
    Provider,
    Registry,
    State,
)
from recloser.testing import ManualClock

# Of a breaker that has learned 0.1 s.
SLOW_AFTER = 0.2


class Callee:
    """Providers that take scripted times: a list for each, of which the last one repeats."""

    def __init__(
        self,
        registry: Registry,
        clock: ManualClock,
        takes: dict[str, list[Any]],
        **options: Any,
    ) -> None:
        self.clock = clock
        self.takes = takes
        self.deliveries: list[Delivery] = []
        self.cancelled: list[tuple[str, float]] = []
        self.sent: Counter[str] = Counter()
        self.failover: Failover[str] = Failover(
            registry,
            [Provider(key, key) for key in takes],
            **{"hedge": 0.05, "on_delivery": self.deliveries.append, **options},
        )

    async def send(self, attempt: Attempt[str]) -> str:
        key, script = attempt.key, self.takes[attempt.key]
        takes = script.pop(0) if len(script) > 1 else script[0]
        self.sent[key] += 1
        began = self.clock()
        try:
            await asyncio.sleep(takes if not isinstance(takes, tuple) else takes[0])
        except asyncio.CancelledError:
            self.cancelled.append((key, round(self.clock() - began, 6)))
            raise
        if isinstance(takes, tuple):
            raise takes[1]
        return f"answer {self.sent[key]} of {key}"

    def earn(self, run: Run, calls: int = 20) -> None:
        """Make so many quick calls that a second attempt is earned."""
        before, self.takes = self.takes, {key: [0.1] for key in self.takes}
        for _ in range(calls):
            run(self.failover.acall(self.send, repeatable=True))
        self.takes = before
        self.deliveries.clear()
        self.sent.clear()

    def call(self, run: Run, **options: Any) -> Any:
        return run(self.failover.acall(self.send, **{"repeatable": True, **options}))


@pytest.fixture
def known(registry: Registry, clock: ManualClock) -> Registry:
    for key in ("a", "b"):
        warm(registry, clock, key)
        assert registry[key].slow_threshold == pytest.approx(SLOW_AFTER, rel=0.1)
    return registry


def test_the_second_attempt_wins_and_the_first_is_cancelled(
    known: Registry, clock: ManualClock, run: Run
) -> None:
    callee = Callee(known, clock, {"a": [5.0], "b": [0.1]})
    callee.earn(run)
    before, slow_after = clock(), known["a"].slow_threshold

    assert callee.call(run) == "answer 1 of b"

    assert clock() - before == pytest.approx(slow_after + 0.1)
    ((key, waited),) = callee.cancelled
    assert key == "a"
    assert waited == pytest.approx(slow_after + 0.1)
    (delivery,) = callee.deliveries
    assert fates(delivery) == [("a", Fate.OUTPACED), ("b", Fate.SERVED)]
    assert delivery.served_by == "b"
    assert delivery.sends == 2
    assert delivery.wasted_sends == 1
    hedging = callee.failover.hedging
    assert (hedging.sent, hedging.won) == (1, 1)
    assert known["a"].metrics().in_flight == known["b"].metrics().in_flight == 0


def test_the_first_attempt_wins_if_it_is_faster_after_all(
    known: Registry, clock: ManualClock, run: Run
) -> None:
    callee = Callee(known, clock, {"a": [0.25], "b": [5.0]})
    callee.earn(run)

    assert callee.call(run) == "answer 1 of a"

    assert [key for key, _ in callee.cancelled] == ["b"]
    assert fates(callee.deliveries[0]) == [("a", Fate.SERVED), ("b", Fate.OUTPACED)]
    assert callee.failover.hedging.won == 0
    assert known["b"].metrics().cancelled == 1
    assert known["b"].metrics().evidence == 0.0


def test_a_quick_call_is_sent_once(known: Registry, clock: ManualClock, run: Run) -> None:
    callee = Callee(known, clock, {"a": [0.15], "b": [0.1]})
    callee.earn(run)

    callee.call(run)

    assert callee.sent == {"a": 1}
    assert callee.failover.hedging.sent == 0


def test_a_single_provider_is_asked_a_second_time(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    warm(registry, clock, "a")
    callee = Callee(registry, clock, {"a": [5.0, 0.1]})
    callee.earn(run)

    assert callee.call(run) == "answer 2 of a"

    assert callee.sent == {"a": 2}
    assert fates(callee.deliveries[0]) == [("a", Fate.OUTPACED), ("a", Fate.SERVED)]


@pytest.mark.parametrize(
    ("options", "call"),
    [
        ({"hedge": 0.0}, {}),
        ({}, {"repeatable": False}),
        ({"max_attempts": 1}, {}),
    ],
    ids=["off", "not repeatable", "no attempt left"],
)
def test_a_call_is_not_sent_twice(
    known: Registry, clock: ManualClock, run: Run, options: dict[str, Any], call: dict[str, Any]
) -> None:
    callee = Callee(known, clock, {"a": [1.0], "b": [0.1]}, **options)
    callee.earn(run, 100)

    assert callee.call(run, **call) == "answer 1 of a"

    assert callee.sent == {"a": 1}


def test_without_a_token_a_call_is_not_sent_twice(
    known: Registry, clock: ManualClock, run: Run
) -> None:
    callee = Callee(known, clock, {"a": [1.0], "b": [0.1]})
    callee.earn(run, 18)

    assert callee.call(run) == "answer 1 of a"
    assert callee.failover.hedging.over_budget == 1
    assert callee.call(run) == "answer 1 of b"


@pytest.mark.parametrize("what", ["open", "limited", "half-open", "paused"])
def test_a_provider_that_is_not_healthy_gets_no_second_attempt(
    known: Registry, clock: ManualClock, run: Run, what: str
) -> None:
    callee = Callee(known, clock, {"a": [1.0], "b": [0.1]})
    callee.earn(run)
    other = known["b"]
    if what == "open":
        trip(known, "b")
        other.open("by hand", for_=60.0)
    elif what == "half-open":
        other.half_open()
    elif what == "paused":
        other.acquire().throttled(60.0)
    else:
        slow = [other.acquire() for _ in range(60)]
        clock.advance(0.5)
        for permit in slow:
            permit.success()
        assert other.state is State.LIMITED

    assert callee.call(run) == "answer 1 of a"

    assert callee.sent == {"a": 1}
    assert callee.failover.hedging.tokens >= 1.0


def test_a_call_at_a_provider_that_is_not_healthy_is_not_sent_twice(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    warm(registry, clock, "a")
    callee = Callee(registry, clock, {"a": [1.0]})
    callee.earn(run)
    registry["a"].half_open()

    callee.call(run)

    assert callee.sent == {"a": 1}


def test_if_the_first_attempt_fails_the_second_may_serve_the_call(
    known: Registry, clock: ManualClock, run: Run
) -> None:
    callee = Callee(known, clock, {"a": [(0.3, ConnectionResetError())], "b": [1.0]})
    callee.earn(run)

    assert callee.call(run) == "answer 1 of b"

    assert callee.sent == {"a": 1, "b": 1}
    assert fates(callee.deliveries[0]) == [("a", Fate.FAILED), ("b", Fate.SERVED)]
    assert known["a"].metrics().failures == 1


def test_if_both_fail_the_error_is_that_of_the_first_and_a_third_may_serve(
    known: Registry, clock: ManualClock, run: Run
) -> None:
    script: dict[str, list[Any]] = {
        "a": [(0.3, ConnectionResetError("first"))],
        "b": [(0.2, ConnectionResetError("second"))],
    }
    two = Callee(known, clock, dict(script))
    two.earn(run)
    with pytest.raises(ConnectionResetError, match="first"):
        two.call(run)
    assert fates(two.deliveries[0]) == [("a", Fate.FAILED), ("b", Fate.FAILED)]

    three = Callee(known, clock, {**script, "c": [0.1]})
    three.earn(run)
    assert three.call(run) == "answer 1 of c"
    assert [fate for _, fate in fates(three.deliveries[0])].count(Fate.FAILED) == 2
    assert known["b"].metrics().failures == 2


def test_the_failure_of_the_second_attempt_harms_nobody(
    known: Registry, clock: ManualClock, run: Run
) -> None:
    callee = Callee(known, clock, {"a": [1.0], "b": [(0.1, ConnectionResetError())]})
    callee.earn(run)

    assert callee.call(run) == "answer 1 of a"

    assert fates(callee.deliveries[0]) == [("b", Fate.FAILED), ("a", Fate.SERVED)] or fates(
        callee.deliveries[0]
    ) == [("a", Fate.SERVED), ("b", Fate.FAILED)]
    assert known["b"].metrics().failures == 1


def test_an_error_of_the_caller_waits_for_nobody(
    known: Registry, clock: ManualClock, run: Run
) -> None:
    callee = Callee(known, clock, {"a": [(0.3, ValueError("mine"))], "b": [5.0]})
    callee.earn(run)
    before = clock()

    with pytest.raises(ValueError, match="mine"):
        callee.call(run)

    assert clock() - before == pytest.approx(0.3)
    assert known["b"].metrics().in_flight == 0


def test_a_second_attempt_that_hangs_is_given_up_after_the_first_has_failed(
    known: Registry, clock: ManualClock, run: Run
) -> None:
    warm(known, clock, "c")
    script: dict[str, list[Any]] = {"a": [(0.3, ConnectionResetError())], "b": [1e6], "c": [0.1]}
    callee = Callee(known, clock, script)
    callee.earn(run)

    assert callee.call(run) == "answer 1 of c"

    assert known["b"].metrics().in_flight == 0
    assert set(fates(callee.deliveries[0])) == {
        ("a", Fate.FAILED),
        ("b", Fate.TIMED_OUT),
        ("c", Fate.SERVED),
    }


def test_while_it_is_not_known_how_long_calls_take_none_is_sent_twice(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    callee = Callee(registry, clock, {"a": [5.0], "b": [0.1]})
    callee.earn(run, 25)

    assert callee.call(run) == "answer 1 of a"


def test_the_time_budget_ends_both(known: Registry, clock: ManualClock, run: Run) -> None:
    callee = Callee(known, clock, {"a": [1e6], "b": [1e6]}, time_budget=2.0)
    callee.earn(run)
    before = clock()

    with pytest.raises(TimeoutError):
        callee.call(run)

    assert clock() - before == pytest.approx(2.0)
    assert {key for key, _ in callee.cancelled} == {"a", "b"}
    assert known["a"].metrics().in_flight == known["b"].metrics().in_flight == 0


def test_a_caller_that_leaves_cancels_both(known: Registry, clock: ManualClock, run: Run) -> None:
    callee = Callee(known, clock, {"a": [1e6], "b": [1e6]})
    callee.earn(run)

    async def leave() -> bool:
        task = asyncio.ensure_future(callee.failover.acall(callee.send, repeatable=True))
        await asyncio.sleep(1.0)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0.0)
        return task.cancelled()

    assert run(leave())
    assert {key for key, _ in callee.cancelled} == {"a", "b"}
    assert known["a"].metrics().in_flight == known["b"].metrics().in_flight == 0
    assert fates(callee.deliveries[0])[0] == ("a", Fate.CANCELLED)


def test_the_task_of_the_caller_is_not_left_cancelled(
    known: Registry, clock: ManualClock, run: Run
) -> None:
    callee = Callee(known, clock, {"a": [5.0], "b": [0.1]})
    callee.earn(run)

    async def call() -> int:
        async with asyncio.timeout(60.0):
            await callee.failover.acall(callee.send, repeatable=True)
        await asyncio.sleep(1.0)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert run(call()) == 0


def test_an_attempt_that_ignores_its_cancel_may_answer(
    known: Registry, clock: ManualClock, run: Run
) -> None:
    callee = Callee(known, clock, {"a": [5.0], "b": [0.1]})
    callee.earn(run)

    async def stubborn(attempt: Attempt[str]) -> str:
        if attempt.key == "b":
            return await callee.send(attempt)
        try:
            await hang()
        except asyncio.CancelledError:
            await asyncio.sleep(1.0)
        return "late"

    async def call() -> tuple[str, int]:
        answer = await callee.failover.acall(stubborn, repeatable=True)
        task = asyncio.current_task()
        assert task is not None
        return answer, task.cancelling()

    assert run(call()) == ("late", 0)


def test_a_stalled_event_loop_is_no_slow_callee(
    known: Registry, clock: ManualClock, run: Run
) -> None:
    callee = Callee(known, clock, {"a": [0.1], "b": [0.1]})
    callee.earn(run)

    async def call() -> Any:
        asyncio.get_running_loop().call_later(0.05, clock.advance, 3.0)
        return await callee.failover.acall(callee.send, repeatable=True)

    assert run(call()) == "answer 1 of a"
    assert callee.sent == {"a": 1}


class Watch:
    def __init__(self, told: list[Any], key: str) -> None:
        self.told = told
        self.key = key

    def ended(self, leg: Leg) -> None:
        self.told.append((self.key, leg.fate))

    def reported(self, answer: Any) -> None:
        self.told.append((self.key, "reported"))


def test_each_attempt_is_watched_to_its_end(known: Registry, clock: ManualClock, run: Run) -> None:
    told: list[Any] = []

    def watch(attempt: Attempt[Any]) -> AttemptWatch:
        return Watch(told, f"{attempt.number} {attempt.key}")

    callee = Callee(known, clock, {"a": [5.0], "b": [0.1]}, on_attempt=watch)
    callee.earn(run)
    told.clear()

    callee.call(run)

    assert set(told) == {
        ("1 a", Fate.OUTPACED),
        ("1 a", "reported"),
        ("2 b", Fate.SERVED),
        ("2 b", "reported"),
    }
    assert len(told) == 4


def test_what_is_told_of_it(known: Registry, clock: ManualClock, run: Run) -> None:
    callee = Callee(known, clock, {"a": [5.0], "b": [0.1]})
    assert callee.failover.explain().startswith("a: closed, b: closed; hedging: 0 of 0 calls")
    assert Failover(known, [Provider("a", "")]).explain() == "a: closed; hedging is off"
    callee.earn(run)
    callee.call(run)

    assert "1 of 21 calls were sent twice (4.76%, at most 5.00%)" in callee.failover.explain()
    assert "'a' was slower than another attempt" in str(callee.deliveries[0])


@pytest.mark.parametrize("share", [-0.01, 0.051, 1.0, float("nan")])
def test_the_share_is_at_most_five_per_cent(registry: Registry, share: float) -> None:
    with pytest.raises(ValueError, match=r"^hedge must be finite and in 0-0.05, not "):
        Failover(registry, [Provider("a", "")], hedge=share)


# In the long run


def _played(
    run: Run, clock: ManualClock, *, hedge: float, tail: float, seed: int = 1
) -> tuple[list[float], list[float], Failover[str], Registry]:
    """20,000 calls at a callee with a long tail; their latencies, and the thresholds on the way."""
    registry = Registry(Policy(), clock=clock, random=random.Random(seed).random)
    failover = Failover(registry, [Provider("a", "")], hedge=hedge)
    draw = random.Random(seed)
    latencies: list[float] = []
    thresholds: list[float] = []

    async def send(attempt: Attempt[str]) -> str:
        takes = draw.lognormvariate(-2.3, 0.25)
        await asyncio.sleep(takes * 10.0 if draw.random() < tail else takes)
        return ""

    async def user() -> None:
        for _ in range(1000):
            began = clock()
            await failover.acall(send, repeatable=True)
            latencies.append(clock() - began)
            if len(latencies) % 1000 == 0:
                thresholds.append(registry["a"].slow_threshold)

    async def users() -> None:
        await asyncio.gather(*(user() for _ in range(20)))

    run(users())
    return latencies, thresholds, failover, registry


def _p99(latencies: list[float]) -> float:
    return sorted(latencies)[int(0.99 * len(latencies))]


@pytest.mark.parametrize("tail", [0.02, 0.05, 0.10])
def test_the_tail_is_cut_within_the_budget_and_the_threshold_does_not_drift(
    run: Run, clock: ManualClock, tail: float
) -> None:
    plain, usual, _, alone = _played(run, clock, hedge=0.0, tail=tail)
    hedged, thresholds, failover, registry = _played(run, clock, hedge=0.05, tail=tail)

    hedging = failover.hedging
    assert 0 < hedging.sent <= 0.05 * hedging.calls
    assert hedging.calls == len(hedged) == 20_000
    if tail <= 0.02:
        assert _p99(hedged) < 0.5 * _p99(plain)
    assert sum(hedged) < sum(plain)
    for now, before in zip(thresholds[2:], usual[2:], strict=True):
        assert now == pytest.approx(before, rel=0.1)
    for each in (alone, registry):
        assert each["a"].state is State.CLOSED
        assert each["a"].metrics().generation == 0


@pytest.mark.parametrize("hedge", [0.0, 0.05])
def test_a_provider_that_hangs_is_noticed_all_the_same(
    run: Run, clock: ManualClock, hedge: float
) -> None:
    """A call that was sent twice has no vote at its end, but it was overdue before."""
    registry = Registry(Policy(), clock=clock, random=lambda: 0.5)
    for key in ("a", "b"):
        warm(registry, clock, key)
    callee = Callee(registry, clock, {"a": [1e6], "b": [0.1]}, hedge=hedge)
    callee.earn(run, 400)
    calls: list[float] = []

    async def user() -> None:
        for _ in range(20):
            began = clock()
            await callee.failover.acall(callee.send, repeatable=True)
            calls.append(clock() - began)
            await asyncio.sleep(0.1)

    async def users() -> None:
        await asyncio.gather(*(user() for _ in range(10)))

    run(users())

    assert registry["a"].state is not State.CLOSED
    # Ten calls of 2.1 s without it; with it, twice as many calls wait, but half as long in all.
    assert sum(took for took in calls if took > 0.2) < (22.0 if hedge == 0.0 else 18.0)
    assert callee.failover.hedging.sent <= 0.05 * callee.failover.hedging.calls


def test_an_outcome_of_the_user_decides_whether_the_second_is_awaited(
    known: Registry, clock: ManualClock, run: Run
) -> None:
    callee = Callee(
        known,
        clock,
        {"a": [(0.3, ValueError("of the callee"))], "b": [1.0]},
        classify=lambda error: Outcome.FAILURE,
    )
    callee.earn(run)

    assert callee.call(run) == "answer 1 of b"
