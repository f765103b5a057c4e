"""Foresight: calls in flight that tell of an outage before the first of them is overdue."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

import pytest
from tests.support.limits import hang
from tests.support.training import everyday, teach

from recloser import Breaker, Permit, Policy, State
from recloser._circuit.evidence import Evidence
from recloser._circuit.histogram import ExponentialHistogram
from recloser._circuit.in_flight import WAITING, InFlight, Timing
from recloser._circuit.late_calls import LateCalls, as_good_as_slow, find_late
from recloser._http.client_waits import ClientPermit
from recloser.testing import ManualClock, no_jitter

GAP = 0.01
POLICY = Policy()  # five bad calls at least
# A call is late after 0.75 s then, and there are 25 checks a second.
THRESHOLD, NOW, CHECK = 1.25, 1000.0, 1.25 / 32.0


@pytest.fixture
def breaker(breaker: Breaker, clock: ManualClock) -> Breaker:
    """It has seen two thousand calls of about 0.1 s, and calls 0.25 to 0.3 s slow."""
    teach(breaker, clock, everyday(2_000))
    assert 0.2 < breaker.metrics().slow_threshold < 0.31
    return breaker


def ask(breaker: Breaker, clock: ManualClock, seconds: float) -> list[Permit]:
    """Ask to call at even distances; the calls that were admitted, none of which ends."""
    admitted: list[Permit] = []
    for _ in range(round(seconds / GAP)):
        clock.advance(GAP)
        permit = breaker.try_acquire()
        if permit is not None:
            admitted.append(permit)
    return admitted


def test_calls_of_which_none_comes_back_limit_before_one_is_overdue(
    breaker: Breaker, clock: ManualClock
) -> None:
    threshold = breaker.metrics().slow_threshold

    hung = ask(breaker, clock, threshold - GAP)

    assert breaker.state is State.LIMITED
    assert len(hung) < threshold / GAP
    reason = breaker.refusal().reason
    assert reason is not None
    assert reason.numbers["late"] >= 5
    # Usually less than one call is in flight, so those that have piled up say nothing.
    assert reason.numbers["limit"] == 2


def test_calls_of_which_none_comes_back_open_when_the_callee_is_mute(
    breaker: Breaker, clock: ManualClock
) -> None:
    threshold, began = breaker.metrics().slow_threshold, clock.now

    hang(breaker, clock, until=State.OPEN, gap=GAP)

    assert clock.now - began < 9.0 * threshold


def test_calls_that_come_back_though_later_ones_do_not_speak_against_it(
    breaker: Breaker, clock: ManualClock
) -> None:
    threshold = breaker.metrics().slow_threshold
    calls = ask(breaker, clock, 0.5 * threshold)

    for permit in calls[1::2]:
        permit.success()
    ask(breaker, clock, 0.5 * threshold - GAP)

    assert breaker.state is State.CLOSED


def test_fewer_late_calls_than_min_failures_say_nothing(
    breaker: Breaker, clock: ManualClock
) -> None:
    for _ in range(4):
        breaker.acquire()
    clock.advance(0.9 * breaker.metrics().slow_threshold)

    breaker.acquire()

    assert breaker.state is State.CLOSED
    assert breaker.metrics().evidence == 0.0


def test_a_call_that_has_begun_to_answer_is_not_late(breaker: Breaker, clock: ManualClock) -> None:
    threshold = breaker.metrics().slow_threshold
    for _ in range(round(threshold / GAP) - 2):
        clock.advance(GAP)
        breaker.acquire().mark()

    assert breaker.state is State.CLOSED


def test_a_key_that_has_seen_few_calls_foresees_nothing(clock: ManualClock) -> None:
    """The first calls to end are the fast ones: what is known of a young key is too fast."""
    breaker = Breaker("k", clock=clock, random=no_jitter)
    teach(breaker, clock, everyday(200))

    ask(breaker, clock, breaker.metrics().slow_threshold - GAP)

    assert breaker.state is State.CLOSED


def test_what_was_foreseen_wrongly_is_learned(breaker: Breaker, clock: ManualClock) -> None:
    """A pause of the callee that was over before anything was slow was no outage."""
    before = breaker.metrics().normal_bad_rate
    late = ask(breaker, clock, breaker.metrics().slow_threshold - GAP)
    assert breaker.state is State.LIMITED

    for permit in late:
        permit.success()
    for _ in range(100):
        clock.advance(GAP)
        if (probe := breaker.try_acquire()) is not None:
            probe.success()

    assert breaker.metrics().state is State.CLOSED
    assert breaker.metrics().normal_bad_rate > before


# Which calls are late


class Announced(Timing):
    __slots__ = ()

    @property
    def announced(self) -> str:
        return "GET text/event-stream"


def in_flight(*ages: float) -> dict[int, Timing]:
    """Calls with the tokens from 1 on that began so many seconds ago, oldest first."""
    calls: dict[int, Timing] = {}
    for token, age in enumerate(ages, 1):
        call = calls[token] = Timing()
        call.started, call.answered = NOW - age, inf
    return calls


def table_of(voting: dict[int, Timing], renamed: tuple[int, ...] = ()) -> InFlight:
    calls = InFlight()
    calls.voting, calls.renamed = voting, renamed
    return calls


def late(
    voting: dict[int, Timing],
    next_token: int = 0,
    lost: float = 0.0,
    renamed: tuple[int, ...] = (),
) -> LateCalls:
    next_token = next_token or len(voting) + 1
    calls = table_of(voting, renamed)
    return find_late(calls, next_token, THRESHOLD, POLICY, NOW, lambda since, now: lost)


def test_a_call_is_late_after_three_fifths_of_the_slow_threshold() -> None:
    found = late(in_flight(1.0, 1.0, 0.875, 0.875, 0.75, 0.5))

    assert found.calls == [(1, 1.0), (2, 1.0), (3, 0.875), (4, 0.875), (5, 0.75)]


def test_a_token_that_was_given_up_is_no_call_that_came_back() -> None:
    """A call that waits for its own client begins later, with another token."""
    voting = in_flight(*[1.0] * 5, 0.1)
    voting[12] = voting.pop(6)

    assert late(voting, 13).came_back == 6
    assert late(voting, 13, renamed=(2, *range(6, 12))).came_back == 0
    assert late(voting, 13, renamed=(12, 13)).came_back == 5


@pytest.mark.parametrize(
    ("first", "last", "calls"), [(3, 4, 0), (2, 4, 0), (2, 3, 0), (2, 6, 2), (3, 9, 4), (6, 8, 0)]
)
def test_a_token_that_was_given_up_is_no_call_between_two_others(
    first: int, last: int, calls: int
) -> None:
    assert LateCalls(0.0, [], 0, renamed=(3, 7)).between(first, last) == calls


@pytest.mark.parametrize("pieces", [0, 1, 5])
def test_an_upload_in_progress_does_not_delay_to_notice_a_hang(
    breaker: Breaker, clock: ManualClock, pieces: int
) -> None:
    """Each piece that the handler waits for ends with a new token of its call."""
    uploads = breaker.admit_strict(ClientPermit)
    assert isinstance(uploads, ClientPermit)
    began, hung = clock.now, list[Permit | None]()
    while breaker.state is State.CLOSED and len(hung) < 100:
        hung.append(breaker.try_acquire())
        for _ in range(pieces):
            uploads.wait()
            clock.advance(GAP / pieces)
            uploads.go_on()
        if not pieces:
            clock.advance(GAP)

    # As soon as without it, but for the evidence of the call that is not late.
    assert clock.now - began < 0.85 * breaker.metrics().slow_threshold


def test_with_four_late_calls_it_waits_for_the_fifth() -> None:
    found = late(in_flight(1.0, 1.0, 1.0, 1.0, 0.625, 0.5))

    assert found.calls == []
    assert found.check_at == NOW + 0.125


def test_with_few_calls_in_flight_the_next_one_may_be_the_fifth() -> None:
    found = late(in_flight(1.0, 1.0))

    assert found.calls == []
    assert found.check_at == NOW + 0.75


def test_between_two_checks_there_is_some_time() -> None:
    assert late(in_flight(*[1.0] * 5)).check_at == NOW + CHECK
    assert late(in_flight(*[1.0] * 4, 0.74)).check_at == NOW + CHECK


@pytest.mark.parametrize("lost", [0.01, 10.0])
def test_after_the_process_stood_still_no_call_is_late(lost: float) -> None:
    found = late(in_flight(*[1.0] * 8), lost=lost)

    assert found.calls == []
    assert found.check_at == NOW + CHECK


def test_a_call_that_answers_or_waits_for_its_client_is_not_late() -> None:
    voting = in_flight(*[1.0] * 8)
    voting[2].answered = NOW - 0.5
    voting[3].answered = WAITING
    voting[4] = Announced()
    voting[4].started, voting[4].answered = NOW - 1.0, inf

    assert [token for token, _ in late(voting).calls] == [1, 5, 6, 7, 8]


@pytest.mark.parametrize(("began", "came_back"), [(0, 0), (1, 1), (7, 7)])
def test_calls_that_began_later_and_are_gone_came_back(began: int, came_back: int) -> None:
    voting = in_flight(*[1.0] * 5, 0.5, 0.25)

    assert late(voting, next_token=8 + began).came_back == came_back


# Whether they are enough


def known(latencies: Iterable[float]) -> ExponentialHistogram:
    history = ExponentialHistogram()
    history.add(latencies)
    return history


FAST = known([0.1] * 2_000)


def enough(
    calls: Iterable[tuple[int, float]],
    came_back: int = 0,
    evidence: Evidence | None = None,
    policy: Policy = POLICY,
    history: ExponentialHistogram = FAST,
) -> list[int]:
    evidence = Evidence(policy) if evidence is None else evidence
    return as_good_as_slow(evidence, policy, LateCalls(0.0, [*calls], came_back), lambda: history)


def calls_of(*tokens: int, age: float = 0.5) -> list[tuple[int, float]]:
    return [(token, age) for token in tokens]


def after_failures(failures: int, since: int = 1) -> Evidence:
    evidence = Evidence(POLICY)
    for _ in range(failures):
        evidence.vote_failed(0.0)
    evidence.since = since
    return evidence


def test_five_calls_in_a_row_that_take_longer_than_any_before_are_enough() -> None:
    assert enough(calls_of(1)) == []
    assert enough(calls_of(1, 2, 3, 4)) == []
    assert enough(calls_of(1, 2, 3, 4, 5)) == [1, 2, 3, 4, 5]


def test_late_calls_that_are_enough_are_so_although_as_slow_ones_they_would_not_be() -> None:
    evidence = Evidence(POLICY)
    evidence.expect(0.3, 0.0, None, 0.0)

    assert evidence.take_for_slow([1, 2, 3, 4, 5], 0.0)
    assert evidence.level == evidence.threshold


def test_calls_that_many_normal_ones_outlast_are_not() -> None:
    half = known([0.1, 1.0] * 1_000)

    assert enough(calls_of(*range(1, 9)), history=half) == []
    assert len(enough(calls_of(*range(1, 41)), history=half)) == 40


def test_each_call_that_came_back_since_must_be_outweighed() -> None:
    """By two more that did not, where hardly any call takes so long."""
    needed = [
        next(many for many in range(1, 50) if enough(calls_of(*range(1, many + 1)), came_back))
        for came_back in range(6)
    ]

    assert needed[:2] == [5, 6]
    assert needed[1:] == sorted({*needed[1:]})
    assert needed[-1] - needed[1] == pytest.approx(4 * 2, abs=1)


def test_a_call_that_came_back_in_between_hides_the_older_ones() -> None:
    """What is weighed are those after it, as far as they are enough by themselves."""
    assert enough(calls_of(1, *range(3, 9))) == [*range(3, 9)]
    assert enough(calls_of(*range(1, 4), *range(6, 10))) == []
    assert enough(calls_of(*range(1, 40, 2))) == []


def test_after_many_late_calls_one_that_came_back_hides_few() -> None:
    assert enough(calls_of(*range(1, 9), *range(10, 14))) == [*range(1, 9), *range(10, 14)]


def test_bad_calls_before_count_with_the_late_ones() -> None:
    assert enough(calls_of(11), evidence=after_failures(3)) == []
    assert enough(calls_of(11, 12), evidence=after_failures(3)) == [11, 12]
    assert enough(calls_of(11), evidence=after_failures(4)) == [11]


def test_late_calls_from_before_the_suspicion_are_none_of_it() -> None:
    evidence = after_failures(3, since=12)

    assert enough(calls_of(10, 11, 12), evidence=evidence) == []
    assert enough(calls_of(10, 11, 12, 13), evidence=evidence) == [12, 13]


def test_without_a_suspicion_it_does_not_matter_when_the_last_one_began() -> None:
    evidence = Evidence(POLICY)
    evidence.since = 100

    assert enough(calls_of(1, 2, 3, 4, 5), evidence=evidence) == [1, 2, 3, 4, 5]


def test_late_calls_among_many_good_ones_are_not_enough() -> None:
    """No more than the share that opens, `failure_rate_threshold`."""
    evidence = after_failures(2)
    evidence.calls = 20

    assert enough(calls_of(*range(1, 16)), evidence=evidence) == []
    assert len(enough(calls_of(*range(1, 17)), evidence=evidence)) == 16


def test_more_may_be_asked_for() -> None:
    policy = Policy(min_failures=8)

    assert enough(calls_of(*range(1, 8)), policy=policy) == []
    assert len(enough(calls_of(*range(1, 9)), policy=policy)) == 8


def test_where_slow_calls_are_usual_it_takes_more_late_ones() -> None:
    evidence = Evidence(POLICY)
    evidence.expect(0.3, 0.0, None, 0.0)

    few = next(many for many in range(1, 50) if enough(calls_of(*range(1, many + 1))))
    more = next(
        many for many in range(1, 50) if enough(calls_of(*range(1, many + 1)), evidence=evidence)
    )

    assert few == 5
    assert 9 <= more <= 20


@pytest.mark.parametrize(("age", "needed"), [(0.2, 15), (0.35, 13), (0.5, 13), (2.0, 12)])
def test_where_bad_calls_come_in_runs_each_corrects_how_many_are_usual(
    age: float, needed: int
) -> None:
    history = known([0.1] * 950 + [0.3] * 30 + [1.0] * 20)
    evidence = Evidence(POLICY)
    evidence.quiet = 3_000.0
    # By depth in a run, and kind: one bad call in fifty, and most are followed by another one.
    evidence._counts = {(0, 1): 30.0, (0, 2): 30.0, (1, 1): 20.0, (1, 2): 20.0}
    evidence.refresh(0.0)

    few, many = calls_of(*range(1, needed), age=age), calls_of(*range(1, needed + 1), age=age)
    assert enough(few, evidence=evidence, history=history) == []
    assert len(enough(many, evidence=evidence, history=history)) == needed


def test_a_stall_counts_from_the_beginning_of_the_oldest_call() -> None:
    asked: list[tuple[float, float]] = []

    def lost(since: float, now: float) -> float:
        asked.append((since, now))
        return 0.0

    find_late(table_of(in_flight(1.125, *[1.0] * 5)), 7, THRESHOLD, POLICY, NOW, lost)

    assert asked == [(NOW - 1.125, NOW)]
