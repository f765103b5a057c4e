"""Evidence: how sure we are that calls are no longer normal, and when that is enough to open.

A call is good, slow or failed. Bad calls come in runs, so calls are modelled as a chain of these
three states. Normal is what was learned about this key: how often each state follows each state.
In an outage, calls are bad at least `failure_rate_threshold` of the time, whatever the last call
was. The exact share, and how many are slow or failed, is estimated from the calls since the
suspicion began. Each estimate uses only the calls before the one that it is applied to.

The evidence is Page's CUSUM of the log-likelihood ratio of the two (Page 1954), in nats. Each call
adds ln P(call | outage) - ln P(call | normal). When the sum falls below zero, it is set to zero.
If calls are normal, the ratio has mean one at each step. So evidence of ln(N) comes up by chance at
most once in N calls (Lorden 1971; with estimates made beforehand, Lorden and Pollak 2005). That N
is `false_trip_interval`, and there are no window sizes to set.
"""

from __future__ import annotations

from math import log

from recloser._circuit.correction import corrected, spread
from recloser._circuit.enough import suffices
from recloser._circuit.runs import deeper, depth_of, row_after_good, row_before
from recloser._circuit.tallies import NO_COUNTS, NO_ENDS, Ends, Tally, one_more, sum_of
from recloser._policy import Policy

GOOD, SLOW, FAILED = range(3)
# How slow a slow call was. This is known when the call ends; until then it is only overdue.
OVERDUE, SLOW_ONLY, VERY_SLOW = range(3)

# How many calls the prior weighs. At 50, it is forgotten within a minute of modest traffic. Within
# a run, the prior is what was learned at one less depth. It weighs less there, since runs are few.
PRIOR_CALLS = 50.0
_PRIOR_RUNS = 14.0
# A learned share is never lower than this. Otherwise a key that had never failed would open after
# one failure (smartcb#3).
FLOOR = 0.005
# Share of very slow calls among the slow ones before anything was learned. It weighs as much as the
# prior of a run.
_PRIOR_VERY_SLOW = 0.25
# What is expected of an outage before its first call: pseudo-counts of good and of all calls, and
# of each kind of bad calls (Krichevsky and Trofimov 1981 take 0.5).
_OUTAGE_GOOD = 0.6
_OUTAGE_CALLS = 2.6
_ALIKE = 0.25
# After this many generations of the latency history, half of what was learned here is forgotten.
# Runs are rare: it takes many more calls to learn their length than to learn a median.
MEMORY = 10
# Calls that were accepted as normal are learned only after this many good calls. Until then they may
# be the start of an outage, and an opening drops them. When they were learned at once, outages in
# a row became normal for some keys, and each one took longer to notice.
_DOUBTFUL_CALLS = 128
# A key with fewer good calls than this learns at once. Otherwise a key where 20 % fail opened in
# its first minute.
_YOUNG = 1024
# How many calls an expectation weighs (see `expect_slow`).
_EXPECTED = 100.0
# After this many calls, a suspicion with a bad rate below the threshold is accepted as normal.
_PATIENCE_CALLS = 64
# An outage is recognized within a few dozen calls. A suspicion that lasts longer than this is
# normal: without this limit, a service near its threshold opened after a thousand calls.
_DECIDED = 256

# Shares of no row. All keys share it, so nothing is ever put in.
_NO_SHARES: dict[int, tuple[float, float]] = {}


class Evidence:
    """The evidence of the calls of one key for an outage and against normal.

    Attributes:
        level: Evidence in nats, 0.0 to `threshold`. At 0.0 there is no suspicion.
        idle: Whether there is no suspicion and no run. A good call is then only added to `quiet`.
        quiet: Number of good calls that were learned outside of any run.
        since: Token of the call with which the suspicion began. Older calls do not count in it.
        threshold: ln(`false_trip_interval`).
        half_life: Seconds of silence in which the level halves.
        calls: Calls since the suspicion began.
        bad: Bad calls among `calls`.
        slow: Slow calls among `bad`; the others failed.
        expected_bad: How many bad calls to expect among `calls` if they were normal.
        late: Calls among `slow` that were counted before they were overdue.
    """

    __slots__ = (
        "_at",
        "_counts",
        "_doubtful",
        "_doubtful_since",
        "_ends",
        "_faded_at",
        "_held",
        "_held_ends",
        "_policy",
        "_row",
        "_shares",
        "_spread",
        "bad",
        "calls",
        "expected_bad",
        "half_life",
        "idle",
        "late",
        "level",
        "quiet",
        "since",
        "slow",
        "threshold",
    )

    def __init__(self, policy: Policy) -> None:
        self.adopt(policy)
        self.quiet = 0.0
        # Calls accepted as normal, but not learned yet, and the value of `quiet` before them.
        self._doubtful = NO_COUNTS
        self._doubtful_since = 0.0
        # Learned calls by row and kind, without those in `quiet`.
        self._counts = NO_COUNTS
        # Shares of slow and of failed calls by row. Computed from the counts when a vote needs
        # them, and kept until the next refresh.
        self._shares = _NO_SHARES
        # How many bad calls the learned shares weigh against the present run.
        self._spread = spread(0.0)
        # Learned slow calls that have ended.
        self._ends = NO_ENDS
        self._at = 0.0
        self._faded_at = 0.0
        self.since = 0
        self._held = NO_COUNTS
        self._held_ends = NO_ENDS
        self.clear()

    def adopt(self, policy: Policy) -> None:
        """Judge by a policy. On a key with few calls, the next measured rate sets the half-life."""
        self._policy, self.half_life = policy, policy.evidence_half_life
        self.threshold = log(policy.false_trip_interval)

    def clear(self) -> None:
        """Drop the suspicion and everything that was held back because of it."""
        self._row = 0
        self._doubtful = NO_COUNTS
        self._end_suspicion()

    def restart(self) -> None:
        """Begin with no evidence again, but keep what was held back."""
        held, ends = self._held, self._held_ends
        self._row = 0
        self._end_suspicion()
        self._held, self._held_ends = held, ends

    def _end_suspicion(self) -> None:
        self.level = 0.0
        self.calls = 0
        self.bad = 0
        self.slow = 0
        self.late = 0
        self.expected_bad = 0.0
        self.idle = self._row == 0
        self._drop_held()

    def _drop_held(self) -> None:
        self._held = NO_COUNTS
        self._held_ends = NO_ENDS

    @property
    def depth(self) -> int:
        """How deep in a run the last call was; 0 outside of any run."""
        return depth_of(self._row)

    @property
    def is_settled(self) -> bool:
        """Whether enough was learned to rely on it."""
        return self.quiet >= _YOUNG

    @property
    def is_slow(self) -> bool:
        """Whether the callee is slow: at least half of the bad calls were, and did not fail."""
        return 2 * self.slow >= self.bad

    @property
    def bad_rate(self) -> float:
        """Share of bad calls since the suspicion began, 0.0-1.0."""
        return self.bad / self.calls if self.calls else 0.0

    # What is normal

    @property
    def normal_bad_rate(self) -> float:
        """Share of bad calls that is normal for this key, 0.0-1.0."""
        bad = sum(count for (_, kind), count in self._counts.items() if kind != GOOD)
        return (bad + PRIOR_CALLS * self._policy.normal_bad_rate) / (self.known + PRIOR_CALLS)

    @property
    def known(self) -> float:
        """Number of calls that it has learned from."""
        return self.quiet + sum(self._counts.values())

    @property
    def learned(self) -> tuple[float, Tally, Ends]:
        """What was learned: good calls outside of runs, calls by row and kind, ends of slow calls."""
        return self.quiet, sum_of(self._counts, NO_COUNTS), self._ends

    def take_over(self, quiet: float, counts: Tally, ends: Ends, now: float) -> None:
        """Add what others have learned; the arguments are as in `learned`."""
        self.quiet, self._doubtful_since = self.quiet + quiet, self._doubtful_since + quiet
        self._counts = sum_of(self._counts, counts)
        self._ends = self._ends[0] + ends[0], self._ends[1] + ends[1]
        self.refresh(now)

    def refresh(self, now: float) -> None:
        """Judge the next calls by what was learned so far; halve the counts if they are large."""
        self._shares = _NO_SHARES
        failed = sum(count for (_, kind), count in self._counts.items() if kind == FAILED)
        self._spread = spread(failed)
        policy = self._policy
        if now - self._faded_at < policy.history_span:
            return
        if self.known > MEMORY * policy.history_size:
            self._faded_at = now
            self.quiet *= 0.5
            self._doubtful_since *= 0.5
            self._counts = {place: 0.5 * count for place, count in self._counts.items()}
            slow_only, very_slow = self._ends
            self._ends = 0.5 * slow_only, 0.5 * very_slow

    def share(self, row: int) -> tuple[float, float]:
        """Shares of slow and of failed calls in a row, 0.0-1.0."""
        known = self._shares.get(row)
        if known is not None:
            return known
        counts = self._counts
        if row == 0:
            # Nothing is known yet about the kind of bad calls, so both get the same prior.
            slow = failed = self._policy.normal_bad_rate
            total = weight = PRIOR_CALLS
            total += self.quiet
        else:
            slow, failed = self.share(row_before(row))
            total = weight = _PRIOR_RUNS
        slow_calls, failed_calls = counts.get((row, SLOW), 0.0), counts.get((row, FAILED), 0.0)
        total += counts.get((row, GOOD), 0.0) + slow_calls + failed_calls
        slow = max((slow_calls + weight * slow) / total, FLOOR)
        failed = max((failed_calls + weight * failed) / total, FLOOR)
        self._shares = {**self._shares, row: (slow, failed)}
        return slow, failed

    def expect(self, slow: float, failed: float, very_slow: float | None, now: float) -> None:
        """Expect at least these shares of slow and failed calls; `very_slow` is a part of `slow`."""
        self._learn_doubtful()
        total = self.known or 1.0
        shares = dict.fromkeys((GOOD, SLOW, FAILED), 0.0)
        for (_, kind), count in self._counts.items():
            shares[kind] += count / total
        failed, slow = max(shares[FAILED], failed), max(shares[SLOW], slow)
        self.quiet = _EXPECTED * max(1.0 - failed - slow, 0.0)
        self._doubtful_since = self.quiet
        self._counts = {(0, SLOW): _EXPECTED * slow, (0, FAILED): _EXPECTED * failed}
        if very_slow is not None:
            self._ends = _EXPECTED * max(slow - very_slow, 0.0), _EXPECTED * very_slow
        self.refresh(now)

    def forget_slow(self) -> None:
        """Forget how often calls were slow: slow means another latency from now on."""
        self._learn_doubtful()
        self._counts = {at: count for at, count in self._counts.items() if at[1] != SLOW}
        self._ends = NO_ENDS

    def learn_run(self, now: float) -> None:
        """Learn the suspicion as normal, because the opening it caused was wrong or momentary."""
        self._take_for_normal()
        self._learn_doubtful()
        self.refresh(now)

    def _take_for_normal(self) -> None:
        self.quiet += self._held.pop((0, GOOD), 0)
        if self.quiet - self._doubtful_since >= _DOUBTFUL_CALLS:
            self._learn_doubtful()
        self._doubtful = sum_of(self._doubtful, self._held)
        if self.quiet < _YOUNG:
            self._learn_doubtful()
        (slow_only, very_slow), held = self._ends, self._held_ends
        self._ends = slow_only + held[0], very_slow + held[1]
        self._drop_held()

    def _learn_doubtful(self) -> None:
        self._counts = sum_of(self._counts, self._doubtful)
        self._doubtful = NO_COUNTS
        self._doubtful_since = self.quiet

    # Votes

    def vote_failed(self, now: float) -> bool:
        """Count a failed call at `now` seconds; return whether the evidence is enough to open."""
        self._count(FAILED, now)
        return self.is_enough

    def vote_slow(self, now: float, how: int) -> bool:
        """Count a slow call at `now` seconds; return whether the evidence is enough to open."""
        self._count(SLOW, now)
        if how != OVERDUE:
            self._count_end(how)
        return self.is_enough

    def came_back(self, how: int, *, held: bool) -> bool:
        """Count the end of an overdue call; return whether the evidence is enough to open.

        Args:
            how: SLOW_ONLY or VERY_SLOW.
            held: Whether the call belongs to the present suspicion.
        """
        if not held:
            self._ends = one_more(self._ends, very_slow=how == VERY_SLOW)
            return False
        self._count_end(how)
        return self.is_enough

    def vote_good(self, now: float) -> bool:
        """Count a good call while not idle; return whether what was held back is now normal."""
        self._count(GOOD, now)
        patient = self.level > 0.0
        if patient and (
            self.calls < _PATIENCE_CALLS
            or (self.calls < _DECIDED and self.bad_rate >= self._policy.failure_rate_threshold)
        ):
            return False
        # It is normal again, or it is worse than before, but not bad enough to refuse calls.
        self._take_for_normal()
        self._end_suspicion()
        if patient:
            self.refresh(now)
        return True

    def take_for_slow(self, tokens: list[int], now: float) -> bool:
        """Count late calls as slow; return whether the evidence is enough to open."""
        if self.idle:
            self.since = tokens[0]
        for _ in tokens:
            self._count(SLOW, now)
        self.late = len(tokens)
        self.level = self.threshold
        return self.is_enough

    @property
    def is_enough(self) -> bool:
        """Whether the evidence is enough to open."""
        return suffices(self._policy, self.level - self.threshold, self.bad, self.calls)

    def _count(self, kind: int, now: float) -> None:
        # Evidence fades only during a silence, and that is computed when the next call comes. With a
        # call every ten seconds, five bad calls in a row must count in full.
        silence = now - self._at
        if silence > self.half_life:
            self.level *= 0.5 ** (silence / self.half_life)
        self._at = now
        row = self._row
        normal = self._normal_odds(row, kind)
        self.expected_bad += sum(self.share(row))
        good = (self.calls - self.bad + _OUTAGE_GOOD) / (self.calls + _OUTAGE_CALLS)
        odds = good = min(good, 1.0 - self._policy.failure_rate_threshold)
        if kind == GOOD:
            self._row = row_after_good(row)
        else:
            alike = self.slow if kind == SLOW else self.bad - self.slow
            odds = (1.0 - good) * (alike + _ALIKE) / (self.bad + 2.0 * _ALIKE)
            self.bad += 1
            self.slow += kind == SLOW
            self._row = deeper(self.depth)
            self.idle = False
        self.calls += 1
        # With a threshold of 1.0, an outage has no good calls. So one good call ends the suspicion.
        self._add(log(odds / normal) if odds > 0.0 else -self.threshold)
        if self._held is NO_COUNTS:
            self._held = {}
        self._held[row, kind] = self._held.get((row, kind), 0) + 1

    def _normal_odds(self, row: int, kind: int) -> float:
        slow, failed = self.normal_shares(row, self.bad, self.expected_bad)
        return (1.0 - slow - failed, slow, failed)[kind]

    def normal_shares(self, row: int, bad: float, expected: float) -> tuple[float, float]:
        """Normal shares of slow and of failed calls in a row, corrected by the run so far.

        Args:
            row: 0 outside of any run.
            bad: Bad calls since the suspicion began.
            expected: How many bad calls were expected since then.
        """
        slow, failed = self.share(row)
        this_run = (bad + self._spread) / (expected + self._spread)
        return corrected(slow, failed, this_run, self.share(0)[1])

    def _count_end(self, how: int) -> None:
        alike = self._held_ends[how - SLOW_ONLY] + _ALIKE
        odds = alike / (sum(self._held_ends) + 2.0 * _ALIKE)
        calls = sum(self._ends) + _PRIOR_RUNS
        very = (self._ends[1] + _PRIOR_RUNS * _PRIOR_VERY_SLOW) / calls
        self._add(log(odds / (very if how == VERY_SLOW else 1.0 - very)))
        self._held_ends = one_more(self._held_ends, very_slow=how == VERY_SLOW)

    def _add(self, weight: float) -> None:
        self.level = min(max(self.level + weight, 0.0), self.threshold)
