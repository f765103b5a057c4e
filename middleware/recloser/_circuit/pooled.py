"""The circuit of a fleet: it decides from the calls of all workers, by the rules of one worker.

It runs in the worker that leads a key. What it sees is some hundredths of a second old, and the calls
that it sees have been admitted already. Everything else is as if one worker had all the traffic: so a
callee that fails in part is tolerated, a limit is searched by all answers, and probes are sent at the
times that it chooses.

Two rules are its own. What only one worker has seen opens nobody else's breaker: it may be that worker
that is sick, or its network. And if several are cut off while others are well, each decides alone, see
`divided.py`.
"""

from __future__ import annotations

from copy import deepcopy
from math import inf

from recloser._circuit.by_hand import SteeredCircuit
from recloser._circuit.divided import Divided
from recloser._circuit.evidence import MEMORY
from recloser._circuit.following import FollowingCircuit
from recloser._circuit.in_flight import Timing
from recloser._circuit.learned import Learned
from recloser._circuit.limit import Limit
from recloser._circuit.transitions import Cause
from recloser._events import Reason
from recloser._outcome import Outcome
from recloser._stall import StallWatch
from recloser._state import State

# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_CLOSED, _LIMITED = State.CLOSED, State.LIMITED
_OPEN = State.OPEN
DIVIDED = "divided"
"""The rule of a closing because only some workers are in trouble."""
# At least this many workers must have seen bad calls.
_WITNESSES = 2
# The answers to this many refused calls between two reports tell enough about the demand.
_COUNTED = 64
# The rate is measured over at least this many seconds, since one report tells of several refused calls.
_RATE_OVER = 1.0


class PooledCall(Timing):
    """A call of one of the workers.

    Attributes:
        worker: The worker.
        is_counted: Whether it counts already for what its worker sees: it was overdue.
    """

    __slots__ = ("is_counted", "worker")

    def __init__(self, worker: str, started: float) -> None:
        self.worker = worker
        self.started = started
        self.answered = inf
        self.is_counted = False


class PooledCircuit(SteeredCircuit):
    """The circuit of one key of a fleet.

    Args:
        local: The circuit of this key in the worker that leads: what it knows is known at first.
        workers: How many workers there are, >= 1.
        stalls: Reports that this process stood still: never, since each worker excuses its own calls.
        now: Seconds.
        learned: What all workers have learned together. It is taken for what is known at first if the
            circuit of this worker does not judge latency yet: of many workers, each has few calls.

    Attributes:
        witnesses: The workers that have seen bad calls in the present suspicion.
        divided: Whether only some workers are in trouble.
        earlier: How many calls in flight began before the watch. They are no evidence: of the calls in
            flight at a moment most are long ones, so they would make the callee look slow.
    """

    __slots__ = ("divided", "earlier", "witnesses")

    def __init__(
        self,
        key: str,
        local: FollowingCircuit,
        workers: int,
        stalls: StallWatch,
        now: float,
        learned: Learned | None = None,
    ) -> None:
        super().__init__(key, local.policy, local.random, stalls)
        self.witnesses: set[str] = set()
        self.divided = Divided()
        self.earlier = 0
        kept = {id(local.policy): local.policy}  # the policy is shared, not copied
        detector, known = self.detector, local.detector
        # Of all workers, the one that asks first has had the most bad calls, maybe by chance. So its
        # suspicion is no evidence: only what it has learned is taken over, and calls count from now on.
        if learned is None or known.baseline.known:
            detector.baseline = deepcopy(known.baseline, kept)
            detector.evidence = deepcopy(known.evidence, kept)
        else:
            learned.teach_latency(detector.baseline)
            detector.baseline.refresh(now)
            learned.teach_evidence(detector.evidence, MEMORY * local.policy.history_size, now)
        detector.clear()
        detector.evidence.since = 0
        detector.last_failure = known.last_failure
        self._refresh_later(now)
        self.counts.watch_rate(now)
        of_one = local.counts.rate or (0.0 if learned is None else learned.rate)
        self.counts.rate = rate = of_one * workers
        self.counts.concurrency = max(round(rate * detector.baseline.median), 1)
        if rate > 0.0:
            detector.note_rate(rate)

    # What workers report

    def begin(self, token: int, call: PooledCall, now: float) -> None:
        """Count a call that a worker has admitted."""
        state = self.state
        if state is _OPEN and now < self.probe_at:
            return  # the worker had not heard yet that it is open
        if state is _LIMITED:
            self._check_overdue(now)
            limit = self.limit
            if limit is not None:
                limit.begin(token, self.running, now)
            self.calls.voting[token] = call
        elif not self.admit(token, call, now):
            self.counts.refused -= 1  # the worker has admitted it already
            if self.state is not _OPEN:
                self.calls.voting[token] = call

    def count_refused(self, number: int, now: float) -> None:
        """Count calls that workers have refused."""
        self.counts.refused += number
        for _ in range(min(number, _COUNTED)):
            limit, recovery = self.limit, self.recovery
            if limit is None or recovery is None:
                return
            if self.running >= limit.size:
                self._give_up_stuck(limit, now)
            limit.refuse(self.running, now)
            self._open_if_mute(limit, recovery, now)

    def _measure_rate(self, now: float) -> None:
        if self.counts.measure_rate(self.asked, now, _RATE_OVER):
            self.detector.note_rate(self.counts.rate)

    def await_limit(self) -> None:
        """Let no call that has begun until now count under the present limit."""
        if self.limit is not None:
            self.limit.count_from(next(self.calls.tokens))

    @property
    def running(self) -> int:
        return self.known_running + self.earlier

    def _at_first(self, now: float) -> int:
        # The later the trouble is noticed, the more calls have begun before.
        return min(super()._at_first(now), self.known_running)

    def has_overtaken(self, since: float, now: float) -> bool:
        """Whether calls that began before `since` seconds take no place of the limit any more.

        That is so if `since` is long ago and later calls have come back: the earlier ones may never
        come back.
        """
        limit = self.limit
        return limit is not None and limit.latest > 0 and since < self._stuck_before(limit, now)

    def tick(self, now: float) -> None:
        """Let time go on."""
        if self.state is not _OPEN:
            self._check_overdue(now)
        if self.recovery is None and self.detector.evidence.idle:
            self.witnesses.clear()

    def _count_overdue(self, token: int, call: Timing, now: float, threshold: float) -> None:
        self._note_witness(call)
        super()._count_overdue(token, call, now, threshold)

    def note_end(self, call: PooledCall, outcome: Outcome, latency: float) -> None:
        """Note who has seen how a call ends, before it is counted."""
        if outcome is Outcome.FAILURE or latency > self.detector.baseline.threshold:
            self._note_witness(call)
        elif outcome is Outcome.SUCCESS:
            self.divided.add(call.worker, bad=False)

    def _note_witness(self, call: Timing) -> None:
        if isinstance(call, PooledCall):
            self.witnesses.add(call.worker)
            if not call.is_counted:
                call.is_counted = True
                self.divided.add(call.worker, bad=True)

    @property
    def is_shared(self) -> bool:
        """Whether enough workers have seen bad calls in the present suspicion to open for all."""
        return len(self.witnesses) >= _WITNESSES

    def _trip(self, now: float) -> None:
        if self.is_shared and not self._may_be_divided:
            super()._trip(now)

    @property
    def _may_be_divided(self) -> bool:
        """Whether some workers may be well. While that is open, each decides alone."""
        divided, suspicion = self.divided, self.detector.suspicion
        if divided.may_be or divided.is_known or suspicion is None:
            return divided.may_be
        # Calls that fail may end sooner. So the first ends are those of workers that are cut off.
        calls = map(self.calls.voting.get, suspicion.outliving.counted)
        return any(
            isinstance(call, PooledCall) and divided.is_well(call.worker) is not False
            for call in calls
        )

    def _new_limit(self, size: float, now: float) -> Limit:
        limit = super()._new_limit(size, now)
        limit.varies = True  # each worker has some permits, and is not asked before it uses one
        return limit

    # What is known without its calls

    def open_for_all(self, now: float, reason: Reason) -> None:
        """Open: most workers have opened alone."""
        if self.state is _CLOSED or self.state is _LIMITED:
            self._open(
                now, self.recovery or self._new_recovery(now, run=self.policy.min_failures), reason
            )

    def hurry(self, now: float) -> None:
        """Send the next probe soon, if it is open because calls fail, and some workers may be well."""
        recovery = self.recovery
        if self.state is _OPEN and recovery is not None and recovery.run:
            self.probe_at = min(self.probe_at, now + self.policy.open_for)

    def leave_alone(self, now: float) -> None:
        """Close: only some workers are in trouble, and each decides alone."""
        well, others = self.divided.counted
        numbers = {"well": float(well), "in_trouble": float(others)}
        sentence = f"{well} workers are well and {others} are not, so each decides alone"
        self._close(Cause.FLEET_CLOSES, now, Reason(DIVIDED, sentence, numbers))

    def go_on(self, state: State, wait: float, size: float, reason: Reason, now: float) -> None:
        """Go on where another leader has left off.

        Args:
            state: The state that the fleet was in.
            wait: Seconds until the next probe, if it was open.
            size: The limit, if it was limited.
            reason: Why.
            now: Seconds.
        """
        if state is _CLOSED:
            return
        self.detector.clear()
        recovery = self._new_recovery(now, run=self.policy.min_failures)
        if state is _LIMITED:
            recovery.was_slow = True
            limit = self._new_limit(max(size, 1.0), now)
            self._change(Cause.FLEET_LIMITS, now, reason, recovery, limit)
        else:
            # While half-open, too: whose probes those were is not known any more.
            self._wait_until(now + (wait if state is _OPEN else 0.0))
            self._change(Cause.FLEET_OPENS, now, reason, recovery)
        self.events = ()
