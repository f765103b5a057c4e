"""Sentry: a breadcrumb for each change of state, one issue for each key that opens, and no refusals.

import sentry_sdk
from recloser_adapters.sentry import drop_refusals, instrument

sentry_sdk.init(dsn, before_send=drop_refusals)
instrument(registry)
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

import sentry_sdk
from sentry_sdk.integrations.logging import ignore_logger

from recloser import BreakerOpenError, Mode, Registry, State, Transition
from recloser.hints import check_registry
from recloser_adapters._background import Background

__all__ = ["Instrumentation", "drop_refusals", "instrument"]

EventT = TypeVar("EventT")
_LONGEST_CHAIN = 100


def instrument(registry: Registry) -> Instrumentation:
    """Tell Sentry what the breakers of a registry do.

    - Each change of state is a breadcrumb of the request that caused it.
    - Each opening is an event, sent by a thread of its own. All openings of a key are one issue. A
      failed probe keeps a breaker open, so it is no opening, and one by hand is no trouble. What was
      only observed is an event of level `info`.

    Sentry makes breadcrumbs of log records, too; those of the logger `recloser` are switched off, or
    each change would be there twice.

    Args:
        registry: The registry.

    Returns:
        The connection: `end()` ends it.

    Raises:
        TypeError: `registry` is no registry.
    """
    check_registry(registry, Registry)
    ignore_logger("recloser")
    return Instrumentation(registry)


class Instrumentation:
    """The connection of a registry with Sentry, made by `instrument`."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._background = Background("recloser-sentry", self._fault)
        self._unsubscribe = registry.subscribe(self)

    @property
    def dropped(self) -> int:
        """Number of events that were dropped, because too many waited."""
        return self._background.dropped

    def end(self) -> None:
        """Tell nothing more."""
        self._unsubscribe()

    def flush(self, timeout: float = 2.0) -> bool:
        """Wait until Sentry has all events, some seconds at most; return whether it has."""
        return self._background.flush(timeout)

    def on_transition(self, transition: Transition) -> None:
        """Add the breadcrumb, and send an opening in the background."""
        opens = transition.after is State.OPEN and transition.before is not State.HALF_OPEN
        enforced = transition.mode is Mode.ENFORCE
        bad = (opens or transition.after is State.LIMITED) and enforced
        sentry_sdk.add_breadcrumb(
            category="recloser",
            level="warning" if bad else "info",
            message=str(transition),
            data=_facts(transition),
        )
        if opens and transition.reason.rule != "manual":
            event, client = _event(transition, enforced=enforced), sentry_sdk.get_client()
            # Not in this thread: `before_send` and the transport may take long. The client is that
            # of the request, but not its scope: the issue is about the callee, whoever asked it.
            self._background.put(lambda: client.capture_event(event, scope=sentry_sdk.Scope()))

    def _fault(self, error: Exception) -> None:
        self._registry.fault("sentry", error)


def _facts(transition: Transition) -> dict[str, Any]:
    return {
        "key": transition.key,
        "before": transition.before.value,
        "after": transition.after.value,
        "mode": transition.mode.value,
        "rule": transition.reason.rule,
        "sentence": transition.reason.sentence,
        "numbers": dict(transition.reason.numbers),
    }


def _event(transition: Transition, *, enforced: bool) -> Any:
    verb = "opened" if enforced else "would have opened"
    bad_calls = [
        {
            "outcome": bad.outcome,
            "latency": bad.latency,
            "error": bad.error,
            "trace": bad.trace,
        }
        for bad in transition.bad_calls
    ]
    return {
        "message": f"breaker {transition.key!r} {verb}: {transition.reason.sentence}",
        "level": "warning" if enforced else "info",
        "logger": "recloser",
        "timestamp": datetime.fromtimestamp(time.time(), UTC),
        "fingerprint": ["recloser", transition.key],
        "tags": {"recloser.key": transition.key, "recloser.rule": transition.reason.rule},
        "contexts": {"recloser": {**_facts(transition), "bad_calls": bad_calls}},
    }


def drop_refusals(event: EventT, hint: Mapping[str, Any]) -> EventT | None:
    """Drop the events of refused calls: `sentry_sdk.init(..., before_send=drop_refusals)`.

    An opening is one issue; the calls that are refused because of it are no further trouble. They are
    `BreakerOpenError`, and errors that were raised from one (`raise MyError from refusal`). An error
    that only happened while a refusal was handled is kept.

    Returns:
        None for a refusal, and the event otherwise. Call it first in a `before_send` of your own.
    """
    found = hint.get("exc_info")
    error = found[1] if found else None
    return None if isinstance(error, BaseException) and _is_refusal(error) else event


def _is_refusal(error: BaseException) -> bool:
    each: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if each is None:
            return False
        if isinstance(each, BreakerOpenError):
            return True
        if isinstance(each, BaseExceptionGroup):
            group = cast("BaseExceptionGroup[BaseException]", each)
            return all(map(_is_refusal, group.exceptions))
        each = each.__cause__
    return False
