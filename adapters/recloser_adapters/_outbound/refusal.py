"""The answer to a refused call: an error of the client library, or a 503 made here."""

from __future__ import annotations

import math
from typing import Any, Self

from recloser import BreakerOpenError, Reason, RecloserError, State, problem_document

# Seconds, one day. A breaker opened by hand may stay open for ever. No header can express that.
_LONGEST_WAIT = 86_400.0


class ClientBreakerOpenError(BreakerOpenError):
    """A refusal that is also an error of the client library. List this class first as a base."""

    def __init__(
        self,
        key: str,
        state: State | str = State.OPEN,
        reason: Reason | str | None = None,
        retry_after: float = 0.0,
    ) -> None:
        refusal = BreakerOpenError(key, state, reason, retry_after)
        self.key: str = refusal.key
        self.state: State = refusal.state
        self.reason: Reason | None = refusal.reason
        self.retry_after: float = refusal.retry_after
        # The library's own class is next in the method resolution order. It takes a message.
        super(RecloserError, self).__init__(str(self))
        self.args: tuple[object, ...] = refusal.args

    @classmethod
    def of(cls, refusal: BreakerOpenError) -> Self:
        """The same refusal, as an error of the client library."""
        return cls(refusal.key, refusal.state, refusal.reason, refusal.retry_after)

    def __reduce__(self) -> tuple[Any, ...]:
        # Not the request that the library adds: it has secrets, and a body that may not be sent.
        return type(self), (self.key, self.state, self.reason, self.retry_after)


def refusal_headers(refusal: BreakerOpenError) -> dict[str, str]:
    """The headers of a 503 for a refusal.

    Without the third and the fourth the SDKs of OpenAI, Anthropic and Stripe sleep and try again.
    """
    return {
        "content-type": "application/problem+json",
        "cache-control": "no-store",
        "x-should-retry": "false",
        "stripe-should-retry": "false",
        "retry-after": str(max(math.ceil(_bounded(refusal.retry_after)), 1)),
    }


def refusal_body(refusal: BreakerOpenError) -> bytes:
    """The problem document (RFC 9457) of a refusal. It names the key: it stays in this process.

    The SDKs of OpenAI and Stripe read their message in `error`.
    """
    message = str(refusal)
    return problem_document(
        503,
        "Service Unavailable",
        message,
        error={"type": "breaker_open", "code": "breaker_open", "message": message},
        breaker=refusal.key,
        state=refusal.state.value,
        retry_after=round(_bounded(refusal.retry_after), 3),
    )


def _bounded(seconds: float) -> float:
    return min(seconds, _LONGEST_WAIT)
