"""Divided trouble: some workers are cut off, and the others are well."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from recloser._circuit.divided import Divided

Fate = Callable[[Random, int, int], bool]
"""Whether a call is bad: by chance, by how many were before it, and by the number of its worker."""


def play(workers: int, calls: int, is_bad: Fate, seed: int = 1) -> tuple[Divided, int | None]:
    """Calls of workers at random; what is known after them, and after how many it was sure first."""
    random, divided, sure = Random(seed), Divided(), None
    for number in range(calls):
        worker = random.randrange(workers)
        divided.add(str(worker), bad=is_bad(random, number, worker))
        if sure is None and divided.is_sure:
            sure = number
    return divided, sure


@pytest.mark.parametrize(
    ("workers", "sick", "within"),
    [(3, 2, 40), (8, 5, 60), (8, 7, 130), (64, 32, 100), (64, 44, 110)],
)
@pytest.mark.parametrize("failing", [0.0, 0.05])
def test_workers_that_are_cut_off_are_found(
    workers: int, sick: int, within: int, failing: float
) -> None:
    for seed in range(10):
        _, sure = play(
            workers, 400, lambda random, _, worker: worker < sick or random.random() < failing, seed
        )

        assert sure is not None
        assert sure <= within


@pytest.mark.parametrize("workers", [2, 8, 64])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_calls_that_fail_by_chance_are_not_divided(workers: int, share: float) -> None:
    for seed in range(10):
        _, sure = play(workers, 2_000, lambda random, *_: random.random() < share, seed)

        assert sure is None


@pytest.mark.parametrize("workers", [2, 8, 64])
@pytest.mark.parametrize("lasts", [20, 200])
def test_a_callee_that_dies_and_recovers_for_all_is_not_divided(workers: int, lasts: int) -> None:
    _, sure = play(workers, 2_000, lambda _, number, __: number // lasts % 2 == 1)

    assert sure is None


def test_where_no_worker_is_well_it_is_known_at_once() -> None:
    divided, _ = play(8, 5, lambda *_: True)

    assert not divided.may_be


def test_where_one_is_well_it_is_not_known_before_some_calls() -> None:
    divided = Divided()
    for worker, bad in (("a", True), ("b", True), ("c", False), ("a", True)):
        divided.add(worker, bad=bad)

    assert divided.may_be
    assert not divided.is_known
    assert [divided.is_well(worker) for worker in "acd"] == [False, True, None]
    assert divided.counted == (1, 2)


def test_when_the_callee_dies_for_the_well_too_it_is_not_divided_any_more() -> None:
    random = Random(1)
    divided, _ = play(8, 200, lambda _, __, worker: worker < 5)
    assert divided.is_sure
    assert divided.lasts

    for _ in range(40):
        divided.add(str(random.randrange(8)), bad=True)

    assert not divided.is_sure


def test_one_that_is_cut_off_among_many_explains_nothing() -> None:
    divided, sure = play(64, 1_000, lambda _, __, worker: worker < 1)

    assert sure is None
    assert not divided.lasts
