"""What is done while so few answers are known that latency is not judged (`Policy.min_history`).

A call that takes long may then be a hang or the first of its kind: a model may take 40 s, and a
route of 200 ms may come after thirty cheap answers. What tells a hang from slowness is that nothing
comes back. So:

- A call in flight is overdue once its answer is hopeless by the first few answers (`hopeless.py`). It
  is no evidence if a call that began later was answered.
- Overdue calls limit the calls in flight as slow ones do. It does not open for them, and nobody is
  cut off before a long answer would have come (`CUT_OFF_IF_FEW`).
- The first answer ends all that: the callee is slow, and does not hang. It is then known how slow,
  and what was known before is forgotten: a start-up or a cache is no measure of the work.
- While nothing comes back, and all calls in flight are overdue, one more is let in to find out
  whether the callee answers again.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from recloser._circuit import sentences, votes
from recloser._circuit.explained import Explained
from recloser._circuit.hopeless import SOONEST_IF_FEW
from recloser._circuit.in_flight import Timing
from recloser._circuit.limit import MUTE, Limit
from recloser._circuit.recovery import Recovery
from recloser._circuit.silent_ends import SilentEnds
from recloser._circuit.transitions import Cause
from recloser._circuit.votes import Ending, Vote
from recloser._outcome import Outcome
from recloser._policy import Policy

# Parts of `SOONEST_IF_FEW` between two checks of the calls in flight.
_CHECK_EVERY = 1.0 / 32.0
# Seconds without an answer after which one more call is let in.
_LOOK_AFTER = 10.0


class HardlyKnown(SilentEnds):
    """The part of a circuit for keys of which hardly anything is known.

    Attributes:
        explained: What is known of calls beforehand; None while nothing is.
    """

    __slots__ = ("explained",)

    def __init__(self, key: str, policy: Policy, random: Callable[[], float]) -> None:
        super().__init__(key, policy, random)
        self.explained: Explained | None = None

    @property
    def hopeless(self) -> float:
        """The seconds after which an answer is hopeless."""
        baseline = self.detector.baseline
        if baseline.known:
            return baseline.hopeless
        return (self.explained or baseline).hopeless_at_first()

    def _overdue_at_first(self, now: float) -> tuple[float, float]:
        """After how many seconds a call is overdue, and when to check that again."""
        soonest = min(SOONEST_IF_FEW, self.policy.slow_ceiling)
        calls = self.calls.all()
        oldest = min((call.started for call in calls if call.answered == inf), default=now)
        if now - oldest < soonest:
            return soonest, oldest + soonest
        return self.hopeless, now + _CHECK_EVERY * soonest

    def _comes_back(self, ending: Ending) -> None:
        """Note that a call was answered."""
        self._note_came_back(ending.now)
        if not self.detector.baseline.known:
            self.detector.answered_at = ending.now

    def _is_left_behind(self, call: Timing) -> bool:
        """Whether a call that began later was answered, while hardly anything is known."""
        baseline = self.detector.baseline
        if baseline.known:
            return False
        longest = (self.explained or baseline).longest_answer
        return self.detector.answered_at > call.started + longest

    def _take_first_answer(self, vote: Vote, ending: Ending, recovery: Recovery | None) -> bool:
        """Take the first answer: it shows that the callee is slow and does not hang, so a limit ends.

        Returns:
            Whether it was such an answer.
        """
        limit, baseline = self.limit, self.detector.baseline
        if recovery is None:
            if vote is not votes.CAME_BACK:
                return False
            self.detector.clear()
        elif limit is None or (vote is not votes.CAME_BACK and vote is not votes.GOOD):
            return False
        elif limit.failures.are_crowding:
            return False  # it does not limit because nothing comes back
        else:
            self._close(Cause.EASED, ending.now, sentences.not_hung(ending.latency))
        # The few answers before were of another kind, so they are no measure of those that follow.
        baseline.reset()
        baseline.learn((ending.latency,))
        self._refresh_at = self.counts.successes + self.policy.min_history
        return True

    def _judge_time_out(self, ending: Ending) -> None:
        """Let a time-out be a failure, if half of the normal calls are answered in that time.

        If it came earlier, the caller had little time left, and it says nothing. If it is not known
        how long such calls take, it is a failure.
        """
        explained = self.explained
        ratio = 1.0 if explained is None else explained.ratio_in_flight(ending.token)
        median = self.detector.baseline.median
        if not median or ratio == inf or ending.latency >= ratio * median:
            ending.outcome = Outcome.FAILURE

    def _looks_again(self, limit: Limit, token: int, running: int, now: float) -> bool:
        """Let one more call in if all calls in flight are overdue, after a while.

        Where `Policy.slow_ceiling` is low, it opens and probes as soon as that.
        """
        if self.calls.voting or not limit.has_long_silence(now, _LOOK_AFTER / MUTE):
            return False
        if self.hopeless < SOONEST_IF_FEW:
            return False
        limit.size = max(limit.size, running + 1.0)
        return limit.admit(token, running, now)
