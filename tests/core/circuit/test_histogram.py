"""ExponentialHistogram: quantiles to half a bucket, in bounded memory."""

from __future__ import annotations

from math import ceil, exp2, log2
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recloser._circuit.histogram import BUCKETS, BUCKETS_PER_OCTAVE, ExponentialHistogram

BUCKET = exp2(1 / BUCKETS_PER_OCTAVE)
LATENCIES = st.floats(min_value=2e-6, max_value=60_000.0)


def histogram_of(latencies: list[float]) -> ExponentialHistogram:
    histogram = ExponentialHistogram()
    histogram.add(latencies)
    return histogram


def exact(latencies: list[float], share: float) -> float:
    return sorted(latencies)[max(ceil(share * len(latencies)) - 1, 0)]


@given(st.lists(LATENCIES, min_size=1, max_size=300), st.floats(0.001, 1.0))
def test_a_quantile_lies_within_a_bucket_of_the_exact_one(
    latencies: list[float], share: float
) -> None:
    (found,) = histogram_of(latencies).quantiles(share)

    wanted = exact(latencies, share)
    assert wanted / BUCKET * (1 - 1e-9) <= found <= wanted * BUCKET * (1 + 1e-9)


@given(st.lists(LATENCIES, min_size=1), st.lists(st.floats(0.0, 1.0), min_size=1, max_size=9))
def test_quantiles_ascend(latencies: list[float], shares: list[float]) -> None:
    found = histogram_of(latencies).quantiles(*sorted(shares))

    assert len(found) == len(shares)
    assert list(found) == sorted(found)


@given(st.lists(LATENCIES), st.lists(LATENCIES))
def test_merging_is_adding_everything_to_one(some: list[float], others: list[float]) -> None:
    merged = histogram_of(some)
    merged.merge(histogram_of(others))

    together = histogram_of(some + others)
    assert merged.total == together.total == len(some) + len(others)
    shares = (0.0, 0.1, 0.5, 0.9, 1.0)
    assert merged.quantiles(*shares) == together.quantiles(*shares)


@given(st.lists(LATENCIES, min_size=1, max_size=100), LATENCIES)
def test_the_share_above_is_exact_to_a_bucket(latencies: list[float], latency: float) -> None:
    share = histogram_of(latencies).share_above(latency)

    at_least = sum(each > latency * BUCKET for each in latencies) / len(latencies)
    at_most = sum(each > latency / BUCKET for each in latencies) / len(latencies)
    assert at_least <= share <= at_most


@given(st.lists(st.floats(0.0, 1e9), min_size=1))
def test_no_latency_is_lost_at_the_ends(latencies: list[float]) -> None:
    histogram = histogram_of(latencies)

    assert histogram.total == len(latencies)
    assert 0.0 < histogram.quantiles(1.0)[0] <= 2.0**16


def test_memory_is_bounded_whatever_comes() -> None:
    chance = Random(1)

    histogram = histogram_of([10.0 ** chance.uniform(-12.0, 12.0) for _ in range(20_000)])

    assert len(histogram._counts) <= 36 * BUCKETS_PER_OCTAVE


def test_an_empty_one_answers_with_zeros() -> None:
    histogram = ExponentialHistogram()
    histogram.merge(ExponentialHistogram())

    assert histogram.quantiles(0.5, 0.99) == (0.0, 0.0)
    assert histogram.share_above(1.0) == 0.0


@pytest.mark.parametrize("octave", range(-19, 16))
def test_the_edges_of_octaves_fall_into_the_bucket_that_begins_there(octave: int) -> None:
    (found,) = histogram_of([exp2(octave)]).quantiles(0.0)

    assert log2(found) == pytest.approx(octave)


def test_however_far_it_is_shifted_it_stays_within_what_it_can_count() -> None:
    (longest,), (shortest,) = (histogram_of([far]).quantiles(1.0) for far in (1e12, 1e-12))
    latencies = histogram_of([0.1, 0.2, 0.4])

    latencies.shift(1e30)
    assert latencies.quantiles(1.0) == (longest,)
    assert latencies.share_above(longest) == 0.0
    latencies.shift(1e-30)

    assert latencies.quantiles(0.01)[0] <= shortest
    assert latencies.quantiles(1.0)[0] / latencies.quantiles(0.33)[0] == pytest.approx(4.0, rel=0.1)


def test_its_buckets_make_the_same_one_again() -> None:
    histogram = histogram_of([0.1, 0.2, 0.2, 7.0])
    first, counts = histogram.buckets

    again = ExponentialHistogram(first, counts)

    assert again.buckets == histogram.buckets
    assert sum(counts) == again.total == 4
    assert again.quantiles(0.5, 1.0) == histogram.quantiles(0.5, 1.0)


def test_one_that_was_made_from_buckets_shares_nothing_with_them() -> None:
    first, counts = histogram_of([0.1]).buckets
    one, other = ExponentialHistogram(first, counts), ExponentialHistogram(first, counts)

    one.add([0.1, 90.0])

    assert other.total == 1


def test_the_last_bucket_is_the_last_that_may_be_given() -> None:
    first, counts = histogram_of([1e12]).buckets

    assert first + len(counts) == BUCKETS


def test_what_is_too_short_for_a_bucket_counts_in_the_first_one() -> None:
    histogram = ExponentialHistogram()

    histogram.add([0.0, 2.0**-20, 2.0 ** (-20 + 1.5 / BUCKETS_PER_OCTAVE)])

    assert histogram.buckets == (0, (2, 1))
    # The share above is that of the buckets above the one of the latency.
    assert histogram.share_above(0.0) == pytest.approx(1.0 / 3.0)


def test_merging_extends_to_the_buckets_of_both_and_no_further() -> None:
    histogram, other = ExponentialHistogram(5, [1.0]), ExponentialHistogram(7, [2.0])

    histogram.merge(other)

    assert histogram.buckets == (5, (1.0, 0.0, 2.0))


def test_what_is_merged_into_an_empty_one_has_its_weight() -> None:
    histogram = ExponentialHistogram()

    histogram.merge(ExponentialHistogram(7, [2.0, 1.0]), 2.0)

    assert histogram.buckets == (7, (4.0, 2.0))


def test_counts_that_are_all_zero_are_nothing() -> None:
    assert ExponentialHistogram(7, [0.0, 0.0]).quantiles(0.0, 0.5) == (0.0, 0.0)
