"""Attempt: one try at one provider.

Nothing here waits or sends; the code in the block of an attempt does that. Sync and async callers
share everything except the two methods that cancel an attempt on asyncio after its time limit.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Generic, NoReturn, Self, TypeVar

from recloser._failover.lessons import learn_from_end, learn_from_service, note_answer
from recloser._failover.provider import Provider
from recloser._failover.report import Answer, Fate
from recloser._failover.selection import Selection
from recloser._failover.time_limits import (
    LONGEST,
    is_remainder,
    is_time_for_another,
    time_left,
)
from recloser._outcome import Outcome
from recloser._permit import Permit
from recloser._retry_after import retry_after_of

if TYPE_CHECKING:
    from recloser._failover.attempt_timer import AttemptTimer

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
        is_rejected: Whether the provider rejected the credentials or the model (see `rejects`).
    """

    __slots__ = (
        "_deadline",
        "_is_due",
        "_is_least_bad",
        "_is_reported_later",
        "_limit",
        "_selection",
        "_settled",
        "_timer",
        "is_rejected",
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
        self._timer: AttemptTimer | None = None
        self._limit = 0.0
        self._is_reported_later = False
        self._is_due = False
        self.is_rejected: bool = False
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

        It is shorter than the time left for the call if the call may be repeated and another
        provider can take over. It is 600 if nothing limits it.
        """
        return min(self.limit, LONGEST)

    @property
    def limit(self) -> float:
        """`timeout`, but infinite if nothing limits the attempt: then the client's own holds."""
        if self._selection.call.repeatable:
            if not self._limit:
                self._limit = self._find_limit()
            return self._limit
        return self.time_left

    @property
    def connect_timeout(self) -> float:
        """Seconds after which to give up connecting, > 0: the connect time-out for the client.

        Nothing is sent before a connection is established, so any call can go to another provider
        then. The limit is short even for a call that may not be repeated.
        """
        return min(self.connect_limit, LONGEST)

    @property
    def connect_limit(self) -> float:
        """`connect_timeout`, but infinite if nothing limits the attempt."""
        return self._find_limit(patience=1.0)

    @property
    def is_timed(self) -> bool:
        """Whether the attempt itself is cancelled at its limit: in `async with`, on asyncio."""
        return self._timer is not None

    def _find_limit(self, patience: float | None = None) -> float:
        return self._selection.limit(
            self.key, self.permit, self.time_left, patience, is_least_bad=self._is_least_bad
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
        self._learn(outcome, error, sent)
        self.permit.end(outcome, error=error, retry_after=retry_after)
        self._keep(Fate.of(outcome, sent=sent), error)
        return True

    def rejects(self, error: BaseException | str, *, whole: bool) -> bool:
        """Go on to another provider, because this one rejected the credentials or the model.

        Nothing was carried out, so any call may go on. The provider is put last for a while. This
        is no evidence about its health.

        Args:
            error: What to name in records: an exception, or `HTTP 401`.
            whole: Whether the provider rejects all models: it rejected the credentials.

        Returns:
            As `moves_on` does.
        """
        if self._settled:
            return False
        self.is_rejected = True
        selection = self._selection
        model = None if whole else selection.call.model
        selection.memory.reject(self.key, model, selection.settings.clock())
        if not self._finds_next(Outcome.IGNORED, False):
            return False
        self._settled = True
        self.permit.end(Outcome.IGNORED, error=error)
        self._keep(Fate.REJECTED, error)
        return True

    def commit(
        self,
        outcome: Outcome = Outcome.SUCCESS,
        *,
        fate: Fate | None = None,
        error: BaseException | str | None = None,
    ) -> None:
        """Note that the caller gets this answer now: no other provider is tried any more.

        Call it before the first byte reaches the caller. The latency is measured here, and the time
        limit of `async with` no longer applies. The permit stays open and must be ended later.

        Args:
            outcome: The outcome of the answer, for the record only. It does not end the permit.
            fate: The fate in the record; by default that of the outcome.
            error: What to name in records, as for `moves_on`.
        """
        if self._settled:
            return
        self._settled = True
        if self._timer is not None:
            self._timer.stop()
        self.permit.mark()
        self._conclude(fate or Fate.of(outcome, sent=True), error)

    def reported_later(self) -> Self:
        """Do not deliver the record at the end of the attempt, but when `report` is called."""
        self._is_reported_later = True
        return self

    def report(self, answer: Answer) -> None:
        """Deliver the record of the call, if it has ended and `reported_later` was called."""
        record, is_due = self._selection.record, self._is_due
        self._is_due = False
        if record is not None and is_due:
            record.tell(answer)

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
            if outcome is not _SUCCESS:
                self._learn(outcome, error, sent)
            self._conclude(Fate.of(outcome, sent=sent), error)
        self.permit.end(outcome, error=error, retry_after=retry_after)

    def end_by_error(self, error: BaseException | None) -> None:
        """End the permit after `commit`, when the answer has ended; None stands for no error."""
        if error is None:
            self.permit.success()
            return
        outcome = self._selection.settings.outcome_of(self.permit.breaker.key, error)
        note_answer(self.permit, outcome, error)
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
        # Imported here: for a WSGI app asyncio would be two thirds of the import time of recloser.
        from recloser._failover.attempt_timer import AttemptTimer

        # None on another event loop (trio): the client must enforce the limit there.
        self._timer = await AttemptTimer.started(self, self._selection.look_after(self.permit))
        return self

    @property
    def is_hopeless(self) -> bool:
        """Whether it makes sense to give the attempt up now, in favour of another provider.

        Nobody is cut off in favour of a provider that is not healthy.
        """
        return not self._settled and self._selection.is_hopeless(self.permit, self.limit)

    @property
    def time_left(self) -> float:
        """Seconds of the time budget that are left, > 0; infinite without one."""
        return time_left(self._deadline, self._selection.settings.clock())

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if self._timer is not None:
            try:
                await self._timer.end(kind, error, traceback)
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
        outcome = settings.outcome_of(self.permit.breaker.key, error)
        sent = not settings.is_unsent(error)
        self._settled = True
        self._learn(outcome, error, sent)
        goes_on = self._finds_next(outcome, sent)
        note_answer(self.permit, outcome, error)
        self.permit.end(outcome, error=error, retry_after=retry_after_of(error))
        return self._leave(goes_on, Fate.of(outcome, sent=sent), error)

    def _time_out(self, error: TimeoutError) -> bool:
        if self._settled:
            # `moves_on` had ended the attempt, so only the rest of the block was cancelled.
            return self._selection.chosen is not None
        self._settled = True
        # A time-out after too little time is no failure. If the call was slow, it counts as slow.
        remainder = is_remainder(self.number, self.timeout, self.permit.breaker.slow_threshold)
        if not remainder:
            self._learn(Outcome.FAILURE, error, sent=True)
        goes_on = self._finds_next(Outcome.FAILURE, True)
        self.permit.end(Outcome.CANCELLED if remainder else Outcome.FAILURE, error=error)
        return self._leave(goes_on, Fate.TIMED_OUT, error)

    def _learn(self, outcome: Outcome, error: BaseException | str | None, sent: bool) -> None:
        came = sent and (outcome is not Outcome.FAILURE or not isinstance(error, BaseException))
        selection, limit = self._selection, self._limit
        learn_from_end(
            selection, self.key, self.permit, outcome, sent=sent, answered=came, limit=limit
        )

    def _finds_next(self, outcome: Outcome, sent: bool) -> bool:
        """Choose the next provider, if this outcome allows a further attempt and there is one."""
        selection = self._selection
        again = selection.call.repeatable and (
            outcome is Outcome.FAILURE or outcome is Outcome.THROTTLED
        )
        unsent = not sent and outcome is not Outcome.CANCELLED
        return (
            (again or unsent)
            and is_time_for_another(self._deadline, selection.settings.clock())
            and selection.choose()
        )

    def _leave(self, goes_on: bool, fate: Fate, error: BaseException) -> bool:
        (self._keep if goes_on else self._conclude)(fate, error)
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
            learn_from_service(selection, served_by, self.permit)
        record = selection.record
        if record is not None:
            record.end_attempt(self.provider.key, fate, self.permit.started, error)
            if self._is_reported_later:
                record.conclude(served_by)
                self._is_due = True
            else:
                record.deliver(served_by)

    def __repr__(self) -> str:
        return f"<Attempt {self.number} at {self.key!r}>"
