"""Deadline: ends a block of asyncio code that takes too long."""

from __future__ import annotations

from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import asyncio

# The timer of an event loop may be late by so many seconds without a stall.
_LATE = 0.005
# So many seconds are as good as none: two clocks differ by as much, or two sums of floats.
_MOMENT = 0.001


class Deadline:
    """Cancels a block of asyncio code after some seconds, and ends quietly then.

        with Deadline(2.0) as deadline:
            answer = await ask()
        if deadline.expired:
            ...  # there is no answer

    It differs from `asyncio.timeout` in what happens after the event loop was blocked: the block
    gets as much more time as the loop was late, because the answer may be there already, unread. A
    cancellation from outside passes through.

    Args:
        limit: Seconds from the begin of the block; infinite for no limit.

    Attributes:
        limit: Seconds from the begin of the block.
        expired: Whether the block was cancelled because of its limit.

    Raises:
        RuntimeError: At the begin of the block: no asyncio task runs here.
    """

    __slots__ = ("_began", "_cancelling", "_due", "_loop", "_task", "_timer", "expired", "limit")

    _loop: asyncio.AbstractEventLoop
    _task: asyncio.Task[object]
    _timer: asyncio.TimerHandle | None

    def __init__(self, limit: float) -> None:
        self.limit: float = limit
        self.expired: bool = False
        self._timer = None

    def left(self) -> float:
        """Seconds that are left, as far as is known now; infinite to let the block go on."""
        return self.limit - (self._loop.time() - self._began)

    def __enter__(self) -> Self:
        # Not above: it would double the import time of recloser.
        import asyncio

        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline needs an asyncio task")
        self._task = task
        self._cancelling = task.cancelling()
        self._began = self._loop.time()
        self._look_in(self.left())
        return self

    def _look_in(self, seconds: float) -> None:
        if seconds < inf:
            self._due = self._loop.time() + seconds
            self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        late = self._loop.time() - self._due
        # After a stall, first let the tasks go on that the loop could not wake.
        left = late if late > _LATE else self.left()
        if left > _MOMENT:
            self._look_in(left)
        else:
            self.expired = True
            self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if self._timer is not None:
            self._timer.cancel()
        if not self.expired:
            return False
        # Somebody else may have cancelled the task as well; then that is what happened.
        cancelled_outside = self._task.uncancel() > self._cancelling
        import asyncio

        is_cancelled = kind is not None and issubclass(kind, asyncio.CancelledError)
        return is_cancelled and not cancelled_outside
