"""Divided: whether only some workers of a fleet are in trouble, since their way to the callee is broken.

The rule: trouble is divided when the last calls of each worker predict the end of its next call better
than the last calls of all workers do.

If a callee is in trouble, all workers see the same share of bad calls at the same time, however that
share changes. So the last calls of all workers predict the next call best, also that of a worker that
has not seen the change yet. If some workers are cut off and the rest is well, the calls of each worker
predict its next one, and the mixture of all predicts none.

Each call adds ln P(end | its worker) - ln P(end | all workers). Both are predicted from earlier calls
only (Dawid 1984), so if all workers are alike, a sum of ln(N) comes up by chance at most once in N
tries (Ville 1939). In 1,800,000 calls that fail by chance, in runs, or all at times, with shares of
2-90 %, the highest was 6.0.
"""

from __future__ import annotations

from math import log

# The sum that is enough, about ln(1,000). It takes about 20 calls with 8 workers, and 60 with 64.
_SURE = 7.0
# The sum never falls below this: trouble of all may become divided later, when it is over for some.
_LEAST = -2.0
# With this sum, it is likely that it is divided. Before `_KNOWN` predicted calls, nothing is known yet.
_MAYBE, _KNOWN = 1.0, 8
# The part that a tally forgets with each call. All workers are predicted from about the last 8 calls or
# the last 33, whichever is better for that call: so a worker that sees a change late, or by chance has
# other ends, is no evidence. One worker is predicted from about its own last 10.
_SOON, _SLOWLY, _OWN = 0.125, 0.03, 0.1
# How many calls an even share weighs at first; and the share of all, in that of one worker.
_PRIOR, _OWN_PRIOR = 0.5, 0.6
# No predicted share is nearer to 0 or 1 than this: a single unlikely call must not decide.
_LEAST_SHARE = 0.05
# Calls count only while at least this share of all calls is bad. A smaller share opens no breaker; and
# that one worker is cut off would not explain why others are in trouble.
_TROUBLE = 0.2


class _Tally:
    """How many of the last calls were bad; what is long ago counts less and less.

    Args:
        forgets: The part that is forgotten with each call, 0.0-1.0.
    """

    __slots__ = ("_forgets", "bad", "calls")

    def __init__(self, forgets: float) -> None:
        self._forgets = forgets
        self.calls = self.bad = 0.0

    def add(self, *, bad: bool) -> None:
        kept = 1.0 - self._forgets
        self.calls, self.bad = kept * self.calls + 1.0, kept * self.bad + bad

    def share(self, expected: float, weight: float) -> float:
        """The share of bad calls to expect next; `expected` counts as `weight` calls."""
        share = (self.bad + weight * expected) / (self.calls + weight)
        return min(max(share, _LEAST_SHARE), 1.0 - _LEAST_SHARE)


class Divided:
    """How sure it is that only some workers are in trouble, for one key.

    Attributes:
        level: ln of how much better workers predict their own calls; `_LEAST` to `_SURE`.
    """

    __slots__ = ("_known", "_of_all", "_of_one", "level")

    def __init__(self) -> None:
        self.level = 0.0
        self._known = 0
        self._of_all = _Tally(_SOON), _Tally(_SLOWLY)
        self._of_one: dict[str, _Tally] = {}

    def add(self, worker: str, *, bad: bool) -> None:
        """Count a call of a worker, in the order in which calls end."""
        shares = [tally.share(0.5, _PRIOR) for tally in self._of_all]
        own = self._of_one.setdefault(worker, _Tally(_OWN))
        if own.calls and max(shares) >= _TROUBLE:
            self._known += 1
            one = own.share(shares[-1], _OWN_PRIOR)
            gain = log(one / max(shares)) if bad else log((1.0 - one) / (1.0 - min(shares)))
            self.level = min(max(self.level + gain, _LEAST), _SURE)
        for tally in (own, *self._of_all):
            tally.add(bad=bad)

    def is_well(self, worker: str) -> bool | None:
        """Whether most of the last calls of a worker were good; None while none is known."""
        own = self._of_one.get(worker)
        return None if own is None else 2.0 * own.bad < own.calls

    @property
    def is_sure(self) -> bool:
        """Whether the trouble is divided."""
        return self.level >= _SURE

    @property
    def may_be(self) -> bool:
        """Whether the trouble is divided, or it is not known yet: some workers may be well."""
        if self.is_sure:
            return True
        return self.is_likely or (not self.is_known and self.counted[0] > 0)

    @property
    def is_likely(self) -> bool:
        """Whether it is likely that the trouble is divided, though it may not be sure."""
        return self.level > _MAYBE and self.counted[0] > 0

    @property
    def is_known(self) -> bool:
        """Whether enough calls were seen to say that it is not divided."""
        return self._known >= _KNOWN

    @property
    def lasts(self) -> bool:
        """Whether it is divided, and enough calls are bad that all would open otherwise."""
        return self.is_sure and self._of_all[-1].share(0.5, _PRIOR) >= _TROUBLE

    @property
    def counted(self) -> tuple[int, int]:
        """How many workers are well, and how many are not, of those of which a call is known."""
        well = sum(self.is_well(worker) is True for worker in self._of_one)
        return well, len(self._of_one) - well
