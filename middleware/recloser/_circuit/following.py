"""A circuit that may follow a fleet: it does what was decided from the calls of all workers.

It always knows enough to decide alone. So if the fleet falls silent, it goes on from where it is. While
it follows, its own calls decide nothing here: they are written into the journal, and count in the
circuit of the fleet, see `pooled.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, log

from recloser._circuit import sentences, votes
from recloser._circuit.bad_calls import REMEMBERED
from recloser._circuit.by_hand import SteeredCircuit
from recloser._circuit.evidence import MEMORY
from recloser._circuit.in_flight import CountedCall, Timing
from recloser._circuit.journal import Begun, Ended, Journal
from recloser._circuit.learned import Learned
from recloser._circuit.orders import Orders
from recloser._circuit.transitions import Cause, is_of_fleet
from recloser._circuit.votes import Ending, Vote
from recloser._events import Reason
from recloser._outcome import Outcome
from recloser._policy import Policy
from recloser._redaction import shown
from recloser._stall import StallWatch
from recloser._state import State

# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_CLOSED, _LIMITED = State.CLOSED, State.LIMITED
_OPEN, _HALF_OPEN = State.OPEN, State.HALF_OPEN
_IGNORED = Outcome.IGNORED
# Ends that say nothing about the callee.
_SAYS_NOTHING = (votes.NONE, votes.EXCUSED)
_CAUSES = {
    _LIMITED: Cause.FLEET_LIMITS,
    _OPEN: Cause.FLEET_OPENS,
    _HALF_OPEN: Cause.FLEET_PROBES,
}
# A suspicion is worth a question to the others when it has this share of the evidence that opens.
# Two failures in a row have, on a key that hardly ever fails.
_WORTH_ASKING = 0.3
# More is needed where there are many calls, so that chance asks only once in `_BY_CHANCE` seconds. With
# the share `_SURE` of the evidence that opens, it asks in any case.
_BY_CHANCE, _SURE = 60.0, 0.9


class FollowingCircuit(SteeredCircuit):
    """The circuit of one key in one worker of a fleet.

    Attributes:
        journal: What its calls do; None while nobody wants to know.
        orders: What the fleet has decided; None while it has decided nothing.
    """

    __slots__ = ("journal", "orders")

    def __init__(
        self, key: str, policy: Policy, random: Callable[[], float], stalls: StallWatch
    ) -> None:
        super().__init__(key, policy, random, stalls)
        self.journal: Journal | None = None
        self.orders: Orders | None = None

    # What the fleet asks

    @property
    def key(self) -> str:
        """The key."""
        return self._key

    def is_suspicious(self, workers: int) -> bool:
        """Whether its own calls make it worth to look at those of the other workers, too.

        Args:
            workers: How many workers there are: each of them may ask.
        """
        evidence = self.detector.evidence
        if evidence.bad <= 1 or evidence.level < _WORTH_ASKING * evidence.threshold:
            return False
        # Evidence of ln(n) comes up by chance once in n calls.
        chance = log(max(_BY_CHANCE * self.counts.rate * workers, 1.0))
        return evidence.level >= min(chance, _SURE * evidence.threshold)

    def watch(self, one_in: int) -> None:
        """Write down what calls do, one call in `one_in`."""
        if self.journal is None:
            self.journal = Journal(one_in, self.counts.refused)
            self.calls.stop_quick()
            if self.explained is None:  # else only calls that have ended are told, see `end`
                self.journal.begin_with(self.calls)
        self.journal.one_in = one_in

    def stop_watching(self) -> None:
        """Write down nothing any more."""
        self.journal = None

    def take_journal(self, now: float) -> tuple[list[Begun | Ended], int, tuple[int, ...]]:
        """What calls did since this was asked last, how many were refused, and which are not over."""
        journal = self.journal
        if journal is None:
            return [], 0, ()
        # Most refusals are no decision of the circuit, so it only knows how many there were.
        refused = self.counts.refused - journal.refused
        journal.refused = self.counts.refused
        return journal.take(self.calls, now), refused, journal.open

    def give_back(self, entries: list[Begun | Ended], refused: int) -> None:
        """Take back what could not be told; it is told the next time."""
        if self.journal is not None:
            self.journal.give_back(entries)
            self.journal.refused -= refused

    # What the fleet decides

    def follow(self, orders: Orders, reason: Reason, wait: float, size: float, now: float) -> None:
        """Be in the state that the fleet is in.

        Args:
            orders: What holds from now on.
            reason: Why.
            wait: Seconds until the next probe, while open.
            size: This worker's part of the limit, > 0.
            now: Seconds.
        """
        state = orders.state
        if self.recovery is not None:
            self.recovery.waits.forget()  # what the others' probes were told is not known here
        if state is _OPEN and self.state is _HALF_OPEN and self.calls.probes:
            return  # the fleet has not heard yet of the probe that is in flight here
        changes = self.state is not state or self.orders is None
        self.orders = orders
        if state is _OPEN:
            self.probe_at = now + wait
        if not changes:
            self.reason = reason
            if self.limit is not None:
                self.limit.size = size
            return
        recovery = self.recovery or self._new_recovery(now, run=1)
        limit = None
        if state is _LIMITED:
            recovery.was_slow = True
            limit = self._new_limit(size, now)
        elif state is _HALF_OPEN:
            recovery.begin_round(1)
        self._change(_CAUSES[state], now, reason, recovery, limit)
        self.detector.clear()

    def follow_closing(self, reason: Reason, now: float) -> None:
        """Close: the fleet has."""
        self.orders = None
        if self.state is not _CLOSED:
            self._close(Cause.FLEET_CLOSES, now, reason)
        else:
            self.detector.clear()

    def stand_alone(self, now: float) -> bool:
        """Go on alone from the state of the fleet, if the last call was bad; return whether it does.

        The fleet has closed since only some workers are in trouble, and this is one of them. If it
        closed too, its next calls would be lost before it opens alone.
        """
        journal = self.journal
        if self.state is _CLOSED or journal is None or not journal.last_was_bad:
            return False
        self.orders = None
        self.reason = Reason("failures", "other workers are well, but the last call here was bad")
        return True

    def decide_alone(self) -> None:
        """Do not follow any more, and write down nothing."""
        self.orders = self.journal = None

    @property
    def has_followed(self) -> bool:
        """Whether it is in a state that the fleet has decided, even if nothing is heard any more."""
        if self.state is _CLOSED or self.reason is None:
            return self.orders is not None
        return self.orders is not None or is_of_fleet(self.reason.rule)

    @property
    def alone(self) -> str:
        """The state that it has decided alone, such as `open`; "" for none: it is closed, or follows."""
        return "" if self.state is _CLOSED or self.orders is not None else self.state.value

    def _follows(self, now: float) -> Orders | None:
        orders = self.orders
        return orders if orders is not None and orders.check(now) else None

    # Calls

    def settle(self, now: float) -> None:
        """Set which of the next calls need no decision: none while they are written down."""
        if self.journal is None:
            super().settle(now)

    def admit(self, token: int, call: Timing, now: float) -> bool:
        admitted = super().admit(token, call, now)
        journal = self.journal
        # Where more is known of calls, it is not known yet how long this one may take.
        if journal is not None and admitted and self.explained is None:
            journal.begin(token, now)
        return admitted

    def _is_below_limit(self, token: int, now: float) -> bool:
        orders = self._follows(now)
        if orders is None:
            return super()._is_below_limit(token, now)
        return self.running < orders.places

    def _admits_probe(self, now: float) -> bool:
        orders = self._follows(now)
        if orders is None:
            return super()._admits_probe(now)
        self._check_overdue(now)
        recovery = self.recovery
        if self.state is _OPEN and recovery is not None and orders.take_ticket(now):
            recovery.begin_round(1)
            self._change(Cause.TIME_TO_PROBE, now, sentences.look_again(recovery, now), recovery)
            return True
        calls = self.calls
        return self.state is _HALF_OPEN and calls.probes - calls.waiting < orders.places

    def delay(self, call: CountedCall, seconds: float) -> None:
        before = call.token
        super().delay(call, seconds)
        if self.journal is not None and call.token != before:
            self.journal.rename(before, call.token, call.started)

    def end(self, ending: Ending) -> Vote:
        journal, explained, token = self.journal, self.explained, ending.token
        if journal is None:
            return super().end(ending)
        known = explained is None or explained.ratio_in_flight(token) < inf
        if explained is not None:
            journal.begin(token, ending.now - ending.took)
        vote = super().end(ending)
        if vote is votes.GOOD:
            journal.last_was_bad = False
        outcome = ending.outcome if known and vote not in _SAYS_NOTHING else _IGNORED
        what = shown(ending.what) if ending.what else ""
        journal.end(
            Ended(token, ending.now, outcome, ending.latency, ending.wait, ending.rule, what)
        )
        return vote

    def _see_bad(self, vote: Vote, ending: Ending) -> None:
        if self.journal is not None:
            self.journal.last_was_bad = True
        super()._see_bad(vote, ending)

    def _count_vote(self, vote: Vote, ending: Ending) -> None:
        if self._follows(ending.now) is None:
            super()._count_vote(vote, ending)
        elif vote in REMEMBERED:
            self._see_bad(vote, ending)

    def _judge_silent(self, vote: Vote, ending: Ending) -> Vote:
        if self._follows(ending.now) is None:
            return super()._judge_silent(vote, ending)
        return votes.NONE

    def _pause(self, ending: Ending, *, voting: bool) -> None:
        if self._follows(ending.now) is None:
            super()._pause(ending, voting=voting)

    # By hand, and after a fork

    def open_by_hand(self, now: float, until: float, reason: Reason) -> None:
        self.orders = None
        super().open_by_hand(now, until, reason)

    def half_open_by_hand(self, now: float, reason: Reason) -> None:
        self.orders = None
        super().half_open_by_hand(now, reason)

    def close_by_hand(self, now: float, reason: Reason) -> None:
        self.orders = None
        super().close_by_hand(now, reason)

    def reset(self, now: float, reason: Reason) -> None:
        self.orders = None
        super().reset(now, reason)

    def forget_calls(self) -> None:
        self.journal = self.orders = None
        super().forget_calls()

    # What was learned

    def expect(self, slow: float, failed: float, now: float) -> None:
        """Take shares of slow and of failed calls for normal, 0.0-1.0: the fleet has seen them."""
        usual = self.detector.evidence.share(0)
        if slow > usual[0] or failed > usual[1]:
            self.detector.evidence.expect(slow, failed, None, now)

    def learned(self, now: float) -> Learned:
        """What it has learned, to be kept or handed on."""
        return Learned.of(self.detector, self.counts.rate, now)

    def learn_from(self, learned: Learned, now: float, *, anew: bool) -> None:
        """Take over what others have learned.

        Args:
            learned: What they have learned.
            now: Seconds.
            anew: Whether to forget what was learned here.
        """
        detector = self.detector
        if anew:
            detector.reset()
        learned.teach_latency(detector.baseline)
        if self.counts.rate == 0.0 and learned.rate > 0.0:
            self.counts.rate = learned.rate
            detector.note_rate(learned.rate)
        self._refresh(now)
        learned.teach_evidence(detector.evidence, MEMORY * self.policy.history_size, now)
