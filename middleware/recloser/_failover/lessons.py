"""What the end of an attempt teaches a `Failover`: which provider answers, and which is out of reach."""

from __future__ import annotations

from typing import Any

from recloser._classify_error import judge_error
from recloser._failover.selection import Selection
from recloser._failover.time_limits import NEARLY
from recloser._outcome import Outcome
from recloser._permit import Permit
from recloser._state import State

# As a plain global: to look up a member of an enum takes 60 ns on Python 3.11.
_LIMITED = State.LIMITED


def learn_from_end(
    selection: Selection[Any],
    key: str,
    permit: Permit,
    outcome: Outcome,
    *,
    sent: bool,
    answered: bool,
    limit: float,
) -> None:
    """Learn from an attempt that did not serve the call.

    Args:
        selection: The providers of the call.
        key: The key of the provider.
        permit: The permit of the attempt.
        outcome: How the attempt ended.
        sent: Whether the request may have reached the provider.
        answered: Whether the provider answered, well or badly.
        limit: Seconds that the attempt was allowed to take; 0.0 if nobody asked.
    """
    memory, now = selection.memory, selection.settings.clock()
    if answered and outcome is not Outcome.CANCELLED:
        memory.cut_offs.answered(permit, now)
        return
    waited = now - permit.started
    if sent and outcome is Outcome.FAILURE and limit and waited >= NEARLY * limit:
        memory.cut_offs.cut(permit.breaker.key, waited)
        selection.cut_off.append((permit.breaker.key, waited))
        slow = permit.breaker.state is _LIMITED
        memory.note_speed(permit.breaker.key, waited, now, slow=slow)
        return
    memory.cut_offs.left(permit)
    if not sent and outcome is Outcome.FAILURE and selection.call.model is not None:
        # It is the whole provider that cannot be reached, not one of its models.
        memory.unreached.add(key)
        selection.settings.registry[key].record(0.0, False)


def learn_from_service(selection: Selection[Any], key: str, permit: Permit) -> None:
    """Learn from the attempt that served the call; the arguments are those of `learn_from_end`."""
    memory, now = selection.memory, selection.settings.clock()
    memory.served_at[key] = permit.started
    memory.accept(key, selection.call.model)
    memory.cut_offs.served(permit, now)
    took = now - permit.started
    asked = permit.breaker
    slow = asked.state is _LIMITED and took > asked.slow_threshold * asked.ratio_of(permit.token)
    memory.note_speed(asked.key, took, now, slow=slow)
    for breaker, after in selection.cut_off:
        if took >= after:
            # The call itself takes long: the provider before would have answered as well.
            memory.cut_offs.would_have_taken(breaker, took, now)
    if key in memory.unreached:
        memory.unreached.discard(key)
        selection.settings.registry[key].record(0.0, True)


def note_answer(permit: Permit, outcome: Outcome, error: BaseException) -> None:
    """Note that a provider that rejects a call is alive: it has answered."""
    if outcome is Outcome.IGNORED and judge_error(error).answered:
        permit.mark()
