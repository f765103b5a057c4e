"""Modes: what overrides the mode of a key by hand in one worker holds in all of them."""

from __future__ import annotations

import pytest
from tests.support.fleets import KEY, Worker, World

from recloser import Mode
from recloser._fleet.facts import mode_name
from recloser._overrides import Override


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


# An override that is prolonged


def miss(worker: Worker) -> None:
    """Let a worker hear nothing for a while."""
    worker.store.fault = "gone"


def test_what_is_prolonged_with_the_same_words_ends_later_everywhere(world: World) -> None:
    first = world.workers[0]
    first.breaker.override("observe", for_=4.0, reason="deploy", by="ann")
    world.settle()
    first.breaker.override("observe", for_=60.0, reason="deploy", by="ann")
    world.run(10.0)

    assert modes(world) == [Mode.OBSERVE] * 3
    for worker in world.workers:
        (override,) = worker.breaker.overrides
        assert override.until - world.clock.now == pytest.approx(50.0, abs=0.5)
    assert world.data.facts[mode_name(KEY)][0] == 2  # each word of an operator is told once

    world.run(51.0)
    assert modes(world) == [Mode.ENFORCE] * 3


def test_who_has_not_heard_that_it_was_prolonged_ends_it_for_itself_alone(world: World) -> None:
    first, second, third = world.workers
    first.breaker.override("observe", for_=4.0, reason="deploy", by="ann")
    world.settle()
    miss(second)
    first.breaker.override("observe", for_=60.0, reason="deploy", by="ann")
    world.run(6.0)
    assert modes(world) == [Mode.OBSERVE, Mode.ENFORCE, Mode.OBSERVE]

    second.store.fault = ""
    world.run(3.0)

    assert modes(world) == [Mode.OBSERVE] * 3
    (override,) = second.breaker.overrides
    (other,) = third.breaker.overrides
    assert override.until == pytest.approx(other.until, abs=0.1)


def test_a_word_that_is_read_again_after_a_step_of_the_stores_clock_is_not_done_again(
    world: World,
) -> None:
    first, second, _ = world.workers
    first.breaker.override("observe", for_=60.0, reason="deploy", by="ann")
    world.settle()
    (before,) = second.breaker.overrides
    member = second.member
    known = member._modes._known[KEY]

    member._modes.hear(KEY, known.epoch, known.fact, known.said + 5.0, world.clock.now)

    assert second.breaker.overrides == (before,)


def test_a_shorter_time_that_is_said_later_holds_too(world: World) -> None:
    world.workers[0].breaker.override("observe", for_=60.0)
    world.settle()
    world.workers[1].breaker.override("observe", for_=2.0)

    world.run(3.0)

    assert modes(world) == [Mode.ENFORCE] * 3


def test_nobody_tells_an_end_that_all_know(world: World) -> None:
    world.workers[0].breaker.override("observe", for_=2.0)
    world.run(4.0)

    assert modes(world) == [Mode.ENFORCE] * 3
    assert world.data.facts[mode_name(KEY)][0] == 1


def test_to_hear_of_another_override_tells_no_end_of_the_one_before(world: World) -> None:
    world.workers[0].breaker.override("observe")
    world.settle()

    world.workers[1].breaker.override("disabled")
    world.run(5.0)

    assert world.data.facts[mode_name(KEY)][0] == 2
    assert modes(world) == [Mode.DISABLED] * 3


def test_what_was_done_by_hand_before_the_first_turn_is_the_last_word(world: World) -> None:
    world.workers[0].breaker.override("observe")
    world.settle()
    world.workers[0].breaker.end_override()
    world.settle()
    new = world.add()

    new.breaker.override("disabled", for_=600.0)
    world.run(2.0)

    assert modes(world) == [Mode.DISABLED] * 4


def test_a_breaker_that_is_new_has_it_no_longer_than_the_others(world: World) -> None:
    world.workers[0].breaker.override("observe", for_=10.0)
    world.run(6.0)
    new = world.add()
    world.run(2.0)
    breaker = new.registry[KEY]
    world.run(0.1)
    assert breaker.mode.value == "observe"

    world.run(2.5)

    assert breaker.mode is Mode.ENFORCE


def test_a_listener_may_override_another_key_when_it_hears_of_one(world: World) -> None:
    second = world.workers[1]

    class Follows:
        def on_override(self, key: str, override: Override, ended: bool) -> None:
            if key == KEY and not ended:
                second.registry["other"].override("observe")

    second.registry.subscribe(Follows())
    for worker in world.workers:
        assert worker.registry["other"].mode is Mode.ENFORCE

    world.workers[0].breaker.override("observe")
    world.run(1.0)

    assert [worker.registry["other"].mode for worker in world.workers] == [Mode.OBSERVE] * 3


# A store that has lost what it had


def test_what_the_store_has_lost_is_told_to_those_who_begin_later(world: World) -> None:
    world.workers[0].breaker.override("observe", for_=600.0, reason="deploy", by="ann")
    world.run(10.0)

    world.data.flush()
    world.run(4.0)
    new = world.add()
    new.breaker.metrics()
    world.run(1.0)

    (override,) = new.breaker.overrides
    assert (override.reason, override.by) == ("deploy", "ann")
    assert override.until - world.clock.now == pytest.approx(585.0, abs=1.0)
    for worker in world.workers:
        assert worker.breaker.overrides[0].until == pytest.approx(override.until, abs=0.5)


def test_it_is_restored_by_few_of_many_workers() -> None:
    world = World(30, is_trained=False)
    world.workers[0].breaker.override("observe")
    world.run(2.0)

    world.data.flush()
    swaps = world.data.operations["swap"]
    world.run(4.0)

    assert mode_name(KEY) in world.data.facts
    assert world.data.operations["swap"] - swaps <= 3


@pytest.mark.parametrize("ended", [True, False])
def test_what_was_said_after_a_loss_wins(world: World, ended: bool) -> None:
    first, second, third = world.workers
    for number in range(5):
        first.breaker.override("observe", for_=600.0 + number)
        world.settle()
    miss(third)
    world.run(1.0)
    world.data.flush()
    if ended:
        second.breaker.end_override(by="bob")
    else:
        new = world.add()  # it knows nothing of what was lost, and no epoch
        new.breaker.override("disabled", by="bob")
    world.run(5.0)

    third.store.fault = ""
    world.run(5.0)

    assert {*modes(world)} == {Mode.ENFORCE if ended else Mode.DISABLED}


def test_what_was_restored_by_who_had_missed_the_last_word_is_corrected(world: World) -> None:
    first, second, third = world.workers
    first.breaker.override("observe")
    world.settle()
    miss(third)
    second.breaker.override("disabled")
    world.settle()
    for worker in (first, second):
        miss(worker)
    world.data.flush()
    third.store.fault = ""
    world.run(5.0)
    assert third.breaker.mode is Mode.OBSERVE

    for worker in (first, second):
        worker.store.fault = ""
    world.run(6.0)

    assert modes(world) == [Mode.DISABLED] * 3


def test_what_was_over_is_not_restored(world: World) -> None:
    world.workers[0].breaker.override("observe", for_=2.0)
    world.run(3.0)

    world.data.flush()
    world.run(4.0)

    assert mode_name(KEY) not in world.data.facts


def test_garbage_where_something_was_lost_is_written_over(world: World) -> None:
    world.workers[0].breaker.override("observe")
    world.settle()
    world.data.flush()
    world.workers[0].store.swap(mode_name(KEY), 0, 1, "garbage", 60.0)

    world.run(4.0)
    world.add()
    world.workers[-1].breaker.metrics()
    world.run(1.0)

    assert modes(world) == [Mode.OBSERVE] * 4
