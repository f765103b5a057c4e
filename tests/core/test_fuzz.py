"""Steps in any order, policies at their bounds, clocks that jump: the promises hold all the same.

`python -m benchmarks.fuzz` plays the same for as many millions of steps as are wanted.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest
from benchmarks.fuzz.world import BY_HAND, ENDS, JUMPS, LATENCIES, World, play, policy_at_bounds
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from tests.support.bytecodes import on_one_python

from recloser import Policy, State

pytestmark = on_one_python

LONG = bool(os.environ.get("RECLOSER_LONG"))


@pytest.fixture(autouse=True)
def no_log() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


class Machine(RuleBasedStateMachine):
    """The same steps, chosen by hypothesis, which finds the shortest way to a fault."""

    world: World | None = None

    @initialize(seed=st.integers(0, 2**16), bounds=st.booleans())
    def begin(self, seed: int, bounds: bool) -> None:
        chance = Random(seed)
        self.world = World(policy_at_bounds(chance) if bounds else Policy(), chance)

    def _world(self) -> World:
        assert self.world is not None
        return self.world

    @rule(label=st.sampled_from([None, "a"]))
    def call(self, label: str | None) -> None:
        self._world().call(label)

    @rule(way=st.sampled_from(ENDS), index=st.integers(0, 63))
    def end(self, way: str, index: int) -> None:
        self._world().end(way, index)

    @rule(
        calls=st.integers(1, 40),
        way=st.sampled_from(["success", "failure", "throttled", "ignore"]),
        latency=st.sampled_from(LATENCIES),
    )
    def burst(self, calls: int, way: str, latency: float) -> None:
        self._world().burst(calls, way, latency)

    @rule(what=st.sampled_from(["mark", "stream", "wait", "label", "drop", "fork"]))
    def do(self, what: str) -> None:
        getattr(self._world(), what)()

    @rule(seconds=st.sampled_from(JUMPS))
    def jump(self, seconds: float) -> None:
        self._world().jump(seconds)

    @rule()
    def end_spared(self) -> None:
        self._world().end_spared()

    @rule(what=st.sampled_from(BY_HAND))
    def by_hand(self, what: str) -> None:
        self._world().by_hand(what)

    @rule()
    def heals(self) -> None:
        self._world().heals()

    @invariant()
    def promises_hold(self) -> None:
        if self.world is not None:
            self.world.check()


def test_the_promises_hold_after_steps_that_hypothesis_chooses() -> None:
    examples = 5_000 if LONG else 40
    run_state_machine_as_test(
        Machine, settings=settings(max_examples=examples, stateful_step_count=40)
    )


def test_the_promises_hold_after_random_steps() -> None:
    reached: Counter[State] = Counter()
    for seed in range(2_500 if LONG else 30):
        reached += play(seed, 400, check_every=5)

    # Otherwise it would show nothing.
    assert all(reached[state] > 0.02 * reached.total() for state in State), reached
