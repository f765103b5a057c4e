"""That the closed-loop benchmark models other limiters as they are, step by step."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import pytest

# The benchmarks are no part of the wheel that tox tests.
ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))
pytest.importorskip("benchmarks.closed_loop")

from benchmarks.closed_loop.limiters import Aimd, ClientThrottle, Gradient
from benchmarks.detection.simulator import Clock, Ending


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
