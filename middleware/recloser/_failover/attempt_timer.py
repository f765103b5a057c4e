"""AttemptTimer: cancels an attempt on asyncio when it is hopeless, or its time budget is used up."""

from __future__ import annotations

import asyncio
from math import inf
from types import TracebackType
from typing import Protocol, Self

# Whether an attempt has become hopeless is checked again after so many times the first wait.
_CHECK_EVERY = 0.25


class TimedAttempt(Protocol):
    """The parts of an `Attempt` that are used here."""

    @property
    def limit(self) -> float:
        """Seconds after which it is hopeless; infinite if that is not known."""
        ...

    @property
    def time_left(self) -> float:
        """Seconds of the time budget that are left, > 0; infinite without one."""
        ...

    @property
    def is_hopeless(self) -> bool:
        """Whether it makes sense to give it up now."""
        ...


class AttemptTimer:
    """Cancels the block of an attempt: a time-out of asyncio that may come early.

    Args:
        attempt: The attempt.
        look_after: Seconds after which it may first be known that the provider hangs, > 0; infinite
            if the attempt is not to be given up in favour of another provider.
        loop: The event loop.
    """

    __slots__ = ("_attempt", "_check", "_look_after", "_loop", "_timeout")

    def __init__(
        self, attempt: TimedAttempt, look_after: float, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._attempt = attempt
        self._look_after = look_after
        self._loop = loop
        self._check: asyncio.TimerHandle | None = None
        # Whether an attempt makes room for another provider is checked at that time: the other one
        # may not be healthy any more.
        limit = attempt.limit if look_after == inf else attempt.time_left
        self._timeout = asyncio.timeout(None if limit == inf else limit)

    @classmethod
    async def started(cls, attempt: TimedAttempt, look_after: float) -> Self | None:
        """Begin to count the time of an attempt; None on another event loop than asyncio's."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return None
        timer = cls(attempt, look_after, loop)
        await timer._timeout.__aenter__()
        if look_after < inf:
            timer._check_later(0.0)
        return timer

    def _check_later(self, waited: float) -> None:
        look_after, limit = self._look_after, self._attempt.limit
        at = max(look_after, waited + _CHECK_EVERY * look_after)
        if waited < limit:
            at = min(at, limit)
        self._check = self._loop.call_later(at - waited, self._check_now, at)

    def _check_now(self, waited: float) -> None:
        if self._attempt.is_hopeless:
            self._timeout.reschedule(self._loop.time())
        else:
            self._check_later(waited)

    def keep_budget(self) -> None:
        """From now on, nothing is cancelled but at the end of the time budget."""
        self.stop()
        left = self._attempt.time_left
        if left < inf:
            self._timeout.reschedule(self._loop.time() + left)

    def stop(self) -> None:
        """From now on, nothing is cancelled."""
        if self._check is not None:
            self._check.cancel()
            self._check = None
        self._timeout.reschedule(None)

    async def end(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """The block has ended.

        Raises:
            TimeoutError: It was cancelled by this timer.
        """
        if self._check is not None:
            self._check.cancel()
            self._check = None
        await self._timeout.__aexit__(kind, error, traceback)
