"""Evidence: how surprising bad calls are, and how often chance alone opens."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from math import exp, log
from random import Random
from statistics import median

import pytest

from recloser import Breaker, Policy, State
from recloser._circuit.evidence import FAILED, GOOD, OVERDUE, SLOW, Evidence
from recloser.testing import ManualClock, no_jitter

INDEPENDENT = (0.05, 0.05)
IN_RUNS = (0.02, 0.7)


def chain(p01: float, p11: float, seed: int) -> Iterator[bool]:
    """Whether calls are bad: a chain of two states."""
    chance, bad = Random(seed), False
    while True:
        bad = chance.random() < (p11 if bad else p01)
        yield bad


def recover(breaker: Breaker) -> None:
    breaker.half_open()
    for _ in range(20):
        breaker.record(0.01, success=True)
    assert breaker.state is State.CLOSED


def taught(p01: float, p11: float, policy: Policy, calls: int = 20_000) -> Breaker:
    """A breaker that knows a chain, and is at rest."""
    breaker = Breaker("k", policy, clock=ManualClock(), random=no_jitter)
    for bad in islice(chain(p01, p11, seed=7), calls):
        breaker.record(0.01, success=not bad)
        if breaker.state is State.OPEN:
            recover(breaker)
    for _ in range(200):
        if breaker.metrics().evidence == 0.0:
            return breaker
        breaker.record(0.01, success=True)
    raise AssertionError("two hundred good calls did not put it at rest")


def step(evidence: Evidence, *votes: bool) -> float:
    """What the last of some votes (bad or not) adds, far from both ends."""
    evidence.clear()
    for bad in votes:
        evidence.level = before = 10.0
        if bad:
            evidence.vote_failed(0.0)
        else:
            evidence.vote_good(0.0)
    return evidence.level - before


def cast(evidence: Evidence, vote: str) -> None:
    if vote == "g":
        evidence.vote_good(0.0)
    elif vote == "s":
        evidence.vote_slow(0.0, OVERDUE)
    else:
        evidence.vote_failed(0.0)


@pytest.mark.parametrize("normal", [INDEPENDENT, IN_RUNS])
def test_under_normal_the_likelihood_ratio_is_a_martingale(normal: tuple[float, float]) -> None:
    """E[exp(step)] <= 1, after a good and after a bad call; the rest is for slow calls, of which
    there are none here, and for what is not known exactly."""
    p01, p11 = normal
    policy = Policy(false_trip_interval=1e15, history_size=1_000_000, min_failures=10_000)
    evidence = taught(p01, p11, policy)._circuit.detector.evidence

    after_good = (1 - p01) * exp(step(evidence, False, False)) + p01 * exp(
        step(evidence, False, True)
    )
    after_bad = (1 - p11) * exp(step(evidence, True, False)) + p11 * exp(step(evidence, True, True))

    assert 0.3 < after_good < 1.05
    # A depth is no more than a summary of the calls before: here it stands for two states.
    assert 0.3 < after_bad < 1.5


@pytest.mark.parametrize("normal", [INDEPENDENT, IN_RUNS, (0.0, 0.0)])
@pytest.mark.parametrize("before", ["", "f", "s", "ffff", "ffg", "fsgsgg", "gggf", "ssssssss"])
def test_by_what_it_takes_for_normal_the_ratio_has_mean_one(
    normal: tuple[float, float], before: str
) -> None:
    """In closed form, in every row and whatever came before: where Lorden's bound comes from."""
    evidence = taught(*normal, Policy(false_trip_interval=1e15), 5_000)._circuit.detector.evidence

    mean = total = 0.0
    for letter, kind in (("g", GOOD), ("s", SLOW), ("f", FAILED)):
        evidence.clear()
        for vote in before:
            cast(evidence, vote)
        odds = evidence._normal_odds(evidence._row, kind)
        evidence.level = 10.0
        cast(evidence, letter)
        total += odds
        mean += odds * exp(evidence.level - 10.0)

    assert total == pytest.approx(1.0)
    assert mean == pytest.approx(1.0)


INTERVAL, CALLS = 2_000, 60_000


def openings(normal: tuple[float, float], seed: int) -> list[int]:
    """Play a key whose failures are normal; return the number of failures behind each opening."""
    clock = ManualClock()
    breaker = Breaker("k", Policy(false_trip_interval=INTERVAL), clock=clock, random=no_jitter)
    found: list[int] = []
    for bad in islice(chain(*normal, seed=seed), CALLS):
        clock.advance(0.02)
        breaker.record(0.01, success=not bad)
        if breaker.state is State.OPEN:
            found.append(breaker._circuit.detector.evidence.bad)
            clock.advance(100.0)
            recover(breaker)
    return found


@pytest.mark.parametrize("normal", [(0.02, 0.02), (0.2, 0.2), (0.05, 0.5)])
@pytest.mark.parametrize("seed", [1, 2])
def test_chance_opens_no_more_often_than_asked(normal: tuple[float, float], seed: int) -> None:
    assert len(openings(normal, seed)) <= 1.5 * CALLS / INTERVAL


@pytest.mark.parametrize("seed", [1, 2])
def test_where_most_calls_of_a_run_fail_it_opens_more_often_but_only_in_long_runs(
    seed: int,
) -> None:
    """Such failing is never taken for normal, see `correction.py`: the price is known."""
    found = openings(IN_RUNS, seed)

    assert len(found) <= 4 * CALLS / INTERVAL
    # With 45 % of failures, a run is as long as this once in N calls.
    assert median(found) == pytest.approx(log(INTERVAL) / log(1.0 / 0.45), abs=1.0)


@pytest.mark.parametrize("seed", [1, 2])
def test_chance_suffices_no_more_often_than_asked_where_calls_are_slow_in_runs(seed: int) -> None:
    evidence, enough = Evidence(Policy(false_trip_interval=INTERVAL)), 0

    for number, bad in enumerate(islice(chain(*IN_RUNS, seed=seed), CALLS)):
        if not bad and evidence.idle:
            evidence.quiet += 1
        elif not bad:
            evidence.vote_good(0.02 * number)
        elif evidence.vote_slow(0.02 * number, OVERDUE):
            enough += 1
            evidence.clear()
        if number % 500 == 0:
            evidence.refresh(0.02 * number)

    assert enough <= 1.5 * CALLS / INTERVAL


@pytest.mark.parametrize(("normal", "most"), [((0.01, 0.01), 6), ((0.1, 0.1), 12), (IN_RUNS, 90)])
def test_an_outage_is_noticed_in_a_number_of_calls_that_fits_what_is_normal(
    normal: tuple[float, float], most: int
) -> None:
    breaker = taught(*normal, Policy())

    needed = 0
    while breaker.state is State.CLOSED:
        breaker.record(0.01, success=False)
        needed += 1

    assert 5 <= needed <= most


def test_one_failure_of_a_key_that_never_failed_opens_nothing() -> None:
    breaker = taught(0.0, 0.0, Policy(min_failures=1))

    breaker.record(0.01, success=False)

    assert breaker.state is State.CLOSED


def test_it_never_opens_on_fewer_bad_calls_than_min_failures() -> None:
    breaker = taught(0.0, 0.0, Policy(min_failures=9, false_trip_interval=100.0))

    for _ in range(8):
        breaker.record(0.01, success=False)
        assert breaker.state is State.CLOSED
    breaker.record(0.01, success=False)

    assert breaker.state is State.OPEN


def test_a_share_of_bad_calls_below_the_rate_threshold_never_opens() -> None:
    breaker = taught(0.0, 0.0, Policy(failure_rate_threshold=0.5))

    for index in range(3_000):
        breaker.record(0.01, success=index % 3 != 0)

    assert breaker.state is State.CLOSED


def test_evidence_of_long_ago_has_faded(breaker: Breaker, clock: ManualClock) -> None:
    for _ in range(4):
        breaker.record(0.01, success=False)
    before = breaker.metrics().evidence

    clock.advance(10 * Policy().evidence_half_life)
    breaker.record(0.01, success=False)

    assert 0.0 < breaker.metrics().evidence < before
    assert breaker.state is State.CLOSED


def test_rare_calls_that_all_fail_do_open(breaker: Breaker, clock: ManualClock) -> None:
    """A call every ten seconds is no silence."""
    for _ in range(10):
        clock.advance(10.0)
        breaker.record(0.01, success=False)

    assert breaker.state is State.OPEN


def test_what_comes_to_nothing_is_learned_as_normal() -> None:
    breaker = taught(0.0, 0.0, Policy(), calls=200)
    before = breaker.metrics().normal_bad_rate

    for _ in range(30):
        for _ in range(2):
            breaker.record(0.01, success=False)
        for _ in range(18):
            breaker.record(0.01, success=True)

    assert breaker.metrics().evidence == 0.0
    assert before < 0.05 < breaker.metrics().normal_bad_rate < 0.15


def test_enough_is_the_logarithm_of_the_interval() -> None:
    assert Evidence(Policy(false_trip_interval=1e6)).threshold == pytest.approx(log(1e6))


def test_outages_again_and_again_do_not_teach_that_they_are_normal(
    breaker: Breaker, clock: ManualClock
) -> None:
    """What was taken for normal just before it opened was the beginning of the outage."""
    chance = Random(3)

    def play(share: float, calls: int) -> int:
        for call in range(calls):
            clock.advance(0.02)
            breaker.record(0.01, success=chance.random() >= share)
            if breaker.state is State.OPEN:
                clock.advance(30.0)
                recover(breaker)
                return call + 1
        return calls

    play(0.1, 5_000)
    needed: list[int] = []
    for _ in range(60):
        needed.append(play(0.6, 2_000))
        play(0.1, 200)

    assert sum(needed[-20:]) / 20 <= 45


def test_a_long_run_of_failures_of_a_key_in_runs_is_noticed_soon() -> None:
    """However it failed before, no more than 45 % of failures in a run are normal."""
    breaker = taught(0.01, 0.8, Policy())

    needed = 0
    while breaker.state is State.CLOSED:
        breaker.record(0.01, success=False)
        needed += 1

    assert needed == pytest.approx(log(1e6) / log(1.0 / 0.45), abs=2.0)


def test_a_long_run_of_slow_calls_of_a_key_in_runs_is_still_noticed() -> None:
    """Runs differ, but none is taken to be so long that it would never be enough."""
    evidence = Evidence(Policy())
    for bad in islice(chain(0.01, 0.8, seed=7), 20_000):
        if bad:
            enough = evidence.vote_slow(0.0, OVERDUE)
        else:
            enough = False
            evidence.vote_good(0.0)
        if enough:
            evidence.learn_run(0.0)
            evidence.clear()
    evidence.refresh(0.0)
    evidence.clear()

    needed = 1
    while not evidence.vote_slow(0.0, OVERDUE):
        needed += 1

    assert 40 <= needed <= 160


# A limit instead of an opening


def test_to_restart_it_drops_the_evidence_and_keeps_what_may_be_normal() -> None:
    kept, dropped = Evidence(Policy()), Evidence(Policy())
    for evidence in (kept, dropped):
        for _ in range(10):
            evidence.vote_slow(0.0, OVERDUE)
    kept.restart()
    dropped.clear()

    for evidence in (kept, dropped):
        assert (evidence.level, evidence.calls, evidence.bad, evidence.slow) == (0.0, 0, 0, 0)
        assert evidence.idle
        evidence.learn_run(0.0)

    assert dropped.normal_bad_rate == pytest.approx(0.02)
    assert kept.normal_bad_rate == pytest.approx((10.0 + 1.0) / 60.0)


def test_an_expectation_never_lowers_what_was_learned() -> None:
    evidence = Evidence(Policy())
    evidence.expect(0.4, 0.1, None, 0.0)
    evidence.expect(0.0, 0.3, None, 0.0)

    slow, failed = evidence.share(0)

    # It weighs a hundred calls, and the prior weighs fifty.
    assert slow == pytest.approx((40.0 + 1.0) / 150.0)
    assert failed == pytest.approx((30.0 + 1.0) / 150.0)


def test_if_slow_means_another_latency_only_what_was_learned_of_slow_calls_is_forgotten() -> None:
    evidence = Evidence(Policy())
    evidence.quiet = 2000.0
    for _ in range(50):
        for _ in range(4):
            evidence.vote_slow(0.0, OVERDUE)
        for _ in range(4):
            evidence.vote_failed(0.0)
        for _ in range(20):
            evidence.vote_good(0.0)
        evidence.learn_run(0.0)
    in_run = evidence.share(4)

    evidence.forget_slow()
    evidence.refresh(0.0)

    slow, failed = evidence.share(4)
    assert in_run[0] > 0.2
    assert slow < 0.05
    assert failed >= in_run[1] > 0.2


@pytest.mark.parametrize(("quiet", "settled"), [(1023.0, False), (1024.0, True)])
def test_a_key_is_settled_after_a_thousand_good_calls(quiet: float, settled: bool) -> None:
    evidence = Evidence(Policy())

    evidence.quiet = quiet

    assert evidence.is_settled is settled


@pytest.mark.parametrize(
    ("silence", "halvings"), [(0.0, 0), (59.0, 0), (60.0, 0), (120.0, 2), (180.0, 3), (600.0, 10)]
)
def test_evidence_halves_in_each_half_life_of_a_silence(silence: float, halvings: int) -> None:
    """And not at all in a shorter silence: three failures a minute apart count in full."""
    policy = Policy(evidence_half_life=60.0)

    def level_after(*votes_at: float) -> float:
        evidence = Evidence(policy)
        for at in votes_at:
            evidence.vote_failed(at)
        return evidence.level

    before = level_after(0.0, 0.0)
    weight = level_after(0.0, 0.0, 0.0) - before
    after = level_after(0.0, 0.0, silence)

    assert after == pytest.approx(before * 0.5**halvings + weight)


def test_of_many_calls_half_are_forgotten_and_not_more_often_than_once_in_a_span() -> None:
    evidence = Evidence(Policy(history_size=100, history_span=10.0))
    evidence.quiet, quiet = 4008.0, []
    for now in (9.9, 10.0, 19.9, 20.0, 30.0, 40.0):
        evidence.refresh(now)
        quiet.append(evidence.quiet)

    # A thousand calls are not too many.
    assert quiet == [4008.0, 2004.0, 2004.0, 1002.0, 501.0, 501.0]


def test_a_key_with_few_calls_forgets_none_of_them() -> None:
    """One with many forgets half of them now and then."""
    for calls, kept in ((100, 1.0), (1_000_000, 0.5)):
        evidence = Evidence(Policy())
        evidence.quiet = float(calls)

        evidence.refresh(1e6)

        assert evidence.quiet == kept * calls


def test_good_calls_of_a_suspicion_that_is_over_are_normal(policy: Policy) -> None:
    evidence = Evidence(policy)
    before, calls = evidence.quiet, 1
    evidence.vote_failed(0.0)
    while not evidence.vote_good(0.0):
        calls += 1

    assert evidence.quiet > before
    assert calls > 1


def test_while_most_calls_are_good_a_good_one_still_says_that_it_is_no_outage() -> None:
    """In an outage half of the calls at most are good, by `Policy.failure_rate_threshold`."""
    evidence = Evidence(Policy())

    assert step(evidence, True, *[False] * 9) < log(0.6)


def calls_until_normal(*bad: bool) -> int:
    """For how many calls a suspicion lasts that does not fade, if these calls come again and again."""
    evidence, calls = Evidence(Policy()), 0
    evidence.vote_failed(0.0)
    while True:
        for is_bad in bad:
            evidence.level, calls = 10.0, calls + 1
            if is_bad:
                evidence.vote_failed(0.0)
            elif evidence.vote_good(0.0):
                return calls


def test_a_suspicion_is_given_up_sooner_where_fewer_calls_are_bad_than_would_open() -> None:
    assert calls_until_normal(False, False, False) < calls_until_normal(True, False)


@pytest.mark.parametrize(("bad", "calls", "enough"), [(5, 10, True), (5, 11, False), (4, 4, False)])
def test_evidence_is_enough_where_so_many_and_such_a_share_of_the_calls_are_bad(
    bad: int, calls: int, enough: bool
) -> None:
    evidence = Evidence(Policy(failure_rate_threshold=0.5, min_failures=5))
    evidence.level, evidence.bad, evidence.calls = evidence.threshold, bad, calls

    assert evidence.is_enough is enough
