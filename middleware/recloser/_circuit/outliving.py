"""Calls that outlive those that fail: they have not failed, and that is known before they end.

Calls that fail are seen first where they end sooner than good ones: if 40 % of the calls of an API that
takes seconds fail at once, the first twenty ends are failures. So a call that has been in flight for
longer than failures take counts as good before it ends.

If such a call fails or hangs in the end, or ends without saying anything of the callee (a 4xx, a client
that left, a request to wait), it does not count as good any more. Then no other call counts before its
end until one was answered. Otherwise calls that hang, or a 4xx that takes longer than the failures,
would be half good for ever.
"""

from __future__ import annotations

from math import inf

from recloser._circuit.in_flight import InFlight
from recloser._circuit.votes import Ending

OUTLIVES = 2.0
"""A call has outlived those that failed if it has been in flight for this many times as long as they
took."""


class Outliving:
    """The calls since one moment that outlived those that failed.

    Args:
        since: The token of the first call that counts.

    Attributes:
        longest: Seconds of the failed call that took longest; 0.0 before the first one.
        latest: The highest token of a call that was counted before it ended. Of the calls up to it,
            none is to be counted as good again when it ends.
        counted: The tokens of the calls that were counted, and whose end is not known.
        is_refuted: Whether one of them was not answered well, and no call was since.
    """

    __slots__ = ("counted", "is_refuted", "latest", "longest")

    def __init__(self, since: int) -> None:
        self.latest = since - 1
        self.longest = 0.0
        self.counted: set[int] = set()
        self.is_refuted = False

    def note_failed(self, ending: Ending) -> None:
        """Note for how long a call that failed had been in flight.

        Nothing outlives a stream that stalled: others may stall at any time.
        """
        self.longest = inf if ending.going_on else max(self.longest, ending.took)

    def count(self, calls: InFlight, now: float) -> list[int]:
        """The tokens of calls in flight that have outlived those that failed, and were not counted."""
        if not self.longest or self.is_refuted:
            return []
        outliving = calls.outlive(self.latest, now - OUTLIVES * self.longest)
        self.latest = max(outliving, default=self.latest)
        self.counted.update(outliving)
        return outliving

    def take_back(self, token: int) -> bool:
        """Note that a call was not answered well; return whether it was counted as good."""
        if token not in self.counted:
            return False
        self.counted.remove(token)
        self.is_refuted = True
        return True

    def note_answered(self, token: int) -> None:
        """Note that a call was answered: others may outlive those that fail again."""
        self.counted.discard(token)
        self.is_refuted = False
