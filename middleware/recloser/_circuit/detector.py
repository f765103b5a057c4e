"""The detector: it decides from the calls of a closed breaker whether they are still normal.

It holds what was learned about a key: the latency baseline, and the evidence with its shares of bad
calls. It also keeps the two consistent. While there is a suspicion, the latencies of good calls are
held back from the baseline. They are learned when the suspicion ends, and dropped when the breaker
opens.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from recloser._circuit import sentences, votes
from recloser._circuit.baseline import Baseline
from recloser._circuit.evidence import OVERDUE, SLOW_ONLY, VERY_SLOW, Evidence
from recloser._circuit.late_calls import LateCalls, as_good_as_slow
from recloser._circuit.votes import Ending, Vote
from recloser._events import Reason
from recloser._policy import Policy

# A call is very slow above this many slow thresholds. With 1.5 and with 3, it was harder to tell
# real faults from everyday slowness.
_VERY_SLOW_RATIO = 2.0
# A silence is long if it lasts this many usual gaps between two calls.
_LONG_SILENCE = 10.0
# Latencies that the baseline learns at a time. If more calls have ended, a sample is good enough.
_SAMPLE = 64
# A latency that was accepted as normal is often near the threshold. The share of slow calls may
# then exceed the share seen so far by this much. Without this margin, a key whose latency rose 3.5
# times for good opened and closed again and again.
_HOVERING = 0.15


class Detector:
    """What is normal for one key, and the evidence that this has changed.

    Attributes:
        baseline: Latencies of good calls, and the slow threshold.
        evidence: Evidence against normal.
        held: Latencies of good calls held back from the baseline, in seconds.
        last_failure: Why the last failed call failed, such as `HTTP 502`.
    """

    __slots__ = ("_policy", "baseline", "evidence", "held", "last_failure")

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.baseline = Baseline(policy)
        self.evidence = Evidence(policy)
        self.held: tuple[float, ...] = ()
        self.last_failure = ""

    # Calls

    def vote(self, vote: Vote, ending: Ending) -> bool:
        """Take a vote into account; return whether the evidence is now enough to open.

        A good vote cannot open, so it has a method of its own, `good`.
        """
        token, latency, now = ending.token, ending.latency, ending.now
        if vote is votes.SLOW:
            self.held += (latency,)
            return self._slow(token, now, self._how_slow(latency))
        if vote is votes.HUNG:
            return self._slow(token, now, OVERDUE)
        if vote is votes.FAILED:
            return self._has_vote(token) and self.evidence.vote_failed(now)
        if vote is votes.CAME_BACK:
            return self._came_back(token, latency)
        return False

    def has_enough_late(self, late: LateCalls, now: float) -> bool:
        """Count late calls as slow if they are enough to open; return whether they are."""
        baseline, evidence = self.baseline, self.evidence
        slow = as_good_as_slow(evidence, self._policy, late, baseline.history)
        return bool(slow) and evidence.take_for_slow(slow, now)

    def learn_quiet(self, latencies: list[float]) -> None:
        """Learn from good calls that ended without a suspicion; latencies in seconds."""
        self.evidence.quiet += len(latencies)
        # The step is odd: if calls of two kinds alternate, an even step would sample only one kind.
        sample = latencies[:: ceil(len(latencies) / _SAMPLE) | 1]
        self.baseline.learn(sample, len(latencies) / len(sample))

    def good(self, token: int, latency: float, now: float) -> None:
        """Take a good call into account, of a latency in seconds."""
        evidence = self.evidence
        if evidence.idle:
            evidence.quiet += 1
            self.baseline.learn((latency,))
        elif token < evidence.since:
            # The call began before the suspicion, so it is no evidence about it.
            self.baseline.learn((latency,))
        else:
            self.held += (latency,)
            if evidence.vote_good(now):
                self.baseline.learn(self.held)
                self.held = ()

    def _slow(self, token: int, now: float, how: int) -> bool:
        return self._has_vote(token) and self.evidence.vote_slow(now, how)

    def _came_back(self, token: int, latency: float) -> bool:
        # The call was counted as slow when it became overdue. Only its final latency is new.
        evidence = self.evidence
        held = not evidence.idle and token >= evidence.since
        if held:
            self.held += (latency,)
        else:
            self.baseline.learn((latency,))
        return evidence.came_back(self._how_slow(latency), held=held)

    def _how_slow(self, latency: float) -> int:
        """SLOW_ONLY or VERY_SLOW, for a latency in seconds above the threshold."""
        slow = latency <= _VERY_SLOW_RATIO * self.baseline.threshold
        return SLOW_ONLY if slow else VERY_SLOW

    def _has_vote(self, token: int) -> bool:
        """Whether a bad call counts: it starts a suspicion, or it began after the current one."""
        evidence = self.evidence
        if evidence.idle:
            evidence.since = token
        return token >= evidence.since

    # What is normal

    def refresh(self, now: float) -> bool:
        """Judge the next calls by what was learned so far.

        Returns:
            True once: when enough latencies are known for the first time. From then on latency is
            judged, and the caller must call `expect_first_slow`.
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
        """Treat a share of slow calls as normal, because the threshold or the latency is new.

        Args:
            share_above: Function from a latency in seconds to the share of calls that took longer,
                0.0-1.0.
            now: Seconds.
            margin: Added to the share of slow calls, 0.0-1.0.
        """
        threshold = self.baseline.threshold
        slow = min(share_above(threshold) + margin, 1.0)
        self.evidence.expect_slow(slow, share_above(_VERY_SLOW_RATIO * threshold), now)

    def expect_first_slow(self, overdue: int, now: float) -> None:
        """Treat the share of calls above the first threshold as normal.

        Args:
            overdue: Number of calls in flight that are slow by this threshold. They are included
                because fast calls end first, so the first calls to end are not representative.
            now: Seconds.
        """
        baseline = self.baseline
        total = baseline.count + overdue
        self.expect_slow(
            lambda latency: (baseline.share_above(latency) * baseline.count + overdue) / total, now
        )

    def note_rate(self, rate: float) -> None:
        """Adapt the half-life of the evidence to the rate of calls per second, > 0."""
        gaps = _LONG_SILENCE / rate
        self.evidence.half_life = max(self._policy.evidence_half_life, gaps)

    def accept_latency(
        self, level: float, share_above: Callable[[float], float], now: float, *, severe: bool
    ) -> None:
        """Accept a higher latency as the new normal.

        Args:
            level: The latency, in seconds.
            share_above: As for `expect_slow`, for the calls since the suspicion began.
            now: Seconds.
            severe: Whether the latency is so far from the old one that the baseline must be moved.
                Otherwise the baseline adapts by itself, and slow calls count as normal until then.
        """
        if severe:
            self.baseline.shift(level / self.baseline.median, now)
        else:
            self.expect_slow(share_above, now, _HOVERING)

    def open_reason(self) -> Reason:
        """Why the evidence is enough to open."""
        return sentences.tripped(self.evidence, self.baseline, self._policy, self.last_failure)

    def take_held(self) -> tuple[float, ...]:
        """Remove and return the latencies held back, so that an outage is never learned."""
        held, self.held = self.held, ()
        return held

    def clear(self) -> None:
        """Drop the suspicion, and the latencies held back because of it."""
        self.evidence.clear()
        self.held = ()

    def reset(self) -> None:
        """Forget everything that was learned."""
        self.baseline.reset()
        self.evidence = Evidence(self._policy)
        self.held = ()
        self.last_failure = ""
