"""Plays in which callees ask for pauses."""

from __future__ import annotations

from tests.support.plays.callees import failing, good, ignoring, mixed, throttling, turns
from tests.support.plays.registered import play
from tests.support.plays.world import Answer, Callee, Caller, Luck, World

from recloser import Policy


def until(time: float, before: Callee, after: Callee) -> Callee:
    """One callee until a time since the play began, then another one."""

    def answer(world: World, luck: Luck) -> Answer:
        return (before if world.now < 1000.0 + time else after)(world, luck)

    return answer


@play("asked to wait 5 s, all callers")
def _(world: World) -> None:
    world.load(10.0, 30.0, good())
    world.load(10.0, 20.0, until(42.0, throttling(5.0), good()), looks=5)
    world.load(10.0, 20.0, good())


@play("asked to wait without a time, all callers", jitter=True)
def _(world: World) -> None:
    world.load(10.0, 30.0, good())
    world.load(10.0, 120.0, throttling(), looks=6)
    world.load(10.0, 20.0, good())


@play("asked to wait an hour, which the policy caps", Policy(max_retry_after=20.0))
def _(world: World) -> None:
    world.load(2.0, 60.0, good())
    world.load(2.0, 100.0, throttling(3600.0), looks=5)
    world.load(2.0, 60.0, good())


@play("shares of 10, 40, 80 and 95 % are asked to wait a minute")
def _(world: World) -> None:
    world.load(10.0, 20.0, good())
    for share in (0.1, 0.4, 0.8, 0.95):
        world.record.say(f"{share:.0%} are asked")
        world.load(10.0, 60.0, mixed(share, throttling(60.0), good()), looks=2)
    world.load(10.0, 20.0, good())


@play("shares of 30, 80 and 99 % are asked to wait without a time")
def _(world: World) -> None:
    for share in (0.3, 0.8, 0.99):
        world.record.say(f"{share:.0%} are asked")
        world.load(10.0, 60.0, mixed(share, throttling(), good()), looks=2)
    world.load(10.0, 20.0, good())


@play("the quota is used up before anybody was served")
def _(world: World) -> None:
    world.load(1.0, 300.0, throttling(quota=True), looks=3)
    world.run(800.0)
    world.load(1.0, 60.0, good())


@play("the quota is used up on a busy key", Policy(quota_open_for=30.0))
def _(world: World) -> None:
    world.load(10.0, 20.0, good())
    world.load(10.0, 60.0, throttling(quota=True), looks=4)
    world.load(10.0, 60.0, mixed(0.5, throttling(quota=True), good()))
    world.load(10.0, 20.0, good())


@play("a limit of 20 calls each ten seconds")
def _(world: World) -> None:
    served = {0.0: 0}

    def answer(world: World, luck: Luck) -> Answer:
        window = world.now // 10.0
        served[window] = served.get(window, 0) + 1
        if served[window] <= 20:
            return good()(world, luck)
        return throttling(10.0 * (window + 1.0) - world.now)(world, luck)

    world.load(1.5, 60.0, answer)
    world.load(6.0, 120.0, answer, looks=6)
    world.load(1.5, 60.0, answer)


@play("asked to wait in the middle of an outage, and of a limit")
def _(world: World) -> None:
    world.load(20.0, 30.0, good())
    world.load(20.0, 4.0, failing())
    world.load(20.0, 6.0, throttling(3.0))
    world.load(20.0, 6.0, throttling())
    world.load(20.0, 10.0, good())
    world.load(20.0, 5.0, good(0.8))
    world.load(20.0, 6.0, throttling(3.0))
    world.load(20.0, 6.0, mixed(0.5, throttling(), good(0.8)))
    world.load(20.0, 20.0, good())


@play("asked after a second, while calls before are served", jitter=True)
def _(world: World) -> None:
    late = throttling(4.0, after=1.0)
    world.load(20.0, 20.0, good(2.0))
    world.load(20.0, 20.0, mixed(0.7, late, good(2.0)))
    world.load(20.0, 20.0, late)
    world.load(20.0, 20.0, mixed(0.2, throttling(after=1.0), good(2.0)))


@play("429, 502 and 404 in turns")
def _(world: World) -> None:
    world.load(10.0, 20.0, good())
    world.load(10.0, 40.0, turns(4.0, throttling(2.0), failing()))
    world.load(10.0, 40.0, turns(3.0, throttling(), ignoring()))
    world.load(10.0, 40.0, turns(5.0, throttling(8.0), good()))


@play("pauses that retrying callers obey, or do not")
def _(world: World) -> None:
    retrying = Caller(retries=4)
    world.load(4.0, 20.0, good(), retrying)
    world.load(4.0, 40.0, turns(6.0, throttling(6.0), good()), retrying)
    world.load(4.0, 40.0, throttling(0.3), retrying)
    world.load(4.0, 40.0, throttling(25.0), retrying)
    world.load(4.0, 60.0, good())


@play("asked to wait at 0.05/s")
def _(world: World) -> None:
    world.load(0.05, 1000.0, good())
    world.load(0.05, 1500.0, throttling(), looks=5)
    world.load(0.05, 600.0, good())
    world.load(0.05, 1000.0, throttling(200.0), looks=4)
    world.load(0.05, 600.0, good())


@play("probes that are asked to wait after failures", jitter=True)
def _(world: World) -> None:
    for share, wait in ((0.5, 2.0), (0.8, 1.0), (0.3, 6.0)):
        world.record.say(f"{share:.0%} of the probes are asked to wait {wait:g} s")
        world.load(20.0, 25.0, good())
        world.load(20.0, 4.0, failing())
        world.load(20.0, 15.0, mixed(share, throttling(wait), good()))
        world.load(20.0, 4.0, failing())
        world.load(20.0, 10.0, mixed(share, throttling(), failing()))


@play("asked soon, while others are in flight for two to ten times as long")
def _(world: World) -> None:
    world.load(10.0, 30.0, good(1.0))
    for share, after in ((0.6, 0.4), (0.6, 0.1), (0.85, 0.7)):
        world.record.say(f"{share:.0%} are asked after {after:g} s")
        world.load(10.0, 15.0, mixed(share, throttling(30.0, after=after), good(1.0)), looks=2)
        world.load(10.0, 15.0, good(1.0), looks=1)


@play("asked late, by calls from before the outage", jitter=True)
def _(world: World) -> None:
    for wait in (None, 3.0):
        late = throttling(wait, after=1.5)
        world.load(20.0, 20.0, good())
        world.load(20.0, 2.0, mixed(0.5, late, good()))
        world.load(20.0, 0.6, failing(), looks=1)
        world.load(20.0, 5.0, mixed(0.4, late, good()), looks=4)
        world.load(20.0, 15.0, good())
