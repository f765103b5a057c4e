"""What the end of a call says about the callee: from an exception or an HTTP status to a vote."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import cast

from recloser._errors import BreakerOpenError


class Outcome(enum.Enum):
    """How a call ended, as far as the callee's health is concerned."""

    SUCCESS = "success"
    """It answered; slow or not is for the breaker to say."""
    FAILURE = "failure"
    """It failed, and that was its own fault."""
    THROTTLED = "throttled"
    """It said "later". A vote about our rate, not about its health."""
    IGNORED = "ignored"
    """The caller's own fault (a 4xx, a local mistake). No vote."""
    CANCELLED = "cancelled"
    """The caller went away. No vote, unless the call had already been slow."""

    @staticmethod
    def of_error(error: BaseException) -> Outcome:
        """Classify what a call raised.

        A refusal by another breaker is ignored, an `Exception` is a failure, and what is no
        `Exception` (cancellation, `GeneratorExit`, `KeyboardInterrupt`, `SystemExit`) cancels.
        Of an exception group the worst leaf counts.
        """
        if isinstance(error, BreakerOpenError):
            return Outcome.IGNORED
        if isinstance(error, BaseExceptionGroup):
            group = cast("BaseExceptionGroup[BaseException]", error)
            return Outcome.worst(Outcome.of_error(leaf) for leaf in group.exceptions)
        return Outcome.FAILURE if isinstance(error, Exception) else Outcome.CANCELLED

    @staticmethod
    def worst(outcomes: Iterable[Outcome]) -> Outcome:
        """What several ends of one call come to: a failure among them is one."""
        found = set(outcomes)
        for worst in (Outcome.FAILURE, Outcome.THROTTLED, Outcome.CANCELLED):
            if worst in found:
                return worst
        return Outcome.IGNORED

    @staticmethod
    def of_status(status: int) -> Outcome:
        """Classify the status that our own handler answered with (inbound)."""
        if status >= 500:
            return Outcome.FAILURE
        return Outcome.IGNORED if status >= 400 else Outcome.SUCCESS

    @staticmethod
    def of_upstream_status(status: int) -> Outcome:
        """Classify the status that an upstream answered with (outbound).

        408 is the upstream's time-out and 529 an overload; 429 is a limit of ours.
        """
        if status == 429:
            return Outcome.THROTTLED
        if status >= 500 or status == 408:
            return Outcome.FAILURE
        return Outcome.IGNORED if status >= 400 else Outcome.SUCCESS


def classify_error(error: BaseException) -> Outcome:
    """Classify what a client raised: by its HTTP status where it has one, else by its type.

    The status is `error.status_code` (OpenAI, Anthropic, Starlette), `error.response.status_code`
    (requests, httpx) or `error.status` (aiohttp). `error.code` is not read: of many protocols it is
    something else. A refusal by a breaker is ignored, whatever status it has.
    """
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return Outcome.worst(classify_error(leaf) for leaf in group.exceptions)
    if isinstance(error, BreakerOpenError) or not isinstance(error, Exception):
        return Outcome.of_error(error)
    response = getattr(error, "response", None)
    for holder, name in ((error, "status_code"), (response, "status_code"), (error, "status")):
        status = getattr(holder, name, None)
        if isinstance(status, int) and 400 <= status <= 599:
            return Outcome.of_upstream_status(status)
    return Outcome.of_error(error)


def nothing_sent(error: BaseException) -> bool:
    """Tell whether the request certainly never left: no such name, no listener, or a refusal.

    Only the error itself is read, never its cause: a client that tried twice may have sent the
    second time. Clients with errors of their own (httpx, requests, aiohttp) need their own rule.
    """
    if isinstance(error, (ConnectionRefusedError, BreakerOpenError)):
        return True
    # Here, because it would be a third of what importing recloser costs. What raised such an error
    # has imported it.
    import socket

    return isinstance(error, socket.gaierror)
