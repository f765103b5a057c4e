"""Attempt: one try at one provider, and the loop over the attempts of one call.

Nothing here waits or sends: the code in the block of an attempt does. Sync and async callers share
all of it but the two methods that cut an attempt off on asyncio.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Generic, NoReturn, Self, TypeVar

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
    """One try at one provider, as a block. It serves the call, or the loop goes on to the next.

    `with attempt:` classifies what the block raises, and swallows it if another provider takes
    over. `async with attempt:` does the same, and on asyncio it cuts the block off after `timeout`
    seconds. Elsewhere the client must be given that limit.

    Attributes:
        provider: The provider that is tried.
        number: 1 for the first attempt of the call.
        permit: The permit of its breaker. It has no vote if the provider is open and was chosen as
            the least bad.
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
        # Whether the fate of the attempt is decided. What follows only ends the permit.
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
        """Seconds after which the attempt should be given up, > 0: the client's read time-out.

        The time left for the call; less if the call may be repeated and another provider could
        take over.
        """
        if self._selection.repeatable:
            return self.connect_timeout
        return time_left(self._deadline, self._selection.settings.clock())

    @property
    def connect_timeout(self) -> float:
        """Seconds after which a connection that is not established should be given up, > 0.

        Nothing is sent before, so any call can go to another provider then. The limit is short even
        for a call that may not be repeated.
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

    # Its end, where the code in the block reads answers instead of raising

    def moves_on(
        self,
        outcome: Outcome,
        *,
        error: BaseException | str | None = None,
        retry_after: float | None = None,
        sent: bool = True,
    ) -> bool:
        """Go on to another provider, if the call may be repeated and there is one.

        Args:
            outcome: What the answer was.
            error: What to name in records: an exception, or `HTTP 502`.
            retry_after: Seconds for which the provider asked to be left alone.
            sent: Whether the request may have reached the provider.

        Returns:
            True: the permit has ended with `outcome`, and the loop must go on. False: nothing has
            changed, and the answer is for the caller.
        """
        if self._settled or not self._finds_next(outcome, sent):
            return False
        self._settled = True
        self.permit.end(outcome, error=error, retry_after=retry_after)
        self._keep(Fate.of(outcome, sent=sent), error)
        return True

    def commit(self, outcome: Outcome = Outcome.SUCCESS) -> None:
        """The first byte is about to reach the caller: from here on no other provider is tried.

        The latency is taken here and the time limit of `async with` ends. The permit stays open:
        whoever holds it ends it.

        Args:
            outcome: What the answer was, for the record. The permit is told at its end.
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
        """End the attempt and the call with it; the arguments are those of `moves_on`."""
        if not self._settled:
            self._settled = True
            self._conclude(Fate.of(outcome, sent=sent), error)
        self.permit.end(outcome, error=error, retry_after=retry_after)

    def end_by_error(self, error: BaseException | None) -> None:
        """After `commit`: the answer has ended; None if without an error."""
        if error is None:
            self.permit.success()
            return
        outcome = self._selection.settings.outcome_of(self.key, error)
        self.permit.end(outcome, error=error, retry_after=retry_after_of(error))

    def cancel(self) -> None:
        """After `commit`: the caller does not want the rest. No effect once the permit has ended."""
        self.permit.cancel()

    def withdraw(self, error: Exception) -> NoReturn:
        """Raise a mistake of the caller: it does not count, and no other provider is tried."""
        self.end(Outcome.IGNORED, error=error)
        raise error

    # Its end, where the code in the block raises or returns

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
        # Here, because it would be two thirds of what importing recloser costs a WSGI app.
        import asyncio

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            # Another event loop (trio): there, the client must be given the limit.
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
        self.permit.end(outcome, error=error, retry_after=retry_after_of(error))
        return self._leave(goes_on, Fate.of(outcome, sent=sent), error)

    def _time_out(self, error: TimeoutError) -> bool:
        if self._settled:
            # `moves_on` had ended it, and only the rest of the block was cut off.
            return self._selection.chosen is not None
        self._settled = True
        # With too little time it is no failure. A cancelled call still counts as slow if it was.
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
        """The call goes on: write this attempt into the record."""
        record = self._selection.record
        if record is not None:
            record.end_attempt(self.key, fate, self.permit.started, error)

    def _conclude(self, fate: Fate, error: BaseException | str | None) -> None:
        """The call is over: remember who served it, and deliver the record."""
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
    """Begin a call, and return its attempts; they end when one has served or none is left.

    Raises:
        ValueError: `prefer` is no provider's key.
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
    # The block of an attempt that does not serve the call chooses the next provider, or none.
    while selection.chosen is not None:
        provider, permit, is_least_bad = selection.chosen
        selection.chosen = None
        number += 1
        if record is not None:
            record.begin_attempt()
        yield Attempt(selection, deadline, number, provider, permit, is_least_bad)
