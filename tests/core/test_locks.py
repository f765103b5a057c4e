"""Locks that are free again however their section ends."""

from __future__ import annotations

import pytest
from tests.support.interrupts import Interrupt
from tests.support.strikes import Strike

from recloser._locks import give_back, new_lock, owns, within


def test_an_interrupted_section_leaves_the_lock_free_at_every_bytecode() -> None:
    lock, struck = new_lock(), set[object]()
    while True:
        strike = Strike(struck)
        try:
            with strike.awaited():
                within(lock, int)
        except Interrupt:
            pass
        if not strike.struck:
            break
        assert not owns(lock), strike.struck

    assert len(struck) > 10


def test_a_section_within_a_section_leaves_the_outer_one_its_lock() -> None:
    lock = new_lock()

    def fail() -> None:
        raise KeyError

    with lock:
        with pytest.raises(KeyError):
            within(lock, fail)
        assert owns(lock)

    assert not owns(lock)


def test_a_section_returns_what_its_action_returns() -> None:
    assert within(new_lock(), divmod, 7, 2) == (3, 1)


def test_a_lock_is_given_back_as_often_as_it_is_held() -> None:
    lock = new_lock()
    lock.acquire()
    lock.acquire()
    give_back(lock)

    assert not owns(lock)
