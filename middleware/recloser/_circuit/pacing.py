"""Pacing: one call at a time, for a callee that is slow however few calls it gets.

If others may wait for the callee, there are pauses between the calls. Otherwise a single call is all
that a caller can lose, and a key with few calls is refused few of them.

A single call waits for no other, so it shows how slow the callee is in itself. Pacing ends after some
fast answers in a row, or once clearly more answers were mild than severe.
"""

from __future__ import annotations

from recloser._circuit.new_normal import FAST_CALLS

# Each slow answer makes the pause twice as long, each fast one half as long.
_LONGER, _SHORTER = 2.0, 0.5
# Pacing ends once this many more answers were mild than severe. With 6, a callee that was five times as
# slow as usual got all calls again several times a minute.
_MILD_CALLS = 12


class Pacing:
    """The pauses between single calls, until some in a row are fast.

    Attributes:
        active: Whether calls are paced.
        pause: Seconds after the end of a call until the next one may begin.
    """

    __slots__ = ("_fast_calls", "_last", "_mild", "_waits", "active", "pause")

    def __init__(self) -> None:
        self.active = False
        self.pause = 0.0
        self._mild = 0  # how many more answers were mild than severe
        self._waits = False
        self._last = 0.0
        self._fast_calls = 0

    def begin(self, level: float, longest: float) -> None:
        """Begin with pauses, or go on with longer ones.

        Args:
            level: The typical latency, in seconds; the first pause is as long.
            longest: The longest pause, in seconds.
        """
        self.active = True
        self.pause = self._last = min(max(_LONGER * self._last, level), longest)
        self._waits = True
        self._fast_calls = 0

    def next_at(self, ended_at: float) -> float:
        """When the next call may begin, if the last one ended at `ended_at` seconds."""
        return ended_at + self.pause if self._waits else 0.0

    def answered_fast(self) -> bool:
        """Count a fast answer; return whether there were enough, so that pacing is over."""
        self._fast_calls += 1
        self._last *= _SHORTER
        self._waits = False  # the next call is sent at once
        if self._fast_calls < FAST_CALLS:
            return False
        self.end()
        return True

    def answered_mildly(self, *, mild: bool) -> bool:
        """Count an answer; return whether there were enough mild ones, so that pacing is over.

        Args:
            mild: Whether it was not severe.
        """
        self._mild = self._mild + 1 if mild else max(self._mild - 1, 0)
        if self._mild < _MILD_CALLS:
            return False
        self._mild = 0
        self.end()
        return True

    def end(self) -> None:
        """Send any number of calls again."""
        self.active = False
        self.pause = 0.0
