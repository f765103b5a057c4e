"""The suspicion: the test of the calls after it."""

from __future__ import annotations

from math import ceil, inf

import pytest

from recloser import Policy
from recloser._circuit.evidence import Evidence
from recloser._circuit.in_flight import InFlight, Timing
from recloser._circuit.suspicion import Suspicion
from recloser._circuit.votes import Ending, Vote
from recloser._outcome import Outcome

NOW = 100.0


def ending(token: int, took: float = 0.01, *, after: float = 1.0) -> Ending:
    return Ending(token, Outcome.FAILURE, took, NOW + after)


@pytest.fixture
def tested(policy: Policy) -> Suspicion:
    """A suspicion that begins with call 10 and is tested from `NOW` on; 12 is in flight."""
    suspicion, calls = Suspicion(10), InFlight()
    calls.voting[12] = call = Timing()
    call.started, call.answered = NOW - 0.5, inf
    suspicion.begin_test(Evidence(policy), policy, calls, NOW)
    return suspicion


def judge(suspicion: Suspicion, vote: Vote, token: int, took: float = 0.01) -> bool | None:
    assert suspicion.test is not None
    return suspicion.judge(suspicion.test, vote, ending(token, took))


def test_a_test_counts_the_calls_that_began_after_it(tested: Suspicion) -> None:
    assert tested.test is not None
    judge(tested, Vote.FAILED, 11, took=1.01)
    assert tested.test.calls == 0

    judge(tested, Vote.FAILED, 13)
    judge(tested, Vote.GOOD, 14)
    judge(tested, Vote.SLOW, 15)

    assert (tested.test.failed, tested.test.good, tested.test.slow) == (1, 1, 1)


def test_a_call_that_outlived_those_that_failed_counts_once(tested: Suspicion) -> None:
    assert tested.test is not None
    calls = InFlight()
    for token in (12, 13, 14):
        calls.voting[token] = call = Timing()
        call.started, call.answered = NOW + 0.5, inf

    outlived = tested.outlive(ending(15), calls)
    tested.test.good += outlived
    judge(tested, Vote.GOOD, 13, took=0.5)

    assert outlived == 2
    assert tested.test.good == 2


def test_so_many_slow_calls_in_doubt_are_not_enough(tested: Suspicion) -> None:
    found = [judge(tested, Vote.SLOW if token % 2 else Vote.GOOD, token) for token in range(20, 30)]

    assert found[:7] == [None] * 7
    assert False in found


@pytest.mark.parametrize("enough", [True, False])
def test_no_more_calls_must_be_good_than_usual(policy: Policy, enough: bool) -> None:
    evidence, suspicion = Evidence(policy), Suspicion(10)
    for _ in range(300):
        evidence.vote_failed(NOW)
    evidence.learn_run(NOW)
    share = 1.0 - evidence.normal_bad_rate
    assert 0.1 < share < 0.2

    suspicion.begin_test(evidence, policy, InFlight(), NOW)
    assert suspicion.test is not None
    suspicion.test.good = ceil(share * 200) - (not enough)
    suspicion.test.failed = 200 - suspicion.test.good

    assert suspicion.test.is_enough is enough


@pytest.mark.parametrize(
    ("slow", "failed", "expected"), [(3, 0, False), (2, 1, False), (1, 2, None), (0, 3, None)]
)
def test_where_half_of_the_bad_calls_are_slow_it_is_doubted_soon(
    tested: Suspicion, slow: int, failed: int, expected: bool | None
) -> None:
    """A limit refuses nobody at first, so not so much has to be sure."""
    votes = [Vote.GOOD] * 6 + [Vote.SLOW] * slow + [Vote.FAILED] * failed
    judged = [judge(tested, vote, 13 + number) for number, vote in enumerate(votes)]

    assert judged[-1] is expected
