"""Attempt: one try at one provider, and the loop over the attempts of one call.

Nothing here waits or sends; the code in the block of an attempt does that. Sync and async callers
share everything except the two methods that cancel an attempt on asyncio after its time limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Generic, NoReturn, Self, TypeVar

from recloser._classify_error import judge_error
from recloser._failover.limits import (
    attempt_limit,
    equal_share,
    is_remainder,
    is_time_for_another,
    time_left,
)
from recloser._failover.provider import Provider
from recloser._failover.report import Fate, Record
from recloser._failover.selection import Memory, Selection
from recloser._failover.settings import Settings
from recloser._outcome import Outcome
from recloser._permit import Permit
from recloser._retry_after import retry_after_of

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")

# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_SERVED, _SUCCESS = Fate.SERVED, Outcome.SUCCESS


class Attempt(Generic[T]):
    """One try at one provider, as a context manager. After a failure the loop may try the next one.

    `with attempt:` classifies what the block raises, and suppresses it if another provider takes
    over. `async with attempt:` does the same, and on asyncio it cancels the block after `timeout`
    seconds. Elsewhere, pass that limit to the client.

    Attributes:
        provider: The provider that is tried.
        number: 1 for the first attempt of the call.
        permit: The permit of its breaker. It has no vote if the provider's breaker is open and the
            provider was chosen as the least bad one.
    """

    __slots__ = (
        "_deadline",
        "_is_least_bad",
        "_limit",
        "_selection",
        "_settled",
        "_timer",
        "number",
        "permit",
        "provider",
    )

    def __init__(
        self,
        selection: Selection[T],
        deadline: float,
        number: int,
        provider: Provider[T],
        permit: Permit,
        is_least_bad: bool,
    ) -> None:
        self._selection = selection
        self._deadline = deadline
        self._is_least_bad = is_least_bad
        # Whether the fate of the attempt is decided. Then only the permit must still be ended.
        self._settled = False
        self._timer: asyncio.Timeout | None = None
        self._limit = 0.0
        self.provider: Provider[T] = provider
        self.number: int = number
        self.permit: Permit = permit

    @property
    def key(self) -> str:
        """The provider's key."""
        return self.provider.key

    @property
    def target(self) -> T:
        """The provider's target."""
        return self.provider.target

    @property
    def timeout(self) -> float:
        """Seconds after which to give the attempt up, > 0: the read time-out for the client.

        It is the time left for the call. It is shorter if the call may be repeated and another
        provider can take over.
        """
        if self._selection.repeatable:
            return self.connect_timeout
        return time_left(self._deadline, self._selection.settings.clock())

    @property
    def connect_timeout(self) -> float:
        """Seconds after which to give up connecting, > 0: the connect time-out for the client.

        Nothing is sent before a connection is established, so any call can go to another provider
        then. The limit is short even for a call that may not be repeated.
        """
        if not self._limit:
            self._limit = self._find_limit()
        return self._limit

    def _find_limit(self) -> float:
        selection = self._selection
        settings, others = selection.settings, selection.attempts_left
        left = time_left(self._deadline, settings.clock())
        if self._is_least_bad:
            return equal_share(left, min(selection.count_least_bad(), others))
        breaker = self.permit.breaker
        healthy = min(selection.count_healthy(), others)
        return attempt_limit(
            left,
            slow=breaker.slow_threshold,
            ceiling=breaker.policy.slow_ceiling,
            patience=settings.patience,
            healthy=healthy,
            takeover_in=selection.takeover_in(self.key) if others and not healthy else inf,
        )

    # The end of an attempt whose block reads answers instead of raising

    def moves_on(
        self,
        outcome: Outcome,
        *,
        error: BaseException | str | None = None,
        retry_after: float | None = None,
        sent: bool = True,
    ) -> bool:
        """Go on to another provider, if the outcome and the call allow it and there is one.

        Args:
            outcome: The outcome of the answer.
            error: What to name in records: an exception, or `HTTP 502`.
            retry_after: Seconds of the pause that the provider asked for; None for none.
            sent: Whether the request may have reached the provider.

        Returns:
            True: the permit has ended with `outcome`, and the loop must continue. False: nothing
            has changed, and the caller must get this answer.
        """
        if self._settled or not self._finds_next(outcome, sent):
            return False
        self._settled = True
        self.permit.end(outcome, error=error, retry_after=retry_after)
        self._keep(Fate.of(outcome, sent=sent), error)
        return True

    def commit(self, outcome: Outcome = Outcome.SUCCESS) -> None:
        """Note that the caller gets this answer now: no other provider is tried any more.

        Call it before the first byte reaches the caller. The latency is measured here, and the time
        limit of `async with` no longer applies. The permit stays open and must be ended later.

        Args:
            outcome: The outcome of the answer, for the record only. It does not end the permit.
        """
        if self._settled:
            return
        self._settled = True
        if self._timer is not None:
            self._timer.reschedule(None)
        self.permit.mark()
        self._conclude(_SERVED if outcome is _SUCCESS else Fate.of(outcome, sent=True), None)

    def end(
        self,
        outcome: Outcome,
        *,
        error: BaseException | str | None = None,
        retry_after: float | None = None,
        sent: bool = True,
    ) -> None:
        """End the attempt, and the call with it; the arguments are those of `moves_on`."""
        if not self._settled:
            self._settled = True
            self._conclude(Fate.of(outcome, sent=sent), error)
        self.permit.end(outcome, error=error, retry_after=retry_after)

    def end_by_error(self, error: BaseException | None) -> None:
        """End the permit after `commit`, when the answer has ended; None stands for no error."""
        if error is None:
            self.permit.success()
            return
        outcome = self._selection.settings.outcome_of(self.key, error)
        self._note_answer(outcome, error)
        self.permit.end(outcome, error=error, retry_after=retry_after_of(error))

    def cancel(self) -> None:
        """Drop the rest of the answer after `commit`. No effect once the permit has ended."""
        self.permit.cancel()

    def withdraw(self, error: Exception) -> NoReturn:
        """Raise a mistake of the caller. It has no vote, and no other provider is tried."""
        self.end(Outcome.IGNORED, error=error)
        raise error

    # The end of an attempt whose block raises or returns

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        return self._exit(error)

    async def __aenter__(self) -> Self:
        # Imported here: for a WSGI app it would be two thirds of the import time of recloser.
        import asyncio

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            # Another event loop (trio): the client must enforce the limit there.
            return self
        self._timer = asyncio.timeout(self.timeout)
        await self._timer.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if self._timer is not None:
            try:
                await self._timer.__aexit__(kind, error, traceback)
            except TimeoutError as late:
                if self._time_out(late):
                    return True
                raise
        return self._exit(error)

    def _exit(self, error: BaseException | None) -> bool:
        if error is None:
            if not self._settled:
                self._settled = True
                self.permit.success()
                self._conclude(_SERVED, None)
            return False
        if self._settled:
            self.end_by_error(error)
            return False
        settings = self._selection.settings
        outcome = settings.outcome_of(self.key, error)
        sent = not settings.is_unsent(error)
        self._settled = True
        goes_on = self._finds_next(outcome, sent)
        self._note_answer(outcome, error)
        self.permit.end(outcome, error=error, retry_after=retry_after_of(error))
        return self._leave(goes_on, Fate.of(outcome, sent=sent), error)

    def _note_answer(self, outcome: Outcome, error: BaseException) -> None:
        """Note that a provider that rejects a call is alive: it has answered."""
        if outcome is Outcome.IGNORED and judge_error(error).answered:
            self.permit.mark()

    def _time_out(self, error: TimeoutError) -> bool:
        if self._settled:
            # `moves_on` had ended the attempt, so only the rest of the block was cancelled.
            return self._selection.chosen is not None
        self._settled = True
        # A time-out after too little time is no failure. If the call was slow, it counts as slow.
        remainder = is_remainder(self.number, self.timeout, self.permit.breaker.slow_threshold)
        goes_on = self._finds_next(Outcome.FAILURE, True)
        self.permit.end(Outcome.CANCELLED if remainder else Outcome.FAILURE, error=error)
        return self._leave(goes_on, Fate.TIMED_OUT, error)

    def _finds_next(self, outcome: Outcome, sent: bool) -> bool:
        """Choose the next provider, if this outcome allows a further attempt and there is one."""
        selection = self._selection
        again = selection.repeatable and (
            outcome is Outcome.FAILURE or outcome is Outcome.THROTTLED
        )
        unsent = not sent and outcome is not Outcome.CANCELLED
        return (
            (again or unsent)
            and is_time_for_another(self._deadline, selection.settings.clock())
            and selection.choose()
        )

    def _leave(self, goes_on: bool, fate: Fate, error: BaseException) -> bool:
        if goes_on:
            self._keep(fate, error)
        else:
            self._conclude(fate, error)
        return goes_on

    def _keep(self, fate: Fate, error: BaseException | str | None) -> None:
        """Add this attempt to the record of a call that goes on."""
        record = self._selection.record
        if record is not None:
            record.end_attempt(self.key, fate, self.permit.started, error)

    def _conclude(self, fate: Fate, error: BaseException | str | None) -> None:
        """End the call: remember the provider that served it, and deliver the record."""
        selection = self._selection
        served_by = None
        if fate is _SERVED:
            served_by = self.provider.key
            selection.memory.served_at[served_by] = self.permit.started
        record = selection.record
        if record is not None:
            record.end_attempt(self.provider.key, fate, self.permit.started, error)
            record.deliver(served_by)

    def __repr__(self) -> str:
        return f"<Attempt {self.number} at {self.key!r}>"


def attempts_of_call(
    settings: Settings,
    memory: Memory,
    providers: Iterable[Provider[T]],
    *,
    repeatable: bool,
    prefer: str | None,
) -> Iterator[Attempt[T]]:
    """Begin a call and return its attempts. They end when one has served it, or none is left.

    Raises:
        ValueError: `prefer` is not the key of a provider.
        BreakerOpenError: On the first step, if every provider refuses.
    """
    started = settings.clock()
    record = None
    if settings.on_delivery is not None:
        record = Record(settings.on_delivery, settings.registry.fault, settings.clock, started)
    selection = Selection(settings, memory, providers, record, repeatable=repeatable, prefer=prefer)
    return _one_by_one(selection, started + settings.time_budget)


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
        if record is not None:
            record.begin_attempt()
        yield Attempt(selection, deadline, number, provider, permit, is_least_bad)
