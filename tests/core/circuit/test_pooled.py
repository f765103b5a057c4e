"""The circuit of a fleet: it decides from the calls of all workers."""

from __future__ import annotations

from itertools import cycle

import pytest
from tests.support.fleets import World

from recloser import Outcome, Reason, State
from recloser._circuit.following import FollowingCircuit
from recloser._circuit.pooled import PooledCall, PooledCircuit
from recloser._circuit.votes import Ending
from recloser._stall import StallWatch

WHY = Reason("failures", "as before")


class Fleet:
    """The circuit of a fleet of three workers, of which this one makes the calls."""

    def __init__(self, workers: int = 3) -> None:
        self.worker = World(1).workers[0]
        self.now = self.worker.clock.now
        self.twin: FollowingCircuit = self.worker.breaker.following
        stalls = StallWatch(lambda: 0.0)
        self.circuit = PooledCircuit("payments", self.twin, workers, stalls, self.now)

    def begin(self, worker: str) -> tuple[int, PooledCall]:
        token, call = next(self.circuit.calls.tokens), PooledCall(worker, self.now)
        self.circuit.begin(token, call, self.now)
        return token, call

    def end(self, begun: tuple[int, PooledCall], outcome: Outcome, latency: float = 0.1) -> None:
        token, call = begun
        self.circuit.note_end(call, outcome, latency)
        self.circuit.end(Ending(token, outcome, latency, self.now))

    def call(self, worker: str, outcome: Outcome, latency: float = 0.1) -> None:
        begun = self.begin(worker)
        self.now += latency
        self.end(begun, outcome, latency)

    def open(self) -> None:
        for worker, _ in zip(cycle("ab"), range(8), strict=False):
            self.call(worker, Outcome.FAILURE)
        assert self.circuit.state is State.OPEN


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def test_it_knows_at_first_what_the_leader_knows(fleet: Fleet) -> None:
    known, circuit = fleet.twin.detector.baseline, fleet.circuit

    assert circuit.detector.baseline.threshold == known.threshold
    assert circuit.counts.rate == pytest.approx(3 * fleet.twin.counts.rate)


def test_what_it_learns_the_leader_does_not(fleet: Fleet) -> None:
    before = fleet.twin.detector.baseline.history().total

    for worker, _ in zip(cycle("abc"), range(300), strict=False):
        fleet.call(worker, Outcome.SUCCESS)

    assert fleet.twin.detector.baseline.history().total == before
    assert fleet.twin.state is State.CLOSED


def test_what_one_worker_alone_has_seen_opens_nobody_else(fleet: Fleet) -> None:
    for _ in range(50):
        fleet.call("a", Outcome.FAILURE)

    assert fleet.circuit.state is State.CLOSED
    assert fleet.circuit.witnesses == {"a"}


def test_what_two_have_seen_opens(fleet: Fleet) -> None:
    for _ in range(50):
        fleet.call("a", Outcome.FAILURE)
    fleet.call("b", Outcome.FAILURE)

    assert fleet.circuit.state is State.OPEN


@pytest.mark.parametrize(
    ("outcome", "latency", "is_witness"),
    [
        (Outcome.FAILURE, 0.1, True),
        (Outcome.SUCCESS, 5.0, True),
        (Outcome.SUCCESS, 0.1, False),
        (Outcome.IGNORED, 0.1, False),
        (Outcome.CANCELLED, 0.1, False),
    ],
)
def test_who_has_seen_a_failure_or_a_slow_call_is_a_witness(
    fleet: Fleet, outcome: Outcome, latency: float, is_witness: bool
) -> None:
    begun = fleet.begin("a")

    fleet.circuit.note_end(begun[1], outcome, latency)

    assert fleet.circuit.witnesses == ({"a"} if is_witness else set())


def test_who_has_a_call_that_does_not_come_back_is_a_witness_and_two_limit(fleet: Fleet) -> None:
    running = [fleet.begin(worker) for worker, _ in zip(cycle("ab"), range(10), strict=False)]
    fleet.now += 1.0

    fleet.circuit.tick(fleet.now)

    assert len(running) == 10
    assert fleet.circuit.witnesses == {"a", "b"}
    assert fleet.circuit.state is State.LIMITED


def test_calls_of_one_worker_that_do_not_come_back_limit_nobody_else(fleet: Fleet) -> None:
    running = [fleet.begin("a") for _ in range(10)]
    fleet.now += 1.0

    fleet.circuit.tick(fleet.now)

    assert len(running) == 10
    assert fleet.circuit.state is State.CLOSED


def test_when_the_suspicion_is_over_nobody_is_a_witness_any_more(fleet: Fleet) -> None:
    fleet.call("a", Outcome.FAILURE)
    for worker, _ in zip(cycle("abc"), range(100), strict=False):
        fleet.call(worker, Outcome.SUCCESS)

    fleet.circuit.tick(fleet.now)

    assert fleet.circuit.witnesses == set()


def test_calls_that_began_before_an_opening_are_no_probes(fleet: Fleet) -> None:
    early = [fleet.begin(worker) for worker in "abc"]
    fleet.open()

    for begun in early:
        fleet.end(begun, Outcome.SUCCESS)

    assert fleet.circuit.state is State.OPEN
    assert fleet.circuit.calls.probes == 0


def test_a_call_of_a_worker_that_has_not_heard_yet_is_no_probe(fleet: Fleet) -> None:
    fleet.open()
    late = fleet.begin("c")
    assert fleet.circuit.state is State.OPEN

    fleet.end(late, Outcome.SUCCESS)

    assert fleet.circuit.state is State.OPEN


def test_probes_close_it_whoever_sends_them(fleet: Fleet) -> None:
    fleet.open()
    fleet.now = fleet.circuit.probe_at
    for worker, _ in zip(cycle("abc"), range(30), strict=False):
        if fleet.circuit.state is State.CLOSED:
            break
        fleet.call(worker, Outcome.SUCCESS)

    assert fleet.circuit.state is State.CLOSED


def test_one_worker_is_enough_to_open_again(fleet: Fleet) -> None:
    fleet.open()
    fleet.now = fleet.circuit.probe_at
    fleet.call("c", Outcome.FAILURE)

    assert fleet.circuit.state is State.OPEN
    assert fleet.circuit.probe_at > fleet.now


@pytest.mark.parametrize("state", [State.LIMITED, State.OPEN, State.HALF_OPEN])
def test_who_takes_the_lead_goes_on_where_the_other_has_left_off(
    fleet: Fleet, state: State
) -> None:
    fleet.circuit.go_on(state, 7.0, 12.0, WHY, fleet.now)

    circuit, limit = fleet.circuit, fleet.circuit.limit
    # Of probes in flight nothing is known any more: new ones are sent at once.
    assert circuit.state is (State.OPEN if state is State.HALF_OPEN else state)
    assert circuit.reason == WHY
    if state is State.OPEN:
        assert circuit.probe_at == pytest.approx(fleet.now + 7.0)
    elif state is State.HALF_OPEN:
        assert circuit.probe_at <= fleet.now
    else:
        assert limit is not None
        assert limit.size == 12.0
    # It is no news: everybody is in that state already.
    assert circuit.events == ()


def test_a_watch_that_is_taken_over_begins_anew(fleet: Fleet) -> None:
    fleet.circuit.go_on(State.CLOSED, 0.0, 0.0, WHY, fleet.now)

    assert fleet.circuit.state is State.CLOSED


def test_most_workers_open_alone_and_so_all_do(fleet: Fleet) -> None:
    fleet.circuit.open_for_all(fleet.now, WHY)

    assert fleet.circuit.state is State.OPEN
    assert fleet.circuit.reason == WHY


def test_refused_calls_count_as_demand_without_a_limit_too(fleet: Fleet) -> None:
    before = fleet.circuit.asked

    fleet.circuit.count_refused(70, fleet.now)

    assert fleet.circuit.counts.refused == 70
    assert fleet.circuit.asked == before + 70


def test_calls_before_a_limit_is_in_force_do_not_count_under_it(fleet: Fleet) -> None:
    fleet.circuit.go_on(State.LIMITED, 0.0, 4.0, WHY, fleet.now)
    limit = fleet.circuit.limit
    assert limit is not None
    early = [fleet.begin("a") for _ in range(40)]
    fleet.circuit.await_limit()
    size = limit.size

    fleet.now += 5.0
    for begun in early:
        fleet.end(begun, Outcome.SUCCESS, 5.0)

    assert limit.size == size
