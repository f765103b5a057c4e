"""What happened: the changes of state of each key, and what was done by hand."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any

from recloser import BadCall, Override, Reason, State, Transition

_KEPT = 20  # for each key
_PROBED = ("half_open", "open")
_log = logging.getLogger("recloser.dashboard")


class Record:
    """A listener that keeps the last changes of each key.

    It is called where a breaker changes its state, never by a call that changes nothing.

    Args:
        clock: The clock of the registry.

    Attributes:
        changed: Keys whose figures have to be measured again. Who measures takes them out.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._transitions: dict[str, deque[dict[str, Any]]] = {}
        self._actions: dict[str, deque[dict[str, Any]]] = {}
        self._outages: dict[str, tuple[float, dict[str, Any] | None]] = {}
        self.changed: set[str] = set()

    def on_transition(self, transition: Transition) -> None:
        """Keep a change of state."""
        now, clock, key = time.time(), self._clock(), transition.key
        entry: dict[str, Any] = {
            "at": moment(now - (clock - transition.at)),
            "before": transition.before.value,
            "after": transition.after.value,
            "mode": transition.mode.value,
            "reason": reason_json(transition.reason),
            "generation": transition.generation,
            "by": transition.by,
            "bad_calls": [
                _bad_call(each, now - (clock - each.at)) for each in transition.bad_calls
            ],
            "repeats": 0,
        }
        if transition.after in (State.CLOSED, State.LIMITED):
            self._outages.pop(key, None)
        elif key not in self._outages or transition.by:
            self._outages[key] = (transition.at, entry["reason"])
        kept = self._transitions.setdefault(key, deque(maxlen=_KEPT))
        # Probes fail again and again: the last time is kept, else the opening would be pushed out.
        if (entry["before"], entry["after"]) == _PROBED and len(kept) > 1:
            earlier = kept[-2]
            if (earlier["before"], earlier["after"]) == _PROBED:
                kept.pop()
                kept.pop()
                entry["repeats"] = earlier["repeats"] + 1
        kept.append(entry)
        self.changed.add(key)

    def outage(self, key: str) -> dict[str, Any] | None:
        """Since when a key is open or half-open, in seconds, and why; None if it is not."""
        began, reason = self._outages.get(key, (0.0, None))
        return (
            None if reason is None else {"since": number(self._clock() - began), "reason": reason}
        )

    def on_override(self, key: str, override: Override, ended: bool) -> None:
        """Have a key measured again whose mode was changed by hand."""
        self.changed.add(key)

    def act(self, key: str, action: str, by: str, asked: dict[str, Any]) -> None:
        """Keep, and log, what somebody did by hand."""
        entry = {"at": moment(time.time()), "action": action, "by": by, **asked}
        self._actions.setdefault(key, deque(maxlen=_KEPT)).append(entry)
        self.changed.add(key)
        _log.info(
            "%r: %s by %r: %r",
            key,
            action,
            by,
            asked,
            extra={"recloser_key": key, "recloser_by": by},
        )

    def transitions(self, key: str) -> list[dict[str, Any]]:
        """The changes of state of a key, the latest first."""
        return list(reversed(list(self._transitions.get(key, ()))))

    def actions(self, key: str) -> list[dict[str, Any]]:
        """What was done to a key on this dashboard, the latest first."""
        return list(reversed(list(self._actions.get(key, ()))))

    def forget_others(self, keys: Collection[str]) -> None:
        """Keep what is known of some keys, and forget all others."""
        known: tuple[dict[str, Any], ...] = (self._transitions, self._actions, self._outages)
        for kept in known:
            for key in list(kept):
                if key not in keys:
                    kept.pop(key, None)


def _bad_call(call: BadCall, at: float) -> dict[str, Any]:
    return {
        "at": moment(at),
        "outcome": call.outcome,
        "latency": number(call.latency),
        "error": call.error,
        "trace": call.trace,
    }


def reason_json(reason: Reason | None) -> dict[str, Any] | None:
    """A reason as JSON."""
    if reason is None:
        return None
    numbers = {name: number(value) for name, value in reason.numbers.items()}
    return {"rule": reason.rule, "sentence": reason.sentence, "numbers": numbers}


def number(value: float) -> float | None:
    """A number as JSON, to the millionth; None for an infinite or unknown one."""
    return round(value, 6) if abs(value) < 1e300 else None  # a comparison with NaN is false


def moment(at: float) -> str:
    """A time in seconds since 1970 as JSON: in UTC, by ISO 8601."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
