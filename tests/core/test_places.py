"""Places: which key goes where there are more keys than places."""

from __future__ import annotations

from typing import Any

from recloser._places import Places


class Key:
    """Stands for a breaker."""

    def __init__(self, asked: int = 1, *, spare: bool = True) -> None:
        self.asked = asked
        self.spare = spare

    def is_spare(self, now: float) -> bool:
        return self.spare


def filled(breakers: dict[str, Any]) -> Places:
    places = Places(len(breakers))
    for key in breakers:
        places.enter(key)
    return places


def test_of_keys_asked_once_the_oldest_goes() -> None:
    breakers: dict[str, Any] = {key: Key() for key in "abcdefghij"}
    places = filled(breakers)

    assert [places.vacate(breakers, 0.0) for _ in range(3)] == ["a", "b", "c"]


def test_a_key_asked_again_stays_until_it_is_asked_no_more() -> None:
    breakers: dict[str, Any] = {"again": Key(2), "once": Key(1)}
    places = filled(breakers)
    assert places.vacate(breakers, 0.0) == "once"
    del breakers["once"]

    assert places.vacate(breakers, 0.0) == "again"
    assert places.vacate({}, 0.0) is None


def test_one_that_cannot_go_is_passed_over_and_keeps_its_turn() -> None:
    breakers: dict[str, Any] = {"busy": Key(spare=False), "once": Key()}
    places = filled(breakers)
    assert places.vacate(breakers, 0.0) == "once"
    del breakers["once"]
    assert places.vacate(breakers, 0.0) is None

    breakers["busy"].spare = True

    assert places.vacate(breakers, 0.0) == "busy"


def test_a_key_that_comes_back_is_kept() -> None:
    breakers: dict[str, Any] = {key: Key() for key in "abcdefghijklmnopqrst"}
    places = filled(breakers)
    assert places.vacate(breakers, 0.0) == "a"
    places.enter("a")

    gone = [places.vacate(breakers, 0.0) for _ in range(17)]

    assert "a" not in gone


def test_where_all_are_asked_again_the_one_asked_least_goes() -> None:
    breakers: dict[str, Any] = {"much": Key(100), "little": Key(3), "more": Key(50)}
    places = filled(breakers)

    assert places.vacate(breakers, 0.0) == "little"


def test_what_is_remembered_is_bounded() -> None:
    places = Places(10)
    breakers: dict[str, Any] = {}
    for index in range(1_000):
        breakers[str(index)] = Key()
        places.enter(str(index))
        if len(breakers) > 10:
            gone = places.vacate(breakers, 0.0)
            assert gone is not None
            del breakers[gone]

    assert len(places._lost) <= 40
    assert len(places._seen) + len(places._new) + len(places._kept) <= 20


def test_a_place_that_was_left_is_nobodys() -> None:
    breakers: dict[str, Any] = {"a": Key(), "b": Key()}
    places = filled(breakers)
    for _ in range(100):
        places.leave("a")
        places.enter("a", keep=True)
    places.leave("a")
    del breakers["a"]

    assert places.vacate(breakers, 0.0) == "b"
    assert not places._new
    assert not places._kept
