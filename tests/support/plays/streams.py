"""Plays of answers that come in pieces, of subscriptions, and of clients that are slow."""

from __future__ import annotations

from functools import partial

from tests.support.plays.callees import failing, good, hanging, mixed, streaming
from tests.support.plays.registered import play
from tests.support.plays.world import Caller, World

from recloser import Policy


def _stall(world: World, gap: float, pieces: int, rate: float, seconds: float) -> None:
    world.load(rate, seconds, streaming(pieces, gap))
    world.load(rate, seconds / 2, streaming(pieces, gap, stalls=1.0), looks=4)
    world.load(rate, seconds, streaming(pieces, gap), looks=4)


@play("streams with gaps of 50 ms stall, all of them")
def _(world: World) -> None:
    _stall(world, 0.05, 8, 4.0, 40.0)


@play("streams with gaps of 3 s stall, all of them")
def _(world: World) -> None:
    _stall(world, 3.0, 4, 2.0, 60.0)


@play("streams stall before any is known")
def _(world: World) -> None:
    world.load(2.0, 30.0, streaming(5, 0.1, stalls=1.0), looks=4)
    world.load(2.0, 60.0, streaming(5, 0.1), looks=4)


@play("a tenth and then half of the streams stall")
def _(world: World) -> None:
    world.load(5.0, 30.0, streaming(6, 0.1))
    world.load(5.0, 40.0, streaming(6, 0.1, stalls=0.1))
    world.load(5.0, 40.0, streaming(6, 0.1, stalls=0.5))
    world.load(5.0, 40.0, streaming(6, 0.1))


@play("the gaps of streams become four times and twenty times as long")
def _(world: World) -> None:
    for gap in (0.6, 2.4, 12.0, 0.6):
        world.record.say(f"gaps of {gap:g} s")
        world.load(3.0, 40.0, streaming(4, gap))


@play("streams that pause for longer than the ceiling", Policy(slow_ceiling=3.0))
def _(world: World) -> None:
    world.load(3.0, 60.0, streaming(3, 4.0))
    world.load(3.0, 30.0, streaming(3, 0.1, stalls=0.5))


@play("streams fail halfway, and the probes are streams")
def _(world: World) -> None:
    world.load(5.0, 30.0, streaming(6, 0.2))
    world.load(5.0, 10.0, streaming(6, 0.2, end="failure"))
    world.load(5.0, 10.0, failing())
    world.load(5.0, 15.0, streaming(40, 0.2))
    world.load(5.0, 20.0, streaming(6, 0.2))


@play("a burst of streams stands still while others flow", Policy(history_size=60))
def _(world: World) -> None:
    world.load(4.0, 40.0, streaming(6, 0.4))
    world.load(30.0, 1.0, streaming(6, 0.4, stalls=0.8))
    world.load(4.0, 10.0, streaming(6, 0.4), looks=6)
    world.load(4.0, 60.0, streaming(6, 0.4))


@play("the first piece becomes slow")
def _(world: World) -> None:
    world.load(5.0, 30.0, streaming(4, 0.1))
    world.load(5.0, 30.0, streaming(4, 0.1, first=1.5))
    world.load(5.0, 10.0, hanging)
    world.load(5.0, 30.0, streaming(4, 0.1))


@play("streams are reset, and pieces are lost with their calls")
def _(world: World) -> None:
    world.load(5.0, 20.0, streaming(4, 0.1))
    world.load(5.0, 10.0, streaming(4, 0.1, end="lose"))
    world.breaker.reset()
    world.load(5.0, 10.0, streaming(4, 0.1, end="cancel"))
    world.load(5.0, 10.0, streaming(4, 0.1))


@play("this process stands still while streams flow")
def _(world: World) -> None:
    world.load(5.0, 30.0, streaming(6, 0.2))
    for _turn in range(3):
        for number in range(7):
            luck = world.luck()
            world.at(world.now + 0.05 * number, partial(world.call, streaming(6, 0.2), luck))
        world.beat_for(1.0)
        world.clock.advance(4.0)
        world.beat_for(4.0)
        world.record.look()


@play("clients send for a second, or never")
def _(world: World) -> None:
    quick, slow, never = Caller(), Caller(sends_for=1.0), Caller(sends_for=500.0)
    world.load(10.0, 30.0, good(), quick, slow)
    world.load(10.0, 5.0, failing(), quick, slow)
    world.load(10.0, 8.0, good(), never, slow)
    world.load(10.0, 15.0, good(), quick, slow)
    world.load(10.0, 8.0, good(0.8), quick, slow)
    world.load(10.0, 8.0, good(0.8), never, slow, slow)
    world.load(10.0, 30.0, good(), quick, slow)


@play("clients with labels send slowly while calls hang")
def _(world: World) -> None:
    callers = Caller("a", sends_for=0.4), Caller("b", sends_for=2.0), Caller("a")
    world.load(10.0, 40.0, good(), *callers)
    world.load(10.0, 20.0, mixed(0.7, hanging, good()), *callers)
    world.load(10.0, 40.0, good(), *callers)
