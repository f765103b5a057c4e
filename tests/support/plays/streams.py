"""Plays of answers that come in pieces, of subscriptions, and of clients that are slow."""

from __future__ import annotations

from functools import partial
from math import exp, inf

from tests.support.plays.callees import failing, good, hanging, mixed, streaming
from tests.support.plays.registered import play
from tests.support.plays.world import Caller, World

from recloser import Permit, Pieces, Policy


class Announced(Permit):
    """The permit of a call whose answer announces itself by headers: as those of the middlewares do.

    Attributes:
        headers: What kind of stream the headers announce; "" before they come.
        held: Whether the caller does not take the answer yet.
    """

    __slots__ = ("headers", "held")

    headers: str
    held: bool

    @property
    def announced(self) -> str:
        return self.headers

    @property
    def is_held(self) -> bool:
        return self.held


def _subscribe(
    world: World, seconds: float, kind: str, first: float, lasts: float, *, ends: bool = True
) -> None:
    """Streams begin, 4 each second: headers at once, a piece after a while, and then the end.

    Args:
        world: Where.
        seconds: For how long they begin.
        kind: Of the streams.
        first: Median seconds until the first piece; infinite for none.
        lasts: Seconds of the whole stream.
        ends: Whether the callee ends it; otherwise the caller leaves.
    """
    breaker = world.breaker

    def begin() -> None:
        luck = world.luck()
        permit = breaker.admit_strict(Announced)
        if not isinstance(permit, Announced):
            world.record.refused()
            return
        permit.headers, permit.held = "", luck.share < 0.05
        comes, prompt = first * exp(0.4 * luck.normal), list[bool]()
        world.at(world.now + 0.01, lambda: setattr(permit, "headers", kind))
        if comes < lasts:
            world.at(world.now + comes, lambda: prompt.append(breaker.begin_stream(permit)))
        else:
            world.kept.append(permit)

        def end() -> None:
            if prompt:
                breaker.learn_stream(kind, prompt=prompt[0], ended=ends)
            if ends:
                permit.success()
            else:
                permit.cancel()

        world.at(world.now + lasts, end)

    for number in range(round(4 * seconds)):
        world.at(world.now + 0.25 * number, begin)
    world.run(seconds)
    world.record.say(f"{kind} are answers: {breaker.are_answers(kind)}")
    world.record.look()


@play("streams that are answers, and one day do not begin")
def _(world: World) -> None:
    _subscribe(world, 30.0, "answers", 0.2, 1.5)
    _subscribe(world, 10.0, "answers", 1.2, 3.0)
    _subscribe(world, 5.0, "answers", inf, 20.0)
    _subscribe(world, 30.0, "answers", 0.2, 1.5)
    _subscribe(world, 30.0, "answers", 0.6, 1.5, ends=False)


@play("a chat room at night")
def _(world: World) -> None:
    _subscribe(world, 30.0, "room", 1.0, 9.0, ends=False)
    _subscribe(world, 30.0, "room", inf, 5.0, ends=False)
    _subscribe(world, 30.0, "room", 4.0, 9.0)
    world.load(10.0, 20.0, good())
    _subscribe(world, 10.0, "other", inf, 3.0, ends=False)
    for number in range(9):
        _subscribe(world, 0.5, f"kind {number}", 0.1, 1.0)
    for share in range(5):
        _subscribe(world, 4.0, "part", 0.2, 1.0, ends=share > 0)


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


@play("answers of a single piece, of which some have a second one")
def _(world: World) -> None:
    world.load(4.0, 30.0, streaming(6, 0.1))
    breaker, number = world.breaker, 0

    def begin() -> None:
        permit = breaker.try_acquire()
        if permit is None:
            world.record.refused()
            return
        kind, began = number % 4, world.now

        def first() -> None:
            permit.mark()
            pieces = Pieces(breaker, permit.token, world.now, world.now - began, may_be_single=True)
            pieces.asked()
            if kind == 1:
                world.at(world.now + 0.5, pieces.arrived)
            if kind == 2:
                world.kept.append((permit, pieces))
                return
            world.at(world.now + 1.0, pieces.end_single)
            world.at(world.now + 1.0, permit.success)

        world.at(world.now + 0.1, first)

    for number in range(120):
        begin()
        world.run(0.2)
        if number % 30 == 29:
            world.record.look()


@play("clients leave before they have sent, or after")
def _(world: World) -> None:
    leaving = Caller(sends_for=5.0, leaves=0.3)
    callers = Caller(), leaving, Caller(sends_for=0.2, patience=0.3)
    world.load(10.0, 30.0, good(), *callers)
    world.load(10.0, 3.0, failing(), *callers)
    world.load(10.0, 5.0, good(), leaving)
    world.load(10.0, 10.0, good(), *callers)
    world.load(10.0, 6.0, good(0.7), *callers)
    world.load(10.0, 10.0, good(0.7), leaving)
    world.load(10.0, 20.0, hanging, *callers)
    world.load(10.0, 20.0, good(), *callers)


@play(
    "streams that have stalled stand beside those that stand still together",
    Policy(history_size=60),
)
def _(world: World) -> None:
    world.load(4.0, 40.0, streaming(6, 0.4))
    for share in (0.3, 0.6):
        world.load(8.0, 6.0, streaming(8, 0.4, stalls=0.15))
        world.load(30.0, 1.0, streaming(6, 0.4, stalls=share))
        world.load(8.0, 8.0, streaming(6, 0.4), looks=4)
        world.load(4.0, 40.0, streaming(6, 0.4))
