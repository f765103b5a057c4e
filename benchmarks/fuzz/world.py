"""A breaker under steps in any order, and a plain reference of what it promises to its callers."""

from __future__ import annotations

import gc
import itertools
from collections import Counter
from math import inf, isfinite
from random import Random
from typing import Any

from recloser import Mode, Permit, Policy, Registry, State
from recloser._policy import _RANGES
from recloser.testing import ManualClock, RecordingListener

LATENCIES = (0.0, 0.001, 0.02, 0.1, 0.11, 0.5, 3.0, 70.0, 5_000.0)
JUMPS = (0.0, 0.01, 0.2, 1.0, 7.0, 61.0, 4_000.0, 1e6, -0.5, -90.0, -1e5)
WAITS = (None, 0.0, 0.5, 20.0, 1e9, -1.0)
BY_HAND = ("open", "half_open", "close", "reset", "override", "end_override", "policy")
ENDS = ("success", "failure", "throttled", "ignore", "cancel")
# At its own bounds, each of these takes hours or thousands of calls.
_COUNTS = {"half_open_requests": 40, "min_failures": 60, "min_history": 200, "history_size": 5_000}


def policy_at_bounds(chance: Random) -> Policy:
    """A policy some of whose values are at one end of their range."""
    values: dict[str, Any] = {}
    for name, (low, high) in _RANGES.items():
        if chance.random() < 0.15:
            ends = (low, min(high, _COUNTS.get(name, high)))
            values[name] = type(getattr(Policy(), name))(chance.choice(ends))
    try:
        return Policy(**values)
    except ValueError:  # one value must be at most another one
        return policy_at_bounds(chance)


class World:
    """One breaker, and what a plain reference knows of its calls.

    Args:
        policy: Its policy.
        chance: Decides what a step does, and the jitter.
    """

    def __init__(self, policy: Policy, chance: Random) -> None:
        self.policy = policy
        self.chance = chance
        self.clock = ManualClock(1_000.0)
        self.registry = Registry(policy, clock=self.clock, random=chance.random)
        self.heard = RecordingListener()
        self.registry.subscribe(self.heard)
        self.breaker = self.registry["k"]
        self.policies = [policy]
        self.live: list[Permit] = []
        # Calls that were made although they would have been refused.
        self.spared_live: list[Permit] = []
        self.spared = self.spared_good = 0
        self.ended: Counter[str] = Counter()
        self.asked = self.refused = self.generation = self.streams = 0
        self.latest = self.clock.now
        self.reached: Counter[State] = Counter()

    # Steps

    def call(self, label: str | None = None) -> Permit | None:
        """Ask for admission; the permit is kept among the live ones."""
        breaker, before = self.breaker, self.breaker.state
        must_refuse = before is State.OPEN and self.clock() < breaker._circuit.probe_at
        self.asked += 1
        permit = breaker.try_acquire(label)
        if permit is None:
            self.refused += 1
            assert breaker.state is not State.CLOSED
        elif permit.ended:  # it is disabled
            self.asked -= 1
        elif permit.token < 0:
            assert not (breaker.mode is Mode.ENFORCE and breaker.enforce_share == 1.0)
            self.refused += 1
            self.spared += 1
            self.spared_live.append(permit)
        else:
            assert not must_refuse, "admitted before it was time for a probe"
            self.live.append(permit)
            recovery = breaker._circuit.recovery
            if breaker.state is State.HALF_OPEN and recovery is not None:
                probes = breaker._calls.probes - breaker._calls.waiting
                assert probes <= recovery.places, "more probes than the window"
        return permit

    def end(self, way: str, index: int = -1) -> None:
        """End one of the live calls, and end it once more, which does nothing."""
        if not self.live:
            return
        permit = self.live.pop(index % len(self.live))
        self._end(permit, way)
        self._end(permit, self.chance.choice(ENDS), again=True)
        assert permit.ended

    def _end(self, permit: Permit, way: str, *, again: bool = False) -> None:
        if not again:
            self.ended[way] += 1
        wait = self.chance.choice(WAITS)
        if way == "failure":
            permit.failure("HTTP 502", retry_after=wait)
        elif way == "throttled":
            permit.throttled(wait, quota=self.chance.random() < 0.1)
        else:
            getattr(permit, way)()

    def end_spared(self) -> None:
        """End a call that was spared, twice; it has no vote."""
        if self.spared_live:
            permit = self.spared_live.pop(self.chance.randrange(len(self.spared_live)))
            way = self.chance.choice((*ENDS, "mark", "pieces"))
            getattr(permit, way)()
            self.spared_good += way == "success"
            if way not in ENDS:
                permit.label = "a"
                permit.failure("HTTP 500")
            permit.success()
            assert permit.ended

    def burst(self, calls: int, way: str, latency: float) -> None:
        """Calls one after another, all alike."""
        for _ in range(calls):
            live = len(self.live)
            self.call()
            self.clock.advance(latency)
            if len(self.live) > live:
                self.end(way)

    def mark(self) -> None:
        if self.live:
            self.chance.choice(self.live).mark()

    def stream(self) -> None:
        if self.live:
            self.streams += 1
            pieces = self.chance.choice(self.live).pieces()
            pieces.asked()
            self.clock.advance(self.chance.choice(LATENCIES[:6]))
            pieces.arrived()

    def wait(self) -> None:
        """A call waits for its own caller for a while."""
        if self.live:
            permit: Any = self.chance.choice(self.live)
            permit.wait()
            self.clock.advance(0.3)
            permit.go_on(0.3)

    def label(self) -> None:
        if self.live:
            self.chance.choice(self.live).label = self.chance.choice(["a", "b", ""])

    def drop(self) -> None:
        """Lose a permit."""
        if self.live:
            self.live.pop(self.chance.randrange(len(self.live)))
            self.ended["cancel"] += 1

    def jump(self, seconds: float) -> None:
        self.latest = max(self.latest, self.clock.now)
        self.clock.advance(seconds)

    def by_hand(self, what: str) -> None:
        if what == "open":
            self.breaker.open(for_=self.chance.choice([None, 0.0, 5.0]))
        elif what == "override":
            mode = self.chance.choice((None, "enforce", "observe", "observe", "disabled"))
            share = self.chance.choice((0.0, 0.5, 1.0))
            for_ = self.chance.choice((None, 0.0, 1.0, 30.0))
            self.breaker.override(mode, enforce_share=share, for_=for_)
        elif what == "policy":
            self.policies.append(policy_at_bounds(self.chance))
            self.breaker.policy = self.policies[-1]
        else:
            getattr(self.breaker, what)()

    def fork(self) -> None:
        """Be the child of a fork: the calls in flight are those of the parent."""
        self.ended["cancel"] += len(self.live)
        self.breaker.after_fork()
        self.live.clear()

    def random_step(self) -> None:
        """One step, drawn at random."""
        chance = self.chance
        draw = chance.random()
        if draw < 0.34:
            self.call(chance.choice([None, None, None, "a"]))
        elif draw < 0.62:
            self.end(chance.choice(ENDS + ("success",) * 4), chance.randrange(64))
        elif draw < 0.80:
            self.jump(chance.choice(LATENCIES[:6]))
        elif draw < 0.85:
            way = chance.choice(("success", "success", "failure", "throttled", "ignore"))
            # A long one now and then: it takes 32 slow answers to limit.
            calls = chance.randrange(1, chance.choice((8, 8, 8, 80)))
            self.burst(calls, way, chance.choice(LATENCIES[:7]))
        elif draw < 0.88:
            self.jump(chance.choice(JUMPS))
        elif draw < 0.995:
            some = (self.mark, self.stream, self.wait, self.label, self.drop, self.end_spared)
            chance.choice(some)()
        elif draw < 0.999:
            self.by_hand(chance.choice(BY_HAND))
        elif draw < 0.9995:
            self.fork()
        else:
            self.heals()

    # Promises

    def check(self) -> None:
        """What must be true at every moment."""
        breaker = self.breaker
        self.reached[breaker.state] += 1
        metrics = breaker.metrics()
        ended = self.ended
        assert metrics.refused == self.refused
        assert metrics.calls == self.asked
        assert metrics.spared == self.spared
        assert metrics.spared_good == self.spared_good
        # A stream that stalls is a failure while it lasts, and one that goes well as a probe is a
        # success, whatever becomes of it.
        stalled = self.streams
        assert len(self.live) - stalled <= metrics.in_flight <= len(self.live)
        assert 0 <= metrics.failures - ended["failure"] + stalled <= 2 * stalled
        assert 0 <= ended["throttled"] - metrics.throttled <= stalled
        assert 0 <= ended["cancel"] - metrics.cancelled <= stalled
        # A success whose latency is negative, because a clock went back, says nothing.
        said = ended["success"] + ended["ignore"]
        assert abs(said - metrics.successes - metrics.ignored) <= stalled
        for name in ("mean", "p50", "p99", "slow_threshold", "evidence", "normal_bad_rate"):
            figure = getattr(metrics, name)
            assert isfinite(figure), (name, figure)
            assert figure >= 0.0, (name, figure)
        wait = breaker.retry_after
        assert isfinite(wait), wait
        assert wait >= 0.0, wait
        assert breaker.explain()
        assert metrics.generation >= self.generation
        self.generation = metrics.generation
        circuit = breaker._circuit
        assert (circuit.recovery is None) is (circuit.state is State.CLOSED)
        assert (circuit.limit is not None) is (circuit.state is State.LIMITED)
        events = self.heard.transitions
        for early, late in itertools.pairwise(events):
            assert early.after is late.before
            assert early.generation < late.generation
        del events[:-1]
        assert self.registry.faults == 0

    def heals(self) -> None:
        """If calls come and succeed, it closes within a stated time, from any state."""
        breaker, clock = self.breaker, self.clock
        # A clock that goes back makes everything wait as much longer. Those of the system never do.
        clock.now = self.latest = max(self.latest, clock.now)
        if breaker._circuit.probe_at == inf and breaker.state is State.OPEN:
            breaker.half_open()  # what was opened by hand without a time stays open
        while self.live:
            self.end("cancel")
        breaker.end_override()
        # A pause that began by an earlier policy goes on.
        bound = breaker.retry_after + 60.0 + max(map(_longest_trouble, self.policies))
        began, waited = clock(), 0.0
        for _ in range(50_000):
            if breaker.state is State.CLOSED:
                return
            assert clock() - began <= bound, f"{breaker.state} for {clock() - began} of {bound} s"
            fast = min(0.5 * breaker.slow_threshold, 0.05)
            if self.call() is None or not self.live:
                waited = max(breaker.retry_after, 0.05)
                clock.advance(waited)
                continue
            clock.advance(fast)
            self.end("success")
            clock.advance(0.01)
        raise AssertionError(f"{breaker!r} does not close")

    def finish(self) -> None:
        """End everything: then nothing is in flight."""
        self.heals()
        gc.collect()
        self.check()


def _longest_trouble(policy: Policy) -> float:
    """Seconds after which it must have closed, if calls come and succeed."""
    waits = 8.0 * policy.max_open_for + 8.0 * policy.open_for
    return waits + 8.0 * policy.latency_patience + 2.0 * policy.half_open_requests


def play(seed: int, steps: int, check_every: int = 1) -> Counter[State]:
    """Play so many steps; return how often each state was seen. The same seed, the same play."""
    chance = Random(seed)
    world = World(Policy() if chance.random() < 0.5 else policy_at_bounds(chance), chance)
    try:
        for number in range(steps):
            world.random_step()
            if number % check_every == 0:
                world.check()
        world.finish()
    except BaseException as error:
        error.add_note(f"seed {seed}, policy {world.policy}")
        raise
    return world.reached
