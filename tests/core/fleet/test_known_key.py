"""What a member knows of one key."""

from __future__ import annotations

import pytest

from recloser import Reason, State
from recloser._fleet.facts import KeyFact
from recloser._fleet.known_key import KnownKey


def test_a_key_of_which_nothing_is_known_is_not_watched() -> None:
    assert not KnownKey().is_watched


@pytest.mark.parametrize(
    ("state", "leader", "watched"),
    [(State.CLOSED, "a", True), (State.OPEN, "", True), (State.CLOSED, "", False)],
)
def test_it_is_watched_until_it_is_closed_and_nobody_leads(
    state: State, leader: str, watched: bool
) -> None:
    known = KnownKey()
    known.fact = KeyFact(state=state, leader=leader, lease=2.0, reason=Reason("", ""))

    assert known.is_watched is watched


@pytest.mark.parametrize(
    ("state", "decided"), [(State.CLOSED, False), (State.LIMITED, True), (State.OPEN, True)]
)
def test_a_key_that_is_closed_and_watched_is_not_decided(state: State, decided: bool) -> None:
    known = KnownKey()
    assert not known.is_decided

    known.take(KeyFact(state=state, leader="a", lease=2.0, reason=Reason("", "")), 7.0, 7.0)

    assert known.is_watched
    assert known.is_decided is decided


def test_a_new_watch_hurries_and_more_news_of_it_do_not() -> None:
    known = KnownKey()
    fact = KeyFact(state=State.CLOSED, leader="a", lease=2.0, reason=Reason("", ""))

    known.take(fact, 7.0, 7.0)
    known.take(fact, 9.0, 9.0)

    assert known.hurries_until == 8.0


def test_watches_that_show_nothing_are_asked_for_ever_more_rarely_up_to_a_minute() -> None:
    known, pauses = KnownKey(), list[float]()
    for _ in range(7):
        known.cool_down(1000.0, founded=False)
        pauses.append(known.cool_until - 1000.0)

    assert pauses == [6.0, 12.0, 24.0, 48.0, 60.0, 60.0, 60.0]


def test_one_that_showed_something_begins_the_pauses_anew() -> None:
    known = KnownKey()
    for _ in range(5):
        known.cool_down(1000.0, founded=False)

    known.cool_down(1000.0, founded=True)

    assert known.cool_until == 1003.0
