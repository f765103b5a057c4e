"""Evidence: how sure we are that this is no longer normal, and when that is enough.

Good and bad calls are taken for a chain of two states, because bad calls come in runs. Normal is
what was learned of this key: p01 = P(bad | the last was good) and p11 = P(bad | the last was
bad). An outage is taken for calls that are bad with probability p1 whatever the last one was.
The evidence is Page's CUSUM of the log-likelihood ratio of the two (Page 1954), in nats: each
call adds ln P(call | outage) - ln P(call | normal), and below zero it starts again from zero.

Under normal the ratio has mean one at each step, so evidence of ln(N) comes up by chance no more
often than once in N calls (Lorden 1971): `false_trip_interval` is that N, and nobody has to set
window sizes. No other rule with the same N is quicker in the worst case (Moustakides 1986).
"""

from __future__ import annotations

from math import log, sqrt

from recloser._policy import Policy

# How many calls the prior weighs. 50 forget it within a minute of modest traffic; after a bad
# call 8 do, since those are few: a key whose failures come in runs must be able to show it.
_PRIOR_CALLS = 50.0
_PRIOR_RUNS = 8.0
# Nothing is learned to be better than this: a key that never failed would trip on one failure
# (smartcb#3).
_FLOOR_AFTER_GOOD = 0.005
_FLOOR_AFTER_BAD = 0.01
# With p1 = 1 - 0.4 * (1 - p11)**2 an independent key is tested against an outage in which six of
# ten calls are bad, and one whose failures come in runs against one that is worse than its runs.
_OUTAGE_GOOD = 0.4
# Calls below the rate threshold after which suspicion is taken for normal, if not for good.
_PATIENCE_CALLS = 64


class Evidence:
    """What the calls of one key say for an outage and against normal.

    Attributes:
        surprise: Evidence in nats, 0.0 to `enough`. Zero means that nothing is suspicious.
        enough: ln(`false_trip_interval`).
        calls: Calls since suspicion began (fading over a long one).
        bad: Bad ones of them.
        slow: Those of the bad that were slow and did not fail.
        after_good: Calls learned of, that followed a good one.
    """

    __slots__ = (
        "_after_bad",
        "_at",
        "_bad_after_bad",
        "_bad_after_good",
        "_down_after_bad",
        "_down_after_good",
        "_held_after_bad",
        "_held_bad_after_bad",
        "_held_bad_after_good",
        "_held_calls",
        "_last_was_bad",
        "_policy",
        "_up_after_bad",
        "_up_after_good",
        "after_good",
        "bad",
        "calls",
        "enough",
        "slow",
        "surprise",
    )

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.enough = log(policy.false_trip_interval)
        self.after_good = 0.0
        self._bad_after_good = 0.0
        self._after_bad = 0.0
        self._bad_after_bad = 0.0
        self._at = 0.0
        self.clear()
        self.refresh()

    def clear(self) -> None:
        """Drop the suspicion and all that was held back under it."""
        self.surprise = 0.0
        self.calls = 0.0
        self.bad = 0.0
        self.slow = 0.0
        self._last_was_bad = False
        self._drop_held()

    def _drop_held(self) -> None:
        self._held_calls = 0
        self._held_bad_after_good = 0
        self._held_after_bad = 0
        self._held_bad_after_bad = 0

    @property
    def normal_bad_rate(self) -> float:
        """Share of bad calls that is normal for this key, 0.0-1.0."""
        p01, p11 = self._chain()
        return p01 / (1.0 + p01 - p11)

    @property
    def bad_rate(self) -> float:
        """Share of bad calls since suspicion began, 0.0-1.0."""
        return self.bad / self.calls if self.calls else 0.0

    def refresh(self) -> None:
        """Draw the weights of the next calls from what was learned; fade what is old."""
        if self.after_good + self._after_bad > 2 * self._policy.history_size:
            self.after_good *= 0.5
            self._bad_after_good *= 0.5
            self._after_bad *= 0.5
            self._bad_after_bad *= 0.5
        p01, p11 = self._chain()
        # Err on the side of "that is normal" by one standard error: it matters while little is
        # known and fades by itself.
        p01 += sqrt(p01 * (1.0 - p01) / (self.after_good + _PRIOR_CALLS))
        p1 = 1.0 - _OUTAGE_GOOD * (1.0 - p11) ** 2
        self._up_after_good = log(p1 / min(p01, 0.99 * p1))
        self._down_after_good = log((1.0 - p1) / (1.0 - p01))
        self._up_after_bad = log(p1 / p11)
        self._down_after_bad = log((1.0 - p1) / (1.0 - p11))

    def _chain(self) -> tuple[float, float]:
        prior = self._policy.normal_bad_rate
        p01 = (self._bad_after_good + _PRIOR_CALLS * prior) / (self.after_good + _PRIOR_CALLS)
        p01 = max(p01, _FLOOR_AFTER_GOOD)
        p11 = (self._bad_after_bad + _PRIOR_RUNS * p01) / (self._after_bad + _PRIOR_RUNS)
        return p01, min(max(p11, _FLOOR_AFTER_BAD), 0.99)

    def expect_slow(self, calls: int, share: float) -> None:
        """Take a share of calls, counted as good, for slow: the first threshold says so."""
        self._bad_after_good += calls * share
        self.refresh()

    def learn_run(self, length: int) -> None:
        """Take a run of bad calls for normal: the opening it caused was wrong or momentary."""
        self.after_good += 1
        self._bad_after_good += 1
        self._after_bad += length
        self._bad_after_bad += length - 1
        self.refresh()

    def vote_bad(self, now: float, *, slow: bool) -> bool:
        """Count a bad call at `now` seconds; tell whether it is enough to open."""
        self._fade(now)
        self.calls += 1
        self.bad += 1
        if slow:
            self.slow += 1
        self._held_calls += 1
        if self._last_was_bad:
            weight = self._up_after_bad
            self._held_after_bad += 1
            self._held_bad_after_bad += 1
        else:
            weight = self._up_after_good
            self._held_bad_after_good += 1
        self._last_was_bad = True
        self.surprise = min(self.surprise + weight, self.enough)
        policy = self._policy
        return (
            self.surprise >= self.enough
            and self.bad >= policy.min_failures
            and self.bad >= policy.failure_rate_threshold * self.calls
        )

    def vote_good(self, now: float) -> bool:
        """Count a good call under suspicion; tell whether what was held back is normal now."""
        self._fade(now)
        self.calls += 1
        self._held_calls += 1
        if self._last_was_bad:
            self.surprise += self._down_after_bad
            self._held_after_bad += 1
            self._last_was_bad = False
        else:
            self.surprise += self._down_after_good
        if self.surprise <= 0.0:
            self._learn_held()
            self.clear()
            return True
        if self._held_calls >= _PATIENCE_CALLS and self.bad_rate < (
            self._policy.failure_rate_threshold
        ):
            # Worse than it was, but not bad enough to refuse calls: so be it.
            self._learn_held()
            self.refresh()
            self.calls *= 0.5
            self.bad *= 0.5
            self.slow *= 0.5
            return True
        return False

    def _learn_held(self) -> None:
        self.after_good += self._held_calls - self._held_after_bad
        self._bad_after_good += self._held_bad_after_good
        self._after_bad += self._held_after_bad
        self._bad_after_bad += self._held_bad_after_bad
        self._drop_held()

    def _fade(self, now: float) -> None:
        # Old news fades, but only over silence: at a call every ten seconds five bad ones in a
        # row are five bad ones in a row.
        silence = now - self._at
        half_life = self._policy.evidence_half_life
        if silence > half_life:
            self.surprise *= 0.5 ** (silence / half_life)
        self._at = now
