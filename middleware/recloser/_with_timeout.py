"""`@breaker.with_timeout()`: functions whose calls end when an answer is hopeless."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from math import inf
from types import CoroutineType
from typing import Any, ParamSpec, TypeVar, cast

from recloser._deadline import Deadline
from recloser._decorator import await_and_end, target_of
from recloser._errors import HopelessError
from recloser._permit import Permit

P = ParamSpec("P")
T = TypeVar("T")

_PASSABLE = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def check_cap(cap: object, argument: object) -> None:
    """Check the arguments of `Breaker.with_timeout`.

    Raises:
        TypeError: The cap is no number, or the name of the argument no str.
        ValueError: The cap is not above 0.
    """
    if isinstance(cap, bool) or not isinstance(cap, (int, float)):
        hint = ": write with_timeout(), with parentheses" if callable(cap) else ""
        raise TypeError(f"cap must be a number of seconds above 0, not {cap!r}{hint}")
    if not cap > 0.0:
        raise ValueError(f"cap must be a number of seconds above 0, not {cap!r}")
    if argument is not None and not isinstance(argument, str):
        raise TypeError(f"argument must be the name of a parameter, not {argument!r}")


def limited(
    acquire: Callable[[], Permit], function: Callable[P, T], cap: float, argument: str | None
) -> Callable[P, T]:
    """Guard a function, and limit the time of its calls.

    Args:
        acquire: Asks for admission of one call, and gives its permit, or raises.
        function: The function.
        cap: Seconds that no call may take longer than, > 0.
        argument: The parameter that takes the time-out of a plain function, in seconds.

    Raises:
        TypeError: The function cannot be guarded or not be limited, or has no such parameter.
    """
    target = target_of(function)
    if inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target):
        raise TypeError(f"with_timeout() limits no generators: {function!r}")
    wrapper: Callable[..., Any]
    if inspect.iscoroutinefunction(target):
        if argument is not None:
            raise TypeError(
                f"argument={argument!r} is for plain functions: a coroutine is cancelled in time"
            )
        wrapper = _cancelled(acquire, cast("Any", function), cap)
    elif argument is None:
        raise TypeError(
            f"a plain function cannot be interrupted: name the parameter of {function!r} that "
            'takes a time-out in seconds, as in with_timeout(argument="timeout")'
        )
    else:
        wrapper = _handed(acquire, function, cap, argument)
    return cast("Callable[P, T]", functools.update_wrapper(wrapper, function))


def _cancelled(
    acquire: Callable[[], Permit], function: Callable[P, Any], cap: float
) -> Callable[P, Any]:
    async def call(*args: P.args, **kwargs: P.kwargs) -> Any:
        _need_asyncio()
        with acquire() as permit:
            limit = min(permit.timeout, cap)
            with Deadline(limit) as deadline:
                return await function(*args, **kwargs)
            raise HopelessError(permit.breaker.key, deadline.limit)

    return call


def _need_asyncio() -> None:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "with_timeout() needs a running asyncio event loop. Under trio, use "
            "recloser_adapters.anyio.guard(breaker, deadline=breaker.timeout)"
        ) from None


def _handed(
    acquire: Callable[[], Permit], function: Callable[P, Any], cap: float, argument: str
) -> Callable[P, Any]:
    position, default = _parameter(function, argument)

    def call(*args: P.args, **kwargs: P.kwargs) -> Any:
        permit = acquire()
        try:
            limit = min(permit.timeout, cap)
            arguments: Any = args
            if position is not None and position < len(args):
                arguments = [*args]
                arguments[position] = lower(args[position], limit)
            elif limit < inf:
                kwargs[argument] = lower(kwargs.get(argument, default), limit)
            result = function(*arguments, **kwargs)
        except BaseException as error:
            permit.end_by_error(error)
            raise
        if type(result) is CoroutineType:  # a plain function around a coroutine function
            return await_and_end(permit, cast("Any", result))
        permit.success()
        return result

    return call


def _parameter(function: Callable[..., Any], name: str) -> tuple[int | None, object]:
    """The position of a parameter, None if it is passed by name only, and its default."""
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # some functions in C have no signature
        return None, None
    parameter = parameters.get(name)
    if parameter is None or parameter.kind not in _PASSABLE:
        if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values()):
            return None, None
        raise TypeError(f"{function!r} has no parameter {name!r} that could be passed by name")
    by_position = parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    default = None if parameter.default is inspect.Parameter.empty else parameter.default
    return (list(parameters).index(name) if by_position else None), default


def lower(given: object, limit: float) -> object:
    """The lower of a time-out in seconds, None for none, and a limit. Never raises a time-out.

    What is neither None nor a number has a meaning that only the function knows. It stays.
    """
    if given is None:
        return limit if limit < inf else None
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        return given
    return min(given, limit)
