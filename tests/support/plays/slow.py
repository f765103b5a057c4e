"""Plays in which calls become slower: sick callees, queues, mixtures, new normals."""

from __future__ import annotations

from functools import partial

from tests.support.plays.callees import Queue, failing, good, hanging, ignoring, mixed, ramp, turns
from tests.support.plays.registered import play
from tests.support.plays.world import Caller, World

from recloser import Policy

SOON = Policy(latency_patience=15.0)
"""Accepts a slower latency soon: a play of two minutes shows all of it."""
PATIENT = Caller(patience=20.0, gives_up="failure")


def _step(world: World, factor: float, rate: float = 10.0) -> None:
    world.load(rate, 60.0, good())
    world.load(rate, 70.0, good(0.1 * factor), PATIENT, looks=7)
    world.load(rate, 30.0, good())


@play("1.5 times as slow for good", SOON)
def _(world: World) -> None:
    _step(world, 1.5)


@play("2.4 times as slow for good", SOON)
def _(world: World) -> None:
    _step(world, 2.4)


@play("3.2 times as slow for good", SOON)
def _(world: World) -> None:
    _step(world, 3.2)


@play("four times as slow for good", SOON)
def _(world: World) -> None:
    _step(world, 4.0)


@play("seven times as slow for good", SOON)
def _(world: World) -> None:
    _step(world, 7.0)


@play("twenty times as slow for good", SOON)
def _(world: World) -> None:
    _step(world, 20.0)


@play("five times as slow for good at 0.3/s", Policy(latency_patience=40.0))
def _(world: World) -> None:
    world.load(0.3, 300.0, good(1.0))
    world.load(0.3, 600.0, good(5.0), looks=5)
    world.load(0.3, 200.0, good(1.0))


@play("five times as slow for good at 100/s, with the usual patience", jitter=True)
def _(world: World) -> None:
    world.load(100.0, 15.0, good())
    world.load(20.0, 200.0, good(0.5), looks=5)
    world.load(100.0, 5.0, good())


@play("slower bit by bit, and fast again", SOON)
def _(world: World) -> None:
    world.load(10.0, 40.0, good())
    world.load(10.0, 150.0, ramp(120.0, 8.0), looks=6)
    world.load(10.0, 40.0, good())


@play("slow for moments, and again and again", SOON)
def _(world: World) -> None:
    world.load(20.0, 40.0, good())
    for factor, seconds in ((4.0, 1.0), (10.0, 3.0), (3.0, 8.0), (6.0, 2.0), (6.0, 10.0)):
        world.record.say(f"{factor:g} times as slow")
        world.load(20.0, seconds, good(0.1 * factor), looks=1)
        world.load(20.0, 12.0, good(), looks=1)


@play("slow and fast in turns of 20 s", SOON)
def _(world: World) -> None:
    world.load(10.0, 40.0, good())
    world.load(10.0, 160.0, turns(20.0, good(0.7), good()), looks=8)


@play(
    "a slow time of ten minutes, remembered for a generation",
    Policy(history_size=100, history_span=60.0, latency_patience=20.0),
)
def _(world: World) -> None:
    world.load(4.0, 200.0, good())
    for factor in (3.0, 1.0, 2.0, 6.0, 1.0):
        world.record.say(f"{factor:g} times as slow")
        world.load(4.0, 100.0, good(0.1 * factor), PATIENT, looks=2)


@play("a third of the calls wait for a lock")
def _(world: World) -> None:
    world.load(20.0, 60.0, good())
    world.load(20.0, 150.0, mixed(0.33, good(0.8), good()), looks=5)
    world.load(20.0, 30.0, good())


@play("two thirds are slow, the others as fast as ever", SOON)
def _(world: World) -> None:
    world.load(20.0, 60.0, good())
    world.load(20.0, 60.0, mixed(0.67, good(0.6), good()), looks=4)
    world.load(20.0, 30.0, good())


@play("slow and failing at once", SOON)
def _(world: World) -> None:
    world.load(20.0, 40.0, good())
    for share in (0.3, 0.6, 0.9):
        world.record.say(f"{share:.0%} fail")
        world.load(20.0, 15.0, mixed(share, failing(0.3), good(0.6)), looks=2)
        world.load(20.0, 15.0, mixed(share, failing(0.01), good(0.6)), looks=2)
    world.load(20.0, 40.0, good())


@play("slow, then dead, then slow, then fast", SOON)
def _(world: World) -> None:
    patient = Caller(patience=3.0, gives_up="failure")
    world.load(20.0, 40.0, good(), patient)
    world.load(20.0, 10.0, good(0.7), patient)
    world.load(20.0, 10.0, hanging, patient)
    world.load(20.0, 10.0, good(0.7), patient)
    world.load(20.0, 30.0, good(), patient)


@play("hangs; calls come back after 15 s", SOON)
def _(world: World) -> None:
    world.load(10.0, 40.0, good())
    world.load(10.0, 40.0, good(15.0, 0.1), looks=5)
    world.load(10.0, 60.0, good(), looks=4)


@play("milliseconds below the floor, and 80 ms above it")
def _(world: World) -> None:
    world.load(50.0, 20.0, good(0.001))
    world.load(50.0, 10.0, good(0.02))
    world.load(50.0, 10.0, good(0.07, 0.1))
    world.load(50.0, 20.0, good(0.2, 0.1))
    world.load(50.0, 10.0, good(0.001))


@play("answers of 40 s at 0.5/s, and then of 80 s", Policy(slow_ceiling=300.0))
def _(world: World) -> None:
    world.load(0.5, 400.0, good(40.0))
    world.load(0.5, 600.0, good(130.0), looks=4)
    world.load(0.5, 400.0, good(40.0))


@play("slow only by its ceiling", Policy(slow_ceiling=0.3))
def _(world: World) -> None:
    world.load(10.0, 30.0, good(0.2, 0.1))
    world.load(10.0, 60.0, good(0.4, 0.1), looks=4)
    world.load(10.0, 30.0, good(0.2, 0.1))


@play("a queue with a load of 0.9, 1.3 and 0.5")
def _(world: World) -> None:
    queue = Queue(4)
    world.load(20.0, 60.0, queue)
    for rate in (36.0, 52.0, 20.0):
        world.load(rate, 25.0, queue, PATIENT, looks=4)


@play("a flash crowd of three times the capacity, with retries")
def _(world: World) -> None:
    queue, caller = Queue(4), Caller(patience=2.0, gives_up="failure", retries=2)
    world.load(20.0, 40.0, queue, caller)
    world.load(120.0, 10.0, queue, caller, looks=5)
    world.load(20.0, 30.0, queue, caller)


@play("a queue that sheds load", jitter=True)
def _(world: World) -> None:
    queue = Queue(6, longest=20.0)
    world.load(30.0, 40.0, queue, PATIENT)
    world.load(90.0, 20.0, queue, PATIENT, looks=5)
    world.load(30.0, 20.0, queue, PATIENT)


@play("a queue that serves at half speed for a while", SOON)
def _(world: World) -> None:
    queue = Queue(4)
    world.load(25.0, 40.0, queue)
    queue.work = 0.3
    world.load(25.0, 40.0, queue, PATIENT, looks=5)
    queue.work = 0.1
    world.load(25.0, 30.0, queue)


@play("one server that others use as well", SOON)
def _(world: World) -> None:
    queue = Queue(1, 0.05)
    world.load(8.0, 60.0, queue)
    queue.work = 0.6
    world.load(8.0, 60.0, queue, PATIENT, looks=6)
    queue.work = 0.05
    world.load(8.0, 60.0, queue, looks=4)


@play("a cold start: the first answers are slow")
def _(world: World) -> None:
    world.load(5.0, 6.0, good(4.0))
    world.load(5.0, 60.0, good(0.1))


@play("hardly known: cheap answers, and then a model that takes 40 s")
def _(world: World) -> None:
    world.load(1.0, 12.0, good(0.2))
    world.load(1.0, 120.0, good(40.0, 0.1), looks=6)
    world.load(1.0, 60.0, good(0.2))


@play("hardly known: a dozen answers, and then nothing comes back")
def _(world: World) -> None:
    world.load(2.0, 8.0, good(0.2))
    world.load(2.0, 90.0, hanging, Caller(patience=120.0, gives_up="failure"), looks=6)
    world.load(2.0, 60.0, good(0.2), looks=4)


@play("hardly known: nothing comes back, with a low ceiling", Policy(slow_ceiling=5.0))
def _(world: World) -> None:
    world.load(2.0, 8.0, good(0.2))
    world.load(2.0, 40.0, hanging, looks=4)
    world.load(2.0, 40.0, good(0.2))


@play("nothing ever comes back")
def _(world: World) -> None:
    world.load(1.0, 150.0, hanging, looks=5)
    world.load(1.0, 60.0, good(0.3))


@play("while limited: callers leave, and only their own faults are answered", SOON)
def _(world: World) -> None:
    world.load(20.0, 40.0, good())
    world.load(20.0, 6.0, good(0.9))
    world.load(20.0, 10.0, good(0.9), Caller(patience=0.05), Caller(patience=0.6))
    world.load(20.0, 6.0, good(0.9))
    world.load(20.0, 15.0, ignoring(0.05))
    world.load(20.0, 6.0, good(0.9), PATIENT)
    world.load(20.0, 15.0, hanging, Caller(patience=0.5), Caller(patience=0.5, gives_up="cut"))
    world.load(20.0, 30.0, good())


@play("answers that begin in time and last long")
def _(world: World) -> None:
    long = good(3.0, 0.2, begins=0.1)
    world.load(10.0, 30.0, good())
    world.load(10.0, 20.0, long)
    world.load(10.0, 5.0, failing())
    world.load(10.0, 15.0, long)
    world.load(10.0, 15.0, good(3.0, 0.2, begins=0.7))
    world.load(10.0, 20.0, good(3.0, 0.2, begins=0.1, end="failure"))
    world.load(10.0, 20.0, good())


@play("this process stands still", SOON)
def _(world: World) -> None:
    world.load(20.0, 10.0, good())
    for number, length in enumerate((0.3, 0.5, 1.2, 3.0, 0.8)):
        world.record.say(f"stands still for {length:g} s")
        answer = good(length + 0.1, 0.1) if number % 2 else good()
        for offset in range(8):
            luck = world.luck()
            world.at(world.now + 0.01 * offset, partial(world.call, answer, luck, PATIENT))
        world.beat_for(0.2)
        world.clock.advance(length)
        world.beat_for(0.5)
        world.record.look()
    world.load(20.0, 10.0, good())


@play("this process stands still while slow answers come in")
def _(world: World) -> None:
    world.load(20.0, 20.0, good())
    for begins, length in ((0.25, 0.6), (0.5, 2.0), (0.3, 0.1)):
        world.record.say(f"answers begin after {begins:g} s, then it stands still for {length:g} s")
        answer = good(begins + 0.2, 0.05, begins=begins)
        for offset in range(12):
            luck = world.luck()
            world.at(world.now + 0.01 * offset, partial(world.call, answer, luck, PATIENT))
        world.beat_for(begins + 0.13)
        world.clock.advance(length)
        world.beat_for(0.6)
        world.record.look()
        world.load(20.0, 10.0, good(), looks=1)
