"""The exceptions of recloser.

    RecloserError
    ├── BreakerOpenError    the breaker refused the call; nothing was sent
    └── HopelessError       the call was cut off; it may have had an effect

A mistake in the configuration is a `ValueError` or `TypeError` at construction, never one of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recloser._events import Reason
    from recloser._state import State


class RecloserError(Exception):
    """The base class of recloser's own exceptions."""


class BreakerOpenError(RecloserError):
    """The breaker refused the call; nothing was sent.

    Attributes:
        key: The key of the breaker that refused.
        state: `State.OPEN`, `State.LIMITED` if as many calls are in flight as may be, or
            `State.HALF_OPEN` if the window had no room for another probe.
        reason: Why the breaker got this state; None if it has no reason.
        retry_after: Seconds until a call may pass, >= 0.
    """

    def __init__(self, key: str, state: State, reason: Reason | None, retry_after: float) -> None:
        super().__init__(key, state, reason, retry_after)
        self.key = key
        self.state = state
        self.reason = reason
        self.retry_after = retry_after

    def __str__(self) -> str:
        # Keys may come from outside: repr() keeps control characters out of logs.
        why = f": {self.reason}" if self.reason is not None else ""
        return f"breaker {self.key!r} is {self.state.value}, retry in {self.retry_after:.1f} s{why}"


class HopelessError(RecloserError, TimeoutError):
    """The call was cut off, because an answer was hopeless. It may have had an effect.

    It is a `TimeoutError`, so code that handles a time-out handles it, too.

    Attributes:
        key: The key of the breaker that guarded the call.
        timeout: Seconds after which it was cut off.
    """

    def __init__(self, key: str, timeout: float) -> None:
        super().__init__()  # with arguments, an OSError would take them for an errno and a text
        self.args: tuple[object, ...] = (key, timeout)
        self.key = key
        self.timeout = timeout

    def __str__(self) -> str:
        return f"no answer of {self.key!r} within {self.timeout:.3g} s"
