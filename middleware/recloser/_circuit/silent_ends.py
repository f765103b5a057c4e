"""Ends of calls that give no verdict, and what follows from many of them.

- A call that was answered in time by a 4xx shows that the callee is alive. That is all that a probe
  has to show. While limited, such answers count as fast if no others come.
- A probe that says nothing (its caller left, or nothing was sent) gives its place back. If probes say
  nothing again and again, there is soon a place for everyone: see `Recovery.count_silent`.
- Calls that were given up in a row, after a time in which others are answered, say that the callee
  does not answer: see `given_up.py`.
- A call that was asked to wait (a 429) says something of the callee only together with others: see
  `pauses.py`, and for how long a time that is named is believed `named_waits.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from recloser._circuit import sentences, votes
from recloser._circuit.given_up import GivenUp
from recloser._circuit.limit import Limit
from recloser._circuit.limited import LimitedLifecycle
from recloser._circuit.named_waits import FEW_REFUSED
from recloser._circuit.new_normal import FAST_CALLS
from recloser._circuit.recovery import Recovery
from recloser._circuit.transitions import RULES, Cause
from recloser._circuit.votes import Ending, Vote
from recloser._policy import Policy
from recloser._state import State

_OPEN, _HALF_OPEN = State.OPEN, State.HALF_OPEN
_SERVING = (State.CLOSED, State.LIMITED)
# While limited: after this many answers that say nothing of the latency, and no other, they count.
_NO_OTHERS = 8
# The number of a call that began before all others. Its end shows only that calls come back.
_ANY_CALL = 0


class SilentEnds(LimitedLifecycle):
    """The part of a circuit that judges ends without a verdict.

    Attributes:
        given_up: The calls given up in a row while nothing came back; None if there is none.
    """

    __slots__ = ("given_up",)

    def __init__(self, key: str, policy: Policy, random: Callable[[], float]) -> None:
        super().__init__(key, policy, random)
        self.given_up: GivenUp | None = None

    def _note_came_back(self, now: float) -> None:
        """Note that the callee has answered, whatever it said."""
        self.given_up = None
        self._came_back_at = now

    def _judge_silent(self, vote: Vote, ending: Ending) -> Vote:
        """Judge an end without a verdict; return the vote to count, NONE for none."""
        recovery, limit = self.recovery, self.limit
        if vote is votes.ABSTAINED:
            return self._judge_abstained(ending)
        self._note_came_back(ending.now)
        if recovery is None:
            return votes.NONE
        if limit is not None:
            return self._count_alive(vote, ending, limit, recovery)
        failed_before = recovery.run and not recovery.was_slow
        if vote is votes.ALIVE or failed_before:
            return votes.ALIVE
        recovery.count_silent(recovery.places)
        return votes.NONE

    def _take_back(self, ending: Ending) -> None:
        """Note that a call ended without an answer that counts; see `outliving.py`."""
        if self.recovery is not None:
            self.recovery.take_back(ending.token)
        elif self.detector.suspicion is not None:
            self.detector.suspicion.take_back(ending)

    def _pause(self, ending: Ending, *, voting: bool) -> None:
        """Open if the callee asks all callers to wait, and not only some of them."""
        now, recovery, named = ending.now, self.recovery, ending.wait
        if not voting:
            self._pause_late(ending)
            return
        self._take_back(ending)
        self._see_bad(votes.ASKED_TO_WAIT, ending)
        calls, pauses = self.calls, self.detector.pauses_by(now)
        rate = self.counts.rate
        looks, goes_on = (False, False) if recovery is None else recovery.waits.look(now)
        asked, latest = False, next(calls.tokens)
        if looks:
            pauses.ask(ending.token, latest, now, named, self.policy)
        else:
            asked = pauses.judge(ending, latest, calls, self.policy, rate)
        if self.state is _HALF_OPEN and recovery is not None:
            if not recovery.run:
                again = goes_on or pauses.count_asked_again(named, rate)
                asked = asked or (again and not recovery.good)
            elif named:  # a bare 429 shows at least that the callee answers again
                recovery.note_bad(ending.token)
                recovery.share.failed += 1
                if not asked:  # one bad probe
                    if not recovery.good or recovery.share.is_enough is False:
                        self._reopen(recovery, now, ending.what or "asked to wait", named)
                    return
        if not asked:
            return
        recovery = recovery or self._new_recovery(now)
        recovery.was_slow = False  # calls that come back meanwhile do not shorten the pause
        if self.state in _SERVING:
            recovery.waits.forget()
        wait = named or recovery.next_pause(pauses.longest(now))
        believed = wait
        if named:
            believed = recovery.believe(named, now, pauses.asked_since, self._least_believed)
        self._wait_until(now + believed)
        reason = sentences.told_to_wait(wait, ending.rule)
        self._change(Cause.ASKED_TO_WAIT, now, reason, recovery)

    @property
    def _least_believed(self) -> float:
        """Seconds for which a named wait is believed at least: few calls are refused meanwhile."""
        rate = self.counts.rate
        return max(FEW_REFUSED / rate, self.policy.open_for) if rate > 0.0 else inf

    def _pause_late(self, ending: Ending) -> None:
        """Note the wait that a call of an earlier generation was asked for."""
        # Alone it is no evidence that all callers are asked, unless that is why it is open.
        reason = self.reason
        if self.state is _OPEN and reason and reason.rule in RULES[Cause.ASKED_TO_WAIT]:
            self._wait_until(ending.now + min(ending.wait, self._least_believed))

    def _judge_asked(self, vote: Vote, ending: Ending) -> Vote:
        """The vote of a call that was asked to wait for no certain time: the callee is alive."""
        limit = self.limit
        if vote is not votes.ASKED_TO_WAIT or ending.wait:
            return votes.NONE
        if limit is not None:
            self._note_answer(ending, limit)
        return votes.ALIVE if self.state is _HALF_OPEN else votes.NONE

    def _note_answer(self, ending: Ending, limit: Limit) -> None:
        """Note for a limit that calls come back."""
        limit.latest = max(limit.latest, ending.token)
        limit.ended(_ANY_CALL, 0.0, ending.now, self.detector.baseline.threshold, ok=True)

    def _count_alive(self, vote: Vote, ending: Ending, limit: Limit, recovery: Recovery) -> Vote:
        self._note_answer(ending, limit)
        if vote is not votes.ALIVE:
            return votes.NONE
        recovery.alive += 1
        enough = FAST_CALLS if limit.is_pausing else _NO_OTHERS
        return votes.ALIVE if recovery.alive > enough else votes.NONE

    def _judge_abstained(self, ending: Ending) -> Vote:
        recovery = self.recovery
        self._take_back(ending)
        if ending.rule == votes.OUTPACED:
            self._learn_outpaced(ending)
        if ending.rule == votes.OUTRUN:
            ending.waited = 0.0
            if self.given_up is not None:
                self.given_up.take_back()
        if ending.now - ending.took <= self._came_back_at:
            ending.waited = 0.0
        if ending.waited > 0.0 and (given_up := self._count_given_up(ending)) is not None:
            if self.state is _HALF_OPEN:
                return votes.HUNG if given_up.is_as_long(ending.waited) else votes.NONE
            self._open_for_given_up(given_up, ending)
            return votes.NONE
        limit = self.limit
        if recovery is not None and limit is None:
            recovery.count_silent(recovery.places)
        elif recovery is not None and limit is not None and limit.is_pausing:
            # Without pauses, a limit has room for as many calls as the callee can serve.
            recovery.count_silent(_NO_OTHERS + recovery.spare)
        return votes.NONE

    def _count_given_up(self, ending: Ending) -> GivenUp | None:
        """Count a call that was given up; return all of them if they are enough evidence."""
        detector, given_up = self.detector, self.given_up
        if given_up is None:
            given_up = self.given_up = GivenUp()
        baseline, evidence = detector.baseline, detector.evidence
        answers = baseline.count
        share_above = baseline.share_above(ending.waited) if answers else 0.0
        given_up.add(ending, answers, share_above, evidence.share(0)[0])
        enough = max(self.policy.min_failures, len(self.calls.voting))
        is_enough = given_up.are_enough(ending.now, answers, evidence.threshold, enough)
        return given_up if is_enough else None

    def _open_for_given_up(self, given_up: GivenUp, ending: Ending) -> None:
        detector, evidence = self.detector, self.detector.evidence
        detector.clear()
        evidence.since = given_up.first_token
        for _ in range(given_up.calls):
            evidence.vote_failed(ending.now)
        evidence.level = evidence.threshold
        detector.last_failure = (
            f"given up after {sentences.seconds(ending.waited)} without an answer"
        )
        recovery = self.recovery
        if recovery is None:
            self._trip(ending.now)
        else:
            self._open(ending.now, recovery, detector.open_reason())

    def _learn_outpaced(self, ending: Ending) -> None:
        """Learn from a call that was cancelled, because a second attempt had answered.

        It would have taken longer: what it took is a bound from below. Above the slow threshold that
        is all that the threshold needs, because it follows from quantiles further down. Without it,
        the slowest calls would be missing, and the threshold would fall with each of them. Below the
        threshold it says nothing: the calls that take longer would count as fast ones.
        """
        detector = self.detector
        if self.recovery is not None or ending.latency <= detector.baseline.threshold:
            return
        evidence = detector.evidence
        if evidence.idle or ending.token < evidence.since:
            detector.baseline.learn((ending.latency,))
        else:
            detector.held += (ending.latency,)

    def _no_evidence(self, ending: Ending) -> Vote:
        """The vote of an answer of which the usual latency is unknown; it changes nothing."""
        baseline, limit = self.detector.baseline, self.limit
        if self.recovery is None:
            return votes.NONE
        # It shows at least that calls are answered.
        ending.latency = baseline.median if limit is None else limit.level or baseline.threshold
        return votes.GOOD
