"""The detector: it decides from the calls of a closed breaker whether they are still normal.

It holds what was learned about a key: the latency baseline, and the evidence with its shares of bad
calls. It also keeps the two consistent. While there is a suspicion, the latencies of good calls are
held back from the baseline. They are learned when the suspicion ends, and dropped when the breaker
opens.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, inf

from recloser._circuit import sentences, votes
from recloser._circuit.baseline import Baseline
from recloser._circuit.evidence import OVERDUE, SLOW_ONLY, VERY_SLOW, Evidence
from recloser._circuit.in_flight import NEVER, InFlight
from recloser._circuit.late_calls import LateCalls, as_good_as_slow
from recloser._circuit.new_normal import AS_FAST_AS_EVER, Usual
from recloser._circuit.pauses import Pauses
from recloser._circuit.share_test import ShareTest
from recloser._circuit.suspicion import Suspicion
from recloser._circuit.votes import Ending, Vote
from recloser._events import Reason
from recloser._outcome import Outcome
from recloser._policy import Policy
from recloser._redaction import Raised

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
# An answer is of late for this part of the slow threshold.
_OF_LATE = 0.5
# A share of bad calls below this is no news.
_FEW_BAD = 0.1


class Detector:
    """What is normal for one key, and the evidence that this has changed.

    Attributes:
        answered_at: When the last call of the suspicion was answered; before latency is judged, any.
        baseline: Latencies of good calls, and the slow threshold.
        evidence: Evidence against normal.
        held: Latencies of good calls held back from the baseline, in seconds.
        last_failure: Why the last failed call failed, such as `HTTP 502`.
        pauses: The pauses that the callee asked for; None if it never asked for one.
        suspicion: What is known of the present suspicion, or of the last one; None at first.
    """

    __slots__ = (
        "_bad_run",
        "answered_at",
        "baseline",
        "evidence",
        "held",
        "last_failure",
        "pauses",
        "suspicion",
    )

    def __init__(self, policy: Policy) -> None:
        self.baseline = Baseline(policy)
        self.evidence = Evidence(policy)
        self.held: tuple[float, ...] = ()
        self.last_failure: Raised | str = ""
        self.pauses: Pauses | None = None  # most callees never ask for one
        self.suspicion: Suspicion | None = None
        # Bad calls in the suspicion since the last one that was as fast as ever.
        self._bad_run = inf
        self.answered_at = NEVER

    @property
    def test(self) -> ShareTest | None:
        """The test of the present suspicion; None while there is none."""
        return None if self.suspicion is None else self.suspicion.test

    def _suspicion_since(self, token: int) -> Suspicion:
        """The suspicion; if there is none, one whose first call has this token."""
        if self.suspicion is None:
            self.suspicion = Suspicion(token)
        return self.suspicion

    # Calls

    def vote(self, vote: Vote, ending: Ending, calls: InFlight) -> bool:
        """Take a vote into account; return whether the evidence is now enough to open.

        A good vote cannot open, so it has a method of its own, `good`.

        Args:
            vote: The vote of a call.
            ending: How it ended.
            calls: The calls in flight.
        """
        token, latency, now = ending.token, ending.latency, ending.now
        if vote is votes.SLOW or vote is votes.CAME_BACK:
            self.answered_at = now
        suspicion = self.suspicion
        if suspicion is not None and suspicion.test is not None:
            if vote is votes.FAILED:
                suspicion.test.good += suspicion.outlive(ending, calls)
            return self._test(suspicion, suspicion.test, vote, ending)
        if suspicion is not None:
            suspicion.take_back(ending)
        enough, bad = False, self.evidence.bad
        if vote is votes.SLOW:
            self.held += (latency,)
            enough = self._slow(token, now, self._how_slow(latency))
        elif vote is votes.HUNG:
            enough = self._slow(token, now, OVERDUE)
        elif vote is votes.FAILED and (self._has_vote(token) or ending.going_on):
            enough = self._failed(ending, calls)
        elif vote is votes.CAME_BACK:
            enough = self._came_back(token, latency)
        self._bad_run += self.evidence.bad - bad
        if enough and self._is_mixed:
            self._begin_test(now, calls)
            return False
        return enough

    def _failed(self, ending: Ending, calls: InFlight) -> bool:
        suspicion = self._suspicion_since(ending.token)
        for _ in range(suspicion.outlive(ending, calls)):
            self.evidence.vote_good(ending.now)
        return self.evidence.vote_failed(ending.now)

    @property
    def _is_mixed(self) -> bool:
        """Whether the callee still answers some calls as fast as ever, so that most may be good.

        Where calls fail, an opening tells that as well, and sooner; it is not worth the wait.
        """
        evidence = self.evidence
        fails = evidence.is_settled and not evidence.is_slow
        return self._bad_run < self.baseline.policy.min_failures and not fails

    def vote_limited(self, token: int, now: float, *, failed: bool) -> bool:
        """Take a call into account while limited; return whether enough of them fail."""
        evidence = self.evidence
        if failed:
            return self._has_vote(token) and evidence.vote_failed(now)
        if not evidence.idle and token >= evidence.since:
            evidence.vote_good(now)
        return False

    def _begin_test(self, now: float, calls: InFlight) -> None:
        suspicion = self._suspicion_since(self.evidence.since)
        suspicion.begin_test(self.evidence, self.baseline.policy, calls, now)

    def _test(self, suspicion: Suspicion, test: ShareTest, vote: Vote, ending: Ending) -> bool:
        """Count a call in the test; return whether too few are good."""
        enough = suspicion.judge(test, vote, ending)
        if enough is None:
            return False
        suspicion.test = None
        if not enough:
            return True
        self.evidence.learn_run(ending.now)
        self.expect_failed(test, ending.now)
        self.evidence.clear()
        self._end_suspicion()
        return False

    def _end_suspicion(self) -> None:
        self.baseline.learn(self.held)
        self.held = ()
        self._bad_run = inf
        if self.suspicion is not None:
            self.suspicion.restart()

    # Pauses that the callee asks for

    def pauses_by(self, now: float) -> Pauses:
        """The pauses that the callee asks for, made when it first asks for one, at `now` seconds."""
        if self.pauses is None:
            self.pauses = Pauses(now if self.baseline.count else -inf)
        return self.pauses

    def count_late(self, late: LateCalls, now: float) -> bool:
        """Count late calls as slow if they are enough to open; return whether they are."""
        baseline, evidence = self.baseline, self.evidence
        slow = as_good_as_slow(evidence, self.baseline.policy, late, baseline.history)
        return bool(slow) and evidence.take_for_slow(slow, now)

    def learn_quiet(self, latencies: list[float]) -> None:
        """Learn from good calls that ended without a suspicion; latencies in seconds."""
        self.evidence.quiet += len(latencies)
        # The step is odd: if calls of two kinds alternate, an even step would sample only one kind.
        sample = latencies[:: ceil(len(latencies) / _SAMPLE) | 1]
        self.baseline.learn(sample, len(latencies) / len(sample))

    def good(self, token: int, latency: float, now: float, took: float) -> None:
        """Take a good call into account; `latency` and `took` are as in `Ending`, in seconds."""
        evidence = self.evidence
        if evidence.idle:
            evidence.quiet += 1
            self.baseline.learn((latency,))
        elif (suspicion := self.suspicion) is not None and suspicion.test is not None:
            self.held += (latency,)
            self.answered_at = now
            ending = Ending(token, Outcome.SUCCESS, max(latency, took), now)
            self._test(suspicion, suspicion.test, votes.GOOD, ending)
        elif token < evidence.since:
            # The call began before the suspicion, so it is no evidence about it.
            self.baseline.learn((latency,))
        else:
            self.held += (latency,)
            self.answered_at = now
            baseline = self.baseline
            if not baseline.known or latency <= AS_FAST_AS_EVER * baseline.reference:
                self._bad_run = 0
            if suspicion is not None:
                suspicion.outliving.note_answered(token)
                if token <= suspicion.outliving.latest:
                    return  # it was counted already
            if evidence.vote_good(now):
                self._end_suspicion()

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
            self._bad_run = inf
            self.suspicion = Suspicion(token)
        return token >= evidence.since

    # What is normal

    def refresh(self, now: float) -> bool:
        """Judge the next calls by what was learned so far.

        Returns:
            True once: when enough latencies are known for the first time. From then on latency is
            judged, and the caller must call `expect_first_slow`.
        """
        known = self.baseline.known
        moved = self.baseline.refresh(now)
        if self.baseline.known and not known:
            return True
        if moved:
            self.evidence.forget_slow()
            self.expect_slow(self.baseline.share_above, now)
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
        self.evidence.expect(slow, 0.0, share_above(_VERY_SLOW_RATIO * threshold), now)

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
        self.evidence.half_life = max(self.baseline.policy.evidence_half_life, gaps)

    def accept_latency(
        self, level: float, usual: Usual, share_above: Callable[[float], float], now: float
    ) -> None:
        """Accept a higher latency as the new normal.

        Args:
            level: The latency, in seconds.
            usual: What was usual before calls became slow.
            share_above: As for `expect_slow`, for the calls since the suspicion began.
            now: Seconds.
        """
        if level > usual.high:
            self.baseline.accept(level, usual, now)
        self.expect_slow(share_above, now, _HOVERING)

    def accept_mixture(
        self, slow: float, share_above: Callable[[float], float], now: float
    ) -> None:
        """Accept that a share of the calls is slow, 0.0-1.0, while others are as fast as ever.

        `share_above` is as for `expect_slow`, for the calls since the suspicion began.
        """
        very_slow = min(share_above(_VERY_SLOW_RATIO * self.baseline.threshold), slow)
        self.evidence.expect(min(slow + _HOVERING, 1.0), 0.0, very_slow, now)

    def expect_failed(self, test: ShareTest, now: float) -> None:
        """Treat the share of bad calls in a test as normal, because it is worth asking all the same.

        A share of `failure_rate_threshold` or more is not normal: the least that serves most calls
        is.
        """
        bad = test.slow + test.failed
        if bad < _FEW_BAD * test.calls:
            return
        self.evidence.expect(test.slow / test.calls, test.failed / test.calls, None, now)

    def is_alive(self, now: float) -> bool:
        """Whether a call was answered of late."""
        baseline = self.baseline
        return baseline.known and now - self.answered_at < _OF_LATE * baseline.threshold

    @property
    def is_hardly_slow(self) -> bool:
        """Whether calls are slow only because of `slow_floor`, and come back soon after it."""
        policy, threshold = self.baseline.policy, self.baseline.threshold
        soon = policy.min_latency_ratio * policy.slow_floor
        soon_back = sum(threshold < latency <= soon for latency in self.held)
        return threshold <= policy.slow_floor and soon_back >= self.evidence.slow

    def limit_reason(self, size: float) -> Reason:
        """Why the evidence is enough to limit the calls in flight to `size`."""
        return sentences.limited(size, self.evidence, self.baseline, self.baseline.policy)

    def open_reason(self) -> Reason:
        """Why the evidence is enough to open."""
        return sentences.tripped(
            self.evidence, self.baseline, self.baseline.policy, self.last_failure
        )

    def take_held(self) -> tuple[float, ...]:
        """Remove and return the latencies held back, so that an outage is never learned."""
        held, self.held = self.held, ()
        return held

    def restart(self) -> None:
        """Look for new evidence, but keep what may still turn out to be normal."""
        self.evidence.restart()
        self.held = ()
        self.suspicion = None

    def clear(self) -> None:
        """Drop the suspicion, and the latencies held back because of it."""
        self.evidence.clear()
        self.held = ()
        self.suspicion = None

    def adopt(self, policy: Policy) -> None:
        """Judge by another policy from the next refresh on."""
        self.baseline.adopt(policy)
        self.evidence.adopt(policy)

    def reset(self) -> None:
        """Forget everything that was learned."""
        self.pauses = self.suspicion = None
        self.baseline.reset()
        self.evidence = Evidence(self.baseline.policy)
        self.held = ()
        self.last_failure = ""
