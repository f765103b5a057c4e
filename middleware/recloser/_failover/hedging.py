"""Hedging: a second attempt at a call that takes longer than it should, beside the first one.

A second attempt cuts the tail of latencies where slowness is chance: another replica, another
connection, another place in a queue. Where it is load, it would add to the load. So it is sent only

- for a call that may be repeated, after the slow threshold of its provider, which is learned;
- to a provider whose breaker is closed and asks for no pause, and from one that is closed;
- within a budget, see `hedge_budget.py`.

The first good answer wins. The other attempt is cancelled, and has no vote. If the
first attempt fails while the second one runs, the second may still serve the call.

The first attempt runs in the task of the caller, so a call that is not slow costs one timer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any, Generic, TypeVar

from recloser._circuit.votes import OUTPACED
from recloser._failover.attempt import Attempt
from recloser._failover.hedge_budget import HedgeBudget
from recloser._failover.lessons import learn_from_end, learn_from_service, note_answer
from recloser._failover.report import AttemptWatch, Fate, Leg
from recloser._failover.selection import Selection
from recloser._outcome import Outcome
from recloser._permit import Permit
from recloser._retry_after import retry_after_of
from recloser._state import State

T = TypeVar("T")
R = TypeVar("R")

_FAILED = (Outcome.FAILURE, Outcome.THROTTLED)
# The timer of an event loop may be late by so many seconds without a stall.
_LATE = 0.005
# Second attempts that were cancelled and have not ended yet: an event loop keeps no task alive.
_ending: set[asyncio.Task[bool]] = set()


class Hedge(Generic[T, R]):
    """One call that may get a second attempt. It needs asyncio.

    Args:
        attempt: The first attempt, which has just begun.
        send: Makes one attempt.
        budget: How many calls may be sent twice.
    """

    def __init__(
        self,
        attempt: Attempt[T],
        send: Callable[[Attempt[T]], Awaitable[R]],
        budget: HedgeBudget,
    ) -> None:
        self._first = attempt
        self._selection = attempt._selection
        self._send = send
        self._budget = budget
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._second: _Second[T, R] | None = None

    async def first_of(self, answer: Awaitable[R]) -> R:
        """Await the answer of the first attempt, or that of the second if it comes first.

        Raises:
            BaseException: What the first attempt raised, if the second does not serve the call.
        """
        if self._first.number == 1:
            self._budget.note_call()
        delay, caller = self._delay(), asyncio.current_task()
        if delay == inf or caller is None:
            return await answer
        cancelling, is_outpaced = caller.cancelling(), False
        self._begin_in(delay, caller)
        try:
            result = await answer
            is_outpaced = True
        except asyncio.CancelledError:
            if not self._has_lost() or caller.uncancel() > cancelling:
                raise  # somebody else cancels the call
            return self._served_by_second()
        except Exception as error:
            if self._has_lost():  # what it raised when it was cancelled
                caller.uncancel()
                return self._served_by_second()
            if self._second is None:
                raise
            return await self._wait_for_second(self._second, error)
        else:
            if self._has_lost():  # it ignores that it was cancelled
                caller.uncancel()
            return result
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if self._second is not None:
                self._second.stop(is_outpaced=is_outpaced)

    def _has_lost(self) -> bool:
        return self._second is not None and self._second.has_interrupted

    def _delay(self) -> float:
        """Seconds until the second attempt may begin; infinite if there will be none."""
        permit = self._first.permit
        breaker = permit.breaker
        if not breaker.knows_latency or not self._is_allowed():
            return inf
        slow_after = breaker.slow_threshold * breaker.ratio_of(permit.token)
        waited = self._selection.settings.clock() - permit.started
        return max(slow_after - waited, 0.0)

    def _is_allowed(self) -> bool:
        permit = self._first.permit
        return not permit.ended and permit.breaker.state is State.CLOSED

    def _begin_in(self, seconds: float, caller: asyncio.Task[Any]) -> None:
        self._due = self._loop.time() + seconds
        self._timer = self._loop.call_at(self._due, self._begin, caller)

    def _begin(self, caller: asyncio.Task[Any]) -> None:
        """Send the second attempt, if that is allowed now."""
        late = self._loop.time() - self._due
        if late > _LATE:
            # The event loop stood still: the answer may be there, unread.
            self._begin_in(late, caller)
            return
        first, selection = self._first, self._selection
        try:
            if not self._is_allowed() or not selection.has_second(first.key):
                return
            if not self._budget.take():
                return
            choice = selection.choose_second(first.key)
            if choice is None:
                self._budget.give_back()
                return
            if (timer := first._timer) is not None:
                timer.keep_budget()
            deadline = selection.settings.clock() + first.time_left
            attempt = Attempt(selection, deadline, first.number + 1, *choice)
            self._second = _Second(attempt, selection, self._send, caller)
        except Exception as fault:
            selection.settings.registry.fault("hedging", fault)

    def _served_by_second(self) -> R:
        """The second attempt was faster."""
        selection, permit = self._selection, self._first.permit
        _outpaced(permit)
        # It has answered nothing, and `cut_offs` goes on to count that: perhaps its provider hangs.
        if permit.breaker.state is not State.CLOSED:
            now = selection.settings.clock()
            waited = now - permit.started
            selection.memory.note_speed(permit.breaker.key, waited, now, slow=True)
        assert self._second is not None
        return self._conclude(self._second, Fate.OUTPACED, None)

    def _conclude(self, second: _Second[T, R], fate: Fate, error: Exception | None) -> R:
        """The second attempt serves the call; note how the first one ended."""
        self._budget.note_won()
        learn_from_service(self._selection, second.attempt.key, second.attempt.permit)
        self._first.commit(fate=fate, error=error)
        return second.result

    async def _wait_for_second(self, second: _Second[T, R], error: Exception) -> R:
        """The first attempt has failed; the second one may still serve the call."""
        first, selection = self._first, self._selection
        settings, permit = selection.settings, first.permit
        outcome = settings.outcome_of(permit.breaker.key, error)
        if outcome not in _FAILED:
            raise error
        sent = not settings.is_unsent(error)
        permit.end(outcome, error=error, retry_after=retry_after_of(error))
        if not await second.serves():
            raise error  # the attempt itself learns from it
        learn_from_end(selection, first.key, permit, outcome, sent=sent, answered=False, limit=0.0)
        return self._conclude(second, Fate.of(outcome, sent=sent), error)


class _Second(Generic[T, R]):
    """The second attempt at a call, in a task of its own.

    Args:
        attempt: The attempt.
        selection: The providers of the call.
        send: Makes the attempt.
        caller: The task in which the first attempt runs: a good answer interrupts it.

    Attributes:
        attempt: As given.
        has_interrupted: Whether it has served the call, and interrupted the first attempt for that.
        result: Its answer, once it has one.
    """

    result: R

    def __init__(
        self,
        attempt: Attempt[T],
        selection: Selection[T],
        send: Callable[[Attempt[T]], Awaitable[R]],
        caller: asyncio.Task[Any],
    ) -> None:
        self.attempt = attempt
        self._selection = selection
        self.has_interrupted = False
        self._caller: asyncio.Task[Any] | None = caller
        self._record = selection.record
        self._watch: AttemptWatch | None = None
        if self._record is not None:
            self._watch = self._record.begin_second(attempt)
        self._is_told = False
        self._task = asyncio.get_running_loop().create_task(self._run(send))

    async def _run(self, send: Callable[[Attempt[T]], Awaitable[R]]) -> bool:
        """Make the attempt; return whether it serves the call."""
        permit = self.attempt.permit
        try:
            self.result = await send(self.attempt)
        except Exception as error:
            self._failed(error)
            return False
        except BaseException:
            permit.cancel()  # unless `stop` has ended it
            raise
        if self._is_told:
            return False  # it ignores that it was cancelled
        permit.success()
        self._tell(Fate.SERVED)
        if self._caller is not None:
            self.has_interrupted = True
            self._caller.cancel()
        return True

    def _failed(self, error: Exception, fate: Fate | None = None) -> None:
        attempt, selection = self.attempt, self._selection
        settings, permit = selection.settings, attempt.permit
        outcome = settings.outcome_of(permit.breaker.key, error)
        sent = not settings.is_unsent(error)
        learn_from_end(
            selection, attempt.key, permit, outcome, sent=sent, answered=False, limit=0.0
        )
        note_answer(permit, outcome, error)
        permit.end(outcome, error=error, retry_after=retry_after_of(error))
        self._tell(fate or Fate.of(outcome, sent=sent), error)

    def _tell(self, fate: Fate, error: BaseException | None = None) -> None:
        """Add its leg to the record of the call, once."""
        is_told, self._is_told = self._is_told, True
        if self._record is None or is_told:
            return
        attempt = self.attempt
        spent = max(self._selection.settings.clock() - attempt.permit.started, 0.0)
        self._record.end_second(Leg(attempt.key, fate, spent, error), self._watch)

    async def serves(self) -> bool:
        """Wait until it has ended, or its answer is hopeless; return whether it has an answer."""
        self._caller = None
        limit = self.attempt.limit
        await asyncio.wait([self._task], timeout=None if limit == inf else limit)
        if self._task.done():
            return (
                not self._task.cancelled()
                and self._task.exception() is None
                and self._task.result()
            )
        self._failed(TimeoutError("no answer within the time limit of the attempt"), Fate.TIMED_OUT)
        return False

    def stop(self, *, is_outpaced: bool) -> None:
        """Cancel it if it still runs.

        Args:
            is_outpaced: Whether the first attempt was faster. If not, the call was cancelled.
        """
        self._caller = None
        if self._task.done():
            if not self._task.cancelled():
                self._task.exception()  # seen, so that asyncio does not report it
            return
        permit = self.attempt.permit
        if is_outpaced:
            _outpaced(permit)
        else:
            permit.cancel()
        self._tell(Fate.OUTPACED if is_outpaced else Fate.CANCELLED)
        _ending.add(self._task)
        self._task.add_done_callback(_ended)
        self._task.cancel()


def _outpaced(permit: Permit) -> None:
    """End a call that was cancelled because the other attempt had answered: it has no vote."""
    permit.breaker.end(permit, Outcome.CANCELLED, OUTPACED)


def _ended(task: asyncio.Task[bool]) -> None:
    _ending.discard(task)
    if not task.cancelled():
        task.exception()
