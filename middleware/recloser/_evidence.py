"""Evidence: how sure we are that this is no longer normal, and when that is enough.

A call is good, slow or failed. Calls are taken for a chain of these three states, because bad
ones come in runs. Normal is what was learned of this key: how often each state follows each. An
outage is taken for calls that are bad at least `failure_rate_threshold` of the time whatever the
last one was; how bad exactly, and whether slow or failed, is estimated from the calls since
suspicion began, always before the call it is applied to.

The evidence is Page's CUSUM of the log-likelihood ratio of the two (Page 1954), in nats: each
call adds ln P(call | outage) - ln P(call | normal), and below zero it starts again from zero.
Under normal the ratio has mean one at each step, so evidence of ln(N) comes up by chance no more
often than once in N calls (Lorden 1971; with estimates made beforehand, Lorden and Pollak 2005):
`false_trip_interval` is that N, and nobody has to set window sizes.
"""

from __future__ import annotations

from math import log, sqrt

from recloser._policy import Policy

GOOD, SLOW, FAILED = range(3)
# How slow a slow call was: only its end tells. In flight past the threshold it is merely overdue.
OVERDUE, SLOW_ONLY, VERY_SLOW = range(3)

# Depths of a run that are told apart.
_DEPTHS = 5
# How many calls the prior weighs: 50 forget it within a minute of modest traffic. In a run it is
# what was learned one call less deep, and it weighs less, since runs are few: a key whose bad
# calls come in runs must be able to show it.
_PRIOR_CALLS = 50.0
_PRIOR_RUNS = 8.0
# Nothing is learned to be better than this: a key that never failed would trip on one failure
# (smartcb#3).
_FLOOR = 0.005
# Share of the slow calls that are very slow, before anything was learned; it weighs as much as a
# run's prior.
_PRIOR_VERY_SLOW = 0.25
# What an outage is expected to be before its first call: pseudo-counts of good and of all calls,
# and of each kind of bad ones (Krichevsky and Trofimov 1981 take 0.5).
_OUTAGE_GOOD = 0.25
_OUTAGE_CALLS = 2.25
_ALIKE = 0.25
# Generations of the latency history after which half of what was learned here is forgotten. Runs
# are rare: to know how long they get takes many more calls than to know a median.
_MEMORY = 10
# How many calls an expectation weighs.
_EXPECTED = 100.0
# Calls below the rate threshold after which suspicion is taken for normal, if not for good.
_PATIENCE_CALLS = 64


class Evidence:
    """What the calls of one key say for an outage and against normal.

    Attributes:
        surprise: Evidence in nats, 0.0 to `enough`. Zero means that nothing is suspicious.
        idle: Whether there is neither surprise nor a run: a good call only counts `quiet` then.
        quiet: Good calls learned of, outside of any run.
        since: The permit of the call with which suspicion began. Older ones have no say in it.
        enough: ln(`false_trip_interval`).
        half_life: Seconds of silence in which the surprise halves.
        calls: Calls since suspicion began.
        bad: Bad ones of them.
        slow: Those of the bad that were slow and did not fail.
        normal_bad_rate: Share of bad calls that is normal for this key, 0.0-1.0.
    """

    __slots__ = (
        "_at",
        "_counts",
        "_depth",
        "_ends",
        "_faded_at",
        "_held",
        "_held_ends",
        "_logs",
        "_logs_of_ends",
        "_policy",
        "bad",
        "calls",
        "enough",
        "half_life",
        "idle",
        "normal_bad_rate",
        "quiet",
        "since",
        "slow",
        "surprise",
    )

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.enough = log(policy.false_trip_interval)
        self.half_life = policy.evidence_half_life
        self.quiet = 0.0
        # Calls learned of: a row for each depth of a run, its columns good, slow and failed.
        self._counts = [[0.0] * 3 for _ in range(_DEPTHS)]
        # Slow calls learned of whose end was seen: those slow only, and those very slow.
        self._ends = [0.0, 0.0]
        self._logs: list[tuple[float, ...]] = []
        self._logs_of_ends = (0.0, 0.0)
        self._at = 0.0
        self._faded_at = 0.0
        self.since = 0
        self.clear()
        self.refresh(0.0)

    def clear(self) -> None:
        """Drop the suspicion and all that was held back under it."""
        self._depth = 0
        self._end_suspicion()

    def _end_suspicion(self) -> None:
        self.surprise = 0.0
        self.calls = 0
        self.bad = 0
        self.slow = 0
        self.idle = self._depth == 0
        self._drop_held()

    def _drop_held(self) -> None:
        self._held = [[0] * 3 for _ in range(_DEPTHS)]
        self._held_ends = [0, 0]

    @property
    def bad_rate(self) -> float:
        """Share of bad calls since suspicion began, 0.0-1.0."""
        return self.bad / self.calls if self.calls else 0.0

    # What is normal

    def refresh(self, now: float) -> None:
        """Draw the odds of the next calls from what was learned; fade what is old."""
        policy, counts = self._policy, self._counts
        counts[0][GOOD] = self.quiet
        learned = sum(map(sum, counts))
        old = now - self._faded_at >= policy.history_span
        if old and learned > _MEMORY * policy.history_size:
            self._faded_at = now
            for row in (*counts, self._ends):
                row[:] = [0.5 * count for count in row]
            self.quiet = counts[0][GOOD]
            learned *= 0.5
        prior = policy.normal_bad_rate
        bad = learned - sum(row[GOOD] for row in counts)
        self.normal_bad_rate = (bad + _PRIOR_CALLS * prior) / (learned + _PRIOR_CALLS)
        slow = failed = 0.5 * prior
        weight = _PRIOR_CALLS
        self._logs.clear()
        for row in counts:
            total = sum(row) + weight
            slow = max((row[SLOW] + weight * slow) / total, _FLOOR)
            failed = max((row[FAILED] + weight * failed) / total, _FLOOR)
            weight = _PRIOR_RUNS
            self._logs.append(_log_odds(slow, failed, total))
        total = sum(self._ends) + _PRIOR_RUNS
        very = _cautious((self._ends[1] + _PRIOR_RUNS * _PRIOR_VERY_SLOW) / total, total)
        self._logs_of_ends = log(1.0 - very), log(very)

    def expect_slow(self, slow: float, very_slow: float, now: float) -> None:
        """Take shares of the calls for slow and very slow: a new threshold says so."""
        counts = self._counts
        counts[0][GOOD] = self.quiet
        total = sum(map(sum, counts)) or 1.0
        failed = sum(row[FAILED] for row in counts) / total
        slow = max(sum(row[SLOW] for row in counts) / total, slow)
        good = max(1.0 - failed - slow, 0.0)
        self._counts = [[0.0] * 3 for _ in range(_DEPTHS)]
        self._counts[0] = [_EXPECTED * share for share in (good, slow, failed)]
        self.quiet = self._counts[0][GOOD]
        self._ends = [_EXPECTED * max(slow - very_slow, 0.0), _EXPECTED * very_slow]
        self.refresh(now)

    def learn_run(self, now: float) -> None:
        """Take the suspicion for normal: the opening it caused was wrong or momentary."""
        self._learn_held()
        self.refresh(now)

    def _learn_held(self) -> None:
        for row, held in zip(self._counts, self._held, strict=True):
            for kind in (GOOD, SLOW, FAILED):
                row[kind] += held[kind]
        self.quiet += self._held[0][GOOD]
        for how in (0, 1):
            self._ends[how] += self._held_ends[how]
        self._drop_held()

    # Votes

    def vote_failed(self, now: float) -> bool:
        """Count a failed call at `now` seconds; tell whether it is enough to open."""
        self._count(FAILED, now)
        return self.is_enough

    def vote_slow(self, now: float, how: int) -> bool:
        """Count a slow call at `now` seconds; tell whether it is enough to open."""
        self._count(SLOW, now)
        if how != OVERDUE:
            self._count_end(how)
        return self.is_enough

    def came_back(self, how: int, *, held: bool) -> bool:
        """An overdue call ended; tell whether that is enough to open.

        Args:
            how: SLOW_ONLY or VERY_SLOW.
            held: Whether it belongs to the present suspicion.
        """
        if not held:
            self._ends[how - SLOW_ONLY] += 1
            return False
        self._count_end(how)
        return self.is_enough

    def vote_good(self, now: float) -> bool:
        """Count a good call while not idle; tell whether what was held back is normal now."""
        self._count(GOOD, now)
        patient = self.surprise > 0.0
        if patient and (
            self.calls < _PATIENCE_CALLS or self.bad_rate >= self._policy.failure_rate_threshold
        ):
            return False
        # Back to normal; or worse than it was, but not bad enough to refuse calls: so be it.
        self._learn_held()
        self._end_suspicion()
        if patient:
            self.refresh(now)
        return True

    @property
    def is_enough(self) -> bool:
        """Whether the evidence suffices to open."""
        policy = self._policy
        return (
            self.surprise >= self.enough
            and self.bad >= policy.min_failures
            and self.bad >= policy.failure_rate_threshold * self.calls
        )

    def _count(self, kind: int, now: float) -> None:
        # Old news fades, but only over silence: at a call every ten seconds five bad ones in a
        # row are five bad ones in a row.
        silence = now - self._at
        if silence > self.half_life:
            self.surprise *= 0.5 ** (silence / self.half_life)
        self._at = now
        depth = self._depth
        good = (self.calls - self.bad + _OUTAGE_GOOD) / (self.calls + _OUTAGE_CALLS)
        odds = good = min(good, 1.0 - self._policy.failure_rate_threshold)
        if kind == GOOD:
            self._depth = max(depth - 1, 0)
        else:
            alike = self.slow if kind == SLOW else self.bad - self.slow
            odds = (1.0 - good) * (alike + _ALIKE) / (self.bad + 2.0 * _ALIKE)
            self.bad += 1
            self.slow += kind == SLOW
            self._depth = min(depth + 1, _DEPTHS - 1)
            self.idle = False
        self.calls += 1
        # With a threshold of 1.0 an outage has no good calls at all: one ends the suspicion.
        self._add(log(odds) - self._logs[depth][kind] if odds > 0.0 else -self.enough)
        self._held[depth][kind] += 1

    def _count_end(self, how: int) -> None:
        alike = self._held_ends[how - SLOW_ONLY] + _ALIKE
        odds = alike / (sum(self._held_ends) + 2.0 * _ALIKE)
        self._add(log(odds) - self._logs_of_ends[how - SLOW_ONLY])
        self._held_ends[how - SLOW_ONLY] += 1

    def _add(self, weight: float) -> None:
        self.surprise = min(max(self.surprise + weight, 0.0), self.enough)


def _log_odds(slow: float, failed: float, calls: float) -> tuple[float, ...]:
    slow, failed = _cautious(slow, calls), _cautious(failed, calls)
    scale = min(1.0, 0.99 / (slow + failed))
    return log(1.0 - scale * (slow + failed)), log(scale * slow), log(scale * failed)


def _cautious(share: float, calls: float) -> float:
    # Err on the side of "that is normal" by one standard error: it matters while little is known
    # and fades by itself.
    return min(share + sqrt(share * (1.0 - share) / calls), 0.99)
