"""Keeping: what was learned outlives its workers, and a new worker starts warm."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.fleets import KEY, Worker, World, good

from recloser import Policy, State
from recloser._circuit.learned import Learned
from recloser._fleet.facts import learned_name


def kept(world: World) -> Learned | None:
    there = world.data.facts.get(learned_name(KEY))
    return None if there is None else Learned.from_plain(json.loads(there[1])["learned"])


def restart(world: World) -> Worker:
    """All workers leave, and a new one comes."""
    for worker in world.workers:
        worker.leave()
    new = world.add()
    new.breaker.metrics()
    world.run(0.1)
    return new


def test_a_new_worker_starts_warm() -> None:
    world = World(2)
    known = world.workers[0].breaker.slow_threshold

    new = restart(world)

    assert new.sent == 0
    assert new.breaker.slow_threshold == pytest.approx(known, rel=0.1)


def test_a_worker_that_dies_has_kept_what_it_learned_before_long() -> None:
    world = World(1)
    world.run(15.0, good)
    world.workers[0].die()
    new = world.add()
    new.breaker.metrics()

    world.run(0.1)

    assert new.breaker.slow_threshold < 1.0


def test_a_worker_that_has_learned_too_little_keeps_nothing() -> None:
    world = World(1, is_trained=False)
    world.run(
        0.7, good
    )  # 30 calls are the least to judge latency by, and a quarter of that to keep

    world.workers[0].leave()

    assert kept(world) is None


def test_workers_with_few_calls_each_know_enough_together() -> None:
    world = World(4, is_trained=False)
    world.run(2.0, good)
    baselines = [each.breaker.following.detector.baseline for each in world.workers]
    assert not any(each.known for each in baselines)

    world.run(80.0)

    learned = kept(world)
    assert learned is not None
    assert world.policy.min_history <= learned.calls <= sum(each.count for each in baselines)


def test_workers_that_come_and_go_make_no_more_calls_of_a_few() -> None:
    world = World(1, is_trained=False)
    world.run(0.9, good)
    world.workers[0].leave()
    learned = kept(world)
    assert learned is not None
    calls = learned.calls

    for _ in range(5):
        new = world.add()
        new.breaker.metrics()
        world.run(0.2)
        new.leave()

    again = kept(world)
    assert again is not None
    assert again.calls == pytest.approx(calls, rel=0.05)
    assert not new.breaker.following.detector.baseline.known


def test_it_is_kept_about_once_a_minute_and_quietly() -> None:
    world = World(2)
    world.run(20.0, good)
    version, swaps = world.data.version, world.data.operations["swap"]

    world.run(300.0, good, gap=1.0)

    assert world.data.version == version
    assert 6 <= world.data.operations["swap"] - swaps <= 16


def test_what_two_workers_have_learned_adds_up() -> None:
    world = World(1)
    world.workers[0].leave()
    one = kept(world)
    world.add().learn()
    world.run(0.1)
    world.workers[1].leave()
    both = kept(world)

    assert one is not None
    assert both is not None
    assert both.calls > 1.5 * one.calls


def keep(world: World, worker: Worker) -> Learned:
    """Let one worker keep what it knows, and return what is kept then."""
    worker.member._keeping._keep(KEY, world.clock.now)
    there = kept(world)
    assert there is not None
    return there


def test_a_worker_that_keeps_it_often_counts_once() -> None:
    world = World(2)
    one, other = world.workers
    keep(world, one)
    both = keep(world, other).calls

    for _ in range(20):
        world.run(30.0, good, gap=1.0)
        now = keep(world, one).calls
        now = keep(world, other).calls

    alone = [
        each.breaker.in_turn(0.0, each.breaker.following.learned, 0.0) for each in (one, other)
    ]
    assert now == pytest.approx(sum(each.calls for each in alone), rel=0.08)
    assert now > both


def test_what_a_store_has_lost_is_not_taken_out_of_what_is_new() -> None:
    world = World(2)
    one, other = world.workers
    keep(world, one)
    world.data.facts.clear()
    calls = keep(world, other).calls

    assert keep(world, one).calls == pytest.approx(2 * calls, rel=0.1)


def test_who_ends_while_others_end_tries_again() -> None:
    world = World(2)
    one, other = world.workers
    calls = keep(world, one).calls
    swap, tries = other.store.swap, 0

    def late(*arguments: Any, **options: Any) -> bool:
        nonlocal tries
        tries += 1
        return tries > 3 and swap(*arguments, **options)

    other.store.swap = late  # type: ignore[method-assign]
    other.leave()

    there = kept(world)
    assert there is not None
    assert there.calls == pytest.approx(2 * calls, rel=0.1)
    assert tries == 4


@pytest.mark.parametrize("name", ["since", "halvings", "learned"])
def test_a_sum_without_one_of_its_parts_is_replaced(name: str) -> None:
    world = World(1)
    calls = keep(world, world.workers[0]).calls
    epoch, text, at, until, version = world.data.facts[learned_name(KEY)]
    plain = json.loads(text)
    del plain[name]
    world.data.facts[learned_name(KEY)] = (epoch, json.dumps(plain), at, until, version)

    assert keep(world, world.workers[0]).calls == pytest.approx(calls)


def test_what_was_kept_weighs_half_after_five_minutes() -> None:
    world = World(1)
    world.workers[0].leave()
    before = kept(world)
    assert before is not None
    world.run(300.0)
    new = world.add()
    new.learn()
    alone = new.breaker.in_turn(
        world.clock.now, new.breaker.following.learned, world.clock.now
    ).calls

    new.member._keeping._due[KEY] = 0.0
    new.leave()

    after = kept(world)
    assert after is not None
    assert after.calls == pytest.approx(0.5 * before.calls + alone, rel=0.05)


def test_garbage_in_the_store_is_replaced_and_nothing_is_learned_from_it() -> None:
    world = World(1, is_trained=False)
    name = learned_name(KEY)
    world.workers[0].store.swap(
        name, 0, 3, '{"format": 1, "learned": {"first": 7}}', 600.0, loud=False
    )
    new = world.add()
    new.breaker.metrics()
    world.run(0.1)
    assert new.breaker.slow_threshold == Policy().slow_ceiling
    assert new.registry.faults == 1

    new.learn()
    new.leave()

    assert kept(world) is not None


def test_a_worker_that_knows_a_key_already_takes_nothing_over() -> None:
    """A breaker that was evicted and is used again has what it learned itself."""
    world = World(1)
    worker = world.workers[0]
    lesson = worker.breaker.following.learned(world.clock.now)
    world.run(15.0, good)
    calls = worker.breaker.following.learned(world.clock.now).calls
    assert lesson.calls > 0

    worker.fleet.made(KEY)
    world.run(0.5)

    assert worker.breaker.following.learned(world.clock.now).calls == pytest.approx(calls)


def test_keys_of_which_there_is_no_breaker_any_more_are_left_out() -> None:
    world = World(1)
    worker = world.workers[0]
    worker.registry.discard(worker.breaker)

    world.run(120.0)

    assert worker.member._keeping.keys == []
    assert worker.registry.faults == 0


def test_a_store_that_fails_at_the_end_holds_nobody() -> None:
    world = World(1)
    world.workers[0].store.fault = "gone"

    world.workers[0].fleet.close()

    assert kept(world) is None
    assert world.states == [State.CLOSED]


@pytest.mark.parametrize("number", [10**400, 2**53])
def test_a_number_that_is_too_large_is_garbage_that_is_replaced(number: int) -> None:
    world = World(1)
    text = json.dumps({"format": 1, "since": number, "halvings": 0, "learned": None})
    now = world.clock.now
    there = world.data.facts.get(learned_name(KEY), (0,))
    world.data.facts[learned_name(KEY)] = there[0] + 1, text, now, now + 1e6, 0

    world.run(130.0, good)

    assert kept(world) is not None
    assert world.workers[0].fleet.is_connected
