"""Ends without a verdict: an answer proves life, many of them open the door or show a hang."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from tests.support.limits import limit, limit_of, rule
from tests.support.training import learned, record, teach

from recloser import Breaker, Outcome, Permit, Policy, State
from recloser._circuit import votes
from recloser._circuit.by_hand import SteeredCircuit
from recloser._circuit.votes import OUTPACED, OUTRUN, Ending
from recloser.testing import ManualClock

CUT_OFF = asyncio.CancelledError()


class Timeout(BaseException):
    """Like those of gevent and eventlet."""


def rejected(permit: Permit) -> None:
    """A 4xx."""
    permit.mark()
    permit.ignore()


def left_during_the_answer(permit: Permit) -> None:
    permit.mark()
    permit.cancel()


def nothing_was_sent(permit: Permit) -> None:
    permit.ignore()


def left(permit: Permit) -> None:
    permit.cancel()


def cut_off(permit: Permit) -> None:
    permit.end_by_error(CUT_OFF)


def bare_429(permit: Permit) -> None:
    permit.throttled()


def fail_until_open(breaker: Breaker) -> None:
    while breaker.state is not State.OPEN:
        breaker.acquire().failure()


def after_an_outage(breaker: Breaker, clock: ManualClock) -> None:
    """It has failed, and the next call is a probe."""
    learned(breaker, clock)
    fail_until_open(breaker)
    clock.advance(1.0)


def call(
    breaker: Breaker, clock: ManualClock, end: Callable[[Permit], None], latency: float
) -> bool:
    """Make one call; return whether it was admitted."""
    permit = breaker.try_acquire()
    clock.advance(latency)
    if permit is None:
        return False
    end(permit)
    return True


def at_once(
    breaker: Breaker, clock: ManualClock, end: Callable[[Permit], None], latency: float, calls: int
) -> int:
    """Make some calls at a time; return how many were refused."""
    permits = [breaker.try_acquire() for _ in range(calls)]
    clock.advance(latency)
    for permit in permits:
        if permit is not None:
            end(permit)
    return permits.count(None)


# Half-open


@pytest.mark.parametrize("end", [rejected, left_during_the_answer])
def test_an_answer_is_a_good_probe_whatever_it_says(
    breaker: Breaker, clock: ManualClock, end: Callable[[Permit], None]
) -> None:
    after_an_outage(breaker, clock)

    admitted = [call(breaker, clock, end, 0.1) for _ in range(8)]

    assert all(admitted)
    assert breaker.state is State.CLOSED


def test_after_failures_a_late_4xx_is_good_enough(breaker: Breaker, clock: ManualClock) -> None:
    after_an_outage(breaker, clock)
    slow = breaker.slow_threshold + 0.1

    for _ in range(8):
        assert call(breaker, clock, rejected, slow)

    assert breaker.state is State.CLOSED


def test_after_slow_calls_a_late_4xx_is_not(breaker: Breaker, clock: ManualClock) -> None:
    learned(breaker, clock)
    breaker.open(for_=1.0)
    clock.advance(1.0)

    for _ in range(8):
        call(breaker, clock, rejected, breaker.slow_threshold + 0.1)

    assert breaker.state is State.HALF_OPEN


def test_one_tenants_429_shows_after_failures_that_the_callee_answers(
    breaker: Breaker, clock: ManualClock
) -> None:
    after_an_outage(breaker, clock)

    assert call(breaker, clock, bare_429, 0.1)
    for _ in range(10):
        call(breaker, clock, Permit.success, 0.1)

    assert breaker.state is State.CLOSED


def test_a_429_for_everyone_is_a_pause_after_failures_too(
    breaker: Breaker, clock: ManualClock
) -> None:
    after_an_outage(breaker, clock)

    calls = 0
    while breaker.state is not State.OPEN or not calls:
        assert call(breaker, clock, bare_429, 0.1)
        calls += 1

    assert calls == 4
    assert breaker.retry_after == 1.0


@pytest.mark.parametrize("end", [left, nothing_was_sent, cut_off])
def test_probes_that_say_nothing_do_not_hold_the_door_for_ever(
    breaker: Breaker, clock: ManualClock, end: Callable[[Permit], None]
) -> None:
    after_an_outage(breaker, clock)
    refused = [at_once(breaker, clock, end, 0.01, 100) for _ in range(20)]

    assert refused[0] == 99
    assert refused[-1] == 0
    assert breaker.state is State.HALF_OPEN  # nothing is known


def test_the_door_that_silent_probes_opened_is_shut_by_one_bad_probe(
    breaker: Breaker, clock: ManualClock
) -> None:
    after_an_outage(breaker, clock)
    for _ in range(20):
        at_once(breaker, clock, left, 0.01, 100)

    breaker.acquire().failure()

    assert breaker.state is State.OPEN
    clock.advance(breaker.retry_after)
    assert at_once(breaker, clock, left, 0.01, 100) == 99


def test_a_few_callers_that_leave_open_no_door(breaker: Breaker, clock: ManualClock) -> None:
    """A dead callee costs little more than without them."""
    after_an_outage(breaker, clock)
    probes = 0
    for number in range(200):
        end = left if number % 3 == 0 else Permit.failure
        probes += 20 - at_once(breaker, clock, end, 0.05, 20)

    assert probes < 100


# Limited


def put_a_limit(breaker: Breaker, clock: ManualClock) -> None:
    learned(breaker, clock)
    record(breaker, 5, success=True, latency=1.0)
    assert breaker.state is State.LIMITED


def test_answers_that_say_nothing_of_the_latency_end_a_limit_if_no_others_come(
    breaker: Breaker, clock: ManualClock
) -> None:
    put_a_limit(breaker, clock)

    for _ in range(60):
        call(breaker, clock, rejected, 0.05)

    assert breaker.state is State.CLOSED


def test_a_limit_is_no_wider_for_callers_that_leave(breaker: Breaker, clock: ManualClock) -> None:
    put_a_limit(breaker, clock)
    admitted = {100 - at_once(breaker, clock, left, 0.01, 100) for _ in range(50)}

    assert len(admitted) == 1


def test_one_call_at_a_time_is_not_all_if_callers_go_on_leaving(
    breaker: Breaker, clock: ManualClock
) -> None:
    """The callee is sick, so only one call is sent at a time; but nobody waits for its answer."""
    learned(breaker, clock)
    while (limit := breaker._circuit.limit) is None:
        call(breaker, clock, Permit.success, 1.0)
    limit.pause(0.0)
    clock.advance(120.0)

    refused = [at_once(breaker, clock, left, 0.01, 20) for _ in range(50)]

    assert refused[0] > 0
    assert refused[-1] == 0


def test_a_callee_that_answers_4xx_is_not_mute(breaker: Breaker, clock: ManualClock) -> None:
    put_a_limit(breaker, clock)
    in_flight: list[Permit] = []
    for _ in range(1000):
        in_flight += filter(None, [breaker.try_acquire()])
        clock.advance(0.02)
        if len(in_flight) == 4:
            rejected(in_flight.pop(0))

        assert breaker.state is not State.OPEN


# Closed: callers that give up


def test_time_outs_around_calls_of_a_new_key_open_it(breaker: Breaker, clock: ManualClock) -> None:
    calls = 0
    while call(breaker, clock, cut_off, 0.03):
        calls += 1

    assert calls == 16
    assert breaker.state is State.OPEN
    assert "given up after 30 ms without an answer" in str(breaker.explain())


def test_a_known_time_out_counts_as_a_failure(breaker: Breaker, clock: ManualClock) -> None:
    def timed_out(permit: Permit) -> None:
        permit.end_by_error(Timeout())

    calls = 0
    while call(breaker, clock, timed_out, 0.03):
        calls += 1

    assert calls == breaker.policy.min_failures
    assert breaker.metrics().failures == calls


def test_a_known_time_out_of_a_caller_without_time_says_nothing(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    for _ in range(100):
        call(breaker, clock, lambda permit: permit.end_by_error(Timeout()), 0.05)

    assert breaker.state is State.CLOSED
    assert breaker.metrics().failures == 0


def test_clients_that_leave_a_new_key_soon_never_open_it(
    breaker: Breaker, clock: ManualClock
) -> None:
    for _ in range(1000):
        assert call(breaker, clock, left, 0.03)


def test_clients_that_leave_a_new_key_after_seconds_open_it(
    breaker: Breaker, clock: ManualClock
) -> None:
    calls = 0
    while call(breaker, clock, left, 5.0):
        calls += 1

    assert calls == 10


@pytest.mark.parametrize("end", [left, cut_off])
def test_who_leaves_before_the_usual_answer_says_nothing(
    breaker: Breaker, clock: ManualClock, end: Callable[[Permit], None]
) -> None:
    learned(breaker, clock)
    for _ in range(1000):
        assert call(breaker, clock, end, 0.05)


def test_who_leaves_when_most_have_their_answer_does_say_something(
    breaker: Breaker, clock: ManualClock
) -> None:
    """Below the slow threshold: no call of it is ever slow."""
    learned(breaker, clock)
    began = clock.now
    while call(breaker, clock, cut_off, 0.19):
        pass

    assert 10.0 <= clock.now - began <= 10.5


@pytest.mark.parametrize("end", [left, cut_off])
@pytest.mark.parametrize("wait", [0.1, 0.15, 0.19])
def test_searches_as_you_type_of_which_only_the_last_is_answered_open_nothing(
    breaker: Breaker, clock: ManualClock, end: Callable[[Permit], None], wait: float
) -> None:
    learned(breaker, clock)

    for letters in range(1, 40):
        for _ in range(letters):
            assert call(breaker, clock, end, wait)
        assert call(breaker, clock, Permit.success, 0.1)
        clock.advance(1.0)

    assert breaker.state is State.CLOSED


@pytest.mark.parametrize("taken", [0, 300])
@pytest.mark.parametrize("replicas", [2, 3, 10])
@pytest.mark.parametrize("after", [0.0, 0.001, 0.02, 0.05])
def test_replicas_that_race_say_nothing_when_they_are_cancelled(
    breaker: Breaker, clock: ManualClock, replicas: int, after: float, taken: int
) -> None:
    """All are calls of the same key, and none takes long enough to be slow."""
    record(breaker, taken, success=True, latency=0.1)
    for _ in range(200):
        permits = [breaker.acquire() for _ in range(replicas)]
        clock.advance(0.08)
        permits.pop().success()
        clock.advance(after)
        for permit in permits:
            permit.end_by_error(CUT_OFF)

    assert breaker.state is State.CLOSED


def test_who_leaves_a_slow_callee_says_nothing_while_others_are_answered(
    breaker: Breaker, clock: ManualClock
) -> None:
    """Otherwise it is open: most calls do not come back, however few there are."""
    put_a_limit(breaker, clock)

    for _ in range(40):
        for _ in range(6):
            assert call(breaker, clock, cut_off, 0.4)
        assert call(breaker, clock, Permit.success, 0.1)

    assert breaker.state in (State.CLOSED, State.LIMITED)


@pytest.mark.parametrize("answer", [Permit.success, rejected, bare_429])
def test_one_answer_in_between_ends_the_run(
    breaker: Breaker, clock: ManualClock, answer: Callable[[Permit], None]
) -> None:
    for _ in range(3):
        for _ in range(4):
            assert call(breaker, clock, cut_off, 0.03)
        assert call(breaker, clock, answer, 0.02)


def test_as_many_calls_must_be_given_up_as_still_wait(breaker: Breaker, clock: ManualClock) -> None:
    """A new key whose first answers take two seconds: some callers leave after one."""
    waiting = [breaker.acquire() for _ in range(40)]
    for _ in range(20):
        assert call(breaker, clock, cut_off, 0.05)

    for permit in waiting:
        permit.success()

    assert breaker.state is State.CLOSED


def test_a_probe_that_is_given_up_as_late_is_as_bad(breaker: Breaker, clock: ManualClock) -> None:
    while call(breaker, clock, cut_off, 2.0):
        pass
    clock.advance(breaker.retry_after)
    waits: list[float] = []
    for _ in range(5):
        assert call(breaker, clock, cut_off, 2.0)
        assert breaker.state is State.OPEN
        waits.append(breaker.retry_after)
        clock.advance(waits[-1])

    assert waits == sorted(waits)


def test_the_first_answer_after_calls_were_given_up_lets_it_recover(
    breaker: Breaker, clock: ManualClock
) -> None:
    while call(breaker, clock, cut_off, 2.0):
        pass
    clock.advance(breaker.retry_after)

    for _ in range(10):
        call(breaker, clock, Permit.success, 0.1)

    assert breaker.state is State.CLOSED


def test_calls_of_which_it_is_not_known_how_long_they_take_say_nothing(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    for number in range(100):
        permit = breaker.acquire(label=f"new {number % 3}")
        clock.advance(0.15)
        permit.end_by_error(CUT_OFF)

    assert breaker.state is State.CLOSED


def test_a_caller_that_waits_for_its_own_client_does_not_wait_for_the_callee(
    breaker: Breaker, clock: ManualClock
) -> None:
    for _ in range(100):
        assert call(breaker, clock, left_during_the_answer, 5.0)


@pytest.fixture
def policy() -> Policy:
    return Policy(jitter=0.0)


def test_given_up_calls_are_no_reason_while_the_callee_serves_others(
    breaker: Breaker, clock: ManualClock
) -> None:
    teach(breaker, clock, [0.1] * 40)
    for _ in range(200):
        call(breaker, clock, cut_off, 0.15)
        call(breaker, clock, Permit.success, 0.1)

    assert breaker.state is State.CLOSED


def test_an_outage_that_given_up_calls_show_began_with_the_first_of_them(
    breaker: Breaker, clock: ManualClock
) -> None:
    """A call that began before the outage may still be answered, so it does not count."""
    learned(breaker, clock)
    breaker.acquire().failure()
    learned(breaker, clock)
    first = breaker.acquire().token
    clock.advance(0.19)
    breaker.acquire().success()

    while call(breaker, clock, cut_off, 0.19):
        pass

    assert breaker._circuit.recovery is not None
    assert breaker._circuit.recovery.first_token > first


def test_a_known_time_out_after_most_have_their_answer_is_a_failure(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    for _ in range(3):
        call(breaker, clock, lambda permit: permit.end_by_error(Timeout()), 0.15)

    assert breaker.metrics().failures == 3


def test_a_429_to_a_call_from_before_the_outage_is_no_good_probe(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    before = [breaker.acquire() for _ in range(3)]
    fail_until_open(breaker)
    clock.advance(1.0)
    probe = breaker.acquire()

    for permit in before:
        permit.throttled()

    assert breaker._circuit.recovery is not None
    assert breaker._circuit.recovery.good == 0
    probe.throttled()
    assert breaker._circuit.recovery.good == 1


def test_a_429_that_names_a_time_is_no_good_probe(breaker: Breaker, clock: ManualClock) -> None:
    after_an_outage(breaker, clock)

    breaker.acquire().throttled(5.0)

    recovery = breaker._circuit.recovery
    assert recovery is not None
    assert recovery.good == 0


def test_answers_that_say_nothing_of_the_latency_count_for_nothing_while_others_come(
    breaker: Breaker, clock: ManualClock
) -> None:
    """A callee that rejects bad requests at once may still be too slow for all others."""
    put_a_limit(breaker, clock)
    for _ in range(40):
        call(breaker, clock, Permit.success, 1.0)
        for _ in range(8):
            call(breaker, clock, rejected, 0.01)

        assert breaker.state is State.LIMITED or rule(breaker) == "new_normal"


def test_a_429_shows_a_limit_that_calls_come_back(breaker: Breaker, clock: ManualClock) -> None:
    put_a_limit(breaker, clock)
    permit = breaker.acquire()
    token = permit.token

    permit.throttled()

    assert breaker._circuit.limit is not None
    assert breaker._circuit.limit.latest == token


def test_a_limited_callee_that_all_callers_give_up_is_open_and_has_been_ill_since_the_limit(
    breaker: Breaker, clock: ManualClock
) -> None:
    put_a_limit(breaker, clock)
    limited = breaker._circuit.recovery
    assert limited is not None
    clock.advance(2.0)

    while call(breaker, clock, cut_off, 0.19):
        pass

    assert breaker.state is State.OPEN
    assert breaker._circuit.recovery is limited


@pytest.mark.parametrize("end", [rejected, left_during_the_answer, bare_429])
def test_under_a_limit_an_answer_shows_that_calls_come_back_whatever_it_says(
    breaker: Breaker, clock: ManualClock, end: Callable[[Permit], None]
) -> None:
    limit(breaker, clock)
    hung = [breaker.acquire() for _ in range(2)]
    answered = [breaker.acquire(), breaker.acquire()]
    the_limit = limit_of(breaker)
    the_limit.succeeded = False
    clock.advance(0.1)

    end(answered[1])
    end(answered[0])

    assert the_limit.succeeded
    assert the_limit.latest == hung[-1].token + 2
    # So none of the calls that hang is a newer one, and the silence begins now.
    assert not the_limit.has_long_silence(clock.now + 1.0, 0.3)
    assert the_limit.has_long_silence(clock.now + 3.0, 0.3)


# Calls that a second attempt has outpaced


def outpaced(breaker: Breaker, clock: ManualClock, latency: float) -> None:
    permit = breaker.acquire()
    clock.advance(latency)
    breaker.end(permit, Outcome.CANCELLED, OUTPACED)
    breaker.metrics()


def known_latencies(breaker: Breaker) -> float:
    return breaker._circuit.detector.baseline.history().total


@pytest.mark.parametrize(("times", "learned_from"), [(0.5, 0.0), (1.5, 1.0)])
def test_an_outpaced_call_teaches_only_that_calls_take_longer_than_the_threshold(
    breaker: Breaker, clock: ManualClock, times: float, learned_from: float
) -> None:
    learned(breaker, clock)
    breaker.metrics()
    before = known_latencies(breaker)

    outpaced(breaker, clock, times * breaker.slow_threshold)

    assert known_latencies(breaker) == before + learned_from


def test_an_outpaced_call_that_took_as_long_as_the_threshold_teaches_nothing(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    breaker.metrics()
    before, circuit = known_latencies(breaker), breaker._circuit
    token = next(circuit.calls.tokens)

    circuit._learn_outpaced(
        Ending(token, Outcome.CANCELLED, breaker.slow_threshold, clock.now, rule=OUTPACED)
    )

    assert known_latencies(breaker) == before


def test_an_outpaced_call_of_an_outage_teaches_nothing(
    breaker: Breaker, clock: ManualClock
) -> None:
    after_an_outage(breaker, clock)
    before = known_latencies(breaker)

    outpaced(breaker, clock, 5.0)

    assert known_latencies(breaker) == before


@pytest.mark.parametrize("began_before", [True, False])
def test_an_outpaced_call_of_a_suspicion_is_learned_when_that_is_over(
    breaker: Breaker, clock: ManualClock, began_before: bool
) -> None:
    """One that began before it is learned at once."""
    learned(breaker, clock)
    breaker.metrics()
    before, detector = known_latencies(breaker), breaker._circuit.detector
    permit = breaker.acquire()
    breaker.acquire().failure()
    if not began_before:
        permit.cancel()
        permit = breaker.acquire()
    held = len(detector.held)
    clock.advance(5.0)
    breaker.end(permit, Outcome.CANCELLED, OUTPACED)

    assert known_latencies(breaker) == before + began_before
    assert len(detector.held) == held + (not began_before)


# One end at a time


def ending(breaker: Breaker, clock: ManualClock, latency: float, rule: str = "") -> Ending:
    """The end of a call that began now."""
    token = next(breaker._circuit.calls.tokens)
    return Ending(token, Outcome.CANCELLED, latency, clock.now + latency, rule=rule)


def half_open(breaker: Breaker, *, was_slow: bool) -> SteeredCircuit:
    circuit: SteeredCircuit = breaker._circuit
    breaker.half_open()
    assert circuit.recovery is not None
    circuit.recovery.run, circuit.recovery.was_slow = 5, was_slow
    circuit.recovery.begin_round(1)
    return circuit


@pytest.mark.parametrize("was_slow", [False, True])
def test_a_late_answer_is_good_enough_only_where_the_trouble_was_no_slowness(
    breaker: Breaker, clock: ManualClock, was_slow: bool
) -> None:
    """Where it was, the answer makes room for one more probe."""
    learned(breaker, clock)
    circuit = half_open(breaker, was_slow=was_slow)

    vote = circuit._judge_silent(votes.ALIVE_SLOW, ending(breaker, clock, 5.0))

    assert vote is (votes.NONE if was_slow else votes.ALIVE)
    assert circuit.recovery is not None
    assert circuit.recovery.spare == (1 if was_slow else 0)


def test_who_was_asked_to_wait_after_its_vote_was_lost_shows_nothing(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    circuit = half_open(breaker, was_slow=False)

    asked = ending(breaker, clock, 0.1)

    assert circuit._judge_asked(votes.ASKED_LATE, asked) is votes.NONE
    assert circuit._judge_asked(votes.ASKED_TO_WAIT, asked) is votes.ALIVE


def test_a_call_that_was_outrun_takes_back_nothing_where_none_was_given_up(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    circuit: SteeredCircuit = breaker._circuit
    circuit.given_up = None

    assert circuit._judge_silent(votes.ABSTAINED, ending(breaker, clock, 0.1, OUTRUN)) is votes.NONE


def test_while_one_call_is_sent_at_a_time_room_for_others_grows_with_the_room_there_is(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    limit(breaker, clock)
    circuit: SteeredCircuit = breaker._circuit
    assert circuit.limit is not None
    circuit.limit.pause(0.0)
    spare: list[int] = []
    for _ in range(40):
        circuit._judge_silent(votes.ABSTAINED, ending(breaker, clock, 0.0))
        assert circuit.recovery is not None
        spare.append(circuit.recovery.spare)

    first = spare.index(next(each for each in spare if each)) + 1
    again = spare.index(next(each for each in spare if each > first)) + 1
    assert spare[first - 1] == first
    assert again - first == 2 * first


def test_no_outpaced_call_teaches_while_it_is_open(breaker: Breaker, clock: ManualClock) -> None:
    after_an_outage(breaker, clock)
    detector = breaker._circuit.detector
    before, held = known_latencies(breaker), [*detector.held]

    breaker._circuit._learn_outpaced(ending(breaker, clock, 50.0, OUTPACED))

    assert known_latencies(breaker) == before
    assert [*detector.held] == held


@pytest.mark.parametrize(("latency", "outcome"), [(5.0, "cancelled"), (10.5, "failure")])
def test_a_time_out_is_judged_by_what_such_calls_take(
    breaker: Breaker, clock: ManualClock, latency: float, outcome: str
) -> None:
    for _ in range(100):
        for label, takes in (("list", 0.1), ("export", 10.0)):
            permit = breaker.acquire(label=label)
            clock.advance(takes)
            permit.success()
    export = breaker.acquire(label="export")
    circuit: SteeredCircuit = breaker._circuit
    timed_out = Ending(export.token, Outcome.CANCELLED, latency, clock.now + latency)

    circuit._judge_time_out(timed_out)

    assert timed_out.outcome.value == outcome
    export.cancel()
