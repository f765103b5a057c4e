"""Guarding a function: the decorator for plain, async and generator functions."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

if TYPE_CHECKING:
    from recloser._breaker import Breaker

P = ParamSpec("P")
T = TypeVar("T")


def guarded(breaker: Breaker, function: Callable[P, T]) -> Callable[P, T]:
    """Wrap a function so that each call of it is one call to the breaker.

    The call of a generator begins with its first item and ends with its last.

    Raises:
        TypeError: `function` cannot be called, or is a class: guard one of its methods.
    """
    if not callable(function) or isinstance(function, type):
        raise TypeError(f"a breaker guards a function, not {function!r}")
    target = function
    while isinstance(target, functools.partial):
        target = target.func
    if not inspect.isroutine(target):  # an object with a __call__ of its own
        target = type(target).__call__
    if inspect.isasyncgenfunction(target):
        wrapper: Callable[..., Any] = _async_generator(breaker, cast("Any", function))
    elif inspect.iscoroutinefunction(target):
        wrapper = _coroutine(breaker, cast("Any", function))
    elif inspect.isgeneratorfunction(target):
        wrapper = _generator(breaker, cast("Any", function))
    else:
        wrapper = _plain(breaker, function)
    return cast("Callable[P, T]", functools.update_wrapper(wrapper, function))


def _plain(breaker: Breaker, function: Callable[P, T]) -> Callable[P, T]:
    acquire = breaker.acquire

    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        permit = acquire()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            permit.end_by_error(error)
            raise
        permit.success()
        return result

    return call


def _coroutine(breaker: Breaker, function: Callable[P, Any]) -> Callable[P, Any]:
    acquire = breaker.acquire

    async def call(*args: P.args, **kwargs: P.kwargs) -> Any:
        permit = acquire()
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            permit.end_by_error(error)
            raise
        permit.success()
        return result

    return call


def _generator(
    breaker: Breaker, function: Callable[P, Generator[Any, Any, Any]]
) -> Callable[P, Generator[Any, Any, Any]]:
    def call(*args: P.args, **kwargs: P.kwargs) -> Generator[Any, Any, Any]:
        with breaker.acquire():
            return (yield from function(*args, **kwargs))

    return call


def _async_generator(
    breaker: Breaker, function: Callable[P, AsyncGenerator[Any, Any]]
) -> Callable[P, AsyncGenerator[Any, Any]]:
    async def call(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Any, Any]:
        with breaker.acquire():
            inner = function(*args, **kwargs)
            # `async for` would drop what the consumer sends or throws in.
            try:
                step = inner.__anext__()
                while True:
                    try:
                        item = await step
                    except StopAsyncIteration:
                        return
                    try:
                        sent = yield item
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        step = inner.athrow(error)
                    else:
                        step = inner.__anext__() if sent is None else inner.asend(sent)
            finally:
                await inner.aclose()

    return call
