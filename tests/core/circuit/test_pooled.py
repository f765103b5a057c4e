"""The circuit of a fleet: it decides from the calls of all workers."""

from __future__ import annotations

from itertools import cycle

import pytest
from tests.support.fleets import World

from recloser import Outcome, Reason, State
from recloser._circuit.following import FollowingCircuit
from recloser._circuit.pooled import PooledCall, PooledCircuit
from recloser._circuit.refusals import Refusals
from recloser._circuit.votes import Ending
from recloser._stall import StallWatch

WHY = Reason("failures", "as before")


class Fleet:
    """The circuit of a fleet of three workers, of which this one makes the calls."""

    def __init__(self, workers: int = 3) -> None:
        self.worker = World(1).workers[0]
        self.now = self.worker.clock.now
        self.local: FollowingCircuit = self.worker.breaker.following
        stalls = StallWatch(lambda: 0.0)
        self.circuit = PooledCircuit("payments", self.local, workers, stalls, self.now)

    def begin(self, worker: str) -> tuple[int, PooledCall]:
        token, call = next(self.circuit.calls.tokens), PooledCall(worker, self.now)
        self.circuit.begin(token, call, self.now)
        return token, call

    def end(
        self,
        begun: tuple[int, PooledCall],
        outcome: Outcome,
        latency: float = 0.1,
        wait: float = 0.0,
    ) -> None:
        token, call = begun
        self.circuit.note_end(call, outcome, latency)
        self.circuit.end(Ending(token, outcome, latency, self.now, wait=wait))

    def call(self, worker: str, outcome: Outcome, latency: float = 0.1, wait: float = 0.0) -> None:
        begun = self.begin(worker)
        self.now += latency
        self.end(begun, outcome, latency, wait)

    def open(self) -> None:
        for worker, _ in zip(cycle("ab"), range(8), strict=False):
            self.call(worker, Outcome.FAILURE)
        assert self.circuit.state is State.OPEN


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def test_a_suspicion_is_shared_once_two_workers_have_seen_bad_calls(fleet: Fleet) -> None:
    for worker in "aa":
        fleet.call(worker, Outcome.FAILURE)
    assert not fleet.circuit.is_shared

    fleet.call("b", Outcome.FAILURE)

    assert fleet.circuit.is_shared


def test_it_knows_at_first_what_the_leader_knows(fleet: Fleet) -> None:
    known, circuit = fleet.local.detector.baseline, fleet.circuit

    assert circuit.detector.baseline.threshold == known.threshold
    assert circuit.counts.rate == pytest.approx(3 * fleet.local.counts.rate)


def test_what_it_learns_the_leader_does_not(fleet: Fleet) -> None:
    before = fleet.local.detector.baseline.history().total

    for worker, _ in zip(cycle("abc"), range(300), strict=False):
        fleet.call(worker, Outcome.SUCCESS)

    assert fleet.local.detector.baseline.history().total == before
    assert fleet.local.state is State.CLOSED


def test_the_waits_of_the_calls_that_open_for_all_are_no_sign_that_all_are_asked(
    fleet: Fleet,
) -> None:
    for worker in "abababab":
        fleet.call(worker, Outcome.FAILURE, wait=300.0)
    assert fleet.circuit.state is State.OPEN
    fleet.now = fleet.circuit.probe_at

    fleet.call("a", Outcome.FAILURE, wait=300.0)

    assert fleet.circuit.state is State.OPEN
    assert fleet.circuit.probe_at - fleet.now < 5.0


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
    assert limit._round.first <= early[0][0]

    fleet.circuit.await_limit()

    assert limit._round.first > early[-1][0]


# What is known at first


def test_what_the_leader_has_learned_of_bad_calls_is_known_but_not_its_suspicion() -> None:
    world = World(1).workers[0]
    for _ in range(3):
        permit = world.breaker.acquire()
        permit.failure("HTTP 502")
    local: FollowingCircuit = world.breaker.following
    assert local.detector.evidence.level > 0.0

    circuit = PooledCircuit("payments", local, 3, StallWatch(lambda: 0.0), world.clock.now)

    evidence = circuit.detector.evidence
    assert evidence.learned == local.detector.evidence.learned
    assert evidence.quiet > 0.0
    assert (evidence.level, evidence.bad, evidence.since) == (0.0, 0, 0)
    assert circuit.detector.last_failure == local.detector.last_failure != ""


def test_a_worker_that_hardly_knows_a_key_leads_by_what_all_have_learned() -> None:
    new = World(1, is_trained=False).workers[0]
    all_of_them = World(1).workers[0].breaker.following.learned(0.0)
    local: FollowingCircuit = new.breaker.following
    assert not local.detector.baseline.known

    circuit = PooledCircuit(
        "payments", local, 3, StallWatch(lambda: 0.0), new.clock.now, all_of_them
    )

    assert circuit.detector.baseline.count == round(all_of_them.calls)
    assert circuit.detector.baseline.threshold < 1.0
    assert circuit.detector.evidence.learned[0] == all_of_them.quiet
    assert circuit.counts.rate == 3 * all_of_them.rate > 0.0
    assert not local.detector.baseline.known


def test_a_worker_that_knows_a_key_leads_by_what_it_knows_itself() -> None:
    world = World(1).workers[0]
    local: FollowingCircuit = world.breaker.following
    theirs = World(1).workers[0].breaker.following.learned(0.0).times(0.5)

    circuit = PooledCircuit("payments", local, 3, StallWatch(lambda: 0.0), world.clock.now, theirs)

    assert circuit.detector.baseline.count == local.detector.baseline.count
    assert circuit.detector.evidence.learned == local.detector.evidence.learned


@pytest.mark.parametrize(("workers", "concurrency"), [(3, 3), (40, 40)])
def test_as_many_calls_are_usual_at_a_time_as_all_workers_have(
    workers: int, concurrency: int
) -> None:
    """Ten calls per second of each worker take a tenth of a second."""
    assert Fleet(workers).circuit.counts.concurrency == concurrency


def test_where_no_rate_is_known_one_call_at_a_time_is_usual() -> None:
    worker = World(1, is_trained=False).workers[0]
    local: FollowingCircuit = worker.breaker.following

    circuit = PooledCircuit("payments", local, 3, StallWatch(lambda: 0.0), worker.clock.now)

    assert circuit.counts.concurrency == 1
    assert circuit.detector.evidence.half_life == worker.breaker.policy.evidence_half_life


def test_of_rare_calls_evidence_fades_as_slowly_as_in_a_worker_with_all_of_them() -> None:
    world = World(1).workers[0]
    local: FollowingCircuit = world.breaker.following
    local.counts.rate = 0.01

    circuit = PooledCircuit("payments", local, 2, StallWatch(lambda: 0.0), world.clock.now)

    local.detector.note_rate(0.02)
    assert circuit.detector.evidence.half_life == local.detector.evidence.half_life > 60.0


def test_the_rate_of_all_workers_is_measured_from_the_first_moment_on(fleet: Fleet) -> None:
    fleet.now += 5.0
    for worker, _ in zip(cycle("abc"), range(98), strict=False):
        fleet.call(worker, Outcome.SUCCESS, 0.05)

    fleet.circuit._refresh(fleet.now)

    assert fleet.circuit.counts.rate == pytest.approx(10.0, rel=0.05)


def test_what_all_calls_have_shown_counts_after_ten_seconds(fleet: Fleet) -> None:
    """The threshold is that of the leader until then."""
    threshold = fleet.circuit.detector.baseline.threshold
    began = fleet.now
    while fleet.now < began + 9.7:
        fleet.call("a", Outcome.SUCCESS, 0.15)
    fleet.circuit.tick(fleet.now)
    assert fleet.circuit.detector.baseline.threshold == threshold

    fleet.now = began + 10.1
    fleet.circuit.tick(fleet.now)

    assert fleet.circuit.detector.baseline.threshold != threshold


# Calls under a limit, and probes


def limited(size: float = 4.0) -> Fleet:
    fleet = Fleet()
    fleet.circuit.go_on(State.LIMITED, 0.0, size, WHY, fleet.now)
    return fleet


def test_an_admitted_call_is_no_refused_one(fleet: Fleet) -> None:
    token, call = fleet.begin("a")

    assert fleet.circuit.counts.refused == 0
    assert fleet.circuit.calls.voting == {token: call}


def test_under_a_limit_each_call_that_workers_have_admitted_counts() -> None:
    fleet = limited(4.0)

    begun = [fleet.begin("a") for _ in range(6)]

    circuit, limit = fleet.circuit, fleet.circuit.limit
    assert limit is not None
    assert circuit.counts.refused == 0
    assert [*circuit.calls.voting] == [token for token, _ in begun]
    assert limit._in_flight == {token: number for number, (token, _) in enumerate(begun, 1)}


def test_under_a_limit_each_call_that_begins_shows_which_are_overdue() -> None:
    fleet = limited(4.0)
    early, _ = fleet.begin("a")
    fleet.now += 5.0

    fleet.begin("a")

    assert [*fleet.circuit.calls.overdue] == [early]


def test_a_call_that_begins_may_show_that_the_others_hang_and_is_under_no_limit_then() -> None:
    fleet = limited(8.0)
    hanging = [fleet.begin(worker) for worker in "ab" * 10]
    fleet.now += 0.15
    answered = [fleet.begin(worker) for worker in "ab" * 4]
    fleet.now += 0.05
    hanging.append(fleet.begin("a"))
    fleet.now += 0.05
    fleet.begin("a")  # all but the latest one of the hanging ones are overdue
    for begun in answered:
        fleet.end(begun, Outcome.SUCCESS)
    before = fleet.circuit.state
    fleet.now += 0.18

    fleet.begin("a")  # that one is too, now

    assert (before, fleet.circuit.state) == (State.LIMITED, State.OPEN)
    assert fleet.circuit.limit is None


def test_probes_that_workers_have_sent_beyond_the_window_count_and_none_is_refused() -> None:
    fleet = Fleet()
    fleet.open()
    refused = fleet.circuit.counts.refused
    fleet.now = fleet.circuit.probe_at

    probes = [fleet.begin(worker)[0] for worker in "abc"]

    assert fleet.circuit.state is State.HALF_OPEN
    assert [*fleet.circuit.calls.voting] == probes
    assert fleet.circuit.counts.refused == refused


def test_of_many_refused_calls_all_are_counted_and_some_are_looked_at() -> None:
    fleet = limited(4.0)
    limit = fleet.circuit.limit
    assert limit is not None

    fleet.circuit.count_refused(1000, fleet.now)

    assert fleet.circuit.counts.refused == 1000
    some = Refusals(fleet.now)
    for _ in range(64):
        some.count(fleet.now)
    assert limit._refusals.share == some.share


def test_refused_calls_are_demand_for_a_limit() -> None:
    fleet = limited(4.0)
    limit = fleet.circuit.limit
    assert limit is not None
    for _ in range(4):
        fleet.begin("a")

    for _ in range(5):
        fleet.circuit.count_refused(3, fleet.now)

    assert limit._refusals.are_some
    assert limit._round.peak == 5


def test_refused_calls_show_that_nothing_comes_back_under_a_limit() -> None:
    fleet = limited(4.0)
    for _ in range(10):
        fleet.begin("a")
    fleet.now += 60.0
    states = [fleet.circuit.state]

    fleet.circuit.count_refused(1, fleet.now)

    assert [*states, fleet.circuit.state] == [State.LIMITED, State.OPEN]


@pytest.mark.parametrize(("size", "running"), [(4.0, 3), (3.0, 1)])
def test_calls_that_later_ones_have_overtaken_hold_no_place_if_there_is_no_other(
    size: float, running: int
) -> None:
    fleet = limited(size)
    for _ in range(2):
        fleet.begin("a")
    fleet.now += 2.0
    fleet.begin("a")
    fleet.now += 0.1
    fleet.circuit.tick(fleet.now)
    fleet.call("b", Outcome.SUCCESS)
    limit = fleet.circuit.limit
    assert limit is not None
    limit.size = size
    fleet.now += 5.0

    fleet.circuit.count_refused(1, fleet.now)

    assert fleet.circuit.running == running


def test_a_call_that_takes_as_long_as_the_threshold_is_not_slow(fleet: Fleet) -> None:
    _, call = fleet.begin("a")

    fleet.circuit.note_end(call, Outcome.SUCCESS, fleet.circuit.detector.baseline.threshold)

    assert fleet.circuit.witnesses == set()


# What is known without its calls


def test_where_most_open_alone_a_limit_becomes_an_opening_of_the_same_trouble() -> None:
    fleet = limited(4.0)
    trouble = fleet.circuit.recovery

    fleet.circuit.open_for_all(fleet.now, WHY)

    assert fleet.circuit.state is State.OPEN
    assert fleet.circuit.recovery is trouble


def test_where_most_open_alone_nobody_knows_how_many_failed_so_it_counts_as_the_fewest(
    fleet: Fleet,
) -> None:
    fleet.circuit.open_for_all(fleet.now, WHY)

    assert fleet.circuit.recovery is not None
    assert fleet.circuit.recovery.run == fleet.circuit.policy.min_failures


@pytest.mark.parametrize("state", [State.OPEN, State.HALF_OPEN])
def test_who_is_open_already_does_not_open_for_all(fleet: Fleet, state: State) -> None:
    fleet.open()
    if state is State.HALF_OPEN:
        fleet.now = fleet.circuit.probe_at
        fleet.begin("a")
    assert fleet.circuit.state is state
    generation, probe_at = fleet.circuit.generation, fleet.circuit.probe_at

    fleet.circuit.open_for_all(fleet.now, WHY)

    assert (fleet.circuit.state, fleet.circuit.generation) == (state, generation)
    assert fleet.circuit.probe_at == probe_at


@pytest.mark.parametrize("state", [State.LIMITED, State.OPEN])
def test_whoever_goes_on_knows_what_kind_of_trouble_it_is(fleet: Fleet, state: State) -> None:
    fleet.call("a", Outcome.FAILURE)

    fleet.circuit.go_on(state, 7.0, 0.25, WHY, fleet.now)

    circuit, recovery = fleet.circuit, fleet.circuit.recovery
    assert recovery is not None
    assert recovery.was_slow is (state is State.LIMITED)
    assert recovery.run == circuit.policy.min_failures
    assert circuit.detector.evidence.bad == 0
    if state is State.LIMITED:
        assert circuit.limit is not None
        assert circuit.limit.size == 1.0  # a limit lets one call pass at least


def test_where_there_is_no_limit_none_is_awaited(fleet: Fleet) -> None:
    fleet.circuit.await_limit()

    assert fleet.circuit.limit is None


# Calls from before the watch


def test_calls_from_before_the_watch_are_in_flight_and_no_evidence(fleet: Fleet) -> None:
    fleet.begin("a")
    fleet.circuit.earlier = 40
    assert fleet.circuit.running == 41
    fleet.now += 10.0

    fleet.circuit.tick(fleet.now)

    assert fleet.circuit.state is State.CLOSED


def test_a_limit_is_not_the_wider_for_what_began_before_the_watch() -> None:
    sizes: list[float] = []
    for before in (0, 100):
        fleet = Fleet()
        fleet.circuit.earlier = before
        for worker, _ in zip(cycle("ab"), range(10), strict=False):
            fleet.begin(worker)
        fleet.now += 1.0
        fleet.circuit.tick(fleet.now)
        assert fleet.circuit.limit is not None
        sizes.append(fleet.circuit.limit.size)

    assert sizes[0] == sizes[1]


def test_they_hold_their_places_until_later_ones_have_come_back_for_long(fleet: Fleet) -> None:
    since = fleet.now
    assert not fleet.circuit.has_overtaken(since, fleet.now + 3600.0)
    fleet.circuit.go_on(State.LIMITED, 0.0, 4.0, WHY, fleet.now)
    assert not fleet.circuit.has_overtaken(since, fleet.now + 3600.0)

    fleet.call("a", Outcome.SUCCESS)

    assert not fleet.circuit.has_overtaken(since, fleet.now)
    assert fleet.circuit.has_overtaken(since, fleet.now + 3600.0)


def test_its_limits_are_kept_on_average_only(fleet: Fleet) -> None:
    fleet.circuit.go_on(State.LIMITED, 0.0, 4.0, WHY, fleet.now)

    assert fleet.circuit.limit is not None
    assert fleet.circuit.limit.varies
