"""Attempt: one try at one provider, and the block around it."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Generic, NoReturn, Self, TypeVar

from recloser._failover.delivery import Fate, Provider
from recloser._outcome import Outcome
from recloser._retry_after import retry_after_of

if TYPE_CHECKING:
    import asyncio

    from recloser._failover.attempts import Attempts
    from recloser._permit import Permit

T = TypeVar("T")

_FATES = {
    Outcome.SUCCESS: Fate.SERVED,
    Outcome.FAILURE: Fate.FAILED,
    Outcome.THROTTLED: Fate.THROTTLED,
    Outcome.IGNORED: Fate.IGNORED,
    Outcome.CANCELLED: Fate.CANCELLED,
}


class Attempt(Generic[T]):
    """One try at one provider: a block that either serves the call or lets the loop go on.

    `with attempt:` classifies what the block raises and swallows it if another provider takes over.
    `async with attempt:` also cuts the block off after `timeout` on asyncio; elsewhere the client
    must be given the limit.

    Attributes:
        provider: Who is tried.
        number: 1 for the first attempt of the call.
        permit: The admission by its breaker; without a vote for the least bad of several open ones.
    """

    __slots__ = ("_attempts", "_cut", "_limit", "_settled", "number", "permit", "provider")

    def __init__(
        self, attempts: Attempts[T], provider: Provider[T], number: int, permit: Permit
    ) -> None:
        self._attempts = attempts
        self._settled = False
        self._cut: asyncio.Timeout | None = None
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
        """What reaches the provider."""
        return self.provider.target

    @property
    def timeout(self) -> float:
        """Seconds until it should be given up, > 0: for the client's read time-out.

        The time left for the call; less if the call is repeatable and another provider could
        take it.
        """
        return self.connect_timeout if self._attempts.repeatable else self._attempts.time_left()

    @property
    def connect_timeout(self) -> float:
        """Seconds after which a connection that is not there yet should be given up, > 0.

        Nothing is sent before it is there, so it is short for every call that could go elsewhere.
        """
        if not self._limit:
            self._limit = self._attempts.limit_of(self)
        return self._limit

    def moves_on(
        self,
        outcome: Outcome,
        *,
        error: BaseException | str | None = None,
        retry_after: float | None = None,
        sent: bool = True,
    ) -> bool:
        """Give this attempt up for the next, if the call may be repeated and somebody takes it.

        For code that reads answers instead of raising: on True the permit has ended with `outcome`
        and the loop must go on; on False nothing has changed, and the answer is the last word.

        Args:
            outcome: What the answer was.
            error: What to name in records: an exception or `HTTP 502`.
            retry_after: Seconds for which the provider asked to be left alone.
            sent: Whether the request may have reached the provider.
        """
        fate = _FATES[outcome] if sent else Fate.UNREACHABLE
        if self._settled or not self._attempts.line_up(self, fate, error, outcome, sent):
            return False
        self._settled = True
        self._end(outcome, error, retry_after)
        return True

    def commit(self, outcome: Outcome = Outcome.SUCCESS) -> None:
        """The first byte is about to reach the caller: nobody else is tried from here on.

        The permit stays open, its latency taken; whoever holds it ends it. A time limit of
        `async with` ends here.

        Args:
            outcome: What the answer was, for the record; the permit is told at its end.
        """
        if self._settled:
            return
        self._settled = True
        if self._cut is not None:
            self._cut.reschedule(None)
        self.permit.mark()
        self._attempts.conclude(self, _FATES[outcome], None)

    def end(
        self,
        outcome: Outcome,
        *,
        error: BaseException | str | None = None,
        retry_after: float | None = None,
        sent: bool = True,
    ) -> None:
        """End it here, with nobody else to take over; the arguments are those of `moves_on`."""
        if not self._settled:
            self._settled = True
            fate = _FATES[outcome] if sent else Fate.UNREACHABLE
            self._attempts.conclude(self, fate, error)
        self._end(outcome, error, retry_after)

    def end_by_error(self, error: BaseException | None) -> None:
        """After `commit`: the answer has ended, by itself or by an error."""
        if error is not None:
            outcome = self._attempts.classify(self.key, error)
            self._end(outcome, error, retry_after_of(error))
        else:
            self.permit.success()

    def cancel(self) -> None:
        """After `commit`: the caller does not want the rest. No effect once it has ended."""
        self.permit.cancel()

    def withdraw(self, error: Exception) -> NoReturn:
        """Raise a mistake of the caller's own: no vote, and nobody else is tried."""
        self.end(Outcome.IGNORED, error=error)
        raise error

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
            # Another event loop: there the caller's own limit must do.
            return self
        self._cut = asyncio.timeout(self.timeout)
        await self._cut.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if self._cut is not None:
            try:
                await self._cut.__aexit__(kind, error, traceback)
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
                self._attempts.conclude(self, Fate.SERVED, None)
            return False
        if self._settled:
            self.end_by_error(error)
            return False
        attempts = self._attempts
        outcome = attempts.classify(self.key, error)
        sent = not attempts.was_not_sent(error)
        fate = _FATES[outcome] if sent or outcome is Outcome.CANCELLED else Fate.UNREACHABLE
        return self._fail(outcome, error, fate, sent=sent, retry_after=retry_after_of(error))

    def _time_out(self, error: TimeoutError) -> bool:
        # A later attempt that only got what the earlier ones had left is no evidence by itself:
        # as a cancelled call it votes if it was slow.
        scraps = self.number > 1 and self.timeout < self._attempts.threshold_of(self.key)
        return self._fail(
            Outcome.CANCELLED if scraps else Outcome.FAILURE, error, Fate.TIMED_OUT, sent=True
        )

    def _fail(
        self,
        outcome: Outcome,
        error: BaseException,
        fate: Fate,
        *,
        sent: bool,
        retry_after: float | None = None,
    ) -> bool:
        self._settled = True
        attempts = self._attempts
        worth = Outcome.FAILURE if fate is Fate.TIMED_OUT else outcome
        goes_on = attempts.line_up(self, fate, error, worth, sent)
        self._end(outcome, error, retry_after)
        if not goes_on:
            attempts.conclude(self, fate, error)
        return goes_on

    def _end(
        self, outcome: Outcome, error: BaseException | str | None, retry_after: float | None
    ) -> None:
        self.permit.end(outcome, error=error, retry_after=retry_after)

    def __repr__(self) -> str:
        return f"<Attempt {self.number} at {self.key!r}>"
