"""The detector: tells from the calls of a closed breaker whether this is still normal.

It holds the two things that were learned of a key, the latency baseline and the evidence with its
shares of bad calls, and keeps them in step: while something is suspicious, the latencies of good
calls are held back from the baseline; they are learned when the suspicion is over, and dropped
when the breaker opens.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from recloser._circuit import sentences
from recloser._circuit.baseline import Baseline
from recloser._circuit.evidence import OVERDUE, SLOW_ONLY, VERY_SLOW, Evidence
from recloser._circuit.late_calls import LateCalls, as_good_as_slow
from recloser._circuit.votes import Ending, Vote
from recloser._events import Reason
from recloser._policy import Policy

# A call is very slow above this many slow thresholds. With 1.5 and with 3, real faults were told
# from everyday slowness less well.
_VERY_SLOW_RATIO = 2.0
# Silence is long from this many usual gaps between two calls on.
_LONG_SILENCE = 10.0
# Latencies that the baseline learns at a time. Where more calls ended, a sample serves as well.
_SAMPLE = 64
# A latency that was accepted as normal hovers at the threshold: this much larger a share of slow
# calls than was seen then is still expected. Without the margin a lasting 3.5x step flapped.
_HOVERING = 0.15


class Detector:
    """What is normal for one key, and the evidence that this has changed.

    Attributes:
        baseline: Latencies of good calls, and the slow threshold.
        evidence: Evidence against normal.
        held: Latencies of good calls held back from the baseline, in seconds.
        last_failure: What the last failed call failed of: `HTTP 502`.
    """

    __slots__ = ("_policy", "baseline", "evidence", "held", "last_failure")

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.baseline = Baseline(policy)
        self.evidence = Evidence(policy)
        self.held: tuple[float, ...] = ()
        self.last_failure = ""

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is suspicious, so that a good call only needs to be counted."""
        return self.evidence.idle

    # Calls

    def vote(self, vote: Vote, ending: Ending) -> bool:
        """Take a vote into account; tell whether that is enough to open."""
        token, latency, now = ending.token, ending.latency, ending.now
        if vote is Vote.GOOD:
            self._good(token, latency, now)
        elif vote is Vote.SLOW:
            self.held += (latency,)
            return self._slow(token, now, self._how_slow(latency))
        elif vote is Vote.HUNG:
            return self._slow(token, now, OVERDUE)
        elif vote is Vote.FAILED:
            return self._has_vote(token) and self.evidence.vote_failed(now)
        elif vote is Vote.CAME_BACK:
            return self._came_back(token, latency)
        return False

    def has_enough_late(self, late: LateCalls, now: float) -> bool:
        """Take calls for slow that are late, if they are enough to open; tell whether they are."""
        baseline, evidence = self.baseline, self.evidence
        slow = as_good_as_slow(evidence, self._policy, late, baseline.history)
        return bool(slow) and evidence.take_for_slow(slow, now)

    def learn_quiet(self, latencies: list[float]) -> None:
        """Learn of good calls that ended while nothing was suspicious; latencies in seconds."""
        self.evidence.quiet += len(latencies)
        # An odd step: calls of two kinds may take turns.
        sample = latencies[:: ceil(len(latencies) / _SAMPLE) | 1]
        self.baseline.learn(sample, len(latencies) / len(sample))

    def _good(self, token: int, latency: float, now: float) -> None:
        evidence = self.evidence
        if evidence.idle:
            evidence.quiet += 1
            self.baseline.learn((latency,))
        elif token < evidence.since:
            # It began before the suspicion did, so it says nothing about it.
            self.baseline.learn((latency,))
        else:
            self.held += (latency,)
            if evidence.vote_good(now):
                self.baseline.learn(self.held)
                self.held = ()

    def _slow(self, token: int, now: float, how: int) -> bool:
        return self._has_vote(token) and self.evidence.vote_slow(now, how)

    def _came_back(self, token: int, latency: float) -> bool:
        # It was counted as slow when it was overdue. How slow it was in the end is news.
        evidence = self.evidence
        held = not evidence.idle and token >= evidence.since
        if held:
            self.held += (latency,)
        else:
            self.baseline.learn((latency,))
        return evidence.came_back(self._how_slow(latency), held=held)

    def _how_slow(self, latency: float) -> int:
        """SLOW_ONLY or VERY_SLOW, of a latency above the threshold in seconds."""
        slow = latency <= _VERY_SLOW_RATIO * self.baseline.threshold
        return SLOW_ONLY if slow else VERY_SLOW

    def _has_vote(self, token: int) -> bool:
        """Whether a bad call counts: it begins a suspicion, or began after the one there is."""
        evidence = self.evidence
        if evidence.idle:
            evidence.since = token
        return token >= evidence.since

    # What is normal

    def refresh(self, now: float) -> bool:
        """Judge the next calls by what was learned until now; tell whether latency is judged now.

        Returns:
            True once: when enough latencies are known for the first time. The caller then says
            what share of the calls so far was slow, see `expect_slow`.
        """
        known = self.baseline.known
        self.baseline.refresh(now)
        if self.baseline.known and not known:
            return True
        self.evidence.refresh(now)
        return False

    def expect_slow(
        self, share_above: Callable[[float], float], now: float, margin: float = 0.0
    ) -> None:
        """Take a share of slow calls for normal, because the threshold or the latency is new.

        Args:
            share_above: Latency in seconds to the share of calls that took longer, 0.0-1.0.
            now: Seconds.
            margin: How many more slow calls than that are expected, 0.0-1.0.
        """
        threshold = self.baseline.threshold
        slow = min(share_above(threshold) + margin, 1.0)
        self.evidence.expect_slow(slow, share_above(_VERY_SLOW_RATIO * threshold), now)

    def expect_first_slow(self, overdue: int, now: float) -> None:
        """The first threshold is known: take the share of calls above it so far for normal.

        Args:
            overdue: Calls in flight that are slow by it. Of the first calls to end, fast ones are
                more than their share.
            now: Seconds.
        """
        baseline = self.baseline
        total = baseline.count + overdue
        self.expect_slow(
            lambda latency: (baseline.share_above(latency) * baseline.count + overdue) / total, now
        )

    def note_rate(self, rate: float) -> None:
        """Let evidence fade by the pace of the calls, of which `rate` > 0 come in a second."""
        gaps = _LONG_SILENCE / rate
        self.evidence.half_life = max(self._policy.evidence_half_life, gaps)

    def accept_latency(
        self, level: float, share_above: Callable[[float], float], now: float, *, severe: bool
    ) -> None:
        """Take a higher latency for the new normal.

        Args:
            level: The latency, in seconds.
            share_above: As for `expect_slow`, of the calls since the trouble began.
            now: Seconds.
            severe: Whether it is so far from the old one that the baseline is moved there. Else
                the baseline follows by itself, and slow calls are normal until then.
        """
        if severe:
            self.baseline.shift(level / self.baseline.median, now)
        else:
            self.expect_slow(share_above, now, _HOVERING)

    def open_reason(self) -> Reason:
        """Why the evidence suffices."""
        return sentences.tripped(self.evidence, self.baseline, self._policy, self.last_failure)

    def take_held(self) -> tuple[float, ...]:
        """Take out the latencies that were held back: an outage is never learned."""
        held, self.held = self.held, ()
        return held

    def clear(self) -> None:
        """Drop the suspicion and what was held back under it."""
        self.evidence.clear()
        self.held = ()

    def reset(self) -> None:
        """Forget everything learned."""
        self.baseline.reset()
        self.evidence = Evidence(self._policy)
        self.held = ()
        self.last_failure = ""
