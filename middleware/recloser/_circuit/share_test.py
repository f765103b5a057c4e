"""The share test: whether enough calls succeed, from calls that no suspicion has selected.

A suspicion begins with a run of bad calls, so the share of bad calls in it is far too high. Whether a
callee fails more often than not can only be told from the calls after that. The test compares two
explanations of them by their likelihood ratio: just enough calls succeed, or fewer do. How many
fewer is not known, so its likelihood is an average over several shares (a Bayes factor; Jeffreys
1961, "Theory of Probability"). If enough calls succeed, the ratio falls to 1 / `_TOO_FEW` at any
time with a probability of at most 1 / `_TOO_FEW` (Ville 1939).
"""

from __future__ import annotations

from math import exp, inf, log

# How much more likely one explanation must be than the other.
_ENOUGH = 23.0  # eight good calls of eight; with 10, a callee with 60 % of failures was admitted
_TOO_FEW = 4.0
# Shares of good calls if there are too few of them, as parts of the share that is just enough.
_FEWER = (0.8, 0.5, 0.2, 0.04)
# After this many calls, the share itself decides: near the limit, it matters little which way.
_MOST_CALLS = 200


class ShareTest:
    """The test of one share.

    Args:
        enough: The share of good calls that is just enough, 0.0-1.0.
        odds: How much more likely it is before the first call that enough succeed, > 0.

    Attributes:
        good: Good calls so far.
        slow: Slow calls so far.
        failed: Failed calls so far.
        since: When it began, in seconds. Calls that began earlier are not to be counted.
    """

    __slots__ = ("_enough", "_odds", "failed", "good", "since", "slow")

    def __init__(self, enough: float, odds: float = 1.0) -> None:
        self._enough = min(max(enough, 0.01), 0.99)
        self._odds = odds
        self.good = 0
        self.slow = 0
        self.failed = 0
        self.since = -inf

    @property
    def calls(self) -> int:
        """Number of calls so far."""
        return self.good + self.slow + self.failed

    @property
    def ratio(self) -> float:
        """How much more likely the calls are if just enough succeed than if fewer do."""
        good, bad = self.good, self.slow + self.failed
        enough = self._enough
        fewer = [
            exp(good * log(part) + bad * log((1.0 - part * enough) / (1.0 - enough)))
            for part in _FEWER
        ]
        return self._odds * len(fewer) / sum(fewer)

    @property
    def is_enough(self) -> bool | None:
        """Whether enough calls succeed; None while that is not known."""
        ratio = self.ratio
        if ratio >= _ENOUGH:
            return True
        if ratio * _TOO_FEW <= 1.0:
            return False
        calls = self.calls
        return self.good >= self._enough * calls if calls >= _MOST_CALLS else None
