"""Refusals: the answer to a refused request, and for how long it can be used again."""

from __future__ import annotations

import json

import pytest

from recloser import Breaker, Policy
from recloser._http.refusal import Refusals
from recloser.testing import ManualClock


def opened(wait: float | None) -> Breaker:
    breaker = Breaker("key", Policy(max_open_for=30.0), clock=ManualClock(start=5.0))
    breaker.open(for_=wait)
    return breaker


def retry_after(wait: float | None) -> int:
    refusal = Refusals(expose_details=False).of(opened(wait)._refuse(5.0))
    return int(dict(refusal.headers)["Retry-After"])


@pytest.mark.parametrize(
    ("wait", "lowest", "highest"),
    [(0.0, 1, 1), (0.2, 1, 1), (9.0, 9, 10), (None, 30, 33), (1e12, 86_400, 86_400)],
)
def test_retry_after_never_comes_early_and_is_bounded(
    wait: float | None, lowest: int, highest: int
) -> None:
    seen = {retry_after(wait) for _ in range(50)}

    assert lowest <= min(seen)
    assert max(seen) <= highest


def test_an_end_named_by_hand_holds_to_a_few_seconds() -> None:
    seen = {retry_after(600.0) for _ in range(100)}

    assert 600 <= min(seen) <= max(seen) <= 605


def test_an_answer_is_built_once_for_each_second() -> None:
    refusals = Refusals(expose_details=False)
    breaker = opened(0.5)

    assert refusals.of(breaker._refuse(5.0)) is refusals.of(breaker._refuse(5.1))
    assert refusals.of(breaker._refuse(5.0)) is refusals.of(opened(0.4)._refuse(5.0))


def test_answers_of_one_second_are_spread() -> None:
    refusals, breaker = Refusals(expose_details=False), opened(60.0)

    assert len({refusals.of(breaker._refuse(5.0)) for _ in range(8)}) > 1


def test_an_answer_holds_no_longer_than_its_seconds() -> None:
    clock = ManualClock()
    breaker = Breaker("key", clock=clock)
    breaker.open(for_=60.0)
    refusals = Refusals(expose_details=False)

    for _ in range(600):
        told = int(dict(refusals.of(breaker._refuse(clock())).headers)["Retry-After"])
        assert breaker.retry_after <= told <= 1.1 * (breaker.retry_after + 1.0) + 1.0
        clock.advance(0.1)


def test_a_longer_wait_is_told_at_once() -> None:
    clock = ManualClock()
    breaker = Breaker("key", clock=clock)
    breaker.open(for_=0.9)
    refusals = Refusals(expose_details=False)
    refusals.of(breaker._refuse(clock()))

    breaker.open(for_=50.0)

    assert int(dict(refusals.of(breaker._refuse(clock())).headers)["Retry-After"]) >= 50


def test_answers_kept_are_bounded() -> None:
    refusals = Refusals(expose_details=False)

    for wait in range(1, 3000):
        refusals.of(opened(float(wait))._refuse(5.0))

    assert len(refusals._built) <= 1024
    assert len(refusals._kept) <= 1024


def test_headers_are_the_same_for_asgi_and_wsgi() -> None:
    refusal = Refusals(expose_details=True).of(opened(3.0)._refuse(5.0))

    as_wsgi = [(name.lower().encode(), value.encode()) for name, value in refusal.headers]
    assert as_wsgi == list(refusal.raw_headers)


def test_a_hostile_key_forges_neither_header_nor_line() -> None:
    breaker = Breaker("GET /\r\nSet-Cookie: a=b\x00\x1b[2J\u2028\ud800")
    breaker.open("also\r\nhere")

    refusal = Refusals(expose_details=True).of(breaker._refuse(breaker.clock()))

    assert {name for name, _ in refusal.headers} == {
        "Content-Type",
        "Content-Length",
        "Retry-After",
        "Cache-Control",
    }
    assert all(value.isprintable() for _, value in refusal.headers)
    assert refusal.body.isascii()
    assert json.loads(refusal.body)["key"] == breaker.key
    assert refusal.body.decode().isprintable()


def test_answers_hold_until_their_second_is_over() -> None:
    refusals, breaker = Refusals(expose_details=True), opened(20.0)
    kept = [refusals.of(breaker._refuse(5.0)) for _ in range(100)]

    assert refusals.of(breaker._refuse(5.99)) in kept
    assert all(refusals.of(breaker._refuse(6.0)) is not each for each in kept)


def test_the_answers_of_one_breaker_outlast_those_of_another() -> None:
    refusals, breaker, other = Refusals(expose_details=True), opened(20.0), opened(20.0)
    kept = [refusals.of(breaker._refuse(5.0)) for _ in range(100)]

    refusals.of(other._refuse(5.0))

    again = refusals.of(breaker._refuse(5.0))
    assert any(again is each for each in kept)
