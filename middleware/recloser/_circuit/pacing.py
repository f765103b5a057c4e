"""Pacing: one call now and then, for a callee that is slow however few calls it gets."""

from __future__ import annotations

from recloser._circuit.new_normal import FAST_CALLS

# Each slow answer makes the pause twice as long, each fast one half as long.
_LONGER, _SHORTER = 2.0, 0.5


class Pacing:
    """The pauses between single calls, until some in a row are fast.

    Attributes:
        pause: Seconds after the end of a call until the next one may begin; 0.0 while calls are not
            paced.
    """

    __slots__ = ("_fast_calls", "_last", "_waits", "pause")

    def __init__(self) -> None:
        self.pause = 0.0
        self._waits = False
        self._last = 0.0
        self._fast_calls = 0

    def begin(self, level: float, longest: float) -> None:
        """Begin with pauses, or go on with longer ones.

        Args:
            level: The typical latency, in seconds; the first pause is as long.
            longest: The longest pause, in seconds.
        """
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
        self.pause = 0.0
        return True
