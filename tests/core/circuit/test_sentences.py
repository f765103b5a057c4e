"""Reasons: plain words, the numbers that decided, and nobody else's characters."""

from __future__ import annotations

import logging

import pytest
from tests.support.training import record

from recloser import Breaker, Policy, Registry, State
from recloser._circuit import sentences
from recloser._circuit.baseline import Baseline
from recloser._circuit.detector import Detector
from recloser._circuit.evidence import Evidence
from recloser._circuit.in_flight import InFlight
from recloser._circuit.recovery import Recovery
from recloser._circuit.sentences import seconds
from recloser._circuit.votes import Ending, Vote
from recloser._outcome import Outcome
from recloser.testing import ManualClock, RecordingListener, no_jitter

HOSTILE = "k\r\nSet-Cookie: a=b\n2026-01-01 CRITICAL root: pwned\x1b[2J\u2028\x00\x85\ud800"


@pytest.fixture
def policy() -> Policy:
    return Policy(open_for=0.5)


@pytest.fixture
def listener() -> RecordingListener:
    return RecordingListener()


@pytest.fixture
def breaker(registry: Registry, listener: RecordingListener) -> Breaker:
    registry.subscribe(listener)
    return registry["k"]


def test_an_opening_by_failures_names_the_calls_and_the_last_failure(
    breaker: Breaker, listener: RecordingListener, clock: ManualClock
) -> None:
    permits = [breaker.acquire() for _ in range(30)]
    for permit in permits:
        permit.failure("HTTP 502")

    reason = listener.transitions[0].reason
    assert reason.rule == "failures"
    assert reason.numbers["bad"] >= 5
    assert reason.numbers["slow"] == 0
    assert reason.numbers["evidence"] >= reason.numbers["evidence_threshold"] - 1e-9
    assert f"{reason.numbers['bad']:.0f} failed, the last one: HTTP 502" in str(reason)
    assert breaker.explain() == f"open for 500 ms more: {reason}"
    clock.advance(0.5)
    assert breaker.explain() == f"open, and the next call is a probe: {reason}"


def test_a_limit_names_threshold_sigma_median_and_size(
    breaker: Breaker, clock: ManualClock, listener: RecordingListener
) -> None:
    record(breaker, 200, success=True, latency=0.2)
    while breaker.state is State.CLOSED:
        permit = breaker.acquire()
        clock.advance(5.0)
        permit.success()

    reason = listener.transitions[0].reason
    assert reason.rule == "limited"
    assert reason.numbers["slow"] == reason.numbers["calls"] >= 5
    assert reason.numbers["slow_threshold"] == pytest.approx(breaker.slow_threshold)
    assert reason.numbers["median"] == pytest.approx(0.2, rel=0.1)
    assert reason.numbers["limit"] == 4.0  # calls come back, so twice as many as there are
    assert " slower than " in str(reason)
    assert " sigma" in str(reason)
    assert "at most 4 calls at a time" in str(reason)


def test_an_opening_by_failed_and_slow_calls_names_both(policy: Policy) -> None:
    detector = Detector(policy)
    detector.learn_quiet([0.2] * 200)
    detector.refresh(0.0)
    for token in range(2):
        detector.vote(Vote.SLOW, Ending(token, Outcome.SUCCESS, 5.0, 0.0), InFlight())
    detector.last_failure = "HTTP 502"
    for token in range(2, 7):
        detector.vote(Vote.FAILED, Ending(token, Outcome.FAILURE, 0.1, 0.0), InFlight())

    reason = detector.open_reason()

    assert reason.rule == "bad_calls"
    assert (reason.numbers["bad"], reason.numbers["slow"]) == (7, 2)
    assert "5 failed, the last one: HTTP 502" in str(reason)
    assert "2 slower than" in str(reason)


def test_failures_that_say_nothing_are_counted_only(policy: Policy) -> None:
    detector = Detector(policy)
    for token in range(5):
        detector.vote(Vote.FAILED, Ending(token, Outcome.FAILURE, 0.1, 0.0), InFlight())

    assert "(5 failed);" in str(detector.open_reason())


def test_a_wait_that_was_asked_for_is_named(breaker: Breaker, listener: RecordingListener) -> None:
    for _ in range(4):
        breaker.acquire().throttled(42.0)

    reason = listener.transitions[0].reason
    assert reason.rule == "retry_after"
    assert reason.numbers["wait_seconds"] == 42.0
    assert "42 s" in str(reason)


@pytest.fixture
def baseline(policy: Policy) -> Baseline:
    baseline = Baseline(policy)
    baseline.learn([0.2] * 100)
    baseline.refresh(0.0)
    return baseline


@pytest.fixture
def trouble(policy: Policy) -> Recovery:
    """It began at 100 s."""
    return Recovery(policy, 100.0, 1, 5)


def test_the_end_of_a_limit_names_the_latency_and_the_limit() -> None:
    reason = sentences.eased(0.125, 24.4)

    assert reason.rule == "eased"
    assert str(reason) == "calls take 125 ms again, and nobody is refused at 25 calls at a time"
    assert reason.numbers == {"median": 0.125, "limit": 24.4}


def test_sickness_names_the_latency_and_what_is_slow(baseline: Baseline, policy: Policy) -> None:
    reason = sentences.sick(1.5, baseline, policy)

    assert reason.rule == "sick"
    assert "calls take 1.5 s, slower than" in str(reason)
    assert "however few there are" in str(reason)
    assert reason.numbers == {"median": 1.5, "slow_threshold": baseline.threshold}


def test_a_mixture_names_the_share_of_slow_calls(baseline: Baseline, policy: Policy) -> None:
    reason = sentences.mixed(0.625, baseline, policy)

    assert reason.rule == "mixed"
    assert str(reason).startswith("62% of the calls are slower than")
    assert reason.numbers == {"slow_share": 0.625}


def test_a_call_that_came_back_is_named_with_the_age_of_the_trouble(trouble: Recovery) -> None:
    reason = sentences.comes_back(7.0, trouble, 130.0)

    assert reason.rule == "comes_back"
    assert "came back after 7 s, 30 s after the trouble began" in str(reason)
    assert reason.numbers == {"latency": 7.0, "outage_seconds": 30.0}


def test_crowding_names_the_probes_of_the_round(trouble: Recovery) -> None:
    trouble.share.good, trouble.bad = 2, 6

    reason = sentences.crowded(trouble, 130.0)

    assert reason.rule == "crowded"
    assert str(reason) == (
        "after 30 s: single calls are good, and 6 of 8 were bad when there were several at a time"
    )
    assert reason.numbers == {"good": 2, "bad": 6, "outage_seconds": 30.0}


def test_a_recovery_names_the_good_probes_among_all(trouble: Recovery) -> None:
    trouble.share.good, trouble.bad = 8, 2

    reason = sentences.recovered(trouble, 130.0)

    assert reason.rule == "recovered"
    assert str(reason) == "recovered after 30 s: 8 of 10 probes were good"
    assert reason.numbers == {"good": 8, "bad": 2, "outage_seconds": 30.0}


def test_the_first_answer_of_a_callee_of_which_little_is_known_is_no_latency_as_before() -> None:
    reason = sentences.not_hung(30.0)

    assert reason.rule == "eased"
    assert str(reason) == "a call was answered after 30 s: the callee is slow, and does not hang"


def test_silence_names_the_calls_in_flight(trouble: Recovery) -> None:
    reason = sentences.mute(12, trouble, 103.0)

    assert reason.rule == "mute"
    assert str(reason) == "12 calls are in flight, and none came back for 3 s"
    assert reason.numbers == {"in_flight": 12, "outage_seconds": 3.0}


def test_failing_although_there_are_few_calls_names_for_how_long(trouble: Recovery) -> None:
    reason = sentences.failing(trouble, 103.0)

    assert reason.rule == "failing"
    assert str(reason).startswith("for 3 s most calls fail")
    assert reason.numbers == {"outage_seconds": 3.0}


def test_a_failure_is_named_by_type_and_message_and_in_little_space(breaker: Breaker) -> None:
    permits = [breaker.acquire() for _ in range(30)]
    for permit in permits:
        permit.failure(ConnectionResetError("peer went away " * 1000))

    assert "ConnectionResetError: 'peer went away" in str(breaker.refusal())
    assert len(str(breaker.refusal())) < 500


def test_every_number_of_a_reason_is_finite(
    breaker: Breaker, clock: ManualClock, listener: RecordingListener
) -> None:
    for _ in range(3):
        for _ in range(30):
            breaker.record(0.1, success=False)
        for _ in range(100):
            clock.advance(1.0)
            if (permit := breaker.try_acquire()) is not None:
                permit.success()
    breaker.open()

    for transition in listener.transitions:
        for value in transition.reason.numbers.values():
            assert value - value == 0.0


@pytest.mark.parametrize("hostile", [HOSTILE, HOSTILE * 1000])
def test_nothing_from_outside_forges_a_line_or_moves_a_terminal(
    clock: ManualClock, hostile: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A key, an error's message, a status and an operator's words may hold anything."""
    caplog.set_level(logging.INFO, "recloser")
    registry = Registry(clock=clock, random=no_jitter)
    listener = RecordingListener()
    registry.subscribe(listener)
    shown: list[str] = []

    for error in (OSError(hostile), hostile, type(hostile[:9], (Exception,), {})(hostile)):
        breaker = registry[hostile]
        breaker.reset()
        permits = [breaker.acquire() for _ in range(30)]
        for permit in permits:
            permit.failure(error)
        shown += [breaker.explain(), repr(breaker), str(breaker.refusal()), repr(permits[0])]
        breaker.reset()
        breaker.open(hostile)
        shown += [breaker.explain(), str(breaker.refusal())]
    registry.fault("key function", ValueError(hostile))
    shown += [str(each) for each in listener.transitions]
    formatter = logging.Formatter("%(levelname)s %(name)s: %(message)s")
    shown += [formatter.format(record) for record in caplog.records]

    assert len(shown) > 20
    for line in shown:
        assert line.isprintable(), line
        line.encode("utf-8")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0 ms"),
        (0.000_25, "0.25 ms"),
        (0.042, "42 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1 s"),
        (1.234, "1.23 s"),
        (60.0, "60 s"),
        (998.7, "999 s"),
        (86_400.0, "86400 s"),
    ],
)
def test_a_duration_has_the_unit_that_a_person_would_choose(value: float, shown: str) -> None:
    assert seconds(value) == shown


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("quota", "the quota is used up: a pause of 5 s"),
        ("retry_after", "the callee asked for a pause of 5 s"),
    ],
)
def test_a_pause_names_why_it_was_asked_for(rule: str, sentence: str) -> None:
    reason = sentences.told_to_wait(5.0, rule)

    assert str(reason) == sentence
    assert reason.rule == rule
    assert reason.numbers == {"wait_seconds": 5.0}


def test_an_opening_has_all_the_numbers_that_decided(
    breaker: Breaker, listener: RecordingListener
) -> None:
    record(breaker, 200, success=True, latency=0.2)
    while breaker.state is State.CLOSED:
        record(breaker, 1, success=False)

    numbers = listener.transitions[0].reason.numbers
    assert {*numbers} == {
        *("calls", "bad", "slow", "late", "bad_rate", "normal_bad_rate"),
        *("evidence", "evidence_threshold", "slow_threshold", "median", "sigma"),
    }
    assert numbers["median"] == pytest.approx(0.2, rel=0.1)
    assert 0.0 < numbers["sigma"] < 1.0


@pytest.mark.parametrize(("failing", "said"), [(True, "HTTP 503"), (False, "slow")])
def test_an_outage_that_goes_on_names_what_the_last_probe_was(
    breaker: Breaker, clock: ManualClock, listener: RecordingListener, failing: bool, said: str
) -> None:
    record(breaker, 200, success=True, latency=0.2)
    breaker.open(for_=1.0)
    clock.advance(1.0)
    probe = breaker.acquire()
    clock.advance(0.0 if failing else 60.0)
    if failing:
        probe.failure("HTTP 503")
    else:
        breaker.try_acquire()

    reason = listener.transitions[-1].reason
    assert reason.rule == "probe_failed"
    assert f"1 of 1 probes were bad ({said})" in str(reason)
    assert (reason.numbers["good"], reason.numbers["bad"]) == (0, 1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0 ms"),
        (0.0123, "12.3 ms"),
        (0.9994, "999 ms"),
        (0.9995, "1 s"),
        (0.9996, "1 s"),
        (12.34, "12.3 s"),
        (999.4, "999 s"),
        (999.5, "1000 s"),
        (1000.0, "1000 s"),
        (1234.5, "1234 s"),
    ],
)
def test_a_time_has_three_digits_and_no_exponent(value: float, expected: str) -> None:
    assert seconds(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1.26, "1.3"), (99.4, "99"), (99.5, "100"), (100.0, "100"), (123.4, "123")],
)
def test_a_factor_has_two_digits_and_no_exponent(value: float, expected: str) -> None:
    assert sentences._times(value) == expected


def test_before_any_answer_slow_means_slower_than_the_ceiling() -> None:
    policy = Policy(slow_ceiling=12.0)

    assert sentences.slower_than(Baseline(policy), policy) == "slower than the ceiling of 12 s"


def opening(bad: int, slow: int, late: int, last_failure: str = "HTTP 502") -> str:
    """What is said in the brackets of an opening by so many calls."""
    policy = Policy(slow_ceiling=12.0)
    evidence = Evidence(policy)
    evidence.calls, evidence.bad, evidence.slow, evidence.late = bad + 1, bad, slow, late
    said = str(sentences.tripped(evidence, Baseline(policy), policy, last_failure))
    assert said.startswith(f"{bad} of the last {bad + 1} calls were bad (")
    return said.split("(", 1)[1].split(")", 1)[0]


SLOW = "slower than the ceiling of 12 s"
LATE = "in flight for so long that they count as slow"


@pytest.mark.parametrize(
    ("bad", "slow", "late", "said"),
    [
        (5, 5, 0, f"5 {SLOW}"),
        (5, 5, 2, f"3 {SLOW}; 2 {LATE}"),
        (5, 5, 5, f"5 {LATE}"),
        (6, 5, 2, f"3 {SLOW}; 2 {LATE}; 1 failed: HTTP 502"),
        (7, 5, 5, f"5 {LATE}; 2 failed, the last one: HTTP 502"),
        (1, 0, 0, "1 failed: HTTP 502"),
        (2, 0, 0, "2 failed, the last one: HTTP 502"),
    ],
)
def test_an_opening_names_each_kind_of_bad_calls_with_its_number(
    bad: int, slow: int, late: int, said: str
) -> None:
    assert opening(bad, slow, late) == said


def test_a_limit_that_is_no_whole_number_lets_the_next_one_pass() -> None:
    policy = Policy()

    reason = sentences.limited(4.2, Evidence(policy), Baseline(policy), policy)

    assert str(reason).endswith("; at first at most 5 calls at a time")


@pytest.mark.parametrize(
    ("by", "why", "said"),
    [
        ("", "", "by hand"),
        ("ada", "", "by hand by 'ada'"),
        ("", "drill", "by hand: 'drill'"),
        ("ada", "drill", "by hand by 'ada': 'drill'"),
    ],
)
def test_what_is_done_by_hand_names_by_whom_and_why_if_that_is_known(
    by: str, why: str, said: str
) -> None:
    assert str(sentences.by_hand("manual", why, by)) == said
