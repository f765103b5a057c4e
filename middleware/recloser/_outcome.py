"""Outcomes of calls, and the outcome of an HTTP status. `_classify_error.py` has that of errors."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import cast

from recloser._errors import BreakerOpenError

# An error is raised from another, that from a third, and so on: so many are looked at.
_DEEPEST = 8


class Outcome(enum.Enum):
    """How a call ended, as evidence about the health of the callee."""

    SUCCESS = "success"
    """The callee answered. The breaker decides whether the answer was slow."""
    FAILURE = "failure"
    """The call failed, and the callee caused that."""
    THROTTLED = "throttled"
    """The callee asked for a later call. That is about our rate of calls, not about its health."""
    IGNORED = "ignored"
    """The caller caused the error (a 4xx, a local mistake). No vote, but an answer is a good probe."""
    CANCELLED = "cancelled"
    """The caller went away. No vote, unless the call was slow already, or all callers go away."""

    @staticmethod
    def of_error(error: BaseException) -> Outcome:
        """Classify what a call raised.

        A refusal by another breaker is `IGNORED`, and so is an error that stands for one. Any other
        `Exception` is a `FAILURE`. Another `BaseException` (cancellation, `GeneratorExit`,
        `KeyboardInterrupt`, `SystemExit`) is `CANCELLED`. An exception group has the worst outcome
        of its leaves.
        """
        if stands_for_refusal(error):
            return Outcome.IGNORED
        if isinstance(error, BaseExceptionGroup):
            group = cast("BaseExceptionGroup[BaseException]", error)
            return Outcome.worst(Outcome.of_error(leaf) for leaf in group.exceptions)
        return Outcome.FAILURE if isinstance(error, Exception) else Outcome.CANCELLED

    @staticmethod
    def worst(outcomes: Iterable[Outcome]) -> Outcome:
        """Return the worst of several outcomes of one call.

        The order is `FAILURE`, `THROTTLED`, `CANCELLED`; `IGNORED` if there is none of these.
        """
        found = set(outcomes)
        for worst in (Outcome.FAILURE, Outcome.THROTTLED, Outcome.CANCELLED):
            if worst in found:
                return worst
        return Outcome.IGNORED

    @staticmethod
    def of_status(status: int) -> Outcome:
        """Classify the status of an answer by our own handler (inbound)."""
        if status >= 500:
            return Outcome.FAILURE
        return Outcome.IGNORED if status >= 400 else Outcome.SUCCESS

    @staticmethod
    def of_upstream_status(status: int) -> Outcome:
        """Classify the status of an answer by an upstream (outbound).

        408 is a time-out of the upstream and 529 an overload, so they are failures. 429 is a limit
        on our rate.
        """
        if status == 429:
            return Outcome.THROTTLED
        if status >= 500 or status == 408:
            return Outcome.FAILURE
        return Outcome.IGNORED if status >= 400 else Outcome.SUCCESS


def is_of_refusal(error: BaseException) -> bool:
    """Whether an SDK raised an error for the 503 that a breaker gave it in place of an answer.

    The adapters mark that response by an attribute, because no server can send one.
    """
    try:
        response = getattr(error, "response", None)
        return getattr(response, "recloser_refused", False) is True
    except Exception:
        return False  # a foreign object may raise anything


def stands_for_refusal(error: BaseException | None) -> bool:
    """Whether an error is a refusal by a breaker, or stands for one, so that it says no more.

    It stands for one if it was raised from one (`raise HTTPException(503) from refusal`), or while
    one was handled. Errors of Python itself are an exception to the second: they are raised by what
    is tried instead.
    """
    if error is None:
        return False
    cause, deepest = error, _DEEPEST
    while not isinstance(cause, BreakerOpenError) and not is_of_refusal(cause):
        deepest -= 1
        if cause.__cause__ is None or not deepest:
            handled = isinstance(error.__context__, BreakerOpenError)
            return handled and type(error).__module__ != "builtins"
        cause = cause.__cause__
    return True


def nothing_sent(error: BaseException) -> bool:
    """Whether an error proves that nothing was sent: unknown host, no listener, or a refusal.

    Only the error itself is read, never its cause: a client that tried twice may have sent the
    second time. Clients with errors of their own (httpx, requests, aiohttp) need their own rule.
    """
    if isinstance(error, (ConnectionRefusedError, BreakerOpenError)):
        return True
    # Imported here: it would be a third of the import time of recloser. The code that raised such
    # an error has imported it already.
    import socket

    return isinstance(error, socket.gaierror)
