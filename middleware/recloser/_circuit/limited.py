"""Limited: what the answers under a limit lead to."""

from __future__ import annotations

from recloser._circuit import sentences
from recloser._circuit.lifecycle import Lifecycle
from recloser._circuit.limit import Limit
from recloser._circuit.recovery import Recovery
from recloser._circuit.round import Finding
from recloser._circuit.transitions import Cause

# A limit that ends with a latency of so many usual medians leaves a callee that is slower for good.
_SLOWER = 1.5


class LimitedLifecycle(Lifecycle):
    """The lifecycle with the end of a limit: closed, open, or a callee that is borne as it is."""

    __slots__ = ()

    def _conclude(self, finding: Finding, limit: Limit, recovery: Recovery, now: float) -> None:
        """Do what the answers of a round suggest."""
        if finding is Finding.EASED:
            self._ease(limit, recovery, now)
        elif finding is Finding.PARTIAL:
            self._bear_failures(limit, now)
        elif finding is Finding.FAILING or finding is Finding.HANGING:
            recovery.was_slow = finding is Finding.HANGING
            self._open(now, recovery, sentences.failing(recovery, now))
        elif finding is Finding.MIXED:
            self._bear_mixture(limit, recovery, now)
        elif finding is Finding.SICK:
            self._bear_sickness(limit, recovery, now)

    def _bear_sickness(self, limit: Limit, recovery: Recovery, now: float) -> None:
        """Accept a latency as the new normal, or send one call now and then."""
        detector = self.detector
        usual = detector.baseline.usual(now)
        # By all answers since the trouble began: the last few are severe by chance.
        level = recovery.answers.level
        mild = usual.severity(level) < 1.0
        # If others wait for the same callee, the limit is no test of it. So a latency is accepted
        # only when nobody is refused any more, or after all the patience: then also if the last call
        # was mild by chance.
        patient = recovery.is_patient(now + limit.pauses + recovery.answers.slowest)
        waits = limit.load.is_likely or (mild and limit.refuses and not patient)
        if waits or not self._accept_new_normal(recovery, now):
            few = mild or recovery.answers.are_few
            if few and not limit.load.is_likely:
                return  # nobody is refused meanwhile
            self.reason = sentences.sick(level, detector.baseline, self._policy)
            limit.pause(self._time_to_next_probe(recovery, now))

    def _bear_failures(self, limit: Limit, now: float) -> None:
        if limit.failures.test is not None:
            self.detector.expect_failed(limit.failures.test, now)
        self.detector.clear()

    def _bear_mixture(self, limit: Limit, recovery: Recovery, now: float) -> None:
        """Accept after a while that some calls are slow; nobody is refused meanwhile."""
        if not recovery.is_patient(now):
            return
        reason = sentences.mixed(limit.slow_share, self.detector.baseline, self._policy)
        self._close(Cause.EASED, now, reason)
        self.detector.accept_mixture(limit.slow_share, recovery.answers.share_above, now)

    def _ease(self, limit: Limit, recovery: Recovery, now: float) -> None:
        """End a limit: calls are fast, and nobody is refused."""
        detector = self.detector
        usual = detector.baseline.usual(now)
        if not limit.load.is_likely and limit.level > _SLOWER * usual.median > 0.0:
            # Just below the threshold, and not because of the load. A latency takes the patience
            # that its severity asks for, whatever the threshold is: it is far above the usual latency
            # for a while after a slower one was accepted.
            if usual.severity(limit.level) > 0.0:
                self._bear_sickness(limit, recovery, now)
            else:
                self._accept(limit.level, usual, recovery, now)
            return
        if recovery.was_momentary(now):
            detector.evidence.learn_run(now)
        self.counts.measure_concurrency(limit.peak)
        self._close(Cause.EASED, now, sentences.eased(limit.level, limit.size))
