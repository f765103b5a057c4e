"""Which errors are the server's own: raised by its `receive` and `send`, not by the handler.

A server raises in many forms when a client has left: an `OSError`, or a `RuntimeError` of a transport
that is closed. So the form does not matter, only where it was raised: in the server's function. That
is read off the traceback, which costs nothing before there is an error.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from types import CodeType
from typing import Any, cast

# Causes of causes, and groups in groups, are followed so far.
_DEEPEST = 8
_CALL = "__call__"


def code_of(function: Any) -> CodeType | None:
    """The code that runs when a function, method or other object is called; None if it is no Python."""
    while isinstance(function, partial):
        function = function.func
    code = getattr(function, "__code__", None)
    if code is None:
        called: object = function
        call: Any = getattr(type(called), _CALL, None)
        code = getattr(call, "__code__", None)
    return code if isinstance(code, CodeType) else None


def was_raised_in(
    error: BaseException | None, codes: Collection[CodeType | None], deepest: int = _DEEPEST
) -> bool:
    """Whether an error, or what it was raised from, came out of one of some functions.

    A group came out of them if all its errors did.

    Args:
        error: What was raised, None if nothing.
        codes: The code of the functions.
        deepest: So many causes are followed.
    """
    while error is not None and deepest > 0:
        deepest -= 1
        if isinstance(error, BaseExceptionGroup):
            group = cast("BaseExceptionGroup[BaseException]", error)
            return all(was_raised_in(each, codes, deepest) for each in group.exceptions)
        traceback = error.__traceback__
        while traceback is not None:
            if traceback.tb_frame.f_code in codes:
                return True
            traceback = traceback.tb_next
        error = error.__cause__
    return False


def is_of_server(error: BaseException, function: Any) -> bool:
    """Whether a function of the server raised an error, and not for a mistake in its arguments."""
    try:
        if not isinstance(error, Exception) or isinstance(error, (TypeError, AssertionError)):
            return False
        return was_raised_in(error, {code_of(function)})
    except Exception:  # an object of the server that is unlike others
        return False
