"""Load: fewer calls are faster only where calls wait for each other."""

from __future__ import annotations

from math import inf, log
from random import Random

import pytest

from recloser._circuit.load import _REMEMBERED, _USELESS, _USELESS_IF_SURE, Load, rises


def pairs(exponent: float, numbers: list[int]) -> list[tuple[float, float]]:
    """Calls in flight and latencies, where latency is a power of their number."""
    return [(log(number), log(0.1 * number**exponent)) for number in numbers]


SPREAD = [4, 4, 4, 4, 8, 8, 8, 8]  # two rounds, of which one has half as many


# Whether latency rises by itself


@pytest.mark.parametrize(
    ("exponent", "expected"),
    [(1.0, True), (0.51, True), (0.49, None), (0.21, None), (0.19, False), (0.0, False)],
)
def test_it_rises_if_it_grows_with_at_least_the_square_root(
    exponent: float, expected: bool | None
) -> None:
    assert rises(pairs(exponent, SPREAD)) is expected


def test_where_more_calls_are_faster_it_does_not_rise() -> None:
    assert rises(pairs(-1.0, SPREAD)) is False


@pytest.mark.parametrize(("answers", "expected"), [(6, None), (8, True)])
def test_few_answers_say_nothing(answers: int, expected: bool | None) -> None:
    assert rises(pairs(1.0, [4, 8] * (answers // 2))) is expected


@pytest.mark.parametrize(
    ("numbers", "expected"), [([8] * 20, None), ([7, 8] * 10, None), ([4, 8] * 10, True)]
)
def test_answers_under_the_same_number_of_calls_say_nothing(
    numbers: list[int], expected: bool | None
) -> None:
    assert rises(pairs(1.0, numbers)) is expected


@pytest.mark.parametrize(("spread", "expected"), [(0.24, None), (0.26, True)])
def test_a_spread_of_a_quarter_in_the_logarithm_is_enough(
    spread: float, expected: bool | None
) -> None:
    """Two rounds of which one has half as many have a spread of 0.35."""
    assert rises([(0.0, 0.0), (2.0 * spread, 2.0 * spread)] * 8) is expected


@pytest.mark.parametrize(("exponent", "expected"), [(1.0, True), (0.0, False)])
def test_it_is_seen_through_the_noise_of_a_service(exponent: float, expected: bool) -> None:
    chance, found = Random(1), []
    for _ in range(200):
        numbers = [chance.randint(2, 20) for _ in range(_REMEMBERED)]
        noisy = [(x, y + chance.gauss(0.0, 0.5)) for x, y in pairs(exponent, numbers)]
        found.append(rises(noisy))

    assert found.count(expected) >= 180
    assert (not expected) not in found


# What a lower limit shows


def halved(load: Load, after: float) -> bool | None:
    """Halve the limit while calls take 0.8 s, and compare it with the latency after that."""
    load.lowered(16.0, 0.8)
    return load.compare(8.0, after, varies=False)


@pytest.mark.parametrize(
    ("after", "helped"), [(0.4, True), (0.565, True), (0.567, False), (0.8, False), (1.6, False)]
)
def test_half_as_many_calls_help_if_they_are_faster_by_the_square_root_of_two(
    after: float, helped: bool
) -> None:
    load = Load()

    assert halved(load, after) is helped

    assert load.is_likely is load.is_sure is helped


@pytest.mark.parametrize(("in_flight", "helped"), [(15.2, False), (15.21, None), (16.0, None)])
def test_where_there_are_as_many_calls_as_before_nothing_was_tried(
    in_flight: float, helped: bool | None
) -> None:
    load = Load()
    load.is_likely = True
    load.lowered(16.0, 0.8)

    assert load.compare(in_flight, 0.8, varies=True) is helped

    assert load.is_likely is (helped is None)


def test_without_a_lower_limit_and_answers_nothing_is_known() -> None:
    load = Load()

    assert load.compare(8.0, 0.4, varies=False) is None

    assert not load.is_likely
    assert not load.is_sure


def test_a_comparison_is_made_once() -> None:
    load = Load()
    assert halved(load, 0.4)

    assert load.compare(8.0, 0.4, varies=False) is None


def rising(load: Load) -> Load:
    for number in SPREAD:
        load.add(number, 0.1 * number)
    return load


def test_a_latency_that_rises_is_a_sign_of_load_and_no_proof() -> None:
    """A callee that slows down has more calls in flight, too."""
    load = rising(Load())

    assert load.compare(8.0, 0.8, varies=False) is True

    assert load.is_likely
    assert not load.is_sure


def test_if_fewer_calls_are_no_help_a_latency_that_rises_is_no_sign_any_more() -> None:
    load = rising(Load())
    load.compare(16.0, 0.8, varies=False)

    assert halved(load, 0.8) is False

    assert not load.is_likely


def test_what_is_sure_stays_likely_when_fewer_calls_do_not_help_once() -> None:
    load = Load()
    halved(load, 0.4)

    assert halved(load, 0.8) is False

    assert load.is_likely
    assert load.is_sure


def test_where_load_is_sure_a_latency_that_rises_is_enough() -> None:
    load = Load()
    halved(load, 0.4)

    assert halved(rising(load), 0.8) is True


def test_a_latency_that_is_flat_is_no_load() -> None:
    load = Load()
    for number in SPREAD:
        load.add(number, 0.8)

    assert load.compare(8.0, 0.8, varies=False) is False
    assert not load.is_likely


# When it gives up


@pytest.mark.parametrize(("sure", "most"), [(False, _USELESS), (True, _USELESS_IF_SURE)])
def test_after_many_useless_attempts_it_is_no_load(sure: bool, most: int) -> None:
    load = Load()
    halved(load, 0.4)
    load.is_sure = sure

    for _ in range(most - 1):
        load.count_useless()
        assert load.is_likely
    load.count_useless()

    assert not load.is_likely


# What is remembered


def test_old_answers_are_forgotten() -> None:
    load = rising(Load())
    for _ in range(_REMEMBERED // 2):
        load.add(4, 0.5)
        load.add(8, 0.5)

    assert load.compare(8.0, 0.5, varies=False) is False
    assert len(load._pairs) == 64


def test_all_answers_can_be_forgotten_at_once() -> None:
    load = rising(Load())

    load.forget()

    assert load.compare(8.0, 0.8, varies=False) is None


def test_an_answer_in_no_time_has_no_logarithm_and_is_left_out() -> None:
    load = rising(Load())
    load.add(1, 0.0)

    assert load.compare(8.0, 0.8, varies=False) is True


def test_latencies_of_zero_by_a_coarse_clock_are_compared() -> None:
    load = Load()
    load.lowered(10.0, 0.0)
    assert not load.compare(5.0, 0.0, varies=False)
    load.lowered(10.0, 0.1)
    assert load.compare(5.0, 0.0, varies=False)


@pytest.mark.parametrize(
    ("before", "after", "helped"), [(inf, 0.1, True), (inf, inf, False), (0.1, inf, False)]
)
def test_a_round_without_an_answer_can_be_compared(
    before: float, after: float, helped: bool
) -> None:
    """All its calls timed out, and failures were usual: its latency is infinite."""
    load = Load()
    load.lowered(16.0, before)

    assert load.compare(8.0, after, varies=False) is helped
