"""Load: whether a callee is slow because it has too many calls.

By Little's law, calls in flight = calls per second * latency. So where more calls in flight are only
slower, no more calls per second are served: they wait for each other. What tells load from sickness
is whether latency rises with the number of calls in flight. That number is noted for each call. As
a callee that slows down has more calls in flight as well, it is sure only when calls are faster
after the limit was lowered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import log

# If the number of calls varies, they count as fewer only if at most this part of them is left.
_FEWER = 0.95
# Number of answers from which is judged whether latency rises with the calls in flight.
_REMEMBERED, _FEWEST = 64, 8
# The slope of log latency against log calls in flight. From `_RISES` on, latency rises with the load;
# below `_FLAT` it does not. A full queue has 1, a sick callee 0.
_RISES, _FLAT = 0.5, 0.2
# Least spread of the logarithm of the calls in flight that tells anything: one half of ln(2) is the
# spread of two rounds of which one has half as many.
_SPREAD = 0.25
# After this many times in a row without any help by fewer calls, it is no load. Where eight processes
# share a callee, one of them often sees no difference by itself.
_USELESS = 6
# The same if calls were faster once. Where each call takes longer than the slow threshold and there
# are too many calls as well, it takes several tries to find the right limit.
_USELESS_IF_SURE = 16
# A latency of 0.0 s, by a coarse clock, counts as `_MOMENT` seconds: it has no logarithm. Nor has the
# latency of a round without an answer, which is infinite and counts as `_EVER`.
_MOMENT, _EVER = 1e-9, 1e9


class Load:
    """Whether a callee has too many calls, by the answers since it became slow.

    Attributes:
        is_likely: Whether latency was seen to rise with the calls in flight.
        is_sure: Whether calls were seen to be faster after the limit was lowered.
        useless: How many times in a row fewer calls were no help.
    """

    __slots__ = ("_before", "_pairs", "is_likely", "is_sure", "useless")

    def __init__(self) -> None:
        self.is_likely = False
        self.is_sure = False
        self.useless = 0
        # Calls in flight and latency of the last answers, as logarithms.
        self._pairs: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)
        # Limit and latency before it was lowered; None once it was compared.
        self._before: tuple[float, float] | None = None

    def add(self, in_flight: int, latency: float) -> None:
        """Add an answer.

        Args:
            in_flight: Calls in flight when the call began, itself included.
            latency: Seconds.
        """
        if latency > 0.0:
            self._pairs.append((log(in_flight), log(latency)))

    def forget(self) -> None:
        """Forget the answers so far."""
        self._pairs.clear()

    def lowered(self, limit: float, latency: float) -> None:
        """Note the limit and the typical latency in seconds before the limit is lowered."""
        self._before = limit, latency

    def compare(self, limit: float, latency: float, *, varies: bool) -> bool | None:
        """Whether fewer calls in flight are faster; None if that is not known.

        Args:
            limit: The present limit; or how many calls are in flight, if that varies.
            latency: The typical latency under it, in seconds.
            varies: As in `Search`.
        """
        before, self._before = self._before, None
        if varies and before is not None and limit > _FEWER * before[0]:
            before = None  # there are as many as before, although the limit was lowered
        rising = rises(self._pairs)
        helped = rising
        if before is not None:
            fell = log(_finite(latency) / _finite(before[1])) <= _RISES * log(limit / before[0])
            self.is_sure = self.is_sure or fell
            if not self.is_sure:
                self.is_likely = False
            helped = fell or (self.is_sure and rising is True)
        self.is_likely = self.is_likely or helped is True
        return helped

    def count_useless(self) -> None:
        """Count that fewer calls were no help."""
        self.useless += 1
        if self.useless >= (_USELESS_IF_SURE if self.is_sure else _USELESS):
            self.is_likely = False


def _finite(latency: float) -> float:
    return min(max(latency, _MOMENT), _EVER)


def rises(pairs: Sequence[tuple[float, float]]) -> bool | None:
    """Whether latency rises with the calls in flight; None if that is not known.

    Args:
        pairs: Logarithms of the calls in flight when a call began, and of its latency.
    """
    total = len(pairs)
    if total < _FEWEST:
        return None
    mean_x = sum(x for x, _ in pairs) / total
    spread = sum((x - mean_x) ** 2 for x, _ in pairs)
    if spread < total * _SPREAD**2:
        return None
    # Of the latencies no mean is taken off: the distances from `mean_x` add up to zero.
    slope = sum((x - mean_x) * y for x, y in pairs) / spread
    return True if slope >= _RISES else False if slope < _FLAT else None
