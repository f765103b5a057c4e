"""Calls that outlive those that fail: they have not failed, and that is known before they end.

Calls that fail are seen first where they end sooner than good ones: if 40 % of the calls of an API that
takes seconds fail at once, the first twenty ends are failures. So a call that has been in flight for
longer than failures take counts as good before it ends.
"""

from __future__ import annotations

from math import inf

from recloser._circuit.in_flight import InFlight
from recloser._circuit.votes import Ending

OUTLIVES = 2.0
"""A call has outlived those that failed if it has been in flight for so many times as long as they took."""


class Outliving:
    """The calls since one moment that outlived those that failed.

    Args:
        since: The token of the first call that counts.

    Attributes:
        longest: Seconds of the failed call that took longest; 0.0 before the first one.
        latest: The highest token of a call that was counted before it ended. Of the calls up to it,
            none is to be counted as good again when it ends.
    """

    __slots__ = ("latest", "longest")

    def __init__(self, since: int) -> None:
        self.latest = since - 1
        self.longest = 0.0

    def note_failed(self, ending: Ending) -> None:
        """Note for how long a call that failed had been in flight.

        Nothing outlives a stream that stalled: others may stall at any time.
        """
        self.longest = inf if ending.going_on else max(self.longest, ending.took)

    def count(self, calls: InFlight, now: float) -> int:
        """How many calls in flight have outlived those that failed, and were not counted yet."""
        if not self.longest:
            return 0
        outliving = calls.outlive(self.latest, now - OUTLIVES * self.longest)
        self.latest = max(outliving, default=self.latest)
        return len(outliving)
