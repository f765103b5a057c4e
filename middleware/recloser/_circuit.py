"""The state machine: everything that decides whether a call may pass begins here.

It is handed the time and owns no clock, no lock and no thread; `Breaker` adds those. Three states:

    CLOSED    -> OPEN       the evidence is enough, or the callee asked to be left alone
    OPEN      -> HALF_OPEN  at the next call asked for once it is time to look again
    HALF_OPEN -> OPEN       too many probes were bad
    HALF_OPEN -> CLOSED     enough probes were good, and as many at a time as there used to be
    OPEN, HALF_OPEN -> CLOSED   slow answers for so long that they are the new normal
    any       -> any        by hand

Each change begins a generation. A call admitted in an earlier one has no vote any more.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from recloser import _reasons
from recloser._baseline import Baseline
from recloser._events import Reason, State, Transition
from recloser._evidence import Evidence
from recloser._outage import Outage
from recloser._outcome import Outcome
from recloser._policy import Policy
from recloser._stall import StallWatch

# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_CLOSED, _OPEN, _HALF_OPEN = State.CLOSED, State.OPEN, State.HALF_OPEN
_CANCELLED = Outcome.CANCELLED
# Good calls between two looks at threshold, weights and rate: a history of a thousand changes
# little in so few, and the look costs as much as ten calls.
_REFRESH_EVERY = 128
# Fewer calls than this measure no rate.
_RATE_CALLS = 8


class Circuit:
    """States, permits given out, evidence and baseline of one key.

    A permit is a token, a positive int; 0 means refused. Where a token is found tells what vote
    its call has: in `_in_flight` one on the state CLOSED, in `_outage.probes` one on the recovery,
    in `_older` none (its generation is over, or it was overdue and has voted).

    Attributes:
        state: What is done with the next call.
        generation: Changes of state so far.
        reason: Why the last change of state was made.
        look_at: When the next probe may pass, while open; seconds.
        events: Transitions not yet taken by the breaker, oldest first.
        dropped: Tokens of permits that were garbage-collected unended; taken back at the next
            call. Appended to without the lock: a finalizer may run while its thread holds it.
        held: Latencies of good calls held back from the baseline while something is suspicious.
    """

    __slots__ = (
        "_asked_before",
        "_check_at",
        "_concurrency",
        "_in_flight",
        "_key",
        "_last_failure",
        "_older",
        "_outage",
        "_policy",
        "_random",
        "_rate",
        "_rate_since",
        "_refresh_at",
        "_serial",
        "_stalls",
        "baseline",
        "cancelled",
        "dropped",
        "events",
        "evidence",
        "failures",
        "generation",
        "held",
        "ignored",
        "latency_squares",
        "latency_sum",
        "look_at",
        "reason",
        "refused",
        "slow",
        "state",
        "successes",
        "throttled",
    )

    def __init__(
        self, key: str, policy: Policy, random: Callable[[], float], stalls: StallWatch
    ) -> None:
        self._key = key
        self._policy = policy
        self._random = random
        self._stalls = stalls
        self.baseline = Baseline(policy)
        self.evidence = Evidence(policy)
        self.state = _CLOSED
        self.generation = 0
        self.reason: Reason | None = None
        self.look_at = 0.0
        self.events: list[Transition] = []
        self._serial = 0
        self._in_flight: dict[int, float] = {}
        self._older: dict[int, float] = {}
        self._outage: Outage | None = None
        self.dropped: list[int] = []
        self.held: list[float] = []
        self._check_at = 0.0
        self._last_failure = ""
        self._refresh_at = policy.min_history
        self._concurrency = 1
        self._rate = 0.0
        self._rate_since = inf
        self._asked_before = 0
        self.refused = 0
        self.successes = 0
        self.failures = 0
        self.slow = 0
        self.throttled = 0
        self.ignored = 0
        self.cancelled = 0
        self.latency_sum = 0.0
        self.latency_squares = 0.0

    # Admission

    def admit(self, now: float) -> int:
        """Give out a permit for a call at `now` seconds, or refuse with 0."""
        if self.dropped:
            self.take_back_dropped(now)
        if self.state is _CLOSED:
            if now >= self._check_at:
                self._count_overdue(now)
                if self.state is not _CLOSED:
                    self.refused += 1
                    return 0
            self._serial = token = self._serial + 1
            self._in_flight[token] = now
            return token
        if now < self.look_at and self.state is _OPEN:
            self.refused += 1
            return 0
        return self._admit_probe(now)

    def _admit_probe(self, now: float) -> int:
        outage = self._outage
        if outage is None:
            raise RuntimeError("not closed, yet there is no outage")
        if self.state is _OPEN:
            outage.look(1)
            self._change(_HALF_OPEN, now, _reasons.look_again(now - outage.began))
        self._expire_leases(now, outage)
        return self._next_probe(now, outage)

    def _next_probe(self, now: float, outage: Outage) -> int:
        if self.state is _HALF_OPEN and len(outage.probes) < outage.window:
            self._serial = token = self._serial + 1
            outage.probes[token] = now
            return token
        if self.state is _CLOSED:  # an expired lease was the last that a new normal needed
            self._serial = token = self._serial + 1
            self._in_flight[token] = now
            return token
        self.refused += 1
        return 0

    def _count_overdue(self, now: float) -> None:
        """Count calls in flight past the slow threshold as bad now, once; not when they end."""
        if self._rate_since == inf:
            self._rate_since = now
        threshold = self.baseline.threshold
        while self._in_flight:
            token, started = next(iter(self._in_flight.items()))
            if started + threshold > now:
                self._check_at = started + threshold
                return
            self._older[token] = self._in_flight.pop(token)
            if not self._stalls.excuses(started, now):
                self._vote_bad(now, slow=True)
                if self.state is not _CLOSED:
                    return
        # A call that starts from now on is overdue no sooner than this.
        self._check_at = now + threshold

    def _expire_leases(self, now: float, outage: Outage) -> None:
        """Take back the slots of probes that hang: they were bad."""
        threshold = self.baseline.threshold
        while outage.probes and self.state is _HALF_OPEN:
            token, started = next(iter(outage.probes.items()))
            if started + threshold > now:
                return
            self._older[token] = outage.probes.pop(token)
            if not self._stalls.excuses(started, now):
                self._vote_bad_probe(now, outage, slow=True)

    def wait(self, now: float) -> float:
        """Seconds until a call may be admitted, >= 0."""
        if self.state is _OPEN:
            return max(self.look_at - now, 0.0)
        outage = self._outage
        if outage is None or self.state is _CLOSED or len(outage.probes) < outage.window:
            return 0.0
        return max(next(iter(outage.probes.values())) + self.baseline.threshold - now, 0.0)

    def is_probe(self, token: int) -> bool:
        """Whether a call decides about a recovery."""
        return self._outage is not None and token in self._outage.probes

    # The end of a call

    def succeed(self, token: int, latency: float, now: float) -> None:
        """A call answered after `latency` seconds."""
        self.successes = successes = self.successes + 1
        self.latency_sum += latency
        self.latency_squares += latency * latency
        started = self._in_flight.pop(token, None)
        evidence = self.evidence
        if started is None:
            self._succeed_otherwise(token, latency, now)
        elif latency > self.baseline.threshold:
            self.slow += 1
            self.held.append(latency)
            if not self._stalls.excuses(started, now):
                self._vote_bad(now, slow=True)
        elif evidence.surprise == 0.0:
            evidence.after_good += 1
            self.baseline.learn(latency)
        else:
            self.held.append(latency)
            if evidence.vote_good(now):
                self._learn_held()
        if successes >= self._refresh_at:
            self._refresh(now)

    def _succeed_otherwise(self, token: int, latency: float, now: float) -> None:
        outage = self._outage
        slow = latency > self.baseline.threshold
        self.slow += slow
        if outage is not None and (started := outage.probes.pop(token, None)) is not None:
            if not slow:
                self._vote_good_probe(now, outage)
            elif not self._stalls.excuses(started, now):
                outage.returned.append(latency)
                self._vote_bad_probe(now, outage, slow=True)
        elif self._older.pop(token, None) is None or (outage and token <= outage.last_token):
            return
        elif outage is not None and self.state is not _CLOSED:
            # A probe that lost its lease, but came back: slow, not dead.
            outage.returned.append(latency)
            self._accept_new_normal(now, outage)
        elif self.evidence.surprise > 0.0:
            # Its vote was cast when it was overdue; how long it took is still to be learned.
            self.held.append(latency)
        else:
            self.baseline.learn(latency)

    def fail(self, token: int, latency: float, now: float, what: str, hold: float) -> None:
        """A call failed for the reason `what`, and asked to be left alone for `hold` seconds."""
        self.failures += 1
        self.latency_sum += latency
        self.latency_squares += latency * latency
        self._last_failure = what
        if hold > 0.0:
            self.look_at = max(self.look_at, now + hold)
        outage = self._outage
        if self._in_flight.pop(token, None) is not None:
            self._vote_bad(now, slow=False)
        elif outage is not None and outage.probes.pop(token, None) is not None:
            self._vote_bad_probe(now, outage, slow=False)
        elif self._older.pop(token, None) is not None and outage is not None:
            # It hung, and then failed: not slow, sick.
            outage.slow_only = False

    def end_without_vote(self, token: int, outcome: Outcome, latency: float, now: float) -> None:
        """A call ended in a way that says nothing, unless it was cancelled when already slow."""
        if outcome is _CANCELLED:
            self.cancelled += 1
        else:
            self.ignored += 1
        slow = outcome is _CANCELLED and latency > self.baseline.threshold
        outage = self._outage
        started = self._in_flight.pop(token, None)
        if started is not None:
            if slow and not self._stalls.excuses(started, now):
                self._vote_bad(now, slow=True)
        elif outage is not None and (started := outage.probes.pop(token, None)) is not None:
            if slow and not self._stalls.excuses(started, now):
                self._vote_bad_probe(now, outage, slow=True)
        else:
            self._older.pop(token, None)

    def throttle(self, token: int, now: float, wait: float, rule: str) -> None:
        """The callee asked to be left alone for `wait` seconds; its health is not in question."""
        self.throttled += 1
        self._in_flight.pop(token, None)
        self._older.pop(token, None)
        if self._outage is not None:
            self._outage.probes.pop(token, None)
        if wait <= 0.0:
            return
        until = now + wait
        if self.state is not _OPEN:
            if self.state is _CLOSED:
                self._begin_outage(now, slow_only=False)
            self._open(now, max(self.look_at, until), _reasons.told_to_wait(wait, rule))
        else:
            # A longer wait is never shortened.
            self.look_at = max(self.look_at, until)

    def take_back_dropped(self, now: float) -> None:
        """Cancel the permits that nobody can end any more."""
        while self.dropped:
            self.end_without_vote(self.dropped.pop(), _CANCELLED, 0.0, now)

    def record(self, latency: float, success: bool, now: float) -> None:
        """A call timed elsewhere: votes when closed, and as a probe when half-open."""
        self._serial = token = self._serial + 1
        if self.state is _CLOSED:
            self._in_flight[token] = now
        elif self.state is _HALF_OPEN and self._outage is not None:
            self._outage.probes[token] = now
        if success:
            self.succeed(token, latency, now)
        else:
            self.fail(token, latency, now, "", 0.0)

    # Votes

    def _vote_bad(self, now: float, *, slow: bool) -> None:
        evidence = self.evidence
        if evidence.vote_bad(now, slow=slow):
            reason = _reasons.tripped(evidence, self.baseline, self._policy, self._last_failure)
            self._begin_outage(now, slow_only=evidence.slow == evidence.bad)
            self._open(now, max(self.look_at, now + self._jittered(self._policy.open_for)), reason)

    def _vote_good_probe(self, now: float, outage: Outage) -> None:
        if outage.vote_good(self._concurrency):
            if outage.was_momentary(now):
                self.evidence.learn_run(round(self.evidence.bad))
            self._close(now, _reasons.recovered(outage.good, outage.bad, now - outage.began))

    def _vote_bad_probe(self, now: float, outage: Outage, *, slow: bool) -> None:
        lost = outage.vote_bad(slow=slow)
        if not self._accept_new_normal(now, outage) and lost:
            what = "slow" if slow else self._last_failure or "failed"
            reason = _reasons.probe_failed(outage.good, outage.bad, what, now - outage.began)
            self._measure_rate(now)
            wait = self._jittered(outage.time_to_next_look(now, self._rate))
            self._open(now, max(self.look_at, now + wait), reason)

    def _accept_new_normal(self, now: float, outage: Outage) -> bool:
        median = outage.new_normal(now)
        if median is None:
            return False
        before = self.baseline.median
        self.baseline.reset()
        for latency in outage.returned:
            self.baseline.learn(latency)
        self._refresh_at = self.successes + 1
        patience = self._policy.latency_patience
        self._close(now, _reasons.new_normal(median, before, patience))
        return True

    def _learn_held(self) -> None:
        for latency in self.held:
            self.baseline.learn(latency)
        self.held.clear()

    # Now and then

    def _refresh(self, now: float) -> None:
        # At 30, 60, 120 ... calls, and then at even distances.
        self._refresh_at = self.successes + min(self.successes, _REFRESH_EVERY)
        known = self.baseline.known
        self.baseline.refresh()
        if self.baseline.known and not known:
            self.evidence.expect_slow(self.baseline.count, self.baseline.share_slow())
        else:
            self.evidence.refresh()
        self._check_at = 0.0  # the threshold may have come down
        self._concurrency = max(len(self._in_flight), round(0.8 * self._concurrency), 1)
        self._measure_rate(now)

    def _measure_rate(self, now: float) -> None:
        """Calls asked for per second, from the stretch since the last measurement."""
        calls = self.asked - self._asked_before
        if calls >= _RATE_CALLS and now > self._rate_since:
            self._rate = calls / (now - self._rate_since)
            self._rate_since = now
            self._asked_before = self.asked

    def _jittered(self, wait: float) -> float:
        return wait * (1.0 + self._policy.jitter * (2.0 * self._random() - 1.0))

    # Changes of state

    def _begin_outage(self, now: float, *, slow_only: bool) -> Outage:
        outage = Outage(self._policy, now, self._serial, slow_only=slow_only)
        self._outage = outage
        self.held.clear()  # an outage is never learned
        return outage

    def _open(self, now: float, until: float, reason: Reason) -> None:
        self.look_at = until
        self._change(_OPEN, now, reason)

    def _close(self, now: float, reason: Reason) -> None:
        self.evidence.clear()
        self.held.clear()
        self.look_at = 0.0
        self._check_at = 0.0
        if self._outage is not None:
            self._outage.last_token = self._serial  # its probes have no say from now on
        self._change(_CLOSED, now, reason)

    def _change(self, state: State, now: float, reason: Reason) -> None:
        # What was admitted before describes a service that no longer exists.
        self._older.update(self._in_flight)
        self._in_flight.clear()
        if self._outage is not None:
            self._older.update(self._outage.probes)
            self._outage.probes.clear()
        self.generation += 1
        before, self.state, self.reason = self.state, state, reason
        if before is not state:
            self.events.append(Transition(self._key, before, state, reason, self.generation, now))

    # By hand

    def open_by_hand(self, now: float, until: float, reason: Reason) -> None:
        """Open until `until` seconds, whatever the evidence."""
        if self.state is _CLOSED:
            self._begin_outage(now, slow_only=False)
        self._open(now, until, reason)

    def half_open_by_hand(self, now: float, reason: Reason) -> None:
        """Let `half_open_requests` probes through at once: someone vouches for the callee."""
        outage = self._outage
        if outage is None or self.state is _CLOSED:
            outage = self._begin_outage(now, slow_only=False)
        outage.look(self._policy.half_open_requests)
        self._change(_HALF_OPEN, now, reason)

    def reset(self, now: float, reason: Reason) -> None:
        """Close and forget everything learned."""
        self._close(now, reason)
        self.baseline.reset()
        self.evidence = Evidence(self._policy)
        self._last_failure = ""
        self._refresh_at = self.successes + self._policy.min_history

    # What others may see

    @property
    def asked(self) -> int:
        """Calls asked for, refused ones included."""
        return self._serial + self.refused

    @property
    def in_flight(self) -> int:
        """Permits given out and not ended."""
        probes = len(self._outage.probes) if self._outage is not None else 0
        return len(self._in_flight) + len(self._older) + probes - len(self.dropped)

    @property
    def probes(self) -> tuple[int, int, int]:
        """Good probes, bad probes, and how many are let through at a time."""
        outage = self._outage
        return (outage.good, outage.bad, outage.window) if outage is not None else (0, 0, 1)
