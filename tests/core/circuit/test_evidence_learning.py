"""Evidence: what is learned as normal, and when."""

from __future__ import annotations

import pytest

from recloser import Policy
from recloser._circuit.evidence import FAILED, OVERDUE, SLOW, SLOW_ONLY, VERY_SLOW, Evidence


def passing(evidence: Evidence, *, slow: bool = False) -> None:
    """One bad call, and good ones until nobody is suspicious any more."""
    if slow:
        evidence.vote_slow(0.0, OVERDUE)
    else:
        evidence.vote_failed(0.0)
    while not evidence.idle:
        evidence.vote_good(0.0)


def test_without_a_suspicion_no_share_of_calls_is_bad() -> None:
    assert Evidence(Policy()).bad_rate == 0.0


def test_up_to_ten_generations_of_calls_are_kept() -> None:
    evidence = Evidence(Policy(history_size=100, history_span=10.0))
    evidence.quiet = 1000.0

    evidence.refresh(20.0)

    assert evidence.quiet == 1000.0


def test_of_many_slow_calls_half_are_forgotten_of_each_kind() -> None:
    evidence = Evidence(Policy(history_size=100, history_span=10.0))
    evidence.quiet = 5000.0
    for how in (SLOW_ONLY, VERY_SLOW):
        evidence.came_back(how, held=False)

    evidence.refresh(20.0)

    assert evidence._ends == (0.5, 0.5)


@pytest.mark.parametrize(("quiet", "learned"), [(1023.0, 1.0), (1024.0, 0.0)])
def test_a_young_key_learns_at_once_what_was_accepted(quiet: float, learned: float) -> None:
    """One that is settled waits: it may be the start of an outage."""
    evidence = Evidence(Policy())
    evidence.quiet = quiet

    evidence.vote_failed(0.0)
    evidence._take_for_normal()

    assert evidence._counts.get((0, FAILED), 0.0) == learned


def test_after_an_expectation_calls_are_learned_after_as_many_good_ones_as_before() -> None:
    evidence = Evidence(Policy())
    evidence.quiet = 5000.0
    evidence.expect(0.1, 0.1, None, 0.0)
    evidence.quiet += 2000.0
    passing(evidence)
    assert evidence._counts[0, FAILED] == pytest.approx(10.0)

    evidence.quiet += 200.0
    passing(evidence)

    assert evidence._counts[0, FAILED] == pytest.approx(11.0)


def test_slow_calls_that_are_not_learned_yet_are_forgotten_with_the_others() -> None:
    evidence = Evidence(Policy())
    evidence.quiet = 2000.0
    evidence.vote_slow(0.0, VERY_SLOW)
    while not evidence.idle:
        evidence.vote_good(0.0)
    assert sum(evidence._ends) == 1.0

    evidence.forget_slow()
    evidence.quiet += 200.0
    passing(evidence)

    assert sum(evidence._ends) == 0.0
    assert not any(kind == SLOW for _, kind in evidence._counts)


def test_late_calls_belong_to_the_suspicion_that_there_is() -> None:
    evidence = Evidence(Policy())
    evidence.since = 5
    evidence.vote_failed(0.0)

    evidence.take_for_slow([9, 10], 0.0)

    assert evidence.since == 5


def failing_for_a_moment(quiet: float = 2000.0) -> Evidence:
    """Of a key that knows many good calls: what it held back is accepted, and not learned yet."""
    evidence = Evidence(Policy())
    evidence.take_over(quiet, {}, (0.0, 0.0), 0.0)
    passing(evidence)
    assert sum(evidence.learned[1].values()) == 0.0
    return evidence


def test_an_opening_drops_what_was_accepted_and_not_learned_yet() -> None:
    evidence = failing_for_a_moment()

    evidence.clear()
    evidence.learn_run(0.0)

    assert sum(evidence.learned[1].values()) == 0.0


def test_good_calls_of_others_do_not_make_it_learn_sooner() -> None:
    evidence = failing_for_a_moment()

    evidence.take_over(500.0, {}, (0.0, 0.0), 0.0)
    passing(evidence)

    assert sum(evidence.learned[1].values()) == 0.0


def test_what_others_have_learned_counts_at_once() -> None:
    evidence = Evidence(Policy())
    usual = evidence.share(0)

    evidence.take_over(0.0, {(0, FAILED): 100.0}, (0.0, 0.0), 0.0)

    assert evidence.share(0)[1] > 0.5 > usual[1]


def test_an_expectation_knows_of_what_was_accepted_and_not_learned_yet() -> None:
    evidence = failing_for_a_moment(quiet=1024.0)

    evidence.expect(0.0, 0.0, None, 0.0)

    assert sum(evidence.learned[1].values()) > 0.0


def test_a_new_evidence_is_what_it_is_after_a_refresh() -> None:
    new, refreshed = Evidence(Policy()), Evidence(Policy())
    refreshed.refresh(1000.0)

    for evidence in (new, refreshed):
        for _ in range(3):
            evidence.vote_failed(1000.0)

    assert new.level == refreshed.level > 0.0
    assert new.since == 0  # no call is older


@pytest.mark.parametrize(("slow", "is_slow"), [(1, False), (2, True), (3, True)])
def test_a_callee_is_slow_where_half_of_its_bad_calls_are(slow: int, is_slow: bool) -> None:
    evidence = Evidence(Policy())
    evidence.bad, evidence.slow = 4, slow

    assert evidence.is_slow is is_slow


@pytest.mark.parametrize(
    ("calls", "bad", "over"),
    [
        (62, 2, False),
        (63, 2, True),  # this good call is the sixty-fourth
        (99, 50, False),  # half of a hundred would open
        (99, 49, True),
        (255, 200, True),
    ],
)
def test_a_suspicion_that_would_not_open_is_over_after_so_many_calls(
    calls: int, bad: int, over: bool
) -> None:
    evidence = Evidence(Policy(failure_rate_threshold=0.5))
    evidence.calls, evidence.bad, evidence.level = calls, bad, 0.9 * evidence.threshold

    assert evidence.vote_good(0.0) is over


def test_where_all_calls_of_an_outage_fail_one_good_call_ends_the_suspicion() -> None:
    evidence = Evidence(Policy(failure_rate_threshold=1.0))
    for _ in range(3):
        evidence.vote_failed(0.0)
    assert evidence.level > 0.0

    evidence.vote_good(0.0)

    assert evidence.level == 0.0
