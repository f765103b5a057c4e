"""Listeners: delivers transitions to listeners and the log, and counts faults; one per registry."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from recloser._events import Listener, Transition
from recloser._stall import StallWatch, watch_of
from recloser._state import State

if TYPE_CHECKING:
    import logging

_LOG_EVERY = 60.0  # seconds between two log lines about the same kind of fault


@cache
def _log() -> logging.Logger:
    # Imported for the first log line: it would be a third of the import time of recloser.
    import logging

    logger = logging.getLogger("recloser")
    logger.addHandler(logging.NullHandler())
    return logger


class Listeners:
    """Listeners, the log, and the count of faults.

    Args:
        clock: Returns monotonic seconds.

    Attributes:
        faults: Number of faults in key functions, classifiers, listeners, handlers and our code.
        stalls: Reports when this process stood still.
        strange_latencies: Number of latencies ignored because they were negative, infinite or NaN.
    """

    __slots__ = ("_listeners", "_logged_at", "faults", "stalls", "strange_latencies")

    def __init__(self, clock: Callable[[], float]) -> None:
        # Replaced as a whole, never changed in place: delivery reads it without a lock.
        self._listeners: tuple[Listener, ...] = ()
        self._logged_at: dict[str, float] = {}
        self.faults: int = 0
        self.stalls: StallWatch = watch_of(clock)
        self.strange_latencies: int = 0

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Send transitions to a listener; call the result to unsubscribe.

        Raises:
            TypeError: The listener has no method `on_transition`.
        """
        if not callable(getattr(listener, "on_transition", None)):
            raise TypeError(f"listener must be an object with on_transition(), not {listener!r}")
        self._listeners = (*self._listeners, listener)

        def unsubscribe() -> None:
            self._listeners = tuple(each for each in self._listeners if each is not listener)

        return unsubscribe

    def deliver(self, transition: Transition) -> None:
        """Log a transition and pass it to every listener; count the exceptions that they raise."""
        opened = transition.before is State.CLOSED and transition.after is State.OPEN
        try:
            log = _log().warning if opened else _log().info
            log("%s", transition, extra={"recloser_key": transition.key})
        except Exception as error:  # raised by a logging handler of the user
            self.fault("logging", error)
        for listener in self._listeners:
            try:
                listener.on_transition(transition)
            except Exception as error:
                self.fault("listener", error)

    def fault(self, where: str, error: BaseException) -> None:
        """Count a fault that must not reach the call; log it at most once a minute per place."""
        self.faults += 1
        now = time.monotonic()
        if now - self._logged_at.get(where, -_LOG_EVERY) < _LOG_EVERY:
            return
        self._logged_at[where] = now
        # If a logging handler of the user raises, that cannot be logged. It is only counted.
        try:
            trace = error if _is_printable(error) else None
            message = "fault in %s (no call was refused because of it): %r"
            _log().warning(message, where, error, exc_info=trace)
        except Exception:
            self.faults += 1


def _is_printable(error: BaseException) -> bool:
    """Whether the traceback of this error can be logged: no message in it can forge a log line."""
    chain: BaseException | None = error
    for _ in range(20):
        if chain is None:
            return True
        if not str(chain).isprintable():
            return False
        chain = chain.__cause__ or chain.__context__
    return False
