"""`@breaker.with_timeout()`: coroutines are cancelled in time, plain functions are told the time."""

from __future__ import annotations

import asyncio
import functools
import inspect
import pickle
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from math import inf, nan
from typing import Any

import pytest
from tests.support.breaker_state import ended, votes
from tests.support.training import learned

from recloser import Breaker, BreakerOpenError, HopelessError, Mode, Policy
from recloser.testing import ManualClock, open_breaker

Run = Callable[[Awaitable[Any]], Any]


@pytest.fixture
def policy() -> Policy:
    return Policy(slow_ceiling=7.0)


# Coroutine functions


def sleeping(breaker: Breaker, cap: float = inf) -> Callable[[float], Awaitable[str]]:
    @breaker.with_timeout(cap)
    async def sleep(seconds: float) -> str:
        """Sleep."""
        await asyncio.sleep(seconds)
        return "slept"

    return sleep


def test_a_coroutine_that_takes_too_long_is_cancelled(
    breaker: Breaker, clock: ManualClock, run: Run
) -> None:
    began = clock()

    with pytest.raises(HopelessError) as caught:
        run(sleeping(breaker)(100.0))

    assert clock() - began == pytest.approx(7.0)
    assert isinstance(caught.value, TimeoutError)
    assert (caught.value.key, caught.value.timeout) == ("k", 7.0)
    assert str(caught.value) == "no answer of 'k' within 7 s"
    assert ended(breaker) == (0, 1, 0, 0)


def test_the_time_is_learned(breaker: Breaker, clock: ManualClock, run: Run) -> None:
    for _ in range(10):
        learned(breaker, clock)
    began = clock()

    with pytest.raises(HopelessError):
        run(sleeping(breaker)(100.0))

    # Some calls may take a multiple.
    took = clock() - began
    assert 0.99 * breaker.timeout <= took <= 8.0 * breaker.timeout < 7.0


def test_a_coroutine_that_is_fast_enough_is_not_disturbed(breaker: Breaker, run: Run) -> None:
    assert run(sleeping(breaker)(6.9)) == "slept"
    assert ended(breaker) == (1, 0, 0, 0)


def test_the_cap_is_the_users_own(breaker: Breaker, clock: ManualClock, run: Run) -> None:
    began = clock()

    with pytest.raises(HopelessError):
        run(sleeping(breaker, cap=2.0)(100.0))

    assert clock() - began == pytest.approx(2.0)


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.DISABLED])
def test_a_breaker_that_only_observes_cuts_nothing_off_but_the_cap_holds(
    breaker: Breaker, run: Run, mode: Mode
) -> None:
    breaker.mode = mode

    assert run(sleeping(breaker)(100.0)) == "slept"
    with pytest.raises(HopelessError):
        run(sleeping(breaker, cap=2.0)(100.0))


def test_it_is_called_once(breaker: Breaker, run: Run) -> None:
    calls: list[int] = []

    @breaker.with_timeout()
    async def hang() -> None:
        calls.append(1)
        await asyncio.sleep(100.0)

    with pytest.raises(HopelessError):
        run(hang())

    assert calls == [1]


def test_a_time_out_of_its_own_stays_what_it_is(breaker: Breaker, run: Run) -> None:
    mine = TimeoutError("mine")

    @breaker.with_timeout()
    async def give_up() -> None:
        raise mine

    with pytest.raises(TimeoutError) as caught:
        run(give_up())

    assert caught.value is mine
    assert ended(breaker) == (0, 1, 0, 0)


def test_a_cancellation_from_outside_is_no_failure(breaker: Breaker, run: Run) -> None:
    async def leave() -> None:
        task = asyncio.ensure_future(sleeping(breaker)(100.0))
        await asyncio.sleep(1.0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    run(leave())

    assert ended(breaker) == (0, 0, 0, 1)


def test_an_open_breaker_refuses(breaker: Breaker, run: Run) -> None:
    open_breaker(breaker)

    with pytest.raises(BreakerOpenError):
        run(sleeping(breaker)(1.0))


def test_its_name_and_documentation_are_kept(breaker: Breaker) -> None:
    guarded: Any = sleeping(breaker)

    assert (guarded.__name__, guarded.__doc__) == ("sleep", "Sleep.")
    assert inspect.iscoroutinefunction(guarded)


def test_without_asyncio_nothing_is_called(breaker: Breaker) -> None:
    call: Any = sleeping(breaker)(1.0)

    with pytest.raises(RuntimeError, match=r"needs a running asyncio.*anyio\.guard\("):
        call.send(None)

    assert votes(breaker.metrics()) == {}


def test_the_error_survives_a_pickle() -> None:
    error = pickle.loads(pickle.dumps(HopelessError("k", 2.5)))

    assert type(error) is HopelessError
    assert (error.key, error.timeout, error.errno) == ("k", 2.5, None)


# Plain functions


def asking(
    breaker: Breaker, cap: float = inf, argument: str = "timeout"
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return breaker.with_timeout(cap, argument=argument)


def test_a_plain_function_is_told_the_time(breaker: Breaker) -> None:
    @asking(breaker)
    def get(url: str, timeout: float | None = None) -> tuple[str, float | None]:
        return url, timeout

    assert get("/") == ("/", 7.0)
    assert get("/", None) == ("/", 7.0)
    assert get("/", timeout=None) == ("/", 7.0)
    assert ended(breaker) == (3, 0, 0, 0)


def test_a_time_out_of_the_caller_or_the_function_is_never_raised(breaker: Breaker) -> None:
    @asking(breaker)
    def get(timeout: float = 3.0) -> float:
        return timeout

    assert (get(), get(2), get(timeout=2.0), get(50.0), get(timeout=50.0)) == (3, 2, 2, 7, 7)


@pytest.mark.parametrize("own", [(3.0, 30.0), "soon", True])
def test_a_time_out_of_another_form_is_the_callers(breaker: Breaker, own: Any) -> None:
    @asking(breaker)
    def get(timeout: Any) -> Any:
        return timeout

    assert get(own) is own
    assert get(timeout=own) is own


def test_the_parameter_may_have_any_name_and_place(breaker: Breaker) -> None:
    class Client:
        @asking(breaker, argument="patience")
        def get(self, *, patience: float) -> float:
            return patience

    def either(*args: Any, **options: Any) -> Any:
        return args, options

    assert Client().get() == 7.0
    assert asking(breaker)(either)(1) == ((1,), {"timeout": 7.0})
    assert asking(breaker)(functools.partial(either, 1))() == ((1,), {"timeout": 7.0})
    assert asking(breaker, cap=2.0)(either)(timeout=3) == ((), {"timeout": 2.0})


def test_a_function_in_c_without_a_signature_is_told_by_name(breaker: Breaker) -> None:
    with pytest.raises(TypeError, match="'float' object is not callable"):
        asking(breaker, argument="key")(min)(3, 1)


def test_where_nothing_may_be_cut_off_the_function_keeps_its_own_time_out(breaker: Breaker) -> None:
    breaker.mode = Mode.OBSERVE

    @asking(breaker)
    def get(timeout: float | None = None) -> float | None:
        return timeout

    assert (get(), get(100.0), get(None)) == (None, 100.0, None)


def test_what_a_plain_function_raises_is_counted(breaker: Breaker) -> None:
    @asking(breaker)
    def get(timeout: float) -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        get()

    assert ended(breaker) == (0, 1, 0, 0)


def test_a_plain_function_around_a_coroutine_ends_with_that(breaker: Breaker, run: Run) -> None:
    async def work(patience: float) -> float:
        await asyncio.sleep(1.0)
        return patience

    @asking(breaker)
    def start(timeout: float) -> Any:
        return work(timeout)

    started = start()
    assert breaker.metrics().in_flight == 1
    assert run(started) == 7.0
    assert ended(breaker) == (1, 0, 0, 0)


# Mistakes


@pytest.mark.parametrize("cap", [None, "3", True, [1.0]])
def test_a_cap_of_another_type_is_named(breaker: Breaker, cap: Any) -> None:
    with pytest.raises(TypeError, match=r"^cap must be a number of seconds above 0, not "):
        breaker.with_timeout(cap)


@pytest.mark.parametrize("cap", [0, -1.0, nan])
def test_a_cap_out_of_range_is_named(breaker: Breaker, cap: float) -> None:
    with pytest.raises(ValueError, match=r"^cap must be a number of seconds above 0, not "):
        breaker.with_timeout(cap)


def test_forgotten_parentheses_are_named(breaker: Breaker) -> None:
    without: Any = breaker.with_timeout

    with pytest.raises(TypeError, match="with parentheses"):

        @without  # type: ignore[untyped-decorator]
        async def ask() -> None: ...


def test_a_parameter_that_does_not_exist_is_named(breaker: Breaker) -> None:
    def get(url: str) -> None: ...
    def only(timeout: float, /) -> None: ...

    for function in (get, only):
        with pytest.raises(TypeError, match=r"has no parameter 'timeout' that could be passed"):
            asking(breaker)(function)
    with pytest.raises(TypeError, match="argument must be the name of a parameter, not 3"):
        breaker.with_timeout(argument=3)  # type: ignore[arg-type]


def test_what_cannot_be_limited_is_named(breaker: Breaker) -> None:
    def plain() -> None: ...
    async def coroutine(patience: float) -> None: ...
    def items() -> Generator[int]:
        yield 1

    async def async_items() -> AsyncGenerator[int]:
        yield 1

    with pytest.raises(TypeError, match="a plain function cannot be interrupted: name the param"):
        breaker.with_timeout()(plain)
    with pytest.raises(TypeError, match="argument='patience' is for plain functions"):
        breaker.with_timeout(argument="patience")(coroutine)
    for function in (items, async_items):
        with pytest.raises(TypeError, match="limits no generators"):
            breaker.with_timeout()(function)
    with pytest.raises(TypeError, match="a breaker guards a function"):
        breaker.with_timeout()(dict)
