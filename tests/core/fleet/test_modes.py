"""Modes: what overrides the mode of a key by hand in one worker holds in all of them."""

from __future__ import annotations

import pytest
from tests.support.fleets import KEY, World

from recloser import Mode
from recloser._fleet.facts import mode_name


def modes(world: World) -> list[Mode]:
    return [worker.breaker.mode for worker in world.workers]


@pytest.fixture
def world() -> World:
    return World(3)


def test_an_override_in_one_worker_holds_in_all_and_names_who_did_it(world: World) -> None:
    world.workers[1].breaker.override("observe", for_=30.0, reason="deploy", by="ann")

    world.settle()

    assert modes(world) == [Mode.OBSERVE] * 3
    for worker in world.workers:
        (override,) = worker.breaker.overrides
        assert (override.reason, override.by) == ("deploy", "ann")
        assert override.until - world.clock.now == pytest.approx(30.0, abs=0.5)


def test_it_ends_everywhere_when_its_time_is_over(world: World) -> None:
    world.workers[1].breaker.override("disabled", for_=5.0)

    world.run(6.0)

    assert [worker.breaker.overrides for worker in world.workers] == [()] * 3
    assert modes(world) == [Mode.ENFORCE] * 3


def test_to_end_it_in_another_worker_ends_it_in_all(world: World) -> None:
    world.workers[0].breaker.override("observe")
    world.settle()

    world.workers[2].breaker.end_override(by="bob")
    world.settle()

    assert modes(world) == [Mode.ENFORCE] * 3


def test_a_share_is_told_too(world: World) -> None:
    world.workers[0].breaker.override(enforce_share=0.25)

    world.settle()

    assert [worker.breaker.enforce_share for worker in world.workers] == [0.25] * 3


def test_what_is_told_is_not_told_back(world: World) -> None:
    world.workers[0].breaker.override("observe")
    world.settle()
    swaps = world.data.operations["swap"]
    epoch = world.data.facts[mode_name(KEY)][0]

    world.run(30.0)

    assert world.data.facts[mode_name(KEY)][0] == epoch == 1
    assert world.data.operations["swap"] - swaps <= 6  # what was learned is kept meanwhile


def test_of_two_words_at_the_same_time_one_holds_everywhere(world: World) -> None:
    world.workers[0].breaker.override("observe")
    world.workers[1].breaker.override("disabled")

    world.run(2.0)

    assert len({*modes(world)}) == 1


def test_the_last_word_holds(world: World) -> None:
    world.workers[0].breaker.override("observe")
    world.settle()
    world.workers[1].breaker.override("disabled")
    world.settle()

    assert modes(world) == [Mode.DISABLED] * 3


def test_a_worker_that_joins_later_hears_of_it(world: World) -> None:
    world.workers[0].breaker.override("observe", for_=600.0)
    world.settle()

    assert world.add().breaker.mode is Mode.ENFORCE
    world.run(0.1)

    assert world.workers[-1].breaker.mode is Mode.OBSERVE


def test_a_store_that_fails_meanwhile_hears_of_it_afterwards(world: World) -> None:
    for worker in world.workers:
        worker.store.fault = "gone"
    world.workers[0].breaker.override("observe", for_=600.0)
    world.run(5.0)
    assert modes(world) == [Mode.OBSERVE, Mode.ENFORCE, Mode.ENFORCE]

    for worker in world.workers:
        worker.store.fault = ""
    world.run(3.0)

    assert modes(world) == [Mode.OBSERVE] * 3


def test_garbage_about_a_mode_is_ignored_and_counted(world: World) -> None:
    world.workers[0].store.swap(mode_name(KEY), 0, 1, '{"format": 1, "mode": "sleep"}', 60.0)

    world.settle()

    assert modes(world) == [Mode.ENFORCE] * 3
    assert [worker.fleet.garbage for worker in world.workers[1:]] == [1, 1]
