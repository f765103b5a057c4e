"""Locks that are free again however their section ends."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest
from tests.support.interrupts import Interrupt
from tests.support.strikes import Strike
from tests.support.threads import all_at_once

from recloser import Breaker, _locks
from recloser._locks import give_back, new_counter, new_lock, owns, within


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


@pytest.mark.parametrize("has_gil", [True, False])
def test_a_counter_gives_each_number_to_one_thread(
    monkeypatch: pytest.MonkeyPatch, has_gil: bool
) -> None:
    monkeypatch.setattr(_locks, "_HAS_GIL", has_gil)
    counter = new_counter()
    given: list[list[int]] = [[] for _ in range(8)]

    all_at_once(8, lambda index: given[index].extend(next(counter) for _ in range(500)))

    assert sorted(chain(*given)) == [*range(1, 4_001)]
    assert all(numbers == sorted(numbers) for numbers in given)


def test_a_counter_goes_on_in_a_child_whose_parent_was_about_to_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_locks, "_HAS_GIL", False)
    breaker = Breaker("k")
    counter: Any = breaker._calls.tokens
    breaker.acquire().success()
    before = next(counter)
    counter._mutex.acquire()  # another thread of the parent
    breaker.after_fork()

    assert next(counter) > before
    breaker.acquire().success()
    assert breaker.metrics().successes == 2
