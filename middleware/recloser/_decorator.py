"""Guarding a function: the decorator for plain, async and generator functions."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from types import CoroutineType
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar, cast

from recloser._admission import Injected, Refused, Unguarded
from recloser._items import Items
from recloser._locked_circuit import NO_TOKEN
from recloser._permit import AnyLoosePermit, AnyPermit, LoosePermit, Permit
from recloser.hints import instead

P = ParamSpec("P")
T = TypeVar("T")

AcquireFor: TypeAlias = Callable[[tuple[Any, ...], dict[str, Any]], Permit]
"""Asks for admission of one call with the arguments of the function, or raises."""

IS_LAZY = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
"""Code flags of functions whose call returns before the work is done."""

# An error is raised from another, that from a third, and so on: so many are looked at.
_DEEPEST = 8


class Admit(Protocol):
    """`Breaker.admit_strict`."""

    def __call__(self, kind: type[AnyPermit], /) -> AnyPermit | Refused | Unguarded: ...


class PermitOf(Protocol):
    """What gives the permit in an admission, or raises `BreakerOpenError`."""

    def __call__(
        self, admission: AnyPermit | Refused | Unguarded, kind: type[AnyPermit], /
    ) -> AnyPermit: ...


def guarded(
    admit: Admit, permit_of: PermitOf, acquire: Callable[[], Permit], function: Callable[P, T]
) -> Callable[P, T]:
    """Wrap a function so that each call of it is one call to the breaker.

    For a generator the call begins when its first item is requested, and ends with its last. Its
    latency is that of the first item. The others are watched for stalls, see `_items.py`.

    Args:
        admit: Asks for admission of one call.
        permit_of: Gives the permit in an admission, or raises.
        acquire: Asks for admission, and gives a permit that may be lost, or raises.
        function: The function.

    Raises:
        TypeError: `function` cannot be called, or is a class (guard one of its methods) or a
            static or class method (guard the function within).
    """
    target = target_of(function)
    if inspect.isasyncgenfunction(target):
        wrapper: Callable[..., Any] = _async_generator(acquire, cast("Any", function))
    elif inspect.iscoroutinefunction(target):
        wrapper = _coroutine(admit, permit_of, cast("Any", function))
    elif inspect.isgeneratorfunction(target):
        wrapper = _generator(acquire, cast("Any", function))
    else:
        wrapper = _plain(admit, permit_of, function)
    return cast("Callable[P, T]", functools.update_wrapper(wrapper, function))


def labelled(
    acquire: Callable[[str | None, float | None], Permit],
    fault: Callable[[str, BaseException], None],
    known: Callable[..., str | float | None],
    function: Callable[P, T],
) -> Callable[P, T]:
    """Guard a function as `guarded` does, with what is known of each call.

    Args:
        acquire: Asks for admission of one call with a label and a size, or raises.
        fault: Counts a fault that `known` raised.
        known: Returns the label or the size of a call from its arguments.
        function: The function.

    Raises:
        TypeError: As `guarded` does.
    """

    def acquire_for(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Permit:
        try:
            what = known(*args, **kwargs)
        except Exception as error:
            fault("label", error)
            what = None
        return acquire(what, None) if isinstance(what, str) else acquire(None, what)

    def nothing_known() -> Permit:
        return acquire(None, None)

    target, it = target_of(function), cast("Any", function)
    if inspect.isasyncgenfunction(target):
        wrapper: Callable[..., Any] = _async_generator(nothing_known, it, acquire_for)
    elif inspect.iscoroutinefunction(target):

        async def coroutine(*args: P.args, **kwargs: P.kwargs) -> Any:
            with acquire_for(args, kwargs):
                return await it(*args, **kwargs)

        wrapper = coroutine
    elif inspect.isgeneratorfunction(target):
        wrapper = _generator(nothing_known, it, acquire_for)
    else:

        def plain(*args: P.args, **kwargs: P.kwargs) -> Any:
            permit = acquire_for(args, kwargs)
            try:
                result = it(*args, **kwargs)
            except BaseException as error:
                permit.end_by_error(error)
                raise
            if type(result) is CoroutineType:  # a plain function around a coroutine function
                return await_and_end(permit, cast("Any", result))
            permit.success()
            return result

        wrapper = plain
    return cast("Callable[P, T]", functools.update_wrapper(wrapper, function))


def target_of(function: object) -> Any:
    """The function that a call of something runs: it tells what kind of function that is.

    Raises:
        TypeError: As `guarded` does.
    """
    if not callable(function) or isinstance(function, type):
        hint = instead("function", function)
        if isinstance(function, type):
            hint = ": guard its methods"
        raise TypeError(f"a breaker guards a function, not {function!r}{hint}")
    if isinstance(function, staticmethod):
        raise TypeError(f"put the breaker below @staticmethod, not above: {function!r}")
    target: Any = function
    while isinstance(target, functools.partial):
        target = target.func
    # Otherwise it is an object with a __call__ of its own.
    return target if inspect.isroutine(target) else type(target).__call__


def _plain(admit: Admit, permit_of: PermitOf, function: Callable[P, T]) -> Callable[P, T]:
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        permit = admit(Permit)
        # All in the try block: a signal handler may raise anywhere.
        try:
            if type(permit) is not Permit:
                permit = struck(permit_of, permit)
            result = function(*args, **kwargs)
            if type(result) is CoroutineType:  # a plain function around a coroutine function
                return cast("T", awaited(permit, cast("Any", result)))
            permit.success()
        except BaseException as error:
            if isinstance(permit, Permit):
                try:
                    permit.end_by_error(error)
                except BaseException:
                    permit.cancel()  # a signal handler raised
                    raise
            raise
        return result

    return call


def struck(permit_of: PermitOf, admission: Permit | Refused | Unguarded) -> Permit:
    """The permit in an admission, after the fault that is injected into the call, if there is one."""
    if isinstance(admission, Injected):
        return cast("Permit", admission.strike())
    return permit_of(admission, Permit)


def awaited(permit: Permit, coroutine: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
    """Await a coroutine, and end its permit with it. One that is never awaited is cancelled."""
    return await_and_end(loosened(permit, LoosePermit), coroutine)


def loosened(permit: Permit, kind: type[AnyLoosePermit]) -> AnyLoosePermit:
    """The permit of the same call for a holder that may lose it; the one given has ended.

    The one given stays in the table of calls in flight, as the `Timing` of the call.
    """
    loose = kind()
    loose.breaker = permit.breaker
    loose.started = permit.started
    loose.answered = permit.answered
    loose.timing = permit
    loose.token, permit.token = permit.token, NO_TOKEN
    return loose


async def await_and_end(permit: Permit, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Await a coroutine, and end a permit that may be lost with it."""
    with permit:
        return await coroutine


def _coroutine(admit: Admit, permit_of: PermitOf, function: Callable[P, Any]) -> Callable[P, Any]:
    async def call(*args: P.args, **kwargs: P.kwargs) -> Any:
        permit = admit(Permit)
        try:
            if type(permit) is not Permit:
                if isinstance(permit, Injected):
                    permit = await permit.strike_async()
                else:
                    permit = permit_of(permit, Permit)
            result = await function(*args, **kwargs)
            permit.success()
        except BaseException as error:
            if isinstance(permit, Permit):
                try:
                    permit.end_by_error(error)
                except BaseException:
                    permit.cancel()  # a signal handler raised
                    raise
            raise
        return result

    return call


def _end_if_thrown_in(
    permit: Permit, left: Exception, thrown: BaseException, item: object, own: str
) -> None:
    """End the call if what left a generator is what was thrown into it, or was raised from that.

    The generator had given its item, so that is the consumer's own error. With `contextmanager`,
    the consumer is the block; a yield dependency of FastAPI has the endpoint. An error of the library
    of the item is the callee's, though: what a session of SQLAlchemy raises in the block tells of the
    database. `own` is the module of the generator function: its package is no library.
    """
    shared = _libraries(type(item)) & _libraries(type(thrown))
    if shared - {own.partition(".")[0]}:
        return
    cause: BaseException | None = left
    for _ in range(_DEEPEST):
        if cause is thrown:
            permit.ignore()
            return
        if cause is None:
            return
        cause = cause.__cause__


def _libraries(kind: type) -> set[str]:
    """The installed packages that a class and its bases are from; a program's own are none."""
    packages = {each.__module__.partition(".")[0] for each in kind.__mro__}
    files = {each: getattr(sys.modules.get(each), "__file__", None) or "" for each in packages}
    return {each for each, file in files.items() if "-packages" in file}


def _named(function: object) -> tuple[str, str]:
    """The name of a function, for `Items`, and its module; "" for what it does not tell."""
    return getattr(function, "__qualname__", ""), getattr(function, "__module__", "") or ""


def _generator(
    acquire: Callable[[], Permit],
    function: Callable[P, Generator[Any, Any, Any]],
    acquire_for: AcquireFor | None = None,
) -> Callable[P, Generator[Any, Any, Any]]:
    kind, own = _named(function)

    def call(*args: P.args, **kwargs: P.kwargs) -> Generator[Any, Any, Any]:
        with acquire() if acquire_for is None else acquire_for(args, kwargs) as permit:
            inner, items = function(*args, **kwargs), Items(permit, kind)
            # `yield from` would not tell when the first item is there.
            try:
                item = next(inner)
                items.began()
                while True:
                    try:
                        sent = yield item
                    except GeneratorExit:
                        items.ended(by_itself=False)
                        raise
                    except BaseException as error:
                        try:
                            item = inner.throw(error)
                        except Exception as left:
                            _end_if_thrown_in(permit, left, error, item, own)
                            raise
                    else:
                        items.asked()
                        item = next(inner) if sent is None else inner.send(sent)
                        items.arrived()
            except StopIteration as stop:
                items.ended(by_itself=True)
                return stop.value
            finally:
                inner.close()

    return call


def _async_generator(
    acquire: Callable[[], Permit],
    function: Callable[P, AsyncGenerator[Any, Any]],
    acquire_for: AcquireFor | None = None,
) -> Callable[P, AsyncGenerator[Any, Any]]:
    kind, own = _named(function)

    async def call(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Any, Any]:
        with acquire() if acquire_for is None else acquire_for(args, kwargs) as permit:
            inner, items = function(*args, **kwargs), Items(permit, kind)
            # `async for` would drop what the consumer sends or throws in.
            try:
                item = await anext(inner)
                items.began()
                while True:
                    try:
                        sent = yield item
                    except GeneratorExit:
                        items.ended(by_itself=False)
                        raise
                    except BaseException as error:
                        try:
                            item = await inner.athrow(error)
                        except Exception as left:
                            _end_if_thrown_in(permit, left, error, item, own)
                            raise
                    else:
                        items.asked()
                        item = await (anext(inner) if sent is None else inner.asend(sent))
                        items.arrived()
            except StopAsyncIteration:
                items.ended(by_itself=True)
                return
            finally:
                await inner.aclose()

    return call
