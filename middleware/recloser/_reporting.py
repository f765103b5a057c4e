"""What a registry reports: events to listeners, faults and stalls."""

from __future__ import annotations

from collections.abc import Callable

from recloser._hooks import AnyListener
from recloser._listeners import Listeners
from recloser._stall import StallWatch
from recloser.hints import check_function


class Reporting:
    """The base of `Registry`: what it tells of all its breakers."""

    __slots__ = ("_listeners",)

    _listeners: Listeners

    def subscribe(self, listener: AnyListener) -> Callable[[], None]:
        """Tell a listener what happens to all breakers; call the result to unsubscribe.

        Args:
            listener: An object with at least one of the methods `on_transition`, `on_refuse`,
                `on_call_end` and `on_override`; see `recloser.Listener`.

        Raises:
            TypeError: The listener has none of these methods.
        """
        return self._listeners.subscribe(listener)

    @property
    def trace(self) -> Callable[[], str] | None:
        """A function that returns the id of the present trace, "" for none; None if nobody knows it.

        It is called at the end of bad calls, in their thread. `Transition.bad_calls` names the traces.
        """
        return self._listeners.trace

    @trace.setter
    def trace(self, trace: Callable[[], str] | None) -> None:
        if trace is not None:
            check_function("trace", trace, "a function that returns a str, or None")
        self._listeners.trace = trace

    @property
    def listeners(self) -> Listeners:
        """What its breakers tell, and to whom."""
        return self._listeners

    def fault(self, where: str, error: BaseException) -> None:
        """Count a fault that must not reach the call; log it at most once a minute per place.

        Args:
            where: The place, such as `key function`.
            error: What was raised there.
        """
        self._listeners.fault(where, error)

    def warn(self, about: str, sentence: str) -> None:
        """Log a warning, at most once a minute for each thing that it is about."""
        self._listeners.warn(about, "%s", sentence)

    @property
    def faults(self) -> int:
        """Number of faults in key functions, classifiers, listeners, handlers and our own code."""
        return self._listeners.faults

    @property
    def strange_latencies(self) -> int:
        """Number of latencies ignored because they were negative, infinite or NaN."""
        return self._listeners.strange_latencies

    @property
    def stalls(self) -> StallWatch:
        """The record of when this process stood still; shared by users of the same system clock.

        asyncio event loops in which calls are made beat it automatically.
        """
        return self._listeners.stalls
