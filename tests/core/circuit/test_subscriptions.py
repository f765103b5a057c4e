"""Streams are answers if the callee ends them and begins them at once; else one may wait."""

from __future__ import annotations

import pytest

from recloser._circuit.subscriptions import Subscriptions

KIND = "GET text/event-stream"


def after(*, streams: int, left: float = 0.0, late: float = 0.0) -> Subscriptions:
    """What is known after some streams, shares of which their callers left or began late."""
    known = Subscriptions()
    for number in range(streams):
        part = number % 100 / 100.0
        known.learn(KIND, prompt=part >= late, ended=part >= left)
    return known


@pytest.mark.parametrize(
    ("streams", "left", "late", "expected"),
    [
        (100, 0.0, 0.0, True),
        (400, 0.1, 0.01, True),
        (10, 0.0, 0.0, False),
        (400, 1.0, 0.0, False),
        (400, 0.5, 0.0, False),
        (400, 0.0, 0.125, False),
    ],
)
def test_answers_are_ended_by_the_callee_and_begun_at_once(
    streams: int, left: float, late: float, expected: bool
) -> None:
    assert after(streams=streams, left=left, late=late).are_answers(KIND) is expected


def test_nothing_is_known_of_another_kind() -> None:
    assert not after(streams=100).are_answers("POST text/event-stream")


def test_a_room_that_becomes_quiet_is_a_subscription_soon() -> None:
    known = after(streams=1000)

    for _ in range(15):
        known.learn(KIND, prompt=False, ended=True)

    assert not known.are_answers(KIND)


def test_kinds_that_an_app_makes_up_are_remembered_within_bounds() -> None:
    known = Subscriptions()

    for number in range(1000):
        for _ in range(50):
            known.learn(f"GET {number}", prompt=True, ended=True)

    assert known.are_answers("GET 0")
    assert sum(known.are_answers(f"GET {number}") for number in range(1000)) == 8
