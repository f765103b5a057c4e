"""The decorator: each kind of function is guarded as what it is, and otherwise unchanged."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from typing import Any

import pytest
from tests.support.breaker_state import ended
from tests.support.outage import ASKED_BY_ALL

from recloser import Breaker, BreakerOpenError, Policy
from recloser.testing import ManualClock, open_breaker

Ways = dict[str, int]


@pytest.fixture
def policy() -> Policy:
    return Policy(ignore_errors=(LookupError,))


SUCCEEDED, FAILED, IGNORED, CANCELLED = (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)
ERRORS = [(ConnectionResetError, FAILED), (KeyError, IGNORED), (KeyboardInterrupt, CANCELLED)]


# Plain functions


def test_a_function_is_one_call(breaker: Breaker) -> None:
    @breaker
    def double(number: int, *, times: int = 2) -> int:
        """Double it."""
        return number * times

    assert double(4) == 8
    assert double(4, times=3) == 12
    assert ended(breaker) == (2, 0, 0, 0)


@pytest.mark.parametrize(("error", "end"), ERRORS)
def test_what_a_function_raises_passes_and_is_classified(
    breaker: Breaker, error: type[BaseException], end: tuple[int, ...]
) -> None:
    raised = error("x")

    @breaker
    def fail() -> None:
        raise raised

    with pytest.raises(error) as caught:
        fail()

    assert caught.value is raised
    assert ended(breaker) == end


def test_an_open_breaker_calls_nothing(breaker: Breaker) -> None:
    called: list[int] = []
    guarded = breaker(called.append)
    open_breaker(breaker)

    with pytest.raises(BreakerOpenError) as caught:
        guarded(1)

    assert called == []
    assert caught.value.key == "k"


def test_name_documentation_and_signature_are_kept(breaker: Breaker) -> None:
    def original(number: int, *rest: str, flag: bool = False) -> list[str]:
        """What it does."""
        return [*rest] * number * flag

    async def original_coroutine(number: int) -> int:
        """What it does."""
        return number

    for function in (original, original_coroutine):
        guarded: Callable[..., Any] = breaker(function)
        assert guarded.__name__ == function.__name__
        assert guarded.__doc__ == function.__doc__
        assert guarded.__module__ == function.__module__
        assert inspect.signature(guarded) == inspect.signature(function)
        assert inspect.unwrap(guarded) is function


def test_methods_are_guarded_per_class(breaker: Breaker) -> None:
    class Client:
        def __init__(self, name: str) -> None:
            self.name = name

        @breaker
        def get(self, path: str) -> str:
            return self.name + path

        @classmethod
        @breaker
        def make(cls) -> str:
            return cls.__name__

        @staticmethod
        @breaker
        def help() -> str:
            return "help"

    assert Client("a").get("/x") == "a/x"
    assert Client.make() == "Client"
    assert Client.help() == "help"
    assert breaker(Client("b").get)("/y") == "b/y"
    assert ended(breaker) == (5, 0, 0, 0)


def test_a_built_in_function_can_be_guarded(breaker: Breaker) -> None:
    assert breaker(len)("four") == 4
    assert breaker.call(max, 3, 5) == 5
    assert ended(breaker) == (2, 0, 0, 0)


@pytest.mark.parametrize("thing", [3, None, "f", int, Breaker])
def test_what_is_no_function_is_refused(breaker: Breaker, thing: Any) -> None:
    with pytest.raises(TypeError, match="a breaker guards a function"):
        breaker(thing)


def test_above_a_static_method_it_would_guard_nothing_and_is_refused(breaker: Breaker) -> None:
    async def function() -> None: ...

    with pytest.raises(TypeError, match="below @staticmethod"):
        breaker(staticmethod(function))


# Coroutine functions


def test_a_coroutine_function_stays_one_and_begins_when_awaited(breaker: Breaker) -> None:
    @breaker
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    assert inspect.iscoroutinefunction(double)
    coroutine = double(4)
    assert breaker.metrics().calls == 0

    assert asyncio.run(coroutine) == 8
    assert ended(breaker) == SUCCEEDED


@pytest.mark.parametrize(
    ("error", "end"),
    [(ConnectionResetError, FAILED), (KeyError, IGNORED), (asyncio.CancelledError, CANCELLED)],
)
def test_what_a_coroutine_raises_passes_and_is_classified(
    breaker: Breaker, error: type[BaseException], end: tuple[int, ...]
) -> None:
    @breaker
    async def fail() -> None:
        await asyncio.sleep(0)
        raise error

    with pytest.raises(error):
        asyncio.run(fail())

    assert ended(breaker) == end


def test_cancelling_the_task_cancels_the_call(breaker: Breaker) -> None:
    @breaker
    async def hang() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        tasks = [asyncio.create_task(hang()) for _ in range(50)]
        await asyncio.sleep(0)
        assert breaker.metrics().in_flight == 50
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())

    assert ended(breaker) == (0, 0, 0, 50)


async def forty_two() -> int:
    return 42


class Asynchronous:
    async def __call__(self) -> int:
        return 42

    async def method(self) -> int:
        return 42


@pytest.mark.parametrize(
    "function",
    [
        forty_two,
        functools.partial(forty_two),
        functools.partial(functools.partial(forty_two)),
        Asynchronous(),
        Asynchronous().method,
        functools.partial(Asynchronous().method),
        lambda: forty_two(),
    ],
)
@pytest.mark.parametrize("by_call", [False, True])
def test_every_form_of_asynchronous_function_ends_when_awaited(
    breaker: Breaker, function: Callable[[], Coroutine[Any, Any, int]], by_call: bool
) -> None:
    coroutine = breaker.call(function) if by_call else breaker(function)()
    assert breaker.metrics().successes == 0

    assert asyncio.run(coroutine) == 42
    assert ended(breaker) == SUCCEEDED


def test_a_plain_function_around_a_coroutine_fails_when_awaited(breaker: Breaker) -> None:
    async def fail() -> None:
        raise ConnectionResetError

    def wrapped() -> Awaitable[None]:
        return fail()

    with pytest.raises(ConnectionResetError):
        asyncio.run(breaker(wrapped)())  # type: ignore[arg-type]  # a coroutine, in truth

    assert ended(breaker) == FAILED


# Generators


def conversation(log: list[Any]) -> Generator[str, str, str]:
    """Say what it was told."""
    heard = "nothing"
    try:
        while heard != "stop":
            try:
                heard = yield f"heard {heard}"
            except ValueError as error:
                heard = f"error {error}"
        return "the end"
    finally:
        log.append("closed")


def test_a_generator_begins_with_its_first_item_and_ends_with_its_last(breaker: Breaker) -> None:
    items = breaker(conversation)([])
    assert breaker.metrics().calls == 0

    assert next(items) == "heard nothing"
    assert breaker.metrics().in_flight == 1
    with pytest.raises(StopIteration) as stopped:
        items.send("stop")

    assert stopped.value.value == "the end"
    assert ended(breaker) == SUCCEEDED


def test_what_is_sent_and_thrown_reaches_the_generator(breaker: Breaker) -> None:
    log: list[Any] = []
    items = breaker(conversation)(log)

    assert next(items) == "heard nothing"
    assert items.send("you") == "heard you"
    assert items.throw(ValueError("x")) == "heard error x"
    items.close()

    assert log == ["closed"]
    assert ended(breaker) == CANCELLED


def test_what_is_thrown_through_a_generator_is_the_consumers_own(breaker: Breaker) -> None:
    log: list[Any] = []
    items = breaker(conversation)(log)
    next(items)

    with pytest.raises(ConnectionResetError):
        items.throw(ConnectionResetError())

    assert log == ["closed"]
    assert ended(breaker) == IGNORED


class RollbackError(Exception): ...


def session(at_the_end: str) -> Generator[str, None, None]:
    try:
        yield "session"
    except BaseException as error:
        if at_the_end == "translates":
            raise RollbackError from error
        if at_the_end == "fails":
            raise ConnectionResetError  # noqa: B904 - while the rollback is done
        if at_the_end == "passes on":
            raise
        assert at_the_end == "swallows"


AT_THE_END = [
    ("passes on", ConnectionResetError, IGNORED),
    ("passes on", StopIteration, IGNORED),  # a generator makes a RuntimeError of it
    ("translates", ConnectionResetError, IGNORED),
    ("fails", KeyError, FAILED),
    ("swallows", ConnectionResetError, SUCCEEDED),
    ("passes on", KeyboardInterrupt, CANCELLED),
]


@pytest.mark.parametrize(("at_the_end", "error", "end"), AT_THE_END)
def test_the_block_of_a_guarded_context_manager_has_its_own_errors(
    breaker: Breaker, at_the_end: str, error: type[BaseException], end: tuple[int, ...]
) -> None:
    manager = contextlib.contextmanager(breaker(session))

    with contextlib.suppress(BaseException), manager(at_the_end):
        raise error

    assert ended(breaker) == end


@pytest.mark.parametrize(("at_the_end", "error", "end"), AT_THE_END)
def test_the_block_of_a_guarded_async_context_manager_has_its_own_errors(
    breaker: Breaker, at_the_end: str, error: type[BaseException], end: tuple[int, ...]
) -> None:
    @contextlib.asynccontextmanager
    @breaker
    async def manager() -> AsyncGenerator[str, None]:
        with contextlib.contextmanager(session)(at_the_end) as it:
            yield it

    async def main() -> None:
        with contextlib.suppress(BaseException):
            async with manager():
                raise error

    asyncio.run(main())

    assert ended(breaker) == end


def test_a_generator_works_in_yield_from(breaker: Breaker) -> None:
    def outer() -> Generator[str, str, str]:
        return (yield from breaker(conversation)([]))

    items = outer()
    next(items)
    assert items.send("a") == "heard a"
    with pytest.raises(StopIteration) as stopped:
        items.send("stop")

    assert stopped.value.value == "the end"


def test_a_generator_that_is_dropped_is_cancelled(breaker: Breaker) -> None:
    log: list[Any] = []
    next(breaker(conversation)(log))

    assert log == ["closed"]
    assert ended(breaker) == CANCELLED


def test_an_empty_generator_succeeds(breaker: Breaker) -> None:
    @breaker
    def nothing() -> Generator[int, None, None]:
        yield from ()

    assert list(nothing()) == []
    assert ended(breaker) == SUCCEEDED


def test_the_latency_of_a_generator_is_that_of_its_first_item(
    breaker: Breaker, clock: ManualClock
) -> None:
    @breaker
    def items() -> Generator[int, None, None]:
        clock.advance(0.1)
        yield 1
        yield 2

    for _ in items():
        clock.advance(30.0)

    assert breaker.metrics().mean == pytest.approx(0.1)


# Async generators


async def async_conversation(log: list[Any]) -> AsyncGenerator[str, str]:
    heard = "nothing"
    try:
        while heard != "stop":
            try:
                heard = yield f"heard {heard}"
            except ValueError as error:
                heard = f"error {error}"
            await asyncio.sleep(0)
    finally:
        await asyncio.sleep(0)
        log.append("closed")


def test_an_async_generator_passes_on_what_is_sent_and_thrown(breaker: Breaker) -> None:
    log: list[Any] = []

    async def main() -> None:
        items: AsyncGenerator[str, str] = breaker(async_conversation)(log)
        assert isinstance(items, AsyncGenerator)
        assert await anext(items) == "heard nothing"
        assert breaker.metrics().in_flight == 1
        assert await items.asend("you") == "heard you"
        assert await items.athrow(ValueError("x")) == "heard error x"
        with pytest.raises(StopAsyncIteration):
            await items.asend("stop")

    asyncio.run(main())

    assert log == ["closed"]
    assert ended(breaker) == SUCCEEDED


def test_an_async_generator_that_is_closed_early_is_cancelled(breaker: Breaker) -> None:
    log: list[Any] = []

    async def main() -> None:
        items = breaker(async_conversation)(log)
        await anext(items)
        await items.aclose()

    asyncio.run(main())

    assert log == ["closed"]
    assert ended(breaker) == CANCELLED


def test_what_is_thrown_through_an_async_generator_is_the_consumers_own(breaker: Breaker) -> None:
    async def main() -> None:
        items = breaker(async_conversation)([])
        await anext(items)
        with pytest.raises(ConnectionResetError):
            await items.athrow(ConnectionResetError())

    asyncio.run(main())

    assert ended(breaker) == IGNORED


def test_an_abandoned_async_generator_is_cancelled_by_the_loop(breaker: Breaker) -> None:
    async def main() -> None:
        async for _ in breaker(async_conversation)([]):
            break

    asyncio.run(main())

    assert ended(breaker) == CANCELLED


def test_an_open_breaker_refuses_the_first_item(breaker: Breaker) -> None:
    open_breaker(breaker)

    async def main() -> None:
        with pytest.raises(BreakerOpenError):
            await anext(breaker(async_conversation)([]))

    asyncio.run(main())
    with pytest.raises(BreakerOpenError):
        next(breaker(conversation)([]))


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize("by", ["call", "decorator"])
@pytest.mark.parametrize("closes", [True, False])
def test_a_coroutine_that_never_begins_gives_its_permit_back(
    breaker: Breaker, by: str, closes: bool
) -> None:
    inner = forever()
    coroutine = breaker.call(lambda: inner) if by == "call" else breaker(lambda: inner)()

    if closes:
        coroutine.close()
    del coroutine
    gc.collect()

    assert breaker.metrics().in_flight == 0
    assert ended(breaker) == CANCELLED
    inner.close()


def test_a_task_that_is_cancelled_before_it_begins_gives_its_permit_back(breaker: Breaker) -> None:
    async def main() -> None:
        task = asyncio.create_task(breaker.call(forever))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())

    assert breaker.metrics().in_flight == 0


class StatusError(Exception):
    """Shaped like the errors of HTTP clients."""

    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(status)
        self.status_code = status
        self.headers = headers


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (StatusError(404), IGNORED),
        (StatusError(500), FAILED),
        (ExceptionGroup("", [StatusError(404), StatusError(401)]), IGNORED),
        (ExceptionGroup("", [StatusError(404), StatusError(503)]), FAILED),
        (type("SmtpError", (Exception,), {"code": 421})(), FAILED),
        (SystemExit(404), CANCELLED),
    ],
)
def test_the_status_that_an_error_names_counts(
    breaker: Breaker, error: BaseException, end: tuple[int, ...]
) -> None:
    @breaker
    def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        fail()

    assert ended(breaker) == end


def test_the_wait_that_an_error_names_is_obeyed(breaker: Breaker) -> None:
    @breaker
    def fail() -> None:
        raise StatusError(429, **{"Retry-After": "30"})

    with pytest.raises(StatusError):
        fail()

    assert breaker.asked_pause == 30.0
    for _ in range(ASKED_BY_ALL - 1):
        with pytest.raises(StatusError):
            fail()
    assert breaker.retry_after == 30.0


class HostileError(Exception):
    @property
    def response(self) -> object:
        raise KeyboardInterrupt


def test_an_error_that_wants_out_leaves_no_permit_behind(breaker: Breaker) -> None:
    @breaker
    def fail() -> None:
        raise HostileError

    with pytest.raises(KeyboardInterrupt):
        fail()

    assert breaker.metrics().in_flight == 0
