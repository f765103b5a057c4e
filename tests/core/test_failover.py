"""Failover: who is tried, when another may be, and what is told afterwards; sync and async alike."""

from __future__ import annotations

import asyncio
import random as random_module
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from tests.support.threads import all_at_once
from tests.support.training import teach

from recloser import (
    BreakerOpenError,
    Delivery,
    Failover,
    Fate,
    Mode,
    Outcome,
    Policy,
    Provider,
    Registry,
    State,
)
from recloser.testing import ManualClock, open_breaker

Send = Callable[[Any], Any]
Invoke = Callable[..., Any]
Run = Callable[[Awaitable[Any]], Any]


@pytest.fixture(params=["call", "acall", "stream", "astream"])
def invoke(request: pytest.FixtureRequest, run: Run) -> Invoke:
    """One call by each of the four methods; of a stream, the only chunk is the answer."""

    def call(failover: Failover[Any], send: Send, **options: Any) -> Any:
        return failover.call(send, **options)

    def acall(failover: Failover[Any], send: Send, **options: Any) -> Any:
        async def asend(attempt: Any) -> Any:
            return send(attempt)

        return run(failover.acall(asend, **options))

    def stream(failover: Failover[Any], send: Send, **options: Any) -> Any:
        def opened(attempt: Any) -> Iterator[Any]:
            yield send(attempt)

        (answer,) = failover.stream(opened, **options)
        return answer

    def astream(failover: Failover[Any], send: Send, **options: Any) -> Any:
        async def opened(attempt: Any) -> AsyncIterator[Any]:
            yield send(attempt)

        async def collected() -> Any:
            (answer,) = [chunk async for chunk in await failover.astream(opened, **options)]
            return answer

        return run(collected())

    return {"call": call, "acall": acall, "stream": stream, "astream": astream}[request.param]


class Fleet:
    """Fake providers: counts what each one gets, and answers or raises as told."""

    def __init__(self, registry: Registry, *keys: str, **options: Any) -> None:
        self.deliveries: list[Delivery] = []
        self.failover = Failover(
            registry,
            [Provider(key, f"https://{key}.example") for key in keys],
            on_delivery=self.deliveries.append,
            **options,
        )
        self.sent: Counter[str] = Counter()
        self.faults: dict[str, BaseException] = {}

    def send(self, attempt: Any) -> str:
        self.sent[attempt.key] += 1
        if attempt.key in self.faults:
            raise self.faults[attempt.key]
        return f"answer of {attempt.key}"


class StatusError(Exception):
    """Shaped like the errors of requests and httpx."""

    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(f"HTTP {status}")
        self.response = self
        self.status_code = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def warm(registry: Registry, clock: ManualClock, key: str, latency: float = 0.1) -> None:
    """Teach a breaker what is normal."""
    teach(registry[key], clock, [latency] * 200)


def fates(delivery: Delivery) -> list[tuple[str, Fate]]:
    return [(leg.key, leg.fate) for leg in delivery.legs]


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
    assert registry["a"].metrics().failures == 0
    assert registry["a"].metrics().throttled == 1
    del fleet.faults["a"]
    clock.advance(0.02)
    assert invoke(fleet.failover, fleet.send, repeatable=True) == "answer of a"


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


# When another may be tried


def test_a_failure_is_never_repeated_unless_declared_safe(
    registry: Registry, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b")
    fleet.faults["a"] = TimeoutError("sent, no answer")

    with pytest.raises(TimeoutError, match="sent, no answer"):
        invoke(fleet.failover, fleet.send)

    assert fleet.sent == {"a": 1}
    assert registry["a"].metrics().failures == 1


@pytest.mark.parametrize(
    "error", [OSError("reset"), StatusError(503), StatusError(408), StatusError(429)]
)
def test_a_repeatable_call_goes_on_after_a_failure(
    registry: Registry, invoke: Invoke, error: Exception
) -> None:
    fleet = Fleet(registry, "a", "b")
    fleet.faults["a"] = error

    assert invoke(fleet.failover, fleet.send, repeatable=True) == "answer of b"
    assert fleet.sent == {"a": 1, "b": 1}


@pytest.mark.parametrize(
    "error",
    [ConnectionRefusedError(), BreakerOpenError("inner", State.OPEN, None, 1.0)],
    ids=["refused connection", "refusal of an inner breaker"],
)
def test_any_call_goes_on_where_nothing_was_sent(
    registry: Registry, invoke: Invoke, error: Exception
) -> None:
    fleet = Fleet(registry, "a", "b")
    fleet.faults["a"] = error

    assert invoke(fleet.failover, fleet.send) == "answer of b"
    assert fates(fleet.deliveries[-1]) == [("a", Fate.UNREACHABLE), ("b", Fate.SERVED)]


def test_the_cause_of_an_error_proves_nothing(registry: Registry, invoke: Invoke) -> None:
    """The client may have been refused once and have sent the second time."""
    fleet = Fleet(registry, "a", "b")
    fleet.faults["a"] = OSError("read failed")
    fleet.faults["a"].__cause__ = ConnectionRefusedError()

    with pytest.raises(OSError, match="read failed"):
        invoke(fleet.failover, fleet.send)

    assert fleet.sent == {"a": 1}


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422])
def test_a_wrong_call_is_not_tried_elsewhere(
    registry: Registry, invoke: Invoke, status: int
) -> None:
    fleet = Fleet(registry, "a", "b")
    fleet.faults["a"] = StatusError(status)

    with pytest.raises(StatusError):
        invoke(fleet.failover, fleet.send, repeatable=True)

    assert fleet.sent == {"a": 1}
    assert registry["a"].metrics().failures == 0
    assert fates(fleet.deliveries[-1]) == [("a", Fate.IGNORED)]


@pytest.mark.parametrize("kind", [asyncio.CancelledError, KeyboardInterrupt, SystemExit])
def test_a_caller_who_leaves_is_not_served_by_another(
    registry: Registry, kind: type[BaseException]
) -> None:
    fleet = Fleet(registry, "a", "b")
    fleet.faults["a"] = kind()

    with pytest.raises(kind):
        fleet.failover.call(fleet.send, repeatable=True)

    assert fleet.sent == {"a": 1}
    assert registry["a"].metrics().cancelled == 1
    assert fates(fleet.deliveries[-1]) == [("a", Fate.CANCELLED)]


@pytest.mark.parametrize("kind", [asyncio.CancelledError, KeyboardInterrupt])
def test_no_rule_can_make_a_cancelled_call_go_elsewhere(
    registry: Registry, kind: type[BaseException]
) -> None:
    fleet = Fleet(
        registry,
        "a",
        "b",
        classify=lambda error: Outcome.FAILURE,
        nothing_sent=lambda error: True,
    )
    fleet.faults["a"] = kind()

    with pytest.raises(kind):
        fleet.failover.call(fleet.send, repeatable=True)

    assert fleet.sent == {"a": 1}
    assert registry["a"].metrics().failures == 0
    assert fates(fleet.deliveries[-1]) == [("a", Fate.CANCELLED)]


class SdkError(Exception):
    """Shaped like the errors of the OpenAI and Anthropic SDKs."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status_code = status


class AiohttpError(Exception):
    """Shaped like aiohttp's: the status and the headers are its own."""

    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(status)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class ResponseError(Exception):
    """Shaped like httpx's: only the response has a status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.response = type("Response", (), {"status_code": status, "headers": {}})()


@pytest.mark.parametrize("shape", [SdkError, AiohttpError, ResponseError])
def test_the_status_is_found_whatever_the_client(registry: Registry, shape: Any) -> None:
    fleet = Fleet(registry, "a", "b")
    for status in (400, 500):
        fleet.faults["a"] = shape(status)
        with pytest.raises(shape):
            fleet.failover.call(fleet.send)

    assert registry["a"].metrics().ignored == 1
    assert registry["a"].metrics().failures == 1


def test_retry_after_is_found_on_the_error_itself(registry: Registry) -> None:
    fleet = Fleet(registry, "a", "b")
    fleet.faults["a"] = AiohttpError(429, retry_after="7")

    fleet.failover.call(fleet.send, repeatable=True)

    assert registry["a"].retry_after == 7.0


def test_errors_that_the_policy_ignores_are_ignored(clock: ManualClock, invoke: Invoke) -> None:
    registry = Registry(Policy(ignore_errors=(LookupError,)), clock=clock)
    fleet = Fleet(registry, "a", "b")
    fleet.faults["a"] = KeyError("mine")

    with pytest.raises(KeyError):
        invoke(fleet.failover, fleet.send, repeatable=True)

    assert registry["a"].metrics().ignored == 1


def test_own_rules_say_what_is_a_failure_and_what_was_not_sent(
    registry: Registry, invoke: Invoke
) -> None:
    fleet = Fleet(
        registry,
        "a",
        "b",
        classify=lambda error: Outcome.IGNORED,
        nothing_sent=lambda error: "never left" in str(error),
    )
    fleet.faults["a"] = RuntimeError("never left")
    assert invoke(fleet.failover, fleet.send) == "answer of b"

    fleet.faults["a"] = RuntimeError("left")
    with pytest.raises(RuntimeError):
        invoke(fleet.failover, fleet.send, repeatable=True)

    assert registry["a"].metrics().failures == 0


def test_a_faulty_rule_is_counted_and_never_makes_a_call_repeat(
    registry: Registry, invoke: Invoke
) -> None:
    def broken(error: BaseException) -> Any:
        raise ZeroDivisionError

    fleet = Fleet(registry, "a", "b", classify=broken, nothing_sent=broken)
    fleet.faults["a"] = ConnectionRefusedError()

    with pytest.raises(ConnectionRefusedError):
        invoke(fleet.failover, fleet.send)

    assert fleet.sent == {"a": 1}
    assert registry["a"].metrics().failures == 1
    assert registry.faults == 2


def test_no_call_is_sent_more_often_than_max_attempts(registry: Registry, invoke: Invoke) -> None:
    fleet = Fleet(registry, "a", "b", "c", "d", max_attempts=2)
    fleet.faults = {key: OSError(key) for key in "abcd"}

    with pytest.raises(OSError, match="b"):
        invoke(fleet.failover, fleet.send, repeatable=True)

    assert fleet.sent == {"a": 1, "b": 1}


def test_refusals_spend_no_attempt(registry: Registry, invoke: Invoke) -> None:
    fleet = Fleet(registry, "a", "b", "c", "d", max_attempts=1)
    for key in "abc":
        open_breaker(registry[key])

    assert invoke(fleet.failover, fleet.send) == "answer of d"


def test_each_provider_is_tried_once(registry: Registry, invoke: Invoke) -> None:
    fleet = Fleet(registry, "a", "b", max_attempts=10)
    fleet.faults = {key: OSError(key) for key in "ab"}

    with pytest.raises(OSError, match="b"):
        invoke(fleet.failover, fleet.send, repeatable=True)

    assert fleet.sent == {"a": 1, "b": 1}


def test_no_attempt_begins_after_the_time_budget(
    registry: Registry, clock: ManualClock, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b", time_budget=5.0)

    def slow(attempt: Any) -> str:
        clock.advance(5.0)
        fleet.sent[attempt.key] += 1
        raise OSError(attempt.key)

    with pytest.raises(OSError, match="a"):
        invoke(fleet.failover, slow, repeatable=True)

    assert fleet.sent == {"a": 1}


def test_when_the_others_refuse_the_failure_itself_is_raised(
    registry: Registry, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b")
    fleet.faults["a"] = OSError("real")
    open_breaker(registry["b"])

    with pytest.raises(OSError, match="real"):
        invoke(fleet.failover, fleet.send, repeatable=True)

    assert fates(fleet.deliveries[-1]) == [("a", Fate.FAILED), ("b", Fate.REFUSED)]


# When all are open


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


def trip(registry: Registry, key: str) -> None:
    while (permit := registry[key].try_acquire()) is not None:
        permit.failure("test")
    assert registry[key].state is State.OPEN


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
    registry["c"].acquire().throttled(5.0)

    assert limits(fleet.failover, repeatable=True) == [(15.0, 15.0), (30.0, 30.0)]


def test_who_asked_for_a_pause_is_never_the_least_bad(registry: Registry, invoke: Invoke) -> None:
    fleet = Fleet(registry, "a", "b", when_all_open="least_bad")
    registry["a"].acquire().throttled(5.0)
    open_breaker(registry["b"])

    with pytest.raises(BreakerOpenError) as caught:
        invoke(fleet.failover, fleet.send)

    assert caught.value.key == "a"
    assert not fleet.sent


# A provider that hangs


async def hang() -> Any:
    await asyncio.get_running_loop().create_future()


def test_a_hanging_attempt_is_cut_off_at_patience_times_slow(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    warm(registry, clock, "a")
    slow = registry["a"].slow_threshold
    fleet = Fleet(registry, "a", "b")
    began = clock()

    async def send(attempt: Any) -> str:
        return "answer of b" if attempt.key == "b" else await hang()

    assert run(fleet.failover.acall(send, repeatable=True)) == "answer of b"
    assert clock() - began == pytest.approx(2 * slow, rel=0.01)
    assert fates(fleet.deliveries[-1]) == [("a", Fate.TIMED_OUT), ("b", Fate.SERVED)]
    assert registry["a"].metrics().in_flight == 0


@pytest.mark.parametrize("sickness", ["hangs", "fails"])
@pytest.mark.parametrize("repeatable", [True, False])
def test_of_2000_calls_to_a_sick_primary_few_are_lost_and_few_are_slow(
    registry: Registry,
    clock: ManualClock,
    run: Run,
    sickness: str,
    repeatable: bool,
) -> None:
    """No call is lost that may be repeated; of the others those that open the breaker, and a probe."""
    warm(registry, clock, "a", latency=0.02)
    warm(registry, clock, "b", latency=0.02)
    failover = Failover(registry, [Provider("a", ""), Provider("b", "")], time_budget=5.0)
    sent: Counter[int] = Counter()
    took: dict[int, float] = {}

    async def one(number: int) -> None:
        async def send(attempt: Any) -> None:
            sent[number] += 1
            if attempt.key == "b":
                await asyncio.sleep(0.02)
            elif sickness == "hangs":
                await hang()
            else:
                raise OSError

        began = clock()
        try:
            await failover.acall(send, repeatable=repeatable)
        except OSError:  # TimeoutError is one
            return
        took[number] = clock() - began

    async def arrivals() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(2000):
                group.create_task(one(number))
                await asyncio.sleep(0.025)

    run(arrivals())

    assert len(took) == 2000 if repeatable else len(took) >= 1990
    settled = sorted(seconds for number, seconds in took.items() if number >= 15)
    assert settled[len(settled) // 2] - 0.02 < 0.001
    assert max(took.values()) < 0.02 + 3 * registry["a"].slow_threshold
    assert max(sent.values()) == (2 if repeatable else 1)


def test_a_call_that_may_not_be_repeated_is_not_cut_short(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    warm(registry, clock, "a")
    fleet = Fleet(registry, "a", "b")

    async def send(attempt: Any) -> str:
        await asyncio.sleep(20.0)
        return "late but sent once"

    assert run(fleet.failover.acall(send)) == "late but sent once"


def test_the_time_budget_ends_a_call_that_may_not_be_repeated(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    fleet = Fleet(registry, "a", "b", time_budget=3.0)
    began = clock()

    with pytest.raises(TimeoutError):
        run(fleet.failover.acall(lambda attempt: hang()))

    assert clock() - began == pytest.approx(3.0, rel=0.01)
    assert fates(fleet.deliveries[-1]) == [("a", Fate.TIMED_OUT)]
    assert registry["a"].metrics().failures == 1


def test_a_time_out_of_the_callers_own_is_a_cancellation(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    fleet = Fleet(registry, "a", "b")

    async def impatient() -> None:
        async with asyncio.timeout(1.0):
            await fleet.failover.acall(lambda attempt: hang(), repeatable=True)

    with pytest.raises(TimeoutError):
        run(impatient())

    assert fates(fleet.deliveries[-1]) == [("a", Fate.CANCELLED)]
    assert registry["a"].metrics().cancelled == 1


def limits(failover: Failover[Any], **options: Any) -> list[tuple[float, float]]:
    """(timeout, connect_timeout) of the attempts of a call that fails everywhere."""
    seen: list[tuple[float, float]] = []

    def send(attempt: Any) -> None:
        seen.append((attempt.timeout, attempt.connect_timeout))
        raise ConnectionRefusedError

    with pytest.raises(ConnectionRefusedError):
        failover.call(send, **options)
    return seen


def test_before_anything_is_known_each_provider_gets_an_equal_part_of_the_budget(
    registry: Registry,
) -> None:
    fleet = Fleet(registry, "a", "b", "c", time_budget=30.0)

    assert limits(fleet.failover, repeatable=True) == [(10.0, 10.0), (15.0, 15.0), (30.0, 30.0)]


def test_only_who_may_still_be_tried_gets_a_part(registry: Registry) -> None:
    fleet = Fleet(registry, "a", "b", "c", time_budget=30.0, max_attempts=2)

    assert limits(fleet.failover, repeatable=True) == [(15.0, 15.0), (30.0, 30.0)]


def test_what_is_normal_limits_a_repeatable_attempt_and_any_connection(
    registry: Registry, clock: ManualClock
) -> None:
    warm(registry, clock, "a")
    slow = registry["a"].slow_threshold
    fleet = Fleet(registry, "a", "b", time_budget=30.0, patience=3.0)

    repeatable = limits(fleet.failover, repeatable=True)
    single = limits(fleet.failover)

    assert repeatable == [pytest.approx((3 * slow, 3 * slow)), (30.0, 30.0)]
    assert single == [pytest.approx((30.0, 3 * slow)), (30.0, 30.0)]


def test_a_client_is_never_given_a_time_out_of_nothing(
    registry: Registry, clock: ManualClock
) -> None:
    """To some of them that means no limit at all."""

    def send(attempt: Any) -> tuple[float, float]:
        clock.advance(1000.0)
        return attempt.timeout, attempt.connect_timeout

    for repeatable in (True, False):
        assert min(Fleet(registry, "a").failover.call(send, repeatable=repeatable)) > 0.0


def test_the_last_who_can_serve_gets_all_the_time_there_is(
    registry: Registry, clock: ManualClock
) -> None:
    warm(registry, clock, "a")
    fleet = Fleet(registry, "a", "b", time_budget=30.0)
    open_breaker(registry["b"])

    assert limits(fleet.failover, repeatable=True) == [(30.0, 30.0)]


def test_no_attempt_is_given_more_than_the_users_own_ceiling(
    clock: ManualClock,
) -> None:
    registry = Registry(Policy(slow_ceiling=4.0), clock=clock)
    fleet = Fleet(registry, "a", "b")

    assert limits(fleet.failover, repeatable=True)[0] == (4.0, 4.0)


def test_a_tight_budget_does_not_cut_a_normal_call(registry: Registry, clock: ManualClock) -> None:
    warm(registry, clock, "a", latency=1.0)
    slow = registry["a"].slow_threshold
    fleet = Fleet(registry, "a", "b", "c", time_budget=slow * 1.5)

    assert limits(fleet.failover, repeatable=True)[0][0] == pytest.approx(slow)


def test_after_scraps_the_next_still_has_its_turn(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    for key in "abc":
        warm(registry, clock, key, latency=1.0)
    fleet = Fleet(registry, "a", "b", "c", time_budget=registry["a"].slow_threshold * 1.5)

    async def send(attempt: Any) -> str:
        return "answer of c" if attempt.key == "c" else await hang()

    assert run(fleet.failover.acall(send, repeatable=True)) == "answer of c"


def test_an_attempt_that_got_only_the_scraps_of_the_budget_does_not_vote(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    warm(registry, clock, "a", latency=1.0)
    warm(registry, clock, "b", latency=1.0)
    fleet = Fleet(registry, "a", "b", time_budget=registry["a"].slow_threshold * 1.5)

    with pytest.raises(TimeoutError):
        run(fleet.failover.acall(lambda attempt: hang(), repeatable=True))

    assert registry["a"].metrics().failures == 1
    assert registry["b"].metrics().failures == 0
    assert registry["b"].metrics().cancelled == 1


# Recovery


def test_a_call_that_may_not_be_repeated_leaves_the_first_probe_to_others(
    registry: Registry, clock: ManualClock, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b")
    invoke(fleet.failover, fleet.send)
    trip(registry, "a")
    clock.advance(5.0)

    assert invoke(fleet.failover, fleet.send) == "answer of b"
    assert fates(fleet.deliveries[-1]) == [("a", Fate.HELD_BACK), ("b", Fate.SERVED)]
    assert invoke(fleet.failover, fleet.send, repeatable=True) == "answer of a"
    assert invoke(fleet.failover, fleet.send) == "answer of a"


def test_after_probe_wait_any_call_may_be_the_probe(
    registry: Registry, clock: ManualClock, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b", probe_wait=20.0)
    invoke(fleet.failover, fleet.send)
    trip(registry, "a")
    fleet.faults["a"] = OSError("still sick")

    clock.advance(19.9)
    assert invoke(fleet.failover, fleet.send) == "answer of b"
    clock.advance(0.2)
    with pytest.raises(OSError, match="still sick"):
        invoke(fleet.failover, fleet.send)
    clock.advance(5.0)
    assert invoke(fleet.failover, fleet.send) == "answer of b"


def test_a_provider_that_was_never_called_is_probed_after_probe_wait_too(
    registry: Registry, clock: ManualClock, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b", probe_wait=20.0)
    trip(registry, "a")
    clock.advance(100.0)

    assert invoke(fleet.failover, fleet.send) == "answer of b"
    clock.advance(20.0)
    assert invoke(fleet.failover, fleet.send) == "answer of a"


def test_if_all_want_a_probe_the_first_gets_it(
    registry: Registry, clock: ManualClock, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b")
    trip(registry, "a")
    trip(registry, "b")
    clock.advance(5.0)

    assert invoke(fleet.failover, fleet.send) == "answer of a"


def test_nothing_is_held_back_from_a_breaker_that_only_observes(
    registry: Registry, clock: ManualClock, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b")
    trip(registry, "a")
    clock.advance(5.0)
    registry["a"].mode = Mode.OBSERVE

    assert invoke(fleet.failover, fleet.send) == "answer of a"


def test_any_call_may_be_the_probe_if_nobody_else_takes_it(
    registry: Registry, clock: ManualClock, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b")
    trip(registry, "a")
    open_breaker(registry["b"])
    clock.advance(5.0)

    assert invoke(fleet.failover, fleet.send) == "answer of a"


def test_a_recovered_primary_is_not_flooded(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    """Twenty callers at a time: only as many as its half-open window go to it, the rest elsewhere."""
    warm(registry, clock, "a")
    trip(registry, "a")
    clock.advance(5.0)
    fleet = Fleet(registry, "a", "b")
    running = most = 0
    per_wave: list[int] = []

    async def send(attempt: Any) -> None:
        nonlocal running, most
        if attempt.key == "a":
            running += 1
            fleet.sent["a"] += 1
            most = max(most, running)
        await asyncio.sleep(0.1)
        running -= attempt.key == "a"

    async def waves() -> None:
        for _ in range(6):
            before = fleet.sent["a"]
            calls = [fleet.failover.acall(send, repeatable=True) for _ in range(20)]
            await asyncio.gather(*calls)
            per_wave.append(fleet.sent["a"] - before)

    run(waves())

    assert per_wave[:2] == [1, 5]
    assert per_wave[-1] == 20
    assert registry["a"].state is State.CLOSED


# Streams


def test_a_stream_changes_provider_before_the_first_chunk_and_never_after(
    registry: Registry,
) -> None:
    fleet = Fleet(registry, "a", "b")

    def opened(attempt: Any) -> Iterator[str]:
        fleet.sent[attempt.key] += 1
        if attempt.key == "a":
            raise OSError("cut before the first chunk")
        yield "one"
        raise OSError("cut after the first chunk")

    chunks = fleet.failover.stream(opened, repeatable=True)

    assert next(chunks) == "one"
    with pytest.raises(OSError, match="after"):
        next(chunks)
    assert fleet.sent == {"a": 1, "b": 1}
    assert registry["b"].metrics().failures == 1
    assert [delivery.served_by for delivery in fleet.deliveries] == ["b"]


def test_an_async_stream_is_timed_until_its_first_chunk_only(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    warm(registry, clock, "a")
    fleet = Fleet(registry, "a", "b", time_budget=10.0)

    async def opened(attempt: Any) -> AsyncIterator[int]:
        if attempt.key == "a":
            await hang()
        for number in range(3):
            yield number
            await asyncio.sleep(60.0)

    async def collected() -> list[int]:
        return [chunk async for chunk in await fleet.failover.astream(opened, repeatable=True)]

    assert run(collected()) == [0, 1, 2]
    assert fates(fleet.deliveries[0]) == [("a", Fate.TIMED_OUT), ("b", Fate.SERVED)]
    assert registry["b"].metrics().successes == 1


def test_the_latency_of_a_stream_is_its_first_chunk(registry: Registry, clock: ManualClock) -> None:
    def opened(attempt: Any) -> Iterator[int]:
        for number in range(3):
            clock.advance(0.25 if number == 0 else 50.0)
            yield number

    for _ in range(10):
        assert list(Fleet(registry, "a").failover.stream(opened)) == [0, 1, 2]

    assert registry["a"].metrics().mean == pytest.approx(0.25)
    assert registry["a"].state is State.CLOSED


def test_a_source_that_fails_is_closed_and_its_own_error_is_the_one(registry: Registry) -> None:
    class Source:
        closed = 0

        def __iter__(self) -> Source:
            return self

        def __next__(self) -> str:
            raise OSError("cut")

        def close(self) -> None:
            self.closed += 1
            raise RuntimeError("and it does not even close")

    source = Source()

    with pytest.raises(OSError, match="cut"):
        Fleet(registry, "a").failover.stream(lambda attempt: source)
    assert source.closed == 1


def test_a_closed_stream_gives_no_more(registry: Registry, run: Run) -> None:
    fleet = Fleet(registry, "a")
    chunks = fleet.failover.stream(lambda attempt: (number for number in range(3)))
    chunks.close()
    assert list(chunks) == []

    async def numbers(attempt: Any) -> AsyncIterator[int]:
        for number in range(3):
            yield number

    async def closed() -> list[int]:
        opened = await fleet.failover.astream(numbers)
        await opened.aclose()
        return [number async for number in opened]

    assert run(closed()) == []


def test_a_coroutine_may_open_an_async_stream(registry: Registry, run: Run) -> None:
    """As `await client.chat.completions.create(stream=True)` does."""

    class SdkStream:
        closed = False

        def __init__(self) -> None:
            self.chunks = iter(["a", "b"])

        def __aiter__(self) -> SdkStream:
            return self

        async def __anext__(self) -> str:
            for chunk in self.chunks:
                return chunk
            raise StopAsyncIteration

        async def close(self) -> None:
            self.closed = True

    source = SdkStream()

    async def create(attempt: Any) -> SdkStream:
        return source

    async def first() -> str:
        async with await Fleet(registry, "a").failover.astream(create) as chunks:
            return await anext(chunks)

    assert run(first()) == "a"
    assert source.closed
    assert registry["a"].metrics().in_flight == 0


def test_an_empty_stream_is_an_answer(registry: Registry, invoke: Invoke) -> None:
    fleet = Fleet(registry, "a", "b")

    assert list(fleet.failover.stream(lambda attempt: iter(()), repeatable=True)) == []
    assert registry["a"].metrics().successes == 1
    assert fleet.deliveries[-1].served_by == "a"


def test_a_stream_that_is_closed_early_says_nothing_and_frees_the_source(
    registry: Registry,
) -> None:
    closed: list[str] = []

    def opened(attempt: Any) -> Iterator[int]:
        try:
            yield from range(10)
        finally:
            closed.append(attempt.key)

    with Fleet(registry, "a").failover.stream(opened) as chunks:
        next(chunks)

    assert closed == ["a"]
    assert registry["a"].metrics().in_flight == 0
    assert registry["a"].metrics().cancelled == 1
    assert list(chunks) == []


def test_a_stream_that_is_dropped_leaks_no_permit(registry: Registry) -> None:
    chunks = Fleet(registry, "a").failover.stream(lambda attempt: iter("xy"))
    assert registry["a"].metrics().in_flight == 1

    del chunks

    assert registry["a"].metrics().in_flight == 0


# By hand


def test_after_commit_nothing_is_cut_off_and_nobody_else_is_tried(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    warm(registry, clock, "a")
    fleet = Fleet(registry, "a", "b")

    async def by_hand() -> None:
        for attempt in fleet.failover.attempts(repeatable=True):
            fleet.sent[attempt.key] += 1
            async with attempt:
                attempt.commit()
                await asyncio.sleep(30.0)
                raise OSError("after the first byte")

    with pytest.raises(OSError, match="after the first byte"):
        run(by_hand())

    assert fleet.sent == {"a": 1}
    assert registry["a"].metrics().failures == 1
    assert fates(fleet.deliveries[-1]) == [("a", Fate.SERVED)]


def test_what_was_committed_stays_so(registry: Registry) -> None:
    fleet = Fleet(registry, "a", "b")

    for attempt in fleet.failover.attempts(repeatable=True):
        with attempt:
            attempt.commit()
            attempt.commit()
            assert not attempt.moves_on(Outcome.FAILURE)
            attempt.end(Outcome.FAILURE)

    assert len(fleet.deliveries) == 1
    assert registry["a"].metrics().failures == 1
    assert registry["b"].metrics().calls == 0


def test_an_answer_that_is_read_may_be_given_up(registry: Registry) -> None:
    fleet = Fleet(registry, "a", "b")
    statuses = {"a": 503, "b": 200}

    def fetch(*, repeatable: bool) -> int:
        for attempt in fleet.failover.attempts(repeatable=repeatable):
            with attempt:
                status = statuses[attempt.key]
                outcome = Outcome.of_upstream_status(status)
                if attempt.moves_on(outcome, error=f"HTTP {status}"):
                    continue
                attempt.end(outcome)
                return status
        raise AssertionError

    assert fetch(repeatable=True) == 200
    assert str(fleet.deliveries[-1]).endswith("; 'a' failed (HTTP 503)")
    assert fetch(repeatable=False) == 503
    assert registry["a"].metrics().failures == 2
    assert [delivery.served_by for delivery in fleet.deliveries] == ["b", None]


# Records


def test_a_record_says_who_served_and_why_the_others_did_not(
    registry: Registry, clock: ManualClock
) -> None:
    fleet = Fleet(registry, "a", "b", "c")
    registry["a"].open("test", for_=9.0)

    def send(attempt: Any) -> None:
        clock.advance(0.25)
        if attempt.key == "b":
            raise OSError("secret")

    fleet.failover.call(send, repeatable=True)

    (delivery,) = fleet.deliveries
    assert delivery.served_by == "c"
    assert delivery.duration == 0.5
    assert fates(delivery) == [("a", Fate.REFUSED), ("b", Fate.FAILED), ("c", Fate.SERVED)]
    assert isinstance(delivery.legs[0].error, BreakerOpenError)
    assert str(delivery) == (
        "served by 'c' in 0.5 s; 'a' was refused (manual, 9 s more); "
        "'b' failed after 0.25 s (OSError)"
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


# Bad input


def test_no_provider_at_all_is_an_error(registry: Registry) -> None:
    with pytest.raises(ValueError, match="at least one"):
        Failover(registry, [])


def test_a_key_twice_is_an_error(registry: Registry) -> None:
    with pytest.raises(ValueError, match="'a' twice"):
        Failover(registry, [Provider("a", 1), Provider("b", 2), Provider("a", 3)])


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf"), -0.001])
def test_a_weight_that_is_no_share_is_an_error(weight: float) -> None:
    with pytest.raises(ValueError, match="weight"):
        Provider("a", "", weight=weight)


@pytest.mark.parametrize("weight", [True, "1", None])
def test_a_weight_that_is_no_number_is_an_error(weight: Any) -> None:
    with pytest.raises(TypeError, match="weight"):
        Provider("a", "", weight=weight)


@pytest.mark.parametrize(("key", "kind"), [("", ValueError), (None, TypeError), (7, TypeError)])
def test_a_key_that_is_none_is_an_error(key: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="key"):
        Provider(key, "")


def test_weights_of_nothing_but_zero_are_an_error(registry: Registry) -> None:
    with pytest.raises(ValueError, match="weight"):
        Failover(registry, [Provider("a", "", weight=0)], order="weighted")


@pytest.mark.parametrize(
    ("option", "value", "kind"),
    [
        ("order", "random", ValueError),
        ("when_all_open", "panic", ValueError),
        ("max_attempts", 0, ValueError),
        ("max_attempts", 1.5, TypeError),
        ("max_attempts", True, TypeError),
        ("time_budget", 0.0, ValueError),
        ("time_budget", float("inf"), ValueError),
        ("time_budget", "60", TypeError),
        ("patience", 0.5, ValueError),
        ("probe_wait", -1.0, ValueError),
        ("classify", "x", TypeError),
        ("nothing_sent", None, TypeError),
        ("on_delivery", 3, TypeError),
        ("random", 0.5, TypeError),
    ],
)
def test_a_bad_setting_is_an_error_that_names_it(
    registry: Registry, option: str, value: Any, kind: type[Exception]
) -> None:
    with pytest.raises(kind, match=option):
        Failover(registry, [Provider("a", "")], **{option: value})


@pytest.mark.parametrize("registry_like", [None, {}, "registry"])
def test_a_registry_that_is_none_is_an_error(registry_like: Any) -> None:
    with pytest.raises(TypeError, match="registry"):
        Failover(registry_like, [Provider("a", "")])


def test_a_provider_that_is_none_is_an_error(registry: Registry) -> None:
    urls: Any = ["https://a"]
    with pytest.raises(TypeError, match="Provider"):
        Failover(registry, urls)


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
