"""How long a key is watched, and how closely."""

from __future__ import annotations

import pytest
from tests.support.fleets import World

from recloser import Outcome
from recloser._circuit.pooled import PooledCall, PooledCircuit
from recloser._circuit.votes import Ending
from recloser._fleet.watch import LEASE, Watch
from recloser._stall import StallWatch


class Watched:
    """A watch, and calls that are reported in it."""

    def __init__(self) -> None:
        worker = World(1).workers[0]
        self.now = self.begun = worker.clock.now
        stalls = StallWatch(lambda: 0.0)
        self.circuit = PooledCircuit("k", worker.breaker.following, 3, stalls, self.now)
        self.watch = Watch(self.circuit, self.now)
        self.watch.demand = 100.0

    def call(self, worker: str, outcome: Outcome) -> None:
        token, call = next(self.circuit.calls.tokens), PooledCall(worker, self.now)
        self.circuit.begin(token, call, self.now)
        self.circuit.note_end(call, outcome, 0.05)
        self.circuit.end(Ending(token, outcome, 0.05, self.now))

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        self.watch.note(self.now)

    @property
    def length(self) -> float:
        """After how many seconds it is over, to 0.01 s, if nothing more happens."""
        while not self.watch.is_over:
            assert self.now < self.begun + 1_000.0
            self.pass_by(0.01)
        return self.now - self.begun


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_a_watch_that_shows_nothing_ends_after_half_a_second(watched: Watched) -> None:
    assert watched.length == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(("demand", "seconds"), [(10.0, 3.0), (1.0, 30.0), (0.0, 30.0)])
def test_and_not_before_thirty_calls_or_thirty_seconds(
    watched: Watched, demand: float, seconds: float
) -> None:
    """Three seconds are enough in any case, if ten calls have come in them."""
    watched.watch.demand = demand

    expected = min(seconds, max(3.0, 10.0 / max(demand, 1e-3)))
    assert watched.length == pytest.approx(expected, abs=0.02)


def test_what_two_workers_see_prolongs_it_until_good_calls_refute_it(watched: Watched) -> None:
    for worker in "ab":
        watched.call(worker, Outcome.FAILURE)
    watched.pass_by(60.0)
    assert not watched.watch.is_over

    for _ in range(20):
        watched.call("a", Outcome.SUCCESS)
    watched.pass_by(0.0)

    assert watched.watch.is_over


def test_or_until_no_call_has_come_for_five_minutes(watched: Watched) -> None:
    for worker in "ab":
        watched.call(worker, Outcome.FAILURE)
    watched.watch.note(watched.now)

    assert watched.length == pytest.approx(303.0, abs=0.1)


def test_what_only_one_worker_sees_does_not_prolong_it(watched: Watched) -> None:
    watched.pass_by(0.4)
    for _ in range(3):
        watched.call("a", Outcome.FAILURE)
    watched.watch.note(watched.now)

    assert watched.length == pytest.approx(3.0, abs=0.02)


@pytest.mark.parametrize(
    ("demand", "before", "after"),
    [
        (0.0, 1, 1),
        (1_000.0, 1, 1),
        (1_001.0, 1, 2),
        (1_000.0, 4, 4),
        (999.0, 4, 1),
        (1e12, 1, 2**20),
    ],
)
def test_so_few_calls_are_written_down_that_a_thousand_a_second_are(
    watched: Watched, demand: float, before: int, after: int
) -> None:
    watched.watch.demand = demand

    assert watched.watch.sample(before) == after


def test_one_that_has_changed_something_needs_three_calm_seconds(watched: Watched) -> None:
    watched.watch.has_changed = True

    assert watched.length == pytest.approx(3.0, abs=0.02)


def test_while_the_key_is_open_it_is_not_over(watched: Watched) -> None:
    for worker in "ab" * 4:
        watched.call(worker, Outcome.FAILURE)
    watched.pass_by(1_000.0)

    assert not watched.watch.is_over
    assert watched.watch.looks_every(1) == 0.0


@pytest.mark.parametrize(
    ("demand", "seconds"), [(100.0, 0.002), (1.0, 0.2), (0.2, 1.0), (0.01, 1.5)]
)
def test_a_leader_looks_five_times_a_call_and_as_often_as_for_news_at_least(
    watched: Watched, demand: float, seconds: float
) -> None:
    watched.circuit.counts.rate = 0.0
    watched.watch.demand = demand
    watched.pass_by(10_000.0)

    assert watched.watch.looks_every(1) == pytest.approx(seconds)


def test_a_rate_that_is_known_counts_too_and_is_of_what_is_written_down(watched: Watched) -> None:
    watched.watch.demand = 0.0
    watched.pass_by(10_000.0)
    watched.circuit.counts.rate = 0.5

    assert watched.watch.looks_every(1) == pytest.approx(0.4)
    assert watched.watch.looks_every(4) == pytest.approx(0.1)


def test_where_no_rate_is_known_it_looks_more_rarely_the_longer_nothing_comes(
    watched: Watched,
) -> None:
    watched.circuit.counts.rate = watched.watch.demand = 0.0
    looks = list[float]()
    for _ in range(4):
        watched.pass_by(0.5)
        looks.append(watched.watch.looks_every(1))

    assert looks == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_who_looks_rarely_leads_for_longer_without_a_word(watched: Watched) -> None:
    assert watched.watch.lease(1) == LEASE

    watched.circuit.counts.rate = watched.watch.demand = 0.0
    watched.pass_by(10_000.0)

    assert watched.watch.lease(1) == pytest.approx(24.0)
