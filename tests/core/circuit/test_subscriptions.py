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


@pytest.mark.parametrize(("streams", "expected"), [(20, False), (21, False), (22, True)])
def test_twenty_streams_are_enough(streams: int, expected: bool) -> None:
    """By weights that fall a little with each stream."""
    assert after(streams=streams).are_answers(KIND) is expected


def test_a_kind_that_was_never_seen_begins_with_nothing() -> None:
    known = Subscriptions()
    for _ in range(30):
        known.learn(KIND, prompt=False, ended=False)

    assert known._kinds[KIND][1:] == (0.0, 0.0)
    assert known._kinds[KIND][0] < 30.0
    assert not known.are_answers(KIND)


@pytest.mark.parametrize(("left", "expected"), [(0.2, True), (0.3, False)])
def test_clients_may_leave_one_in_four_answers(left: float, expected: bool) -> None:
    assert spread_out(left=left).are_answers(KIND) is expected


@pytest.mark.parametrize(("late", "expected"), [(0.03, True), (0.08, False)])
def test_one_answer_in_twenty_may_begin_late(late: float, expected: bool) -> None:
    assert spread_out(late=late).are_answers(KIND) is expected


def spread_out(*, left: float = 0.0, late: float = 0.0) -> Subscriptions:
    """What is known after a thousand streams, where those that differ come at even distances."""
    known = Subscriptions()
    for number in range(1000):
        part = number * 0.618034 % 1.0
        known.learn(KIND, prompt=part >= late, ended=part >= left)
    return known
