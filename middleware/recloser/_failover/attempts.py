"""Attempts: the loop over the attempts of one call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf
from typing import TypeVar

from recloser._failover.attempt import Attempt
from recloser._failover.call import Call
from recloser._failover.memory import Memory
from recloser._failover.provider import Provider
from recloser._failover.report import Record
from recloser._failover.selection import Selection
from recloser._failover.settings import Settings

T = TypeVar("T")


def attempts_of_call(
    settings: Settings, memory: Memory, providers: Iterable[Provider[T]], call: Call
) -> Iterator[Attempt[T]]:
    """Begin a call and return its attempts. They end when one has served it, or none is left.

    Raises:
        BreakerOpenError: On the first step, if every provider refuses.
    """
    started = settings.clock()
    record = None
    if settings.on_delivery is not None or settings.on_attempt is not None:
        record = Record(
            settings.on_delivery,
            settings.registry.fault,
            settings.clock,
            started,
            settings.on_attempt,
        )
    selection = Selection(settings, memory, providers, record, call)
    budget = settings.time_budget
    return _one_by_one(selection, inf if budget is None else started + budget)


def _one_by_one(selection: Selection[T], deadline: float) -> Iterator[Attempt[T]]:
    record = selection.record
    if not selection.choose():
        if record is not None:
            record.deliver(None)
        raise selection.refusal()
    number = 0
    # If an attempt does not serve the call, the end of its block chooses the next provider or none.
    while selection.chosen is not None:
        provider, permit, is_least_bad = selection.chosen
        selection.chosen = None
        number += 1
        attempt = Attempt(selection, deadline, number, provider, permit, is_least_bad)
        if record is not None:
            record.begin_attempt(attempt)
        yield attempt
