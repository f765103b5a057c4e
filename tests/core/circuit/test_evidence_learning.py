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
