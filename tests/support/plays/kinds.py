"""Plays in which labels and sizes explain how long calls take."""

from __future__ import annotations

from math import exp

from tests.support.plays.callees import failing, good, hanging
from tests.support.plays.registered import play
from tests.support.plays.world import Answer, Callee, Caller, Luck, World

from recloser import LONG_POLL, Policy

CEILING = Policy(slow_ceiling=600.0, latency_patience=20.0)
QUICK, REPORT, EXPORT = Caller("quick"), Caller("report"), Caller("export")
SIZES = [Caller(size=float(2**power)) for power in range(0, 14, 3)]
SIZES_LATE = [Caller(size=float(3**power), late=True) for power in range(7)]


class Works:
    """Takes as long as the label or size of a call says.

    Args:
        slower: By how much all calls are slower.
        times: Seconds by label.
        per_size: Seconds for each unit of a size.
    """

    def __init__(self, slower: float = 1.0, per_size: float = 0.001, **times: float) -> None:
        self.slower = slower
        self.per_size = per_size
        self.times = {"quick": 0.1, "report": 0.8, "export": 6.0, "new": 2.0, **times}

    def of(self, caller: Caller) -> Callee:
        typical = self.times.get(caller.label or "", 0.1) + self.per_size * (caller.size or 0.0)

        def answer(world: World, luck: Luck) -> Answer:
            return Answer(self.slower * typical * exp(0.2 * luck.normal))

        return answer


def _load(
    world: World, rate: float, seconds: float, works: Works, *callers: Caller, looks: int = 2
) -> None:
    world.record.labels = [
        *{(each.label, each.size): None for each in callers if each.label or each.size}
    ]

    def answer(world: World, luck: Luck) -> Answer:
        return works.of(world.caller)(world, luck)

    world.load(rate, seconds, answer, *callers, looks=looks)


@play("three labels, of which one becomes slower", CEILING)
def _(world: World) -> None:
    three = (QUICK, REPORT, EXPORT)
    _load(world, 10.0, 100.0, Works(), *three, looks=4)
    _load(world, 10.0, 60.0, Works(export=30.0), *three)
    _load(world, 10.0, 60.0, Works(), *three)


@play("three labels that all become five times as slow", CEILING)
def _(world: World) -> None:
    three = (QUICK, REPORT, EXPORT)
    _load(world, 10.0, 100.0, Works(), *three)
    _load(world, 10.0, 60.0, Works(5.0), *three, looks=4)
    _load(world, 10.0, 60.0, Works(), *three)


@play("labels beside calls without one: that is the yardstick", CEILING)
def _(world: World) -> None:
    _load(world, 10.0, 20.0, Works(), EXPORT)
    _load(world, 10.0, 60.0, Works(), EXPORT, Caller(), Caller())
    _load(world, 10.0, 30.0, Works(3.0), EXPORT, Caller(), Caller())
    world.load(10.0, 30.0, hanging, EXPORT, Caller())
    _load(world, 10.0, 60.0, Works(), EXPORT, Caller(), Caller())


@play("a yardstick after labels are well known", CEILING)
def _(world: World) -> None:
    _load(world, 10.0, 60.0, Works(), QUICK, EXPORT)
    _load(world, 10.0, 60.0, Works(), QUICK, EXPORT, Caller())
    _load(world, 10.0, 60.0, Works(4.0), QUICK, EXPORT, Caller())


@play("a new label during an outage, and one of calls that hang", CEILING)
def _(world: World) -> None:
    new = Caller("new")
    _load(world, 10.0, 60.0, Works(), Caller(), QUICK)
    world.load(10.0, 3.0, failing(), Caller(), new)
    _load(world, 10.0, 30.0, Works(), Caller(), new, looks=4)
    world.load(10.0, 40.0, hanging, new, Caller("never"))
    _load(world, 10.0, 60.0, Works(), Caller(), new)


@play("sizes that are known before the call", CEILING)
def _(world: World) -> None:
    _load(world, 10.0, 120.0, Works(), *SIZES, looks=4)
    _load(world, 10.0, 40.0, Works(3.0), *SIZES)
    world.load(10.0, 30.0, hanging, *SIZES)
    _load(world, 10.0, 60.0, Works(), *SIZES)


@play("sizes that are known at the end only", CEILING)
def _(world: World) -> None:
    works = Works(per_size=0.01)
    _load(world, 10.0, 120.0, works, *SIZES_LATE, Caller(), looks=4)
    works.slower = 3.0
    _load(world, 10.0, 40.0, works, *SIZES_LATE, Caller())
    world.load(10.0, 60.0, hanging, *SIZES_LATE, Caller())
    works.slower = 1.0
    _load(world, 10.0, 60.0, works, *SIZES_LATE, Caller())


@play("labels with sizes at the end, with time-outs of callers", CEILING)
def _(world: World) -> None:
    callers = [
        Caller(label, size, late=True, patience=3.0, gives_up=gives_up)
        for label in ("quick", "report")
        for size, gives_up in ((10.0, "time_out"), (1000.0, "cancel"), (4000.0, "cut"))
    ]
    _load(world, 10.0, 120.0, Works(), *callers, looks=4)
    world.load(10.0, 30.0, hanging, *callers)
    _load(world, 10.0, 60.0, Works(), *callers)


@play(
    "a hundred labels, more than there are places for", Policy(slow_ceiling=600.0, history_size=300)
)
def _(world: World) -> None:
    callers = [Caller(f"label {number}", float(number % 4)) for number in range(100)]
    times = {f"label {number}": 0.1 * (1 + number % 9) for number in range(100)}
    _load(world, 40.0, 60.0, Works(**times), *callers[:70])
    world.record.labels = world.record.labels[::12]
    _load(world, 40.0, 40.0, Works(**times), *callers[40:])
    world.record.labels = world.record.labels[::12]
    world.record.look()
    _load(world, 40.0, 10.0, Works(4.0, **times), *callers[90:])


@play("long polls beside calls")
def _(world: World) -> None:
    poll = Caller(LONG_POLL, patience=90.0)
    times = {LONG_POLL: 25.0}
    _load(world, 5.0, 60.0, Works(**times), poll, Caller(), Caller())
    world.load(5.0, 30.0, hanging, poll)
    world.load(5.0, 6.0, failing(), poll, Caller())
    _load(world, 5.0, 30.0, Works(**times), poll, Caller())
    _load(world, 5.0, 30.0, Works(6.0, **times), poll, Caller())


@play("labels from the first call on, of which one hangs", Policy(slow_ceiling=100.0))
def _(world: World) -> None:
    _load(world, 1.0, 10.0, Works(), QUICK, Caller())
    world.load(1.0, 80.0, hanging, EXPORT, QUICK, looks=4)
    _load(world, 1.0, 60.0, Works(), QUICK, EXPORT)


@play("a label that is so fast that the floor holds")
def _(world: World) -> None:
    times = {"tiny": 0.001, "quick": 0.02}
    tiny = Caller("tiny")
    _load(world, 20.0, 40.0, Works(**times), tiny, Caller("quick"))
    _load(world, 20.0, 20.0, Works(20.0, **times), tiny, Caller("quick"))
    world.load(20.0, 10.0, good(0.001), tiny, Caller("quick", patience=0.01))


@play("sizes at the end that take up to 1.8 times as long", CEILING)
def _(world: World) -> None:
    callers = [Caller("quick", size, late=True) for size in (10.0, 300.0, 800.0)]
    works = Works(per_size=0.0001)
    _load(world, 20.0, 60.0, works, *callers, looks=4)
    works.slower = 2.4
    _load(world, 20.0, 30.0, works, *callers, Caller("quick"), looks=4)
    world.load(20.0, 10.0, hanging, *callers, Caller("quick"), looks=4)
    works.slower = 1.0
    _load(world, 20.0, 30.0, works, *callers)


@play("sizes at the end for two thousand calls, and then before them", CEILING)
def _(world: World) -> None:
    early = [caller._replace(late=False) for caller in SIZES_LATE]
    works = Works(per_size=0.001)
    _load(world, 40.0, 50.0, works, *SIZES_LATE)
    _load(world, 40.0, 90.0, works, *early, looks=6)
    _load(world, 40.0, 10.0, works, *SIZES_LATE)


@play("callers give up where sizes are known at the end", CEILING)
def _(world: World) -> None:
    works = Works(per_size=0.002)
    _load(world, 10.0, 60.0, works, *SIZES_LATE, Caller())
    for patience in (0.4, 1.5, 3.0):
        world.record.say(f"callers wait for {patience:g} s")
        world.load(10.0, 25.0, hanging, Caller(patience=patience), looks=4)
        _load(world, 10.0, 20.0, works, *SIZES_LATE, Caller())
