"""Leading: how a fleet gets one opinion of a key, who decides it, and what operators do."""

from __future__ import annotations

from random import Random

import pytest
from tests.support.fleets import KEY, Answer, Worker, World, bad, good

from recloser import Reason, State
from recloser._fleet.facts import KeyFact, key_name, learned_name
from recloser._fleet.incident import Incident


def incidents(world: World) -> list[Incident | None]:
    keys = [worker.member._shared.keys.get(KEY) for worker in world.workers]
    return [None if key is None else key.incident for key in keys]


def leader_of(world: World) -> Worker:
    (found,) = (
        worker
        for worker, incident in zip(world.workers, incidents(world), strict=True)
        if incident is not None and not worker.has_left
    )
    return found


def fact(world: World) -> KeyFact:
    return KeyFact.from_text(world.data.facts[key_name(KEY)][1])


def epoch(world: World) -> int:
    return world.data.facts[key_name(KEY)][0]


def open_all(world: World) -> None:
    world.run(10.0, bad, until=State.OPEN)
    assert world.states == [State.OPEN] * len(world.workers)


def only_fails_for(sick: Worker) -> Answer:
    return lambda worker: (0.1, worker is not sick)


@pytest.fixture
def world() -> World:
    return World(3)


# One opinion


def test_who_hardly_knows_a_key_asks_by_what_all_have_learned() -> None:
    world = World(4, is_trained=False)
    world.run(2.0, good)
    world.run(80.0)  # meanwhile they keep what they have learned
    leader = world.workers[0]

    leader.member.suspect(KEY)
    leader.turn()

    assert not leader.breaker.following.detector.baseline.known
    assert leader_of(world) is leader
    pooled = incidents(world)[0]
    assert pooled is not None
    assert pooled.circuit.detector.baseline.known


def test_garbage_in_what_all_have_learned_is_counted_and_a_worker_leads_without() -> None:
    world = World(3, is_trained=False)
    world.run(1.0, good)
    store = world.workers[0].store
    assert store.swap(learned_name(KEY), 0, 1, "{", 60.0, loud=False)

    world.workers[0].member.suspect(KEY)
    world.workers[0].turn()

    assert leader_of(world) is world.workers[0]
    assert world.workers[0].member.garbage == 1


def test_a_callee_that_fails_opens_all_workers_after_few_calls_of_each() -> None:
    world = World(6)

    open_all(world)

    assert [worker.rules for worker in world.workers] == [["fleet_open"]] * 6
    # One worker alone opens after five bad calls.
    assert max(worker.sent for worker in world.workers) <= 5


def test_a_callee_that_fails_in_part_is_borne_by_all_once_one_circuit_has_learned_that() -> None:
    world = World(8)
    random = Random(1).random
    world.run(15.0, lambda worker: (0.1, random() > 0.45))
    opened = [worker.rules.count("fleet_open") for worker in world.workers]
    assert min(opened) >= 1

    world.run(60.0, lambda worker: (0.1, random() > 0.45))

    assert world.states == [State.CLOSED] * 8
    assert all("failures" not in worker.rules for worker in world.workers)
    assert [worker.rules.count("fleet_open") for worker in world.workers] == opened


def test_a_callee_that_is_well_again_closes_all_workers_at_the_same_time(world: World) -> None:
    open_all(world)

    world.run(60.0, good, until=State.CLOSED)

    assert {worker.rules[-1] for worker in world.workers} == {"fleet_closed"}
    closed_at = [worker.listener.transitions[-1].at for worker in world.workers]
    assert max(closed_at) - min(closed_at) < 0.1


def test_probes_are_sent_by_one_worker_at_a_time(world: World) -> None:
    open_all(world)
    before = [worker.sent for worker in world.workers]
    world.run(5.0, bad)

    probes = [worker.sent - known for worker, known in zip(world.workers, before, strict=True)]

    # One worker alone sends about as many.
    assert 1 <= sum(probes) <= 12


def test_slow_answers_limit_the_calls_of_all_workers_together(world: World) -> None:
    world.run(5.0, lambda worker: (0.8, True), gap=0.05, until=State.LIMITED)
    assert world.states == [State.LIMITED] * 3
    world.run(20.0, lambda worker: (0.8, True), gap=0.05)

    in_flight = sum(worker.breaker.metrics().in_flight for worker in world.workers)
    assert in_flight <= 1.5 * fact(world).size + 3
    world.run(60.0, good, until=State.CLOSED)
    assert world.states == [State.CLOSED] * 3


def test_what_one_worker_alone_has_seen_opens_nobody_else(world: World) -> None:
    sick = world.workers[0]

    world.run(60.0, only_fails_for(sick))

    assert world.states[1:] == [State.CLOSED] * 2
    assert [worker.rules for worker in world.workers[1:]] == [[], []]
    assert [worker.refused for worker in world.workers[1:]] == [0, 0]
    # It still protects itself.
    assert sick.breaker.state is not State.CLOSED
    assert sick.refused > 100


def test_what_two_have_seen_does_not_open_a_third_one_that_is_well(world: World) -> None:
    well = world.workers[2]

    world.run(60.0, lambda worker: (0.1, worker is well))

    assert well.breaker.state is State.CLOSED
    assert well.refused <= 0.02 * (well.sent + well.refused)
    assert State.CLOSED not in world.states[:2]


def test_a_worker_that_is_alone_in_its_fleet_asks_nobody() -> None:
    world = World(1)

    open_all(world)

    assert world.workers[0].rules == ["failures"]
    assert key_name(KEY) not in world.data.facts


def test_a_watch_that_shows_nothing_ends_and_the_next_ones_are_rarer(world: World) -> None:
    def shaky(worker: Worker) -> tuple[float, bool]:
        return 0.1, worker.sent % 20 > 2 or worker is not world.workers[0]

    world.run(120.0, shaky)
    world.data.operations.clear()
    world.run(120.0, shaky)

    assert world.states[1:] == [State.CLOSED] * 2
    # Reports of 20 a second would be 2,400 of each worker.
    assert world.data.operations.get("send", 0) < 3 * 1_200


# Probes


def test_a_probe_whose_caller_leaves_does_not_block_the_fleet(world: World) -> None:
    open_all(world)
    for _ in range(3):
        for _ in range(400):
            world.run(0.01)
            permits = [worker.breaker.try_acquire() for worker in world.workers]
            given = [permit for permit in permits if permit is not None]
            for permit in given:
                permit.cancel()
            if given:
                break

    world.run(10.0, good, until=State.CLOSED)

    assert world.states == [State.CLOSED] * 3


def test_a_worker_that_dies_with_its_ticket_delays_the_probe_by_seconds_only(world: World) -> None:
    open_all(world)
    leader = leader_of(world)
    world.run(0.5)
    for worker in world.workers:
        if worker is not leader and worker.name in (fact(world).tickets or ()):
            worker.die()

    world.run(15.0, good)

    assert leader.breaker.state is State.CLOSED


def test_calls_that_began_before_the_opening_do_not_close_it(world: World) -> None:
    early = [worker.breaker.acquire() for worker in world.workers for _ in range(20)]
    open_all(world)

    for permit in early:
        permit.success()
    world.run(0.2)

    assert world.states == [State.OPEN] * 3


# Who leads


def test_one_worker_leads(world: World) -> None:
    open_all(world)
    world.settle()

    assert leader_of(world).name == fact(world).leader


def test_a_leader_that_dies_is_followed_by_another_within_three_seconds(world: World) -> None:
    world.workers[0].breaker.open(for_=60.0)
    world.settle()
    first = leader_of(world)
    first.die()

    world.run(3.0)

    second = leader_of(world)
    assert second is not first
    assert fact(world).leader == second.name
    assert fact(world).wait == pytest.approx(57.0, abs=1.0)
    assert {worker.breaker.state for worker in world.workers if worker is not first} == {State.OPEN}


def test_a_leader_that_is_overtaken_gives_up(world: World) -> None:
    world.workers[0].breaker.open(for_=60.0)
    world.settle()
    known = fact(world)
    other = KeyFact(
        state=State.OPEN,
        leader="somebody else",
        lease=30.0,
        reason=Reason("failures", "as they say"),
        wait=20.0,
        workers=3,
    )
    assert known.leader == world.workers[0].name
    world.workers[1].store.swap(
        key_name(KEY), epoch(world), epoch(world) + 1, other.as_text(), 60.0
    )

    world.run(2.0)

    assert incidents(world) == [None] * 3
    assert fact(world).leader == "somebody else"
    assert world.workers[0].breaker.retry_after == pytest.approx(18.0, abs=0.5)


def test_a_leader_that_stood_still_for_long_is_not_a_second_one(world: World) -> None:
    world.workers[0].breaker.open(for_=60.0)
    world.settle()
    first = leader_of(world)
    first.has_left = True
    world.run(5.0)
    second = leader_of(world)

    first.has_left, first.due_at = False, 0.0
    world.run(1.0)

    assert leader_of(world) is second


def test_epochs_only_grow(world: World) -> None:
    seen = [0]
    open_all(world)
    for _ in range(200):
        world.run(0.05, good)
        seen.append(epoch(world))

    assert seen == sorted(seen)
    assert len({*seen}) > 5


def test_a_fleet_of_one_that_took_over_still_probes(world: World) -> None:
    open_all(world)
    last = world.workers[2]
    for worker in world.workers[:2]:
        worker.die()

    world.run(30.0, good)

    assert last.breaker.state is State.CLOSED


# By hand


@pytest.mark.parametrize(
    ("do", "rule", "after"),
    [
        ("open", "fleet_open", State.OPEN),
        ("half_open", "fleet_half_open", State.HALF_OPEN),
    ],
)
def test_what_is_done_by_hand_in_one_worker_is_done_in_all(
    world: World, do: str, rule: str, after: State
) -> None:
    getattr(world.workers[1].breaker, do)("deploy", by="ann")

    world.settle()

    assert world.states == [after] * 3
    assert [worker.rules for worker in world.workers] == [[rule], ["manual"], [rule]]
    reasons = [worker.listener.transitions[-1].reason for worker in world.workers]
    assert {(each.by, each.sentence) for each in reasons} == {("ann", reasons[1].sentence)}


@pytest.mark.parametrize("do", ["close", "reset"])
def test_to_close_one_closes_all(world: World, do: str) -> None:
    open_all(world)

    getattr(world.workers[1].breaker, do)(by="ann")
    world.settle()

    assert world.states == [State.CLOSED] * 3
    for worker in world.workers:
        assert worker.listener.transitions[-1].reason.by == "ann"


def test_a_suspicion_from_before_does_not_write_over_what_is_done_by_hand(world: World) -> None:
    """The operator closes it in a worker that has not told yet that it has opened alone."""
    for worker in world.workers:
        for _ in range(5):
            permit = worker.breaker.try_acquire()
            if permit is not None:
                permit.failure()
    assert world.states == [State.OPEN] * 3

    world.workers[1].breaker.close(by="ann")
    world.settle()

    assert world.states == [State.CLOSED] * 3


def test_a_reset_while_closed_forgets_what_all_have_learned(world: World) -> None:
    assert max(worker.breaker.slow_threshold for worker in world.workers) < 1.0

    world.workers[1].breaker.reset()
    world.settle()

    ceiling = world.policy.slow_ceiling
    assert [worker.breaker.slow_threshold for worker in world.workers] == [ceiling] * 3


def test_who_opens_it_once_more_for_longer_opens_all_for_longer(world: World) -> None:
    world.workers[0].breaker.open(for_=5.0)
    world.settle()

    world.workers[1].breaker.open(for_=50.0)
    world.settle()

    for worker in world.workers:
        assert worker.breaker.retry_after == pytest.approx(50.0, abs=1.0)


def test_what_was_told_is_not_told_back(world: World) -> None:
    world.workers[1].breaker.open(by="ann")
    world.settle()
    told = [len(worker.rules) for worker in world.workers]

    world.run(30.0, good)

    assert [len(worker.rules) for worker in world.workers] == told
    assert leader_of(world) is world.workers[1]


def test_what_is_opened_without_an_end_stays_open_also_where_its_worker_dies(world: World) -> None:
    world.workers[1].breaker.open()
    world.settle()
    world.workers[1].die()

    world.run(300.0, good, gap=1.0)

    assert [world.states[0], world.states[2]] == [State.OPEN] * 2


def test_of_two_operators_at_the_same_time_one_has_the_last_word(world: World) -> None:
    world.workers[0].breaker.open(for_=60.0)
    world.workers[1].breaker.close()

    world.run(2.0)

    assert len({*world.states}) == 1


def test_a_worker_that_joins_later_does_as_the_others(world: World) -> None:
    world.workers[0].breaker.open(for_=600.0)
    world.settle()

    late = world.add()
    late.breaker.metrics()
    world.run(0.1)

    assert late.breaker.state is State.OPEN
