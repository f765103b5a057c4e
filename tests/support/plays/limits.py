"""Plays about the limit: workers that make one call after another, sickness that becomes mild, pauses."""

from __future__ import annotations

from tests.support.plays.callees import Queue, failing, good, hanging, ignoring, mixed
from tests.support.plays.registered import Script, play
from tests.support.plays.world import ANYBODY, Caller, CancelledError, World

from recloser import Policy

SOON = Policy(latency_patience=15.0)
PATIENT = Caller(patience=20.0, gives_up="failure")


@play("severely slow, then mildly, one call at a time", Policy(latency_patience=60.0))
def _(world: World) -> None:
    world.load(10.0, 60.0, good())
    world.load(10.0, 10.0, good(0.8, 0.1))
    world.load(10.0, 15.0, good(0.4, 0.1), looks=4)
    world.load(10.0, 10.0, good(0.8, 0.1))
    world.load(10.0, 15.0, good(0.42, 0.1), looks=4)
    world.load(10.0, 20.0, good())


@play("at the edge of severe", Policy(latency_patience=40.0))
def _(world: World) -> None:
    world.load(10.0, 60.0, good())
    world.load(10.0, 100.0, good(0.45, 0.25), looks=6)
    world.load(10.0, 20.0, good())


@play("single calls are mildly slow, many wait for each other", Policy(latency_patience=60.0))
def _(world: World) -> None:
    queue = Queue(8, 0.1)
    world.load(20.0, 60.0, queue)
    queue.servers, queue.work = 1, 0.8
    world.load(20.0, 8.0, queue, PATIENT)
    queue.work = 0.35
    world.load(20.0, 30.0, queue, PATIENT, looks=6)
    queue.work = 0.6
    world.load(20.0, 30.0, queue, PATIENT, looks=6)
    queue.servers, queue.work = 8, 0.1
    world.load(20.0, 40.0, queue, PATIENT, looks=4)


@play("64 workers overload four servers, and a callee that becomes slow")
def _(world: World) -> None:
    queue = Queue(4, 0.1)
    world.workers(3, 40.0, queue)
    world.workers(20, 40.0, queue, looks=5)
    queue.work = 0.3
    world.workers(64, 15.0, queue, looks=5)
    queue.work = 0.1
    world.workers(3, 30.0, queue)


@play("ten workers of a callee that is twice, five times and eight times as slow", SOON)
def _(world: World) -> None:
    world.workers(10, 30.0, good())
    for factor in (2.5, 5.0, 8.0, 1.0):
        world.record.say(f"{factor:g} times as slow")
        world.workers(10, 30.0, good(0.1 * factor), PATIENT)


@play(
    "a queue of one server that is slow in itself, with others waiting for it",
    Policy(latency_patience=60.0),
)
def _(world: World) -> None:
    queue = Queue(2, 0.1)
    world.workers(1, 30.0, queue)
    queue.servers, queue.work = 1, 0.5
    world.workers(6, 60.0, queue, PATIENT, looks=6)
    world.workers(2, 60.0, queue, PATIENT, looks=6)
    queue.servers, queue.work = 2, 0.1
    world.workers(1, 30.0, queue)


@play("a queue with pauses: others take the servers all the time", Policy(latency_patience=60.0))
def _(world: World) -> None:
    queue = Queue(4, 0.1)
    world.load(20.0, 40.0, queue)
    for others in range(3):
        world.record.say(f"others: {others}")
        queue.servers = 1
        for _ in range(12):
            queue.fill(world, 6 + 3 * others, 0.3)
            world.load(20.0, 3.0, queue, PATIENT, looks=1)
        queue.servers = 4
        world.load(20.0, 20.0, queue, PATIENT)


@play("under a limit most calls time out", SOON)
def _(world: World) -> None:
    patient = Caller(patience=0.9, gives_up="failure")
    world.load(20.0, 40.0, good(), patient)
    world.load(20.0, 20.0, mixed(0.7, good(2.0), good(0.5)), patient, looks=5)
    world.load(20.0, 20.0, good(), patient)
    world.load(20.0, 20.0, mixed(0.85, good(2.0), good(0.5)), patient, looks=5)
    world.load(20.0, 20.0, good(), patient)
    world.load(20.0, 20.0, mixed(0.45, good(2.0), good(0.5)), patient, looks=5)
    world.load(20.0, 20.0, good(), patient)


@play("under a limit a share fails, however few calls there are", SOON)
def _(world: World) -> None:
    world.load(20.0, 40.0, good())
    world.load(20.0, 6.0, good(0.6))
    world.load(20.0, 40.0, mixed(0.4, failing(), good(0.6)), looks=5)
    world.load(20.0, 20.0, good())
    world.load(20.0, 6.0, good(0.6))
    world.load(20.0, 40.0, mixed(0.75, failing(0.4), good(0.6)), looks=5)
    world.load(20.0, 20.0, good())


@play("fails more the more calls there are")
def _(world: World) -> None:
    queue = Queue(3, 0.15, longest=2.0)
    world.load(10.0, 60.0, queue)
    world.load(40.0, 30.0, queue, looks=5)
    queue.longest = 12.0
    world.load(40.0, 30.0, queue, looks=5)
    world.load(10.0, 30.0, queue)


@play("callers give up while limited, and as probes", SOON)
def _(world: World) -> None:
    quick = Caller(patience=0.3), Caller(patience=0.35, gives_up="cut")
    world.load(20.0, 40.0, good())
    world.load(20.0, 5.0, good(0.7))
    world.load(20.0, 40.0, hanging, *quick, looks=5)
    world.load(20.0, 30.0, good(), *quick)
    world.load(20.0, 5.0, good(0.7))
    world.load(20.0, 20.0, good(0.7), *quick, ANYBODY, looks=4)
    world.load(20.0, 30.0, good())


@play("slow, and a limit that hangs in half of its calls", SOON)
def _(world: World) -> None:
    world.load(20.0, 40.0, good())
    world.load(20.0, 30.0, mixed(0.55, hanging, good(0.5)), looks=5)
    world.load(20.0, 30.0, mixed(0.55, hanging, good()), looks=5)
    world.load(20.0, 30.0, good())


@play("a little above the threshold at the end of a limit", SOON)
def _(world: World) -> None:
    world.load(20.0, 60.0, good(0.1, 0.1))
    for median in (0.3, 0.19, 0.45, 0.17, 0.25):
        world.record.say(f"{median:g} s")
        world.load(20.0, 25.0, good(median, 0.1), PATIENT, looks=2)


@play("forks while closed, limited, open and half-open", SOON)
def _(world: World) -> None:
    fork = world.breaker.after_fork
    world.load(20.0, 30.0, good())
    fork()
    for _ in range(6):
        world.load(20.0, 1.7, good(0.6), looks=1)
        fork()
    world.load(20.0, 6.0, good(0.6))
    world.load(20.0, 20.0, good())
    world.load(20.0, 3.0, failing())
    fork()
    world.load(20.0, 3.0, failing())
    world.load(20.0, 20.0, good())


@play("somebody looks for overdue calls, where no call comes", SOON)
def _(world: World) -> None:
    world.load(40.0, 20.0, good())
    for bad in (hanging, good(1.5)):
        world.load(40.0, 0.15, bad, looks=1)
        for _ in range(6):
            world.run(0.07)
            world.breaker.notice()
        world.record.look()
        world.load(40.0, 1.0, bad, looks=1)
        for _ in range(6):
            world.run(0.3)
            world.breaker.notice()
        world.record.look()
        world.load(40.0, 20.0, good(), looks=1)


@play("latencies of zero, by a clock with steps of a second", step=1.0)
def _(world: World) -> None:
    world.load(10.0, 30.0, good(0.01))
    world.load(10.0, 10.0, good(3.0))
    world.load(10.0, 30.0, good(0.01))
    world.load(10.0, 10.0, failing(0.01))
    world.load(10.0, 30.0, good(0.01))


@play("replicas race, and the losers are cancelled")
def _(world: World) -> None:
    other = world.registry["replica"]

    def race(after: float) -> None:
        permits = [world.breaker.try_acquire(), other.try_acquire()]

        def end() -> None:
            if permits[1] is not None:
                permits[1].success()
            if permits[0] is not None:
                permits[0].end_by_error(CancelledError())

        world.at(world.now + after, end)

    world.load(4.0, 1.5, hanging, Caller(patience=1.2), looks=1)
    for number in range(120):
        race((0.3, 0.4, 1.4)[number % 3])
        world.run(0.25)
        if number % 30 == 29:
            world.record.look()
    world.load(4.0, 10.0, hanging, Caller(patience=1.2))
    for _ in range(20):
        race(1.3)
        world.run(0.5)
    world.record.look()
    world.load(4.0, 10.0, hanging, Caller(patience=1.2), looks=5)


@play("cancels of many lengths before anything was answered")
def _(world: World) -> None:
    cut = [Caller(patience=0.1 * 1.5**number, gives_up="cut") for number in range(6)]
    world.load(4.0, 8.0, hanging, *cut)
    world.load(4.0, 8.0, hanging, Caller(patience=0.4))
    world.load(4.0, 8.0, hanging, *cut[:3], looks=5)
    world.breaker.reset()
    world.load(4.0, 8.0, hanging, Caller(patience=2.0), *cut[:2], looks=5)
    world.load(4.0, 20.0, mixed(0.5, hanging, good()), *cut[4:])


@play("late answers that are the caller's own faults, as probes of a slow callee", SOON)
def _(world: World) -> None:
    world.load(20.0, 40.0, good())
    world.load(20.0, 6.0, good(0.7))
    world.load(20.0, 10.0, hanging)
    world.load(20.0, 30.0, ignoring(0.9), looks=5)
    world.load(20.0, 30.0, good())


@play("one call at a time, of which a share fails", Policy(latency_patience=30.0))
def _(world: World) -> None:
    world.load(10.0, 60.0, good())
    world.load(10.0, 10.0, good(1.2))
    for share in (0.2, 0.4):
        world.record.say(f"{share:.0%} fail")
        world.load(10.0, 60.0, mixed(share, failing(0.1), good(1.2)), looks=4)
    world.load(10.0, 40.0, good())


@play("severely slow for long on a key with few calls", Policy(latency_patience=20.0))
def _(world: World) -> None:
    world.load(1.0, 120.0, good())
    world.load(1.0, 240.0, mixed(0.1, failing(0.1), good(0.9)), looks=5)
    world.load(1.0, 60.0, good())


@play("nothing comes back, and the first answers are the caller's own faults", SOON)
def _(world: World) -> None:
    world.load(60.0, 25.0, good())
    for after in (0.03, 0.15, 0.3):
        world.record.say(f"own faults after {after:g} s")
        world.load(60.0, 0.6, hanging, looks=2)
        world.load(60.0, 6.0, ignoring(after), looks=4)
        world.load(60.0, 25.0, good(), looks=2)


@play("slow, then so slow that it opens, and calls come back after that", SOON)
def _(world: World) -> None:
    world.load(20.0, 40.0, good())
    world.load(20.0, 9.0, good(0.7), looks=2)
    world.load(20.0, 40.0, good(12.0, 0.1), looks=6)
    world.load(20.0, 60.0, good(0.7), looks=6)
    world.load(20.0, 30.0, good())


@play("severe, mild, severe for long, and mild for long", Policy(latency_patience=600.0))
def _(world: World) -> None:
    world.load(10.0, 120.0, good())
    for median in (0.8, 0.42, 0.9, 0.4, 0.7, 0.3):
        world.record.say(f"{median:g} s")
        world.load(10.0, 40.0, good(median, 0.08), looks=3)
    world.load(10.0, 30.0, good())


def _share_fails(world: World) -> None:
    world.load(30.0, 30.0, good())
    world.load(30.0, 5.0, good(0.6), looks=1)
    for share, after in ((0.3, 0.6), (0.55, 0.02), (0.48, 0.2), (0.62, 0.4)):
        world.record.say(f"{share:.0%} fail after {after:g} s")
        world.load(30.0, 12.0, mixed(share, failing(after), good(0.5)), looks=2)
    world.load(30.0, 20.0, good(), looks=2)


for _number in range(1, 4):
    play(f"under a limit, shares of calls fail soon and late, {_number}", SOON)(_share_fails)


def _lasting(factor: float, rate: float) -> Script:
    def script(world: World) -> None:
        world.load(rate, 300.0 / rate, good(0.2), looks=1)
        world.load(rate, 45.0 + 40.0 / rate, good(0.2 * factor, 0.2), looks=3)
        world.load(rate, 60.0 / rate, good(0.2), looks=1)

    return script


for _factor in (3.7, 4.3, 5.5, 9.0):
    for _rate in (1.0, 6.0, 30.0):
        play(
            f"{_factor:g} times as slow for good at {_rate:g}/s, patient for 12 s",
            Policy(latency_patience=12.0),
            jitter=True,
        )(_lasting(_factor, _rate))


@play("too many calls for certain, and severely slow for long, while nobody is refused")
def _(world: World) -> None:
    queue = Queue(4, 0.1)
    world.workers(3, 40.0, queue)
    for number in (40, 12, 60, 25):
        world.record.say(f"{number} workers")
        world.workers(number, 25.0, queue, PATIENT, looks=4)
        queue.work *= 1.3
    queue.work = 0.1
    world.workers(3, 40.0, queue)
