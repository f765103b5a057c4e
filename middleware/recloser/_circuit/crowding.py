"""Crowding: whether probes fail only because there are several at a time.

A callee with a fixed number of places (connections, workers) fails at once what comes beyond them, and serves
the others as ever. If most calls fail, the breaker opens. Then the first probe of each round is alone
and good, and most of those that follow together fail. A callee that fails in itself does not ask how
many there are: as many single probes fail. So what tells the two apart is a comparison of the shares
of good probes, by a Bayes factor (Jeffreys 1961, "Theory of Probability"). No share is known, so each
is averaged over.
"""

from __future__ import annotations

from math import lgamma, log

# How many times likelier it must be that the shares differ than that they are the same.
_SURE = 20.0


class Crowding:
    """The probes of one trouble, single ones and others, since it was refuted last.

    Attributes:
        is_sure: Whether most single probes are good, and fewer of those that are several at a time.
    """

    __slots__ = ("_alone", "_needed", "_together")

    def __init__(self) -> None:
        # Good and bad probes.
        self._alone = [0, 0]
        self._together = [0, 0]
        # The evidence that is enough, in nats.
        self._needed = log(_SURE)

    def add(self, *, alone: bool, good: bool) -> None:
        """Add a probe: whether it was a single one, and whether it was good."""
        (self._alone if alone else self._together)[not good] += 1

    def take_back(self, *, alone: bool) -> None:
        """Take back a good probe: it was counted too early."""
        probes = self._alone if alone else self._together
        probes[0] = max(probes[0] - 1, 0)  # they may have been forgotten meanwhile

    def refute(self) -> None:
        """Forget the probes: a limit was no help. The next time, it takes more evidence.

        With a quota of calls per second, a probe after a wait is good as well, and the next ones fail.
        """
        self._alone, self._together = [0, 0], [0, 0]
        self._needed += log(_SURE)

    @property
    def is_sure(self) -> bool:
        (good, bad), (good_together, bad_together) = self._alone, self._together
        if good <= bad or good * bad_together <= good_together * bad:
            return False
        differ = _log_likelihood(good, bad) + _log_likelihood(good_together, bad_together)
        return differ - _log_likelihood(good + good_together, bad + bad_together) >= self._needed


def _log_likelihood(good: int, bad: int) -> float:
    """The log of the likelihood of these numbers of good and bad probes, averaged over all shares."""
    return lgamma(good + 1.0) + lgamma(bad + 1.0) - lgamma(good + bad + 2.0)
