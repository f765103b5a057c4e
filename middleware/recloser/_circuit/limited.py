"""Limited: how the answers under a limit count, and what they lead to."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from recloser._circuit import sentences, votes
from recloser._circuit.given_up import WHILE
from recloser._circuit.in_flight import NEVER, WAITING
from recloser._circuit.lifecycle import Lifecycle
from recloser._circuit.limit import Limit
from recloser._circuit.recovery import Recovery
from recloser._circuit.round import Finding
from recloser._circuit.transitions import Cause
from recloser._circuit.votes import Ending, Vote
from recloser._outcome import Outcome
from recloser._policy import Policy

# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_SUCCESS, _FAILURE = Outcome.SUCCESS, Outcome.FAILURE
_CANCELLED = Outcome.CANCELLED

# A limit that began less than this many seconds ago accepts no slower latency: it may be rising. Nobody
# is refused meanwhile. In a flash crowd, the latency on its way up was the new normal after 0.24 s.
_RISES_FOR = 10.0
# A limit that ends with a latency of this many usual medians leaves a callee that is slower for good.
_SLOWER = 1.5


class LimitedLifecycle(Lifecycle):
    """The lifecycle with the end of a limit: closed, open, or a callee that is accepted as it is."""

    __slots__ = ("_came_back_at",)

    def __init__(self, key: str, policy: Policy, random: Callable[[], float]) -> None:
        super().__init__(key, policy, random)
        self._came_back_at = NEVER  # when the callee answered last, in seconds

    def _is_in_use(self, recovery: Recovery, ending: Ending) -> bool:
        """Whether a caller that left says nothing: answers came back of late, and it left soon."""
        if self._came_back_at == NEVER:
            return False
        silent_since = max(self._came_back_at, recovery.began)
        return max(ending.took, ending.now - silent_since) < WHILE

    def _count_answers(self, limit: Limit, recovery: Recovery, now: float) -> None:
        """Count the calls that have begun to answer, without waiting for their end."""
        calls = self.calls
        for table, vote in (calls.voting, votes.GOOD), (calls.overdue, votes.CAME_BACK):
            for token, call in table.copy().items():
                if WAITING < call.answered < inf and table.pop(token, None) is not None:
                    calls.note_answering(token, call)
                    limit.answering.add(token)
                    latency = call.answered - call.started
                    self._count_limited(
                        limit, recovery, vote, Ending(token, _SUCCESS, latency, now)
                    )
                    if self.limit is not limit:
                        return

    def _count_limited(self, limit: Limit, recovery: Recovery, vote: Vote, ending: Ending) -> None:
        token, latency, now = ending.token, ending.latency, ending.now
        detector, threshold = self.detector, self.detector.baseline.threshold
        if vote is not votes.ALIVE:
            recovery.alive = recovery.silent = recovery.spare = 0
        if token in limit.answering and token not in self.calls.answering:
            limit.answering.discard(token)
            if ending.outcome is not _FAILURE:
                return  # its answer was counted when it began
        if ending.outcome is _CANCELLED and self._is_in_use(recovery, ending):
            limit.leave(token)
            return
        if vote is votes.HUNG and token in self.calls.overdue:
            finding = limit.add_overdue(token, now, threshold)
        else:
            failed = vote is votes.FAILED or vote is votes.LOST or vote is votes.HUNG
            if token >= recovery.first_token:
                between = 0.0
                if limit.sends_singly:
                    between = recovery.time_to_next_probe(now, self.counts.rate)
                recovery.answers.add(inf if failed else latency, now, between)
            finding = limit.ended(token, latency, now, threshold, ok=not failed)
            # A call that timed out is slow, and a sign of a callee that fails only if all are.
            fails = vote is votes.FAILED and latency <= threshold
            if (fails or not failed) and detector.vote_limited(token, now, failed=fails):
                # Each call in flight may be good: those that fail often end sooner.
                if limit.fewer_are_no_help and detector.evidence.bad >= len(self.calls.voting):
                    self._open(now, recovery, detector.open_reason())
                    return
                limit.shed()
                detector.clear()
        self._conclude(finding, limit, recovery, now)

    def _conclude(self, finding: Finding, limit: Limit, recovery: Recovery, now: float) -> None:
        """Do what the answers of a round suggest."""
        if finding is Finding.EASED:
            self._ease(limit, recovery, now)
        elif finding is Finding.PARTIAL:
            self._tolerate_failures(limit, now)
        elif finding is Finding.FAILING or finding is Finding.HANGING:
            recovery.was_slow = finding is Finding.HANGING
            if limit.failures.are_crowding:
                recovery.crowding.refute()
            self._open(now, recovery, sentences.failing(recovery, now))
        elif finding is Finding.MIXED:
            self._tolerate_mixture(limit, recovery, now)
        elif finding is Finding.MILD:
            recovery.answers.forget()
        elif finding is Finding.SICK:
            self._tolerate_sickness(limit, recovery, now)

    def _tolerate_sickness(self, limit: Limit, recovery: Recovery, now: float) -> None:
        """Accept a latency as the new normal, or send one call at a time."""
        detector = self.detector
        usual = detector.baseline.usual(now)
        # By all answers since the trouble began: the last few are severe by chance.
        level = recovery.answers.level
        mild = usual.severity(recovery.answers.median_at_least) < 1.0
        # If others wait for the same callee, the limit is no test of it. So a latency is accepted
        # only when nobody is refused any more, or after all the patience: then also if the last call
        # was mild by chance.
        patient = recovery.is_patient(now + limit.pauses + recovery.answers.slowest)
        waits = limit.load.is_likely or (mild and limit.refuses and not patient)
        if waits or not self._accept_new_normal(recovery, now):
            few = mild or recovery.answers.are_few
            # Latency that rises with the calls in flight may do so by chance, in one of many rounds.
            if few and not (limit.load.is_likely and limit.refuses):
                return  # nobody is refused meanwhile
            self.reason = sentences.sick(level, detector.baseline, self.policy)
            # Others may wait for the same callee. Otherwise a single call does no harm at any time.
            limit.pause(self._time_to_next_probe(recovery, now) if limit.load.is_likely else 0.0)

    def _tolerate_failures(self, limit: Limit, now: float) -> None:
        if limit.failures.test is not None:
            self.detector.expect_failed(limit.failures.test, now)
        self.detector.clear()

    def _tolerate_mixture(self, limit: Limit, recovery: Recovery, now: float) -> None:
        """Accept after a while that some calls are slow; nobody is refused meanwhile."""
        if not recovery.is_patient(now):
            return
        reason = sentences.mixed(limit.slow_share, self.detector.baseline, self.policy)
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
                self._tolerate_sickness(limit, recovery, now)
            elif now - recovery.began >= _RISES_FOR:
                self._accept(limit.level, usual, recovery, now)
            return
        if recovery.was_momentary(now):
            detector.evidence.learn_run(now)
        self.counts.measure_concurrency(limit.peak)
        if limit.is_accepted and self.reason is not None:
            self._close(Cause.NEW_NORMAL, now, self.reason)
        else:
            self._close(Cause.EASED, now, sentences.eased(limit.level, limit.size))
