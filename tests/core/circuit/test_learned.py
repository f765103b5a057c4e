"""What was learned: it adds up, it survives being kept, and garbage is told from it."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.training import teach

from recloser import Breaker, Policy
from recloser._circuit.detector import Detector
from recloser._circuit.evidence import FAILED, GOOD, MEMORY, SLOW, Evidence
from recloser._circuit.histogram import BUCKETS
from recloser._circuit.learned import Learned
from recloser.testing import ManualClock, no_jitter


def learned_from(latency: float, calls: int = 100, failures: int = 0) -> Learned:
    """What a breaker has learned from so many good calls and single failures among them."""
    clock = ManualClock(1000.0)
    breaker = Breaker("k", Policy(), clock=clock, random=no_jitter)
    for number in range(calls):
        teach(breaker, clock, [latency], pause=0.1)
        if number * failures // calls != (number + 1) * failures // calls:
            breaker.acquire().failure()
    circuit = breaker._circuit
    breaker.metrics()  # what ended without a decision is learned now
    return Learned.of(circuit.detector, circuit.counts.rate, clock.now)


def detector_taught(*lessons: Learned) -> Detector:
    detector = Detector(Policy())
    for each in lessons:
        each.teach_latency(detector.baseline)
        detector.refresh(2000.0)
        each.teach_evidence(detector.evidence, MEMORY * Policy().history_size, 2000.0)
    return detector


def test_a_new_worker_knows_at_once_what_is_slow() -> None:
    lesson = learned_from(0.1)

    detector = detector_taught(lesson)

    assert lesson.calls == pytest.approx(100)
    assert detector.baseline.known
    assert detector.baseline.median == pytest.approx(0.1, rel=0.1)
    assert 0.2 <= detector.baseline.threshold < 0.4


def test_what_is_known_for_long_is_known_for_long_where_it_is_taken_over() -> None:
    lesson = learned_from(0.1, calls=400)
    assert lesson.known_for > 30.0

    usual = detector_taught(lesson).baseline.usual(2000.0)

    assert usual.known_for == pytest.approx(lesson.known_for)


def test_a_new_worker_knows_how_many_calls_fail_on_a_usual_day() -> None:
    calm = detector_taught(learned_from(0.1, calls=400))
    shaky = detector_taught(learned_from(0.1, calls=400, failures=60))

    def share(detector: Detector) -> float:
        _, tally, _ = detector.evidence.learned
        failed = sum(count for (_, kind), count in tally.items() if kind == FAILED)
        return failed / (detector.evidence.quiet + sum(tally.values()))

    assert share(calm) < 0.01
    assert share(shaky) > 0.05


def test_two_workers_add_up_bucket_by_bucket_and_place_by_place() -> None:
    one, other = learned_from(0.1, failures=5), learned_from(0.8, calls=300, failures=7)

    both = one.plus(other)

    assert both.calls == pytest.approx(one.calls + other.calls)
    assert both.quiet == pytest.approx(one.quiet + other.quiet)
    assert both.ends == (one.ends[0] + other.ends[0], one.ends[1] + other.ends[1])
    assert sum(both.tally.values()) == pytest.approx(
        sum(one.tally.values()) + sum(other.tally.values())
    )
    assert {*both.tally} == {*one.tally} | {*other.tally}
    assert both.rate == other.rate
    assert detector_taught(both).baseline.median == pytest.approx(0.8, rel=0.2)


def test_what_was_added_can_be_taken_out_again() -> None:
    one, other = learned_from(0.1, failures=5), learned_from(0.8, calls=300, failures=7)

    rest = one.plus(other).minus(other)

    assert rest.calls == pytest.approx(one.calls)
    assert rest.quiet == pytest.approx(one.quiet)
    assert rest.ends == pytest.approx(one.ends)
    assert {at: rest.tally[at] for at in one.tally} == pytest.approx(one.tally)
    assert sum(rest.tally.values()) == pytest.approx(sum(one.tally.values()))
    assert detector_taught(rest).baseline.median == pytest.approx(0.1, rel=0.2)


def test_what_was_never_added_leaves_nothing_below_zero() -> None:
    small, large = learned_from(0.1), learned_from(0.8, calls=300, failures=7)

    rest = small.minus(large.times(1.0)).minus(small).minus(small)

    assert min(rest.latencies) == 0.0
    assert (rest.quiet, rest.ends) == (0.0, (0.0, 0.0))
    assert all(count == 0.0 for count in rest.tally.values())
    Learned.from_plain(rest.as_plain())


def test_a_weight_makes_all_counts_smaller_and_leaves_times_as_they_are() -> None:
    lesson = learned_from(0.1, failures=5)

    half = lesson.times(0.5)

    assert half.calls == pytest.approx(lesson.calls / 2)
    assert half.quiet == pytest.approx(lesson.quiet / 2)
    assert sum(half.tally.values()) == pytest.approx(sum(lesson.tally.values()) / 2)
    assert (half.rate, half.known_for, half.first) == (
        lesson.rate,
        lesson.known_for,
        lesson.first,
    )


def test_what_is_taught_weighs_no_more_than_the_history_of_the_detector() -> None:
    """Else a fleet of many workers could never learn a new latency."""
    heavy = learned_from(0.1)
    for _ in range(100):
        heavy = heavy.plus(heavy)

    detector = detector_taught(heavy)

    assert detector.baseline.history().total <= Policy().history_size * 1.01
    quiet, tally, _ = detector.evidence.learned
    judged = quiet + sum(tally.values())
    assert judged <= MEMORY * Policy().history_size * 1.01
    assert quiet / judged == pytest.approx(heavy.quiet / (heavy.quiet + sum(heavy.tally.values())))


def test_it_survives_being_a_text() -> None:
    lesson = learned_from(0.1, failures=5)

    again = Learned.from_plain(json.loads(json.dumps(lesson.as_plain())))

    assert again.calls == pytest.approx(lesson.calls, rel=0.01)
    assert again.as_plain() == lesson.as_plain()


CHANGES: list[dict[str, Any]] = [
    {"first": -1},
    {"first": 10_000},
    {"first": "many"},
    {"latencies": [1.0] * 5_000},
    {"latencies": [-1.0]},
    {"latencies": [nan]},
    {"latencies": [inf]},
    {"latencies": [1e300]},
    {"latencies": ["1"]},
    {"latencies": [True]},
    {"latencies": None},
    {"quiet": -0.5},
    {"quiet": "1"},
    {"tally": [[9, 0, 1.0]]},
    {"tally": [[0, 3, 1.0]]},
    {"tally": [[0, 0]]},
    {"tally": 7},
    {"ends": [1.0]},
    {"ends": [1.0, -1.0]},
    {"rate": None},
    {"known_for": []},
]


@pytest.mark.parametrize("change", CHANGES, ids=repr)
def test_garbage_is_told_from_what_was_learned(change: dict[str, Any]) -> None:
    plain = learned_from(0.1).as_plain()
    Learned.from_plain(plain)

    with pytest.raises(ValueError, match="this is not what was learned"):
        Learned.from_plain({**plain, **change})


@pytest.mark.parametrize("name", learned_from(0.1, calls=30).as_plain())
def test_each_part_is_needed(name: str) -> None:
    plain = learned_from(0.1, calls=30).as_plain()
    del plain[name]

    with pytest.raises(ValueError, match="this is not what was learned"):
        Learned.from_plain(plain)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@given(JSON)
def test_whatever_json_holds_nothing_but_a_value_error_is_raised(plain: object) -> None:
    with pytest.raises(ValueError, match="this is not what was learned"):
        Learned.from_plain(plain)


def test_evidence_takes_over_good_calls_runs_and_ends_and_gives_them_again() -> None:
    mine, theirs = Evidence(Policy()), ((40.0, {(0, 1): 2.0, (1, 2): 3.0}, (1.0, 4.0)))

    mine.take_over(*theirs, 1000.0)
    mine.take_over(*theirs, 1000.0)

    quiet, tally, ends = mine.learned
    assert quiet == 80.0
    assert tally == {(0, 1): 4.0, (1, 2): 6.0}
    assert ends == (2.0, 8.0)


def test_what_evidence_gives_is_a_copy() -> None:
    evidence = Evidence(Policy())
    evidence.take_over(1.0, {(0, 1): 2.0}, (0.0, 0.0), 1000.0)

    evidence.learned[1].clear()

    assert evidence.learned[1] == {(0, 1): 2.0}


def lesson(**changes: Any) -> Learned:
    """A small lesson with numbers of its own for each part."""
    parts: dict[str, Any] = {
        "first": 100,
        "latencies": (2.0, 5.0),
        "quiet": 40.0,
        "tally": {(0, 1): 2.0, (1, 2): 60.0},
        "ends": (7.0, 3.0),
        "rate": 4.0,
        "known_for": 90.0,
    }
    return Learned(**{**parts, **changes})


def test_ends_add_up_kind_by_kind_and_the_longest_time_counts() -> None:
    both = lesson().plus(lesson(ends=(10.0, 20.0), known_for=30.0))

    assert both.ends == (17.0, 23.0)
    assert both.known_for == 90.0


def test_what_is_taken_out_is_taken_out_kind_by_kind() -> None:
    part = lesson(latencies=(1.0, 1.0, 9.0, 9.0), tally={(1, 2): 10.0}, ends=(2.0, 4.0))

    rest = lesson().minus(part)

    assert rest.latencies == (1.0, 4.0)  # of buckets that are not here nothing is taken
    assert rest.tally == {(0, 1): 2.0, (1, 2): 50.0}
    assert rest.ends == (5.0, 0.0)
    assert lesson(ends=(3.0, 7.0)).minus(part).ends == (1.0, 3.0)


def test_a_weight_makes_the_ends_of_each_kind_fewer() -> None:
    assert lesson().times(0.5).ends == (3.5, 1.5)


def test_few_calls_are_taught_as_they_are() -> None:
    detector = detector_taught(lesson())

    assert detector.baseline.history().total == pytest.approx(7.0)
    quiet, tally, ends = detector.evidence.learned
    assert (quiet, tally, ends) == (40.0, {(0, 1): 2.0, (1, 2): 60.0}, (7.0, 3.0))


def test_good_and_bad_calls_together_weigh_no_more_than_they_may() -> None:
    evidence = Evidence(Policy())

    lesson().teach_evidence(evidence, 51.0, 1000.0)

    quiet, tally, _ = evidence.learned
    assert quiet == pytest.approx(20.0)
    assert tally == pytest.approx({(0, 1): 1.0, (1, 2): 30.0})


def test_a_text_has_no_more_digits_than_counts_need() -> None:
    plain = lesson(
        latencies=(1.23456,),
        quiet=9.87654,
        tally={(0, 1): 0.123456},
        ends=(0.123456, 0.6),
        known_for=12.345,
    ).as_plain()

    assert plain["latencies"] == [1.23]
    assert plain["quiet"] == 9.88
    assert plain["tally"] == [[0, 1, 0.123]]
    assert plain["ends"] == [0.123, 0.6]
    assert plain["known_for"] == 12.3


@pytest.mark.parametrize(
    ("quiet", "tally", "shares"),
    [
        (60.0, {(0, GOOD): 5.0, (0, SLOW): 10.0, (2, SLOW): 5.0, (3, FAILED): 20.0}, (0.15, 0.2)),
        (0.0, {(0, FAILED): 3.0}, (0.0, 0.1)),
        (0.0, {}, (0.0, 0.0)),
    ],
)
def test_shares_are_of_all_calls_and_of_thirty_at_least(
    quiet: float, tally: dict[tuple[int, int], float], shares: tuple[float, float]
) -> None:
    learned = replace(lesson(), quiet=quiet, tally=tally)

    assert learned.shares == pytest.approx(shares)


@pytest.mark.parametrize(
    "change",
    [
        {"first": 0},
        {"first": BUCKETS - 2},
        {"quiet": 1e12},
        {"tally": [[8, 2, 1.0]]},
    ],
    ids=repr,
)
def test_what_is_just_possible_is_learned(change: dict[str, Any]) -> None:
    plain = {**lesson().as_plain(), **change}

    assert Learned.from_plain(plain).as_plain() == plain


@pytest.mark.parametrize(
    "change",
    [{"first": inf}, {"first": BUCKETS - 1}, {"tally": [[0, 1, 1.0], [9, 0, 1.0]]}],
    ids=repr,
)
def test_what_is_just_not_possible_is_garbage(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="this is not what was learned"):
        Learned.from_plain({**lesson().as_plain(), **change})
