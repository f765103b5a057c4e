"""What happened: the changes of state of each key, and what was done by hand."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any

from recloser import Reason, Transition, Vote

_KEPT = 20  # for each key
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
        self.changed: set[str] = set()

    def on_transition(self, transition: Transition) -> None:
        """Keep a change of state."""
        now, clock = time.time(), self._clock()
        _keep(
            self._transitions,
            transition.key,
            {
                "at": moment(now - (clock - transition.at)),
                "before": transition.before.value,
                "after": transition.after.value,
                "mode": transition.mode.value,
                "reason": reason_json(transition.reason),
                "generation": transition.generation,
                "by": transition.by,
                "votes": [_vote(vote, now - (clock - vote.at)) for vote in transition.votes],
            },
        )
        self.changed.add(transition.key)

    def on_override(self, key: str, override: object, ended: bool) -> None:
        """Have a key measured again whose mode was changed by hand."""
        self.changed.add(key)

    def act(self, key: str, action: str, by: str, asked: dict[str, Any]) -> None:
        """Keep, and log, what somebody did by hand."""
        entry = {"at": moment(time.time()), "action": action, "by": by, **asked}
        _keep(self._actions, key, entry)
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
        for kept in (self._transitions, self._actions):
            for key in list(kept):
                if key not in keys:
                    kept.pop(key, None)


def _keep(kept: dict[str, deque[dict[str, Any]]], key: str, entry: dict[str, Any]) -> None:
    kept.setdefault(key, deque(maxlen=_KEPT)).append(entry)


def _vote(vote: Vote, at: float) -> dict[str, Any]:
    return {
        "at": moment(at),
        "outcome": vote.outcome,
        "latency": number(vote.latency),
        "error": vote.error,
        "trace": vote.trace,
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
