"""Listeners: tells listeners and the log what happens, and counts faults; one per registry."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import ref

from recloser._events import Transition
from recloser._hooks import AnyListener, CallEnd, FleetHook, Refusal
from recloser._locks import new_lock, within
from recloser._outcome import Outcome
from recloser._overrides import Override
from recloser._redaction import seen, shown
from recloser._stall import StallWatch, watch_of
from recloser._state import Mode, State
from recloser.hints import check_function

if TYPE_CHECKING:
    import logging

_LOG_EVERY = 60.0  # seconds between two log lines about the same kind of fault
_WARNED = 1000  # keys of which is remembered that there was a warning
_METHODS = ("on_transition", "on_refuse", "on_call_end", "on_override")
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
        on_refuse: What is called with each refusal.
        on_call_end: What is called with the end of each call.
        trace: Returns the id of the trace of the call that runs now; None if nobody knows.
        fleet: The fleet that the registry is in; None for none.
        chaos: The faults that are injected on purpose now; None for none. See `_chaos.py`.
        faults: Number of faults in key functions, classifiers, listeners, handlers and our code.
        stalls: Reports when this process stood still.
        strange_latencies: Number of latencies ignored because they were negative, infinite or NaN.
    """

    __slots__ = (
        "_listeners",
        "_logged_at",
        "_warned_at",
        "chaos",
        "faults",
        "fleet",
        "on_call_end",
        "on_refuse",
        "registry",
        "stalls",
        "strange_latencies",
        "trace",
    )

    def __init__(self, clock: Callable[[], float], registry: Any = None) -> None:
        # Replaced as a whole, never changed in place: delivery reads it without a lock.
        self._listeners: tuple[Any, ...] = ()
        self.on_refuse: tuple[Callable[[Refusal], None], ...] = ()
        self.on_call_end: tuple[Callable[[CallEnd], None], ...] = ()
        self.trace: Callable[[], str] | None = None
        self._logged_at: dict[str, float] = {}
        # By key and state: when it was warned last that a breaker limits or opens.
        self._warned_at: dict[tuple[str, State], float] = {}
        self.chaos: tuple[Any, ...] | None = None
        self.faults: int = 0
        self.fleet: FleetHook | None = None
        self.registry: Callable[[], Any] = _no_registry if registry is None else ref(registry)
        self.stalls: StallWatch = watch_of(clock)
        self.strange_latencies: int = 0

    @property
    def chaos_now(self) -> tuple[Any, ...]:
        """`chaos`, or an empty tuple."""
        return self.chaos or ()

    def inject(self, permit: Any, now: float) -> Any:
        """The answer to a call that was admitted: its permit, or an `Injected` with a fault."""
        try:
            for each in self.chaos_now:
                if (found := each.inject(permit, now)) is not None:
                    return found
        except Exception as error:
            self.fault("chaos", error)
        return permit

    def subscribe(self, listener: AnyListener) -> Callable[[], None]:
        """Tell a listener what happens; call the result to unsubscribe.

        Raises:
            TypeError: The listener has none of the methods of a listener.
        """
        if not any(callable(getattr(listener, name, None)) for name in _METHODS):
            raise TypeError(
                "listener must be an object with on_transition(), on_refuse(), on_call_end() or "
                f"on_override(), not {listener!r}"
            )
        for name in _METHODS:
            if (method := getattr(listener, name, None)) is not None:
                check_function(name, method)
        within(_changing, self._change, listener, True)
        registry = self.registry()
        for breaker in () if registry is None else registry:
            breaker.stop_quick()  # from now on, each end may have to be told

        subscribed = [True]

        def unsubscribe() -> None:
            if subscribed and subscribed.pop():
                within(_changing, self._change, listener, False)

        return unsubscribe

    def _change(self, listener: AnyListener, added: bool) -> None:
        listeners = [*self._listeners]
        if added:
            listeners.append(listener)
        else:
            # By identity, and one of them: who subscribed twice may unsubscribe once.
            places = [place for place, each in enumerate(listeners) if each is listener]
            del listeners[places[0]]
        self._listeners = tuple(listeners)
        self.on_refuse = self._methods("on_refuse")
        self.on_call_end = self._methods("on_call_end")

    def _methods(self, name: str) -> tuple[Callable[..., None], ...]:
        found: list[Any] = [getattr(each, name, None) for each in self._listeners]
        return tuple([each for each in found if each is not None])

    def deliver(self, transition: Transition) -> None:
        """Log a transition and pass it to every listener; count the exceptions that they raise."""
        try:
            log = _log().warning if self._is_news(transition) else _log().info
            log("%s", transition, extra=_extra(transition))
        except Exception as error:  # raised by a logging handler of the user
            self.fault("logging", error)
        if self.fleet is not None:
            self.fleet.changed(transition)
        self.tell(self._methods("on_transition"), transition)

    def _is_news(self, transition: Transition) -> bool:
        """Whether to log a warning: it limits or opens. For a key that flaps, once a minute."""
        before, after = transition.before, transition.after
        opened = after is State.OPEN and before is not State.HALF_OPEN and before is not after
        limited = after is State.LIMITED and before is State.CLOSED
        if not opened and not limited:
            return False
        about, now = (transition.key, after), time.monotonic()
        if now - self._warned_at.get(about, -_LOG_EVERY) < _LOG_EVERY:
            return False
        if len(self._warned_at) >= _WARNED:
            self._warned_at.clear()
        self._warned_at[about] = now
        return True

    def deliver_override(self, key: str, override: Override, *, ended: bool) -> None:
        """Log an override of a mode that has begun or ended, and tell the listeners."""
        try:
            change = "ended" if ended else "began"
            mode, share = override.mode, override.enforce_share
            _log().info(
                "%r override by hand %s: %s",
                key,
                change,
                override.reason or (mode.value if mode is not None else share),
                extra={"recloser_key": key, "recloser_by": override.by},
            )
        except Exception as error:  # raised by a logging handler of the user
            self.fault("logging", error)
        if self.fleet is not None:
            self.fleet.overridden(key, override, ended)
        self.tell(self._methods("on_override"), key, override, ended)

    def tell(self, methods: tuple[Callable[..., None], ...], *what: object) -> None:
        """Call methods of listeners; count the exceptions that they raise."""
        for method in methods:
            try:
                method(*what)
            except Exception as error:
                self.fault("listener", error)

    def tell_end(
        self, key: str, outcome: Outcome, latency: float, at: float, *, is_spared: bool = False
    ) -> None:
        """Tell the listeners of the end of a call; see `CallEnd`."""
        self.tell(self.on_call_end, CallEnd(key, outcome, latency, at, is_spared))

    def trace_id(self) -> str:
        """The id of the trace of the call that runs now; "" if it is not known."""
        trace = self.trace
        if trace is None:
            return ""
        try:
            return str(trace() or "")
        except Exception as error:
            self.fault("trace", error)
            return ""

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


def _extra(transition: Transition) -> dict[str, object]:
    """What a log record carries besides its text, for handlers that write JSON."""
    reason = transition.reason
    return {
        "recloser_key": transition.key,
        "recloser_before": transition.before.value,
        "recloser_after": transition.after.value,
        "recloser_mode": transition.mode.value,
        "recloser_is_enforced": transition.mode is Mode.ENFORCE,
        "recloser_rule": reason.rule,
        "recloser_reason": reason.sentence,
        "recloser_by": reason.by,
        "recloser_generation": transition.generation,
        **{f"recloser_{name}": value for name, value in reason.numbers.items()},
    }


def _place_of(error: BaseException) -> str:
    """Where an error was raised, for a log line: the last lines of code of its traceback."""
    places: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename}:{trace.tb_lineno} in {code.co_name}")
        trace = trace.tb_next
    return f" ({repr(' < '.join(places[: -_PLACES - 1 : -1]))[1:-1]})" if places else ""
