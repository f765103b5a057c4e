"""Plays in which calls fail, hang or are given up."""

from __future__ import annotations

from tests.support.plays.callees import failing, good, hanging, ignoring, mixed, turns
from tests.support.plays.registered import play
from tests.support.plays.world import Caller, World

from recloser import Policy

# On a grid of binary fractions, times are often exactly equal.
GRID = Policy(open_for=0.125, typical_outage=32.0, max_open_for=32.0, evidence_half_life=16.0)


def _outage(world: World, rate: float, bad: float, **how: bool) -> None:
    world.load(rate, 400.0 / rate, good(), **how)
    world.load(rate, bad, failing(), **how)
    world.load(rate, 200.0 / rate, good(), **how)


@play("total outage of 10 s at 50/s")
def _(world: World) -> None:
    _outage(world, 50.0, 10.0)


@play("total outage of 2 s at 500/s, with jitter", jitter=True)
def _(world: World) -> None:
    world.load(500.0, 3.0, good())
    world.load(500.0, 2.0, failing())
    world.load(500.0, 1.5, good())


@play("total outage of an hour at 0.1/s")
def _(world: World) -> None:
    world.load(0.1, 1500.0, good())
    world.load(0.1, 3600.0, failing(error=None))
    world.load(0.1, 1500.0, good())


@play("total outage of ten minutes at 2/s, as long as ever at the end", jitter=True)
def _(world: World) -> None:
    world.load(2.0, 100.0, good())
    world.load(2.0, 600.0, failing(after=0.2), looks=6)
    world.load(2.0, 100.0, good())


@play("calls of one latency on a grid of time fail", GRID)
def _(world: World) -> None:
    world.load(16.0, 16.0, good(0.125, 0.0), even=True)
    world.load(16.0, 6.0, failing(0.0625 / 1.0), even=True)
    world.load(16.0, 8.0, good(0.125, 0.0), even=True)
    world.load(8.0, 4.0, good(0.25, 0.0), even=True)
    world.load(8.0, 4.0, good(0.5, 0.0), even=True)
    world.load(16.0, 8.0, good(0.125, 0.0), even=True)


@play("a clock with steps of 16 ms", step=1.0 / 64.0)
def _(world: World) -> None:
    world.load(40.0, 20.0, good(0.01))
    world.load(40.0, 3.0, failing(0.002))
    world.load(40.0, 10.0, good(0.01))
    world.load(40.0, 4.0, good(0.2))
    world.load(40.0, 10.0, good(0.01))


@play("dead from the first call on")
def _(world: World) -> None:
    world.load(5.0, 60.0, failing())
    world.load(5.0, 30.0, good())


@play("fails half of the time from the first call on")
def _(world: World) -> None:
    world.load(10.0, 60.0, mixed(0.5, failing(), good()))


@play("fails a little more each minute")
def _(world: World) -> None:
    world.load(20.0, 60.0, good())
    for share in (0.12, 0.25, 0.35, 0.45, 0.55, 0.65, 0.8, 0.4, 0.1):
        world.record.say(f"{share:.0%} fail")
        world.load(20.0, 20.0, mixed(share, failing(), good()), looks=2)


@play("60 % fail suddenly on a settled key, at once or after long")
def _(world: World) -> None:
    world.load(100.0, 20.0, good())
    world.load(100.0, 20.0, mixed(0.6, failing(0.002), good(0.4)))
    world.load(100.0, 10.0, good())
    world.load(100.0, 15.0, mixed(0.6, failing(0.3), good()))
    world.load(100.0, 5.0, good())


@play("40 % fail at once where answers take seconds")
def _(world: World) -> None:
    world.load(4.0, 60.0, good(3.0))
    world.load(4.0, 100.0, mixed(0.4, failing(0.05), good(3.0)))
    world.load(4.0, 40.0, failing(0.05))
    world.load(4.0, 80.0, mixed(0.4, failing(0.05), good(3.0)))


@play("failures in runs of two seconds")
def _(world: World) -> None:
    world.load(10.0, 60.0, good())
    world.load(10.0, 120.0, turns(2.0, good(), failing()))
    world.load(10.0, 60.0, good())


@play("comes back for moments, and relapses")
def _(world: World) -> None:
    world.load(30.0, 30.0, good())
    for seconds in (1.0, 4.0, 8.0):
        world.load(30.0, seconds, failing(), looks=1)
        world.load(30.0, 3.0, good(), looks=1)
    world.load(30.0, 6.0, failing(), looks=1)
    world.load(30.0, 30.0, mixed(0.3, failing(), good()))


@play("most calls hang, then all, then none")
def _(world: World) -> None:
    patient = Caller(patience=5.0, gives_up="failure")
    world.load(20.0, 40.0, good(), patient)
    world.load(20.0, 20.0, mixed(0.7, hanging, good()), patient)
    world.load(20.0, 20.0, hanging, patient)
    world.load(20.0, 40.0, good(), patient)


@play("hangs at 300/s: late calls show it")
def _(world: World) -> None:
    world.load(300.0, 5.0, good())
    world.load(300.0, 3.0, hanging, Caller(patience=2.0, gives_up="failure"))
    world.load(300.0, 3.0, good())


@play("an eighth of the calls hang for ever")
def _(world: World) -> None:
    world.load(20.0, 60.0, good())
    world.load(20.0, 60.0, mixed(0.125, hanging, good()))
    world.load(20.0, 30.0, good())


@play("callers give up a callee that does not answer")
def _(world: World) -> None:
    impatient = Caller(patience=0.4)
    world.load(10.0, 30.0, good(), impatient)
    world.load(10.0, 40.0, hanging, impatient)
    world.load(10.0, 30.0, good(), impatient)


@play("callers give up sooner than calls are slow")
def _(world: World) -> None:
    world.load(10.0, 30.0, good())
    world.load(10.0, 25.0, hanging, Caller(patience=0.18), Caller(patience=0.15, gives_up="cut"))
    world.load(10.0, 20.0, good(), Caller(patience=0.18))
    world.load(10.0, 20.0, mixed(0.9, hanging, good()), Caller(patience=0.18))


@play("nobody ever got an answer: time-outs, cancels and short waits")
def _(world: World) -> None:
    world.load(4.0, 10.0, hanging, Caller(patience=0.3, gives_up="cut"))
    world.load(4.0, 10.0, good(0.2))
    world.breaker.reset()
    world.load(4.0, 2.0, hanging, Caller(patience=1.2))
    world.run(2.0)
    world.breaker.reset()
    world.load(4.0, 10.0, hanging, Caller(patience=1.5), Caller(patience=2.5))
    world.load(4.0, 10.0, good(0.2))
    world.breaker.reset()
    world.load(4.0, 10.0, hanging, Caller(patience=0.5, gives_up="time_out"))


@play("time-outs of callers count if half of the calls were faster")
def _(world: World) -> None:
    world.load(10.0, 40.0, good())
    world.load(10.0, 10.0, hanging, Caller(patience=0.05, gives_up="time_out"))
    world.load(10.0, 10.0, hanging, Caller(patience=0.15, gives_up="time_out"))
    world.load(10.0, 20.0, good())
    world.load(10.0, 10.0, hanging, Caller(patience=0.06, gives_up="timer"))
    world.load(10.0, 10.0, hanging, Caller(patience=0.12, gives_up="timer"))
    world.load(10.0, 20.0, good())
    world.load(10.0, 10.0, hanging, Caller("a", patience=0.5, gives_up="timer"))
    world.breaker.reset()
    world.load(10.0, 5.0, hanging, Caller(patience=0.06, gives_up="timer"))


@play("the caller's own faults prove life, and say nothing if nothing was sent")
def _(world: World) -> None:
    world.load(20.0, 30.0, mixed(0.3, ignoring(), good()))
    world.load(20.0, 5.0, failing())
    world.load(20.0, 5.0, ignoring())
    world.load(20.0, 5.0, failing())
    world.load(20.0, 5.0, ignoring(marked=False))
    world.load(20.0, 10.0, good())
    world.load(20.0, 10.0, good(0.5))
    world.load(20.0, 10.0, ignoring(0.04))
    world.load(20.0, 10.0, ignoring(0.8))


@play("calls are lost, as if their frames were gone")
def _(world: World) -> None:
    world.load(20.0, 20.0, mixed(0.3, good(0.1, end="lose"), good()))
    world.load(20.0, 5.0, failing())
    world.load(20.0, 5.0, good(0.01, end="lose"))
    world.load(20.0, 10.0, good())


@play("retries of refused and failed calls")
def _(world: World) -> None:
    stubborn = Caller(retries=3, patience=1.0, gives_up="failure")
    world.load(15.0, 30.0, mixed(0.05, failing(), good()), stubborn)
    world.load(15.0, 15.0, failing(), stubborn)
    world.load(15.0, 15.0, hanging, stubborn)
    world.load(15.0, 30.0, mixed(0.05, failing(), good()), stubborn)


@play("failures that ask for a pause")
def _(world: World) -> None:
    world.load(10.0, 30.0, good())
    world.load(10.0, 20.0, failing(error="HTTP 503", wait=7.0))
    world.load(10.0, 10.0, mixed(0.5, failing(wait=40.0), failing()))
    world.load(10.0, 60.0, good())


@play("idle nights between the calls")
def _(world: World) -> None:
    for night in (10.0, 70.0, 700.0):
        world.load(10.0, 10.0, good(), looks=1)
        world.load(10.0, 0.4, failing(), looks=1)
        world.run(night)
        world.load(10.0, 0.4, failing(), looks=1)
        world.load(10.0, 5.0, good(), looks=1)


@play("by hand: open, half-open, reset")
def _(world: World) -> None:
    breaker = world.breaker
    world.load(20.0, 20.0, good())
    breaker.open("maintenance", for_=4.0)
    world.load(20.0, 6.0, good())
    breaker.open()
    world.load(20.0, 3.0, good())
    breaker.half_open()
    world.record.look()
    world.load(20.0, 3.0, mixed(0.5, failing(), good()))
    breaker.half_open()
    world.load(20.0, 1.0, good(0.6))
    breaker.reset()
    world.load(20.0, 5.0, good(0.6))
    breaker.open(for_=1.0)
    breaker.open(for_=2.0)
    world.load(20.0, 4.0, failing())
    world.load(20.0, 4.0, good(0.6))


@play("modes: observes, is switched off, enforces again")
def _(world: World) -> None:
    world.load(20.0, 20.0, good())
    for mode in ("observe", "disabled", "enforce"):
        world.registry.mode = mode
        world.record.say(mode)
        world.load(20.0, 5.0, failing(), looks=1)
        world.load(20.0, 5.0, good(), looks=1)


@play("calls that were timed elsewhere")
def _(world: World) -> None:
    breaker = world.breaker
    for number in range(400):
        world.clock.advance(0.05)
        bad = 200 <= number < 240
        breaker.record(0.1 + 0.01 * (number % 7), success=not bad)
        if number % 40 == 39:
            world.record.look()
        if breaker.state.value != "closed" and not number % 10:
            world.clock.advance(breaker.retry_after)
            if (permit := breaker.try_acquire()) is not None:
                world.clock.advance(0.1)
                permit.success()


@play("failures of which little is known: no error, one failure among slow calls")
def _(world: World) -> None:
    world.load(10.0, 20.0, good())
    world.load(10.0, 3.0, failing(error=None))
    world.load(10.0, 20.0, good())
    world.load(10.0, 5.0, mixed(0.2, failing(0.3), good(0.6)))
    world.load(10.0, 20.0, good())
    world.load(10.0, 5.0, mixed(0.45, failing(0.01), good(0.6)))


@play("a few answers, and then callers give up")
def _(world: World) -> None:
    for answers, patience in ((1, 0.6), (3, 1.4), (8, 0.25), (20, 0.5)):
        world.breaker.reset()
        world.record.say(f"{answers} answers, and then callers wait for {patience:g} s")
        world.load(4.0, answers / 4.0 + 0.1, good(), even=True, looks=1)
        world.load(8.0, 20.0, hanging, Caller(patience=patience, gives_up="cut"), looks=4)
        world.load(8.0, 10.0, good(), looks=1)


@play("hardly known, on a grid of time", GRID)
def _(world: World) -> None:
    world.load(16.0, 0.5, good(0.125, 0.0), even=True)
    world.load(16.0, 14.0, hanging, even=True, looks=14)
    world.load(16.0, 3.0, good(0.125, 0.0), even=True)
    world.breaker.reset()
    world.load(4.0, 6.0, good(0.5, 0.0), even=True)
    world.load(4.0, 16.0, hanging, Caller(patience=12.0, gives_up="failure"), even=True, looks=8)
    world.load(4.0, 12.0, good(0.5, 0.0), even=True)


@play("callers give up, but some get an answer: it is their own fault")
def _(world: World) -> None:
    world.load(10.0, 30.0, good())
    for share in (0.3, 0.1, 0.02):
        world.record.say(f"{share:.0%} get an answer")
        world.load(10.0, 25.0, mixed(share, ignoring(), hanging), Caller(patience=0.4))
        world.load(10.0, 10.0, good(), looks=1)
