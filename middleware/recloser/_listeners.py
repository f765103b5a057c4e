"""Listeners: delivers transitions to listeners and the log, and counts faults; one per registry."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import ref

from recloser._events import Listener, Transition
from recloser._locks import new_lock, within
from recloser._redaction import seen, shown
from recloser._stall import StallWatch, watch_of
from recloser._state import State

if TYPE_CHECKING:
    import logging

_LOG_EVERY = 60.0  # seconds between two log lines about the same kind of fault
_PLACES = 4  # lines of code that are named for a fault


@cache
def _log() -> logging.Logger:
    # Imported for the first log line: it would be a third of the import time of recloser.
    import logging

    # No handler of its own: where the app configures no logging, as under plain uvicorn and
    # gunicorn, Python prints warnings to standard error, and an opening is such a warning.
    return logging.getLogger("recloser")


# Held while the listeners of a registry are replaced: two threads at once would lose one.
_changing = new_lock()


def _after_fork() -> None:
    global _changing
    _changing = new_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _no_registry() -> None:
    return None


class Listeners:
    """Listeners, the log, and the count of faults.

    Args:
        clock: Returns monotonic seconds.
        registry: The registry of the breakers that share them.

    Attributes:
        registry: Returns the registry; None for a breaker that is in none, or if it is gone.
        faults: Number of faults in key functions, classifiers, listeners, handlers and our code.
        stalls: Reports when this process stood still.
        strange_latencies: Number of latencies ignored because they were negative, infinite or NaN.
    """

    __slots__ = ("_listeners", "_logged_at", "faults", "registry", "stalls", "strange_latencies")

    def __init__(self, clock: Callable[[], float], registry: Any = None) -> None:
        # Replaced as a whole, never changed in place: delivery reads it without a lock.
        self._listeners: tuple[Listener, ...] = ()
        self._logged_at: dict[str, float] = {}
        self.faults: int = 0
        self.registry: Callable[[], Any] = _no_registry if registry is None else ref(registry)
        self.stalls: StallWatch = watch_of(clock)
        self.strange_latencies: int = 0

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Send transitions to a listener; call the result to unsubscribe.

        Raises:
            TypeError: The listener has no method `on_transition`.
        """
        if not callable(getattr(listener, "on_transition", None)):
            raise TypeError(f"listener must be an object with on_transition(), not {listener!r}")
        within(_changing, self._change, listener, True)

        def unsubscribe() -> None:
            within(_changing, self._change, listener, False)

        return unsubscribe

    def _change(self, listener: Listener, added: bool) -> None:
        if added:
            self._listeners = (*self._listeners, listener)
        else:
            self._listeners = tuple(each for each in self._listeners if each is not listener)

    def deliver(self, transition: Transition) -> None:
        """Log a transition and pass it to every listener; count the exceptions that they raise."""
        before, after = transition.before, transition.after
        opened = after is State.OPEN and before is not State.HALF_OPEN and before is not after
        limited = after is State.LIMITED and before is State.CLOSED
        try:
            log = _log().warning if opened or limited else _log().info
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
        # Neither the exception nor its traceback is logged: both end with the message.
        self.warn(
            where,
            "fault in %s (no call was refused because of it): %s%s",
            where,
            shown(seen(error)),
            _place_of(error),
        )

    def warn(self, about: str, message: str, *arguments: object) -> None:
        """Log a warning, at most once a minute for each thing that it is about."""
        now = time.monotonic()
        if now - self._logged_at.get(about, -_LOG_EVERY) < _LOG_EVERY:
            return
        self._logged_at[about] = now
        # If a logging handler of the user raises, that cannot be logged. It is only counted.
        try:
            _log().warning(message, *arguments)
        except Exception:
            self.faults += 1


def _place_of(error: BaseException) -> str:
    """Where an error was raised, for a log line: the last lines of code of its traceback."""
    places: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename}:{trace.tb_lineno} in {code.co_name}")
        trace = trace.tb_next
    return f" ({repr(' < '.join(places[: -_PLACES - 1 : -1]))[1:-1]})" if places else ""
