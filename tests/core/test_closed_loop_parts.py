"""The parts of the closed-loop benchmark step by step: its callees, and its models of limiters."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from random import Random

import pytest

# The benchmarks are no part of the wheel that tox tests.
ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))
pytest.importorskip("benchmarks.closed_loop")

from benchmarks.closed_loop.callees import Fifo, Pauses, Sharing
from benchmarks.closed_loop.limiters import Aimd, ClientThrottle, Gradient
from benchmarks.detection.simulator import Clock, Ending

# Callees


@dataclass
class Bench:
    """A callee on a clock of its own."""

    make: Callable[[Bench], Fifo[str] | Sharing[str]]

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.events: list[tuple[float, int, Callable[[object], None], object]] = []
        self.done: list[tuple[str, float]] = []
        self.callee = self.make(self)

    def schedule(self, at: float, handler: Callable[[object], None], argument: object) -> None:
        self.events.append((at, len(self.done) + len(self.events), handler, argument))

    def finished(self, job: str) -> None:
        self.done.append((job, round(self.clock.now, 6)))

    def run(self, until: float = inf) -> None:
        while self.events:
            event = min(self.events, key=lambda each: each[:2])
            if event[0] > until:
                break
            self.events.remove(event)
            self.clock.now = event[0]
            event[2](event[3])
        self.clock.now = until


def fifo(servers: int, **settings: object) -> Bench:
    return Bench(
        lambda bench: Fifo(servers, bench.clock, bench.schedule, bench.finished, **settings)  # type: ignore[arg-type]
    )


def sharing(servers: int) -> Bench:
    return Bench(lambda bench: Sharing(servers, bench.clock, bench.schedule, bench.finished))


def test_jobs_are_served_in_the_order_in_which_they_come() -> None:
    bench = fifo(1)
    for job, work in (("a", 3.0), ("b", 1.0), ("c", 1.0)):
        bench.callee.offer(job, work)
    assert bench.callee.waiting == 2

    bench.run()

    assert bench.done == [("a", 3.0), ("b", 4.0), ("c", 5.0)]


def test_a_server_that_is_taken_away_finishes_its_job_first() -> None:
    bench = fifo(2)
    for job in "abcd":
        bench.callee.offer(job, 1.0)
    bench.callee.resize(1)

    bench.run(until=2.5)
    bench.callee.resize(2)
    bench.run()

    assert bench.done == [("a", 1.0), ("b", 1.0), ("c", 2.0), ("d", 3.0)]


def test_shared_processors_give_every_job_the_same() -> None:
    bench = sharing(1)
    bench.callee.offer("a", 2.0)
    bench.run(until=1.0)
    bench.callee.offer("b", 0.5)

    bench.run()

    # From 1 s on each gets half: b ends after another second, and a has half a second left.
    assert bench.done == [("b", 2.0), ("a", 2.5)]


def test_no_job_gets_more_than_one_processor_and_more_processors_help_at_once() -> None:
    bench = sharing(1)
    for job in "ab":
        bench.callee.offer(job, 1.0)
    assert bench.callee.waiting == 1
    bench.run(until=1.0)
    bench.callee.resize(5)

    bench.run()

    assert bench.done == [("a", 1.5), ("b", 1.5)]


def test_a_callee_that_pauses_finishes_what_it_began_afterwards() -> None:
    pauses = Pauses(every=60.0, length=1.0, after=100.0)

    assert pauses.end_of(50.0, 2.0) == 52.0
    assert pauses.end_of(99.9, 0.2) == pytest.approx(101.1)
    assert pauses.end_of(100.5, 0.2) == pytest.approx(101.2)
    assert pauses.end_of(101.5, 0.2) == pytest.approx(101.7)
    assert pauses.end_of(159.9, 0.2) == pytest.approx(161.1)


# Limiters


def test_the_sre_book_refuses_what_exceeds_twice_the_accepted() -> None:
    clock, random = Clock(), Random(1)
    throttle = ClientThrottle(clock, random)
    for _ in range(10):
        permit = throttle.acquire()
        assert permit is not None
        throttle.end(permit, Ending.OK, 0.1, 0.0)
    # 20 requests and 10 accepts: the chance is 0 until now.
    for _ in range(11):
        assert throttle.acquire() is not None

    # The chance is (21 - 2 * 10) / 22. Refused calls count as requests, too.
    refused = sum(throttle.acquire() is None for _ in range(1_000))
    assert 850 < refused < 1_000
    assert throttle.openings == [0.0]

    clock.now = 121.0
    assert throttle.acquire() is not None


def test_aimd_grows_by_one_and_falls_by_a_tenth() -> None:
    limiter = Aimd(Clock())
    assert limiter.limit == 20

    limiter.sample(0.1, in_flight=9, dropped=False)
    assert limiter.limit == 20  # it is not used enough to grow
    for _ in range(10):
        limiter.sample(0.1, in_flight=15, dropped=False)
    assert limiter.limit == 30
    limiter.sample(0.1, in_flight=15, dropped=True)
    assert limiter.limit == 27
    limiter.sample(5.1, in_flight=15, dropped=False)
    assert limiter.limit == 24
    for _ in range(9):
        limiter.sample(0.1, in_flight=15, dropped=True)
    assert limiter.limit == 20


def test_gradient_moves_a_fifth_of_the_way_to_its_target() -> None:
    limiter = Gradient(Clock())

    limiter.update(0.1, in_flight=9)
    assert limiter.limit == 20  # it is not used enough to grow
    limiter.update(0.1, in_flight=10)
    # 20 * 0.8 + (20 + 4) * 0.2 = 20.8, then 21.6
    assert limiter.limit == 20
    limiter.update(0.1, in_flight=11)
    assert limiter.limit == 21
    # The average of 0.1, 0.1, 0.1 and 0.5 is 0.2; 1.5 * 0.2 / 0.5 = 0.6.
    # 21.6 * 0.8 + (21.6 * 0.6 + 4) * 0.2 = 20.672
    limiter.update(0.5, in_flight=21)
    assert limiter.limit == 20
    for _ in range(20):
        limiter.update(0.1, in_flight=200)
    # 20.672 + 20 * 0.8
    assert limiter.limit == 36


def test_gradient_looks_at_a_second_with_ten_calls() -> None:
    clock = Clock()
    limiter = Gradient(clock)
    seen: list[tuple[float, int]] = []
    limiter.update = lambda average, in_flight: seen.append((average, in_flight))  # type: ignore[method-assign]

    for number in range(40):
        clock.now = (number + 1) / 16.0
        limiter.sample(0.125, in_flight=number, dropped=False)

    # The first call ends a window of one, which is too few.
    assert seen == [(0.125, 17), (0.125, 34)]


def test_a_limiter_admits_as_many_as_its_limit() -> None:
    limiter = Aimd(Clock())
    permits = [limiter.acquire() for _ in range(20)]
    assert None not in permits
    assert limiter.acquire() is None

    limiter.end(permits[0], Ending.CANCELLED, 0.1, 0.0)

    assert limiter.acquire() is not None
    assert limiter.acquire() is None
