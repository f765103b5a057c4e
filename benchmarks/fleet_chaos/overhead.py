"""What a store costs: the calls, the server, and the thread of an idle worker."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median

from benchmarks.fleet_chaos.figures import load, verdict
from benchmarks.fleet_chaos.pool import Pool
from benchmarks.fleet_chaos.stores import Place, started
from recloser import Breaker, Registry

GOAL, OPERATIONS, IDLE = 1.03, 2.0, 0.001
_CALLS, _ROUNDS = 2_000, 60
_COUNTED = 10.0  # seconds in which the operations of the server are counted
# What counts as no operation: our own question, and what scripts call is counted with the script.
_SCRIPTS = ("evalsha", "eval", "publish", "subscribe", "hgetall", "script|load", "script", "ping")


def report(engine: str, rounds: int = _ROUNDS) -> bool:
    """Measure everything for one engine, and print it; return whether the goals were met."""
    fine = _report_calls(engine, rounds)
    fine &= _report_operations(engine)
    return fine & _report_idle(engine)


# Calls


def _burst(breaker: Breaker) -> float:
    """The CPU of the calling thread per call, in seconds."""
    begun = time.thread_time()
    for _ in range(_CALLS):
        permit = breaker.try_acquire()
        assert permit is not None
        permit.success()
    return (time.thread_time() - begun) / _CALLS


def measure_calls(engine: str, rounds: int) -> Mapping[str, tuple[float, float]]:
    """Microseconds per call, and how many times as much as without a store: medians, by condition."""
    with ExitStack() as stack:
        up = stack.enter_context(started(engine))
        bad = stack.enter_context(started(engine))
        gone, lost = "", up
        if engine != "sqlite":
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="rc"))
            gone = f"unix://{Path(folder) / 'none'}"
        registries = {
            "without": Registry(),
            "up": Registry(store=up.address),
            "stopped": Registry(store=bad.address),
        }
        if engine == "sqlite":
            lost = stack.enter_context(started(engine))
            gone = lost.address
        registries["gone"] = Registry(store=gone)
        breakers = {name: registry["key"] for name, registry in registries.items()}
        for breaker in breakers.values():
            _burst(breaker)
        time.sleep(1.0)
        stack.callback(_hang(bad))
        if engine == "sqlite":
            stack.callback(_begin(lost, "replaced by a folder"))
        time.sleep(1.0)
        gc.collect()
        gc.disable()
        stack.callback(gc.enable)
        taken = _interleaved(breakers, rounds)
        for registry in registries.values():
            if registry.fleet is not None:
                registry.fleet.close()
    return {
        name: (
            1e6 * median(each),
            median([one / base for one, base in zip(each, taken["without"], strict=True)]),
        )
        for name, each in taken.items()
    }


def _interleaved(breakers: Mapping[str, Breaker], rounds: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in breakers}
    names = list(breakers)
    for number in range(rounds):
        # Each is first as often as any other.
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            taken[name].append(_burst(breakers[name]))
        time.sleep(0.02)
    return taken


def _hang(place: Place) -> Callable[[], None]:
    """Let a store hang; return what ends that."""
    if place.server is not None:
        place.server.pause()
        return place.server.resume
    return _begin(place, "locked by another process")


def _begin(place: Place, name: str) -> Callable[[], None]:
    """Let a trouble begin; return what ends it."""
    return next(each for each in place.troubles if each.name == name).begin()


def _report_calls(engine: str, rounds: int) -> bool:
    found = measure_calls(engine, rounds)
    fine = all(ratio <= GOAL for _, ratio in found.values())
    shown = ", ".join(
        f"{name} {micro:.3f} us ({ratio:.3f} x)" for name, (micro, ratio) in found.items()
    )
    print(
        f"{engine:14} CPU per call: {shown} (goal 1.03 x: {verdict(fine)}); "
        f"{rounds} rounds of {_CALLS} calls, interleaved; {load()}",
        flush=True,
    )
    return fine


# Operations


def measure_operations(
    engine: str, rate: float, workers: int = 8, seconds: float = _COUNTED
) -> tuple[float, int]:
    """Operations of the server per second and worker, and calls in that time, in normal traffic."""
    with started(engine) as place:
        pool = Pool(place, workers, rate)
        try:
            pool.read(4.0)
            before, calls = _operations(place), _calls(pool)
            pool.read(seconds)
            after, more = _operations(place), _calls(pool)
        finally:
            pool.close()
    return (after - before) / seconds / workers, more - calls


def _operations(place: Place) -> int:
    return sum(number for name, number in place.counts().items() if name in _SCRIPTS)


def _calls(pool: Pool) -> int:
    return sum(worker.news.good for worker in pool.workers if worker.news is not None)


def _report_operations(engine: str) -> bool:
    if engine == "sqlite":
        print(f"{engine:14} operations: no server counts them")
        return True
    few, calls = measure_operations(engine, 40.0)
    many, more = measure_operations(engine, 800.0)
    # What depends on the calls is the difference, and a little chance of when beats come.
    per_call = (many - few) * 8 * _COUNTED / max(more - calls, 1)
    fine = max(few, many) <= OPERATIONS and per_call < 0.01
    print(
        f"{engine:14} operations per second and worker: {few:.2f} with {calls / _COUNTED:.0f} "
        f"calls/s, {many:.2f} with {more / _COUNTED:.0f} calls/s, so {per_call:.4f} per healthy call "
        f"(goals 2 and 0: {verdict(fine)}); {load()}",
        flush=True,
    )
    return fine


# The thread


def measure_idle(engine: str, seconds: float = 20.0) -> float:
    """The share of a core that the thread of an idle worker takes."""
    with started(engine) as place:
        registry = Registry(store=place.address)
        fleet = registry.fleet
        assert fleet is not None
        with closing(fleet):
            for _ in range(100):
                permit = registry["key"].try_acquire()
                assert permit is not None
                permit.success()
            time.sleep(3.0)
            before = _others()
            time.sleep(seconds)
            return (_others() - before) / seconds


def _others() -> float:
    """The CPU of all threads but this one, in seconds."""
    return time.process_time() - time.thread_time()


def _report_idle(engine: str) -> bool:
    share = measure_idle(engine)
    fine = share <= IDLE
    print(
        f"{engine:14} an idle worker's thread: {share:.3%} of a core "
        f"(goal 0.1 %: {verdict(fine)}); {load()}",
        flush=True,
    )
    return fine
