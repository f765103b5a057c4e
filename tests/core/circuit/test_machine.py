"""The state machine, driven at random by rules: what holds after every step, whatever happens.

Everything goes through the public Breaker. The invariants are numbered as in the comments: they are
those that any breaker owes, from "no more probes than the window" to "a healthy callee gets its
traffic back".
"""

from __future__ import annotations

import gc
from collections import Counter
from math import ceil, isfinite
from random import Random
from typing import Any

from hypothesis import seed, settings, target
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from recloser import Breaker, Permit, Policy, Registry, State, Transition
from recloser._circuit.transitions import RULES, TRANSITIONS
from recloser.testing import ManualClock, RecordingListener, no_jitter, open_breaker

POLICY = Policy(
    min_failures=2,
    false_trip_interval=100.0,
    half_open_requests=4,
    success_rate_threshold=0.7,
    min_history=10,
    slow_ceiling=5.0,
    max_open_for=10.0,
    latency_patience=30.0,
    max_retry_after=20.0,
    quota_open_for=30.0,
)
LONGEST_WAIT = 30.0
# What a transition between two states may be caused by, as rules of its reason.
# Those of a fleet are in `test_following.py`.
LEGAL: dict[tuple[State, State], frozenset[str]] = {}
for before, cause, after in TRANSITIONS:
    if before is not after and not cause.name.startswith("FLEET_"):
        LEGAL[before, after] = LEGAL.get((before, after), frozenset()) | RULES[cause]
seen: Counter[str] = Counter()
# A round may miss an edge or a rule; all of them together do not.
ROUNDS = 80


class Raising:
    """A listener with a bug of its own."""

    def on_transition(self, transition: Transition) -> None:
        raise RuntimeError(str(transition))


class BreakerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock(1_000.0)
        self.listener = RecordingListener()
        registry = Registry(POLICY, clock=self.clock, random=no_jitter)
        registry.subscribe(Raising())
        registry.subscribe(self.listener)
        self.breaker: Breaker = registry["k"]
        self.live: list[Permit] = []
        self.ended: list[Permit] = []
        self.admitted = 0
        self.refused = 0
        self.recorded = 0
        self.checked = 0
        self.jumped = 0.0
        self.worst_normal = 0.0

    @initialize(calls=st.sampled_from([0, 40]))
    def has_a_past(self, calls: int) -> None:
        for _ in range(calls):
            self.clock.advance(0.1)
            self.breaker.record(0.1, success=True)
        self.recorded = calls

    # What callers do

    @rule(calls=st.integers(1, 6))
    def ask(self, calls: int) -> None:
        for _ in range(calls):
            before, wait = self.breaker.state, self.breaker.retry_after
            permit = self.breaker.try_acquire()
            if permit is not None:
                self.admitted += 1
                self.live.append(permit)
                # I7: not one call passes an open breaker before its time.
                assert before is not State.OPEN or wait == 0.0
                # I16: not one call passes a limited breaker above its limit.
                circuit = self.breaker._circuit
                if circuit.limit is not None and circuit.recovery is not None:
                    assert circuit.running <= ceil(circuit.limit.size) + circuit.recovery.spare
            else:
                self.refused += 1
                # I13: whoever is refused learns how long to wait, within bounds.
                longest = LONGEST_WAIT + self.jumped + 1e-6
                assert 0.0 <= self.breaker.refusal().retry_after <= longest

    def take(self, data: st.DataObject) -> Permit:
        permit = self.live.pop(data.draw(st.integers(0, len(self.live) - 1)))
        self.ended.append(permit)
        return permit

    @precondition(lambda self: self.live)
    @rule(data=st.data(), how=st.sampled_from(["success", "failure", "ignore", "cancel"]))
    def end(self, data: st.DataObject, how: str) -> None:
        getattr(self.take(data), how)()

    @precondition(lambda self: self.live)
    @rule(good=st.booleans())
    def end_all(self, good: bool) -> None:
        for permit in self.live:
            if good:
                permit.success()
            else:
                permit.failure(OSError("down"))
        self.ended.extend(self.live)
        self.live.clear()

    @rule(calls=st.integers(1, 9))
    def serve(self, calls: int) -> None:
        for _ in range(calls):
            self.ask(1)
            self.clock.advance(0.01)
            if self.live:
                self.ended.append(self.live[-1])
                self.live.pop().success()

    @rule(
        calls=st.integers(1, 12),
        latency=st.sampled_from([0.1, 0.3, 1.5]),
        way=st.sampled_from(["success", "success", "success", "failure", "cancel"]),
    )
    def serve_in_turn(self, calls: int, latency: float, way: str = "success") -> None:
        for _ in range(calls):
            if (permit := self.breaker.try_acquire()) is None:
                self.refused += 1
                self.clock.advance(0.2)
                continue
            self.admitted += 1
            self.clock.advance(latency)
            self.ended.append(permit)
            getattr(permit, way)()

    @rule(calls=st.integers(2, 12))
    def serve_two_kinds(self, calls: int) -> None:
        """Of three calls, one is as fast as ever."""
        for call in range(calls):
            self.serve_in_turn(1, 0.3 if call % 3 else 0.1)

    @rule(calls=st.integers(4, 12))
    def fail_or_be_slow(self, calls: int) -> None:
        """Of three calls, two fail and one is slow."""
        for call in range(calls):
            if call % 3 == 1:
                self.serve_in_turn(1, 1.5)
            else:
                self.serve_in_turn(1, 0.1, "failure")

    @rule(rounds=st.integers(1, 8))
    def crowd(self, rounds: int) -> None:
        """A single call is good, and those at the same time fail."""
        for _ in range(rounds):
            self.clock.advance(min(self.breaker.retry_after, LONGEST_WAIT))
            self.serve_in_turn(1, 0.1)
            self.ask(4)
            self.end_all(good=False)

    @rule(calls=st.integers(2, 12))
    def hang(self, calls: int) -> None:
        for _ in range(calls):
            self.ask(1)
            self.clock.advance(0.2)

    @rule(calls=st.integers(6, 12))
    def hang_and_come_back(self, calls: int) -> None:
        """Nothing comes back for long, and then the oldest call does."""
        self.hang(calls)
        for _ in range(20):
            if self.breaker.state is State.OPEN:
                break
            self.clock.advance(0.5)
            self.ask(1)
        if self.live:
            self.ended.append(self.live.pop(0))
            self.ended[-1].success()

    @precondition(lambda self: self.live)
    @rule(
        data=st.data(),
        calls=st.integers(1, 5),
        wait=st.sampled_from([None, -1.0, 0.5, 5.0, 1e9, float("nan")]),
        quota=st.booleans(),
    )
    def throttle(self, data: st.DataObject, calls: int, wait: float | None, quota: bool) -> None:
        for _ in range(min(calls, len(self.live))):
            self.throttle_one(self.take(data), wait, quota)

    def throttle_one(self, permit: Permit, wait: float | None, quota: bool) -> None:
        wanted = self.clock.now + self.breaker.retry_after
        open_before = self.breaker.state is State.OPEN
        permit.throttled(wait, quota=quota)
        # A longer wait is never shortened.
        if open_before:
            assert self.clock.now + self.breaker.retry_after >= wanted - 1e-9

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def fail_and_ask_for_time(self, data: st.DataObject) -> None:
        self.take(data).failure("HTTP 503", retry_after=3.0)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def begin_to_answer(self, data: st.DataObject) -> None:
        self.live[data.draw(st.integers(0, len(self.live) - 1))].mark()

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        self.live.pop(data.draw(st.integers(0, len(self.live) - 1)))
        gc.collect(0)

    @precondition(lambda self: self.ended)
    @rule(data=st.data(), how=st.sampled_from(["success", "failure", "throttled", "cancel"]))
    def end_again(self, data: st.DataObject, how: str) -> None:
        before = self.breaker.metrics()
        permit = self.ended[data.draw(st.integers(0, len(self.ended) - 1))]

        getattr(permit, how)()

        assert self.breaker.metrics() == before

    @rule(good=st.booleans(), latency=st.sampled_from([0.01, 0.1, 4.0, 60.0, float("nan"), -1.0]))
    def record(self, good: bool, latency: float) -> None:
        self.recorded += latency > 0.0
        self.breaker.record(latency, success=good)

    # What time and operators do

    @rule(seconds=st.sampled_from([0.0, 0.05, 0.5, 2.0, 7.0, 40.0, 86_400.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def jump_back(self) -> None:
        self.clock.advance(-0.25)
        self.jumped += 0.25

    @rule(for_=st.sampled_from([None, 0.0, 3.0]))
    def open(self, for_: float | None) -> None:
        self.breaker.open("maintenance", for_=for_)
        assert self.breaker.state is State.OPEN

    @rule()
    def half_open(self) -> None:
        self.breaker.half_open()
        assert self.breaker.state is State.HALF_OPEN

    @rule()
    def reset(self) -> None:
        self.breaker.reset()
        assert self.breaker.state is State.CLOSED

    # What holds after each step

    @invariant()
    def no_more_probes_than_the_window(self) -> None:
        """I1."""
        recovery = self.breaker._circuit.recovery
        places = 1 if recovery is None else recovery.places
        assert sum(permit.is_probe for permit in self.live) <= places

    @invariant()
    def a_limit_and_a_recovery_are_those_of_the_state(self) -> None:
        """I4: and the limit keeps no call that has ended."""
        circuit = self.breaker._circuit
        assert (circuit.limit is not None) is (circuit.state is State.LIMITED)
        assert (circuit.recovery is None) is (circuit.state is State.CLOSED)
        self.breaker.metrics()  # ends the calls whose permits are gone
        if circuit.limit is not None:
            assert {*circuit.limit._in_flight} <= {permit.token for permit in self.live}
            assert circuit.limit.size >= 1.0

    @invariant()
    def every_permit_is_accounted_for(self) -> None:
        """I2, I10: issued = ended + live, and the totals are those of the history."""
        metrics = self.breaker.metrics()
        assert metrics.in_flight == len(self.live)
        assert metrics.calls == self.admitted + self.refused + self.recorded
        assert metrics.refused == self.refused
        outcomes = metrics.successes + metrics.failures + metrics.throttled
        outcomes += metrics.ignored + metrics.cancelled
        assert outcomes == self.admitted + self.recorded - len(self.live)

    @invariant()
    def every_figure_is_a_figure(self) -> None:
        """I11, I15: finite, never negative, and of one moment."""
        metrics = self.breaker.metrics()
        for name in type(metrics).__slots__:
            value: Any = getattr(metrics, name)
            if isinstance(value, int | float):
                # There may be no limit, and no change of state yet.
                assert isfinite(value) or name in ("limit", "since"), name
                assert value >= 0, name
        assert metrics.state is self.breaker.state
        assert metrics.evidence <= metrics.evidence_threshold
        self.worst_normal = max(self.worst_normal, metrics.normal_bad_rate)
        assert self.breaker.explain()

    @invariant()
    def changes_form_a_chain_of_legal_edges(self) -> None:
        """I3, I5, I6, I8, I14."""
        transitions = self.listener.transitions
        previous = transitions[self.checked - 1] if self.checked else None
        for transition in transitions[self.checked :]:
            seen[f"{transition.before.value}-{transition.after.value}"] += 1
            seen[transition.reason.rule] += 1
            if previous is not None:
                assert transition.before is previous.after
                assert transition.generation > previous.generation
            rules = LEGAL[transition.before, transition.after]
            assert transition.reason.rule in rules, transition
            self.check_numbers(transition)
            previous = transition
        self.checked = len(transitions)
        if previous is not None:
            assert previous.after is self.breaker.state

    def check_numbers(self, transition: Transition) -> None:
        reason, numbers = transition.reason, transition.reason.numbers
        assert reason.sentence
        if reason.rule in ("failures", "bad_calls"):
            assert numbers["bad"] >= POLICY.min_failures
            assert numbers["bad"] >= POLICY.failure_rate_threshold * numbers["calls"] - 1e-9
            assert numbers["evidence"] >= numbers["evidence_threshold"]
            assert 2.0 * numbers["slow"] < numbers["bad"]
        elif reason.rule == "limited":
            # Half of the bad calls were slow, and half of the calls were bad.
            assert 2.0 * numbers["slow"] >= POLICY.min_failures
            assert 4.0 * numbers["slow"] >= numbers["calls"]
            assert numbers["limit"] >= 2.0
        elif reason.rule == "recovered":
            # After slow calls two good probes are enough to limit.
            probes = max(numbers["good"] + numbers["bad"], POLICY.half_open_requests)
            # A share of bad calls that is normal is not expected of the probes either.
            enough = POLICY.success_rate_threshold * (1.0 - self.worst_normal) * probes
            # So many are enough of a key of which hardly anything is known, or that fails as often.
            enough = min(enough, 0.25 * probes, (1.0 - self.worst_normal) * probes)
            assert numbers["good"] >= (2.0 if transition.after is State.LIMITED else enough)

    def teardown(self) -> None:
        """I9: whatever happened, a healthy callee and some traffic close it again."""
        reached = [each for each in self.listener.transitions if each.after is State.HALF_OPEN]
        target(float(len(reached)))
        # Half of the calls in flight never end.
        for permit in self.live[::2]:
            permit.success()
        if self.breaker.explain().startswith("open until told otherwise"):
            self.breaker.half_open()
        for _ in range(100):
            if self.breaker.state is State.CLOSED:
                self.changes_form_a_chain_of_legal_edges()
                return
            self.clock.advance(LONGEST_WAIT)
            self.serve_in_turn(1, 0.05)
        raise AssertionError(self.breaker.explain())


def test_invariants_hold_and_every_edge_is_reached() -> None:
    edges = {f"{before.value}-{after.value}" for before, after in LEGAL}
    rules = {rule for rules in LEGAL.values() for rule in rules}
    seen.clear()

    # What Hypothesis draws depends on all modules that are loaded, since it borrows constants from
    # them. So one round may be hollow, and in any row of the matrix another one.
    for number in range(ROUNDS):
        run_state_machine_as_test(
            seed(number)(BreakerMachine),
            settings=settings(max_examples=80, stateful_step_count=40, database=None),
        )
        missing = (edges | rules) - set(seen)
        if not missing and seen["open-half_open"] >= 20:
            break

    assert not missing, f"the rounds were hollow: {sorted(missing)}"
    assert seen["open-half_open"] >= 20


def events_of(seed: int) -> list[str]:
    """A run in which a callee comes and goes, as the log would tell it."""
    chance = Random(seed)
    clock, listener = ManualClock(), RecordingListener()
    registry = Registry(clock=clock, random=chance.random)
    registry.subscribe(listener)
    for index in range(3_000):
        clock.advance(0.1)
        permit = registry["k"].try_acquire()
        if permit is None:
            continue
        clock.advance(chance.expovariate(20.0))
        if index // 500 % 2 and chance.random() < 0.9:
            permit.failure()
        else:
            permit.success()
    return [f"{each.at!r} {each} {dict(each.reason.numbers)}" for each in listener.transitions]


def test_two_runs_from_one_seed_are_alike() -> None:
    """I18."""
    first = events_of(5)

    assert len(first) > 6
    assert events_of(5) == first


def test_a_call_that_was_timed_elsewhere_counts_while_open_and_has_no_vote(
    breaker: Breaker, clock: ManualClock
) -> None:
    """It was not sent as a probe: it may have begun before the outage."""
    open_breaker(breaker)
    before = breaker.metrics()

    for number in range(25):
        breaker.record(0.1, success=number < 20)

    after = breaker.metrics()
    assert after.state is State.OPEN
    assert after.successes - before.successes == 20
    assert after.failures - before.failures == 5
    assert after.in_flight == 0
