"""The public API as users write it: what it takes, and what type comes back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from typing import Any, assert_type

from recloser import (
    Attempt,
    Breaker,
    BreakerOpenError,
    Deadline,
    Failover,
    HopelessError,
    Listener,
    Metrics,
    Mode,
    Outcome,
    Permit,
    Policy,
    Provider,
    Reason,
    RecloserError,
    Registry,
    State,
    Transition,
)
from recloser.testing import ManualClock, RecordingListener, open_breaker

registry = Registry(
    Policy(slow_ceiling=20.0),
    policies={"openai": Policy(min_failures=3, ignore_errors=(KeyError, ValueError))},
    clock=ManualClock(5.0),
    random=lambda: 0.5,
    max_keys=10,
    mode="observe",
)
breaker = registry["openai"]

assert_type(breaker, Breaker)
assert_type(registry.breakers(), list[Breaker])
assert_type(breaker.timeout, float)
assert_type(breaker.acquire().timeout, float)
assert_type(registry.faults, int)
assert_type(registry.evicted, int)
assert_type(registry.overflowed, int)
assert_type(registry.policy, Policy)
assert_type(registry.max_keys, int)
assert_type(Breaker("standalone", Policy(), mode=Mode.DISABLED).policy, Policy)


class Log:
    def on_transition(self, transition: Transition) -> None:
        assert_type(transition.key, str)
        assert_type(transition.before, State)
        assert_type(transition.after, State)
        assert_type(transition.reason, Reason)
        assert_type(transition.generation, int)
        assert_type(transition.at, float)


listener: Listener = Log()
assert_type(registry.subscribe(listener), Callable[[], None])
registry.subscribe(RecordingListener())()


@breaker.with_timeout(cap=10.0)
async def ask(question: str) -> int:
    return len(question)


@breaker.with_timeout(argument="timeout")
def get(url: str, timeout: float | None = None) -> bytes:
    return url.encode()


assert_type(get("/"), bytes)
breaker.with_timeout("10")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def in_time() -> None:
    with Deadline(2.0) as deadline:
        assert_type(await ask("?"), int)
    assert_type(deadline.expired, bool)
    try:
        await ask("?")
    except HopelessError as error:
        assert_type(error.timeout, float)
        as_time_out: TimeoutError = error
        print(as_time_out)


def two_step() -> None:
    assert_type(breaker.try_acquire(), Permit | None)
    permit = breaker.acquire()
    permit.mark()
    permit.failure(TimeoutError())
    permit.throttled(2.5)
    permit.end(Outcome.SUCCESS, error=None, retry_after=None)
    assert_type(permit.ended, bool)
    assert_type(permit.is_probe, bool)
    assert_type(permit.breaker.key, str)
    assert_type(permit.breaker.metrics(), Metrics)


def block() -> int:
    with breaker as permit:
        assert_type(permit, Permit)
    with breaker.acquire() as again:
        assert_type(again, Permit)
        return 1


async def async_block() -> int:
    async with breaker as permit:
        assert_type(permit, Permit)
    async with breaker.acquire() as again:
        assert_type(again, Permit)
        return 1


@breaker
def function(number: int, *, name: str = "") -> str:
    return name * number


@breaker
async def coroutine(number: int) -> str:
    return str(number)


@breaker
def generator(count: int) -> Generator[int, str, bool]:
    yield count
    return True


@breaker
async def async_generator(count: int) -> AsyncGenerator[int, None]:
    yield count


assert_type(function(1, name="x"), str)
awaited: Coroutine[Any, Any, str] = coroutine(1)
assert_type(generator(1), Generator[int, str, bool])
assert_type(async_generator(1), AsyncGenerator[int, None])
assert_type(breaker.call(function, 1, name="x"), str)
called: Coroutine[Any, Any, str] = breaker.call(coroutine, 1)

# A decorator keeps the signature: each of these is a mistake, and the checkers say so.
function("one")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
breaker.call(function, 1, nome="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
registry[5]  # type: ignore[index]  # pyright: ignore[reportArgumentType]
Policy(min_failure=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Policy(5.0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def steer() -> None:
    breaker.record(0.1, success=True)
    breaker.open("maintenance", for_=30.0)
    breaker.half_open()
    breaker.reset()
    breaker.mode = Mode.OBSERVE
    open_breaker(breaker)


def look(error: BreakerOpenError) -> None:
    metrics = breaker.metrics()
    assert_type(metrics, Metrics)
    assert_type(metrics.p99, float)
    assert_type(breaker.state, State)
    assert_type(breaker.mode, Mode)
    assert_type(breaker.explain(), str)
    assert_type(breaker.retry_after, float)
    assert_type(breaker.refusal(), BreakerOpenError)
    assert_type(error.key, str)
    assert_type(error.state, State)
    assert_type(error.reason, Reason | None)
    assert_type(error.retry_after, float)
    root: RecloserError = error
    raise root


def outcomes(error: BaseException) -> None:
    assert_type(Outcome.of_error(error), Outcome)
    assert_type(Outcome.of_status(503), Outcome)
    assert_type(Outcome.of_upstream_status(429), Outcome)


match breaker.state:
    case State.CLOSED | State.LIMITED | State.OPEN | State.HALF_OPEN:
        pass


failover = Failover(
    registry,
    [Provider("primary", "https://a.example"), Provider("fallback", "https://b.example")],
    order="weighted",
    when_all_open="least_bad",
)


def send(attempt: Attempt[str]) -> int:
    assert_type(attempt.target, str)
    return len(attempt.target)


async def asend(attempt: Attempt[str]) -> int:
    return send(attempt)


def chunks(attempt: Attempt[str]) -> Iterator[bytes]:
    yield attempt.target.encode()


async def achunks(attempt: Attempt[str]) -> AsyncGenerator[bytes, None]:
    yield attempt.target.encode()


async def fail_over() -> None:
    assert_type(failover.call(send, repeatable=True), int)
    assert_type(await failover.acall(asend, prefer="primary"), int)
    for chunk in failover.stream(chunks):
        assert_type(chunk, bytes)
    async for chunk in await failover.astream(achunks):
        assert_type(chunk, bytes)
