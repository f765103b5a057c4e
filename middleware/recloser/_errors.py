"""The exceptions of recloser.

    RecloserError
    ├── BreakerOpenError    the breaker refused the call; nothing was sent
    └── HopelessError       the call was cut off; it may have had an effect

A mistake in the configuration is a `ValueError` or `TypeError` at construction, never one of these.
"""

from __future__ import annotations

from typing import Any, TypeVar

from recloser._events import Reason
from recloser._state import State


class RecloserError(Exception):
    """The base class of recloser's own exceptions."""


class BreakerOpenError(RecloserError):
    """The breaker refused the call; nothing was sent.

    Its `args` are plain values, so that it can be sent as JSON (Celery does) and made again from
    them. Only the numbers of the reason are lost then; pickle and copy keep them.

    Args:
        key: The key of the breaker that refused.
        state: Its state, or the value of that.
        reason: Why it got this state, or the sentence of that; None if it has no reason.
        retry_after: Seconds until a call may pass, >= 0.

    Attributes:
        key: The key of the breaker that refused.
        state: `State.OPEN`, `State.LIMITED` if as many calls are in flight as may be, or
            `State.HALF_OPEN` if the window had no room for another probe.
        reason: Why the breaker got this state; None if it has no reason.
        retry_after: Seconds until a call may pass, >= 0.
    """

    def __init__(
        self,
        key: str,
        state: State | str = State.OPEN,
        reason: Reason | str | None = None,
        retry_after: float = 0.0,
    ) -> None:
        self.key: str = key
        # Not State(state) for one that is a State already: to look it up takes longer than the rest.
        self.state: State = state if isinstance(state, State) else State(state)
        self.reason: Reason | None = Reason("", reason) if isinstance(reason, str) else reason
        self.retry_after: float = retry_after
        sentence = None if self.reason is None else self.reason.sentence
        super().__init__(key, self.state.value, sentence, retry_after)

    def __reduce__(self) -> tuple[Any, ...]:
        return remade, (type(self), self.args, self.__dict__)

    def __str__(self) -> str:
        # Keys may come from outside: repr() keeps control characters out of logs.
        why = f": {self.reason}" if self.reason is not None else ""
        return f"breaker {self.key!r} is {self.state.value}, retry in {self.retry_after:.1f} s{why}"


ErrorT = TypeVar("ErrorT", bound=BaseException)


def remade(kind: type[ErrorT], args: tuple[object, ...], attributes: dict[str, Any]) -> ErrorT:
    """A copy of an error, whatever arguments its class is made with."""
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(attributes)
    return error


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
