"""Labels and sizes: calls are judged by what is usual for calls of their kind."""

from __future__ import annotations

from math import inf
from random import Random

import pytest
from tests.support.breaker_state import is_closed
from tests.support.labelled_load import MIXED, Load, make
from tests.support.training import learned

from recloser import Breaker, Outcome, Permit, State
from recloser._circuit.in_flight import InFlight
from recloser._circuit.share_test import ShareTest
from recloser._circuit.suspicion import Suspicion
from recloser._circuit.votes import Ending, Vote
from recloser.testing import ManualClock, open_breaker


def teach_labels(breaker: Breaker, clock: ManualClock, labels: dict[str, float]) -> None:
    """Calls one after another: without a label of 0.1 s, and with these ones."""
    chance = Random(1)
    for _ in range(100):
        for label, typical in {"": 0.1, **labels}.items():
            permit = breaker.acquire(label)
            clock.advance(typical * chance.lognormvariate(0.0, 0.2))
            permit.success()
    assert is_closed(breaker)
    assert 0.15 <= breaker.slow_threshold < 0.4


def call(breaker: Breaker, clock: ManualClock, latency: float, label: str = "") -> bool:
    """One call; whether it was counted as slow."""
    before = breaker.metrics().slow
    permit = breaker.acquire(label)
    clock.advance(latency)
    permit.success()
    return breaker.metrics().slow > before


def test_a_call_is_slow_compared_with_others_of_its_label(clock: ManualClock) -> None:
    breaker = make(clock)
    teach_labels(breaker, clock, {"export": 2.0})

    assert not call(breaker, clock, 2.5, "export")
    assert call(breaker, clock, 2.5)
    assert call(breaker, clock, 10.0, "export")


def test_a_label_of_fast_calls_is_judged_more_strictly(clock: ManualClock) -> None:
    breaker = make(clock, slow_floor=0.0)
    teach_labels(breaker, clock, {"ping": 0.001})

    assert not call(breaker, clock, 0.1)
    assert call(breaker, clock, 0.1, "ping")


def test_a_labelled_call_that_fails_is_a_failure(clock: ManualClock) -> None:
    breaker = make(clock)
    teach_labels(breaker, clock, {"export": 2.0})

    for _ in range(20):
        if (permit := breaker.try_acquire("export")) is not None:
            permit.failure("HTTP 500")

    assert breaker.state is State.OPEN


def test_so_is_one_of_a_new_label(clock: ManualClock) -> None:
    breaker = make(clock)
    learned(breaker, clock)

    for number in range(20):
        if (permit := breaker.try_acquire(f"new {number}")) is not None:
            permit.failure("HTTP 500")

    assert breaker.state is State.OPEN


def test_a_new_label_of_long_calls_changes_nothing(clock: ManualClock) -> None:
    breaker = make(clock)
    teach_labels(breaker, clock, {})
    threshold = breaker.slow_threshold

    for _ in range(100):
        assert not call(breaker, clock, 5.0, "export")

    assert is_closed(breaker)
    assert breaker.slow_threshold == pytest.approx(threshold, rel=0.1)


def test_its_first_answers_are_not_learned_before_they_can_be_compared(
    clock: ManualClock,
) -> None:
    breaker = make(clock)
    learned(breaker, clock)
    known = breaker._circuit.detector.baseline.count

    for _ in range(7):
        call(breaker, clock, 5.0, "export")
    assert breaker._circuit.detector.baseline.count == known
    call(breaker, clock, 5.0, "export")

    assert breaker._circuit.detector.baseline.count == known + 8
    assert breaker.metrics().p99 < 0.2


def test_an_answer_of_an_unknown_label_says_only_that_calls_are_answered(
    clock: ManualClock,
) -> None:
    breaker = make(clock)
    load = Load(breaker, clock)
    load.run(load.labels(300, {"": 0.1}), 0.5)
    circuit = breaker._circuit
    ending = Ending(1, Outcome.SUCCESS, 7.0, clock.now)

    assert circuit._no_evidence(ending) is Vote.NONE
    load.run([("", 1.0)] * 100, 0.05, until=State.LIMITED)
    assert circuit.limit is not None
    assert circuit._no_evidence(ending) is Vote.GOOD
    assert ending.latency == breaker.slow_threshold
    circuit.limit.level = 3.0
    assert circuit._no_evidence(ending) is Vote.GOOD
    assert ending.latency == 3.0
    breaker.half_open()
    assert circuit._no_evidence(ending) is Vote.GOOD
    assert ending.latency == pytest.approx(0.1, rel=0.1)


def test_a_labelled_call_of_before_a_test_is_not_counted_in_it(clock: ManualClock) -> None:
    """Its comparable latency is shorter than it took: it seems to have begun later."""
    detector = make(clock)._circuit.detector
    detector.evidence.idle = False
    detector.suspicion = suspicion = Suspicion(detector.evidence.since)
    suspicion.test = test = ShareTest(0.5)
    test.since = 100.0

    slow = Ending(1, Outcome.SUCCESS, 50.0, 110.0)
    slow.latency = 5.0
    detector.vote(Vote.SLOW, slow, InFlight())
    detector.good(2, 5.0, 110.0, 50.0)
    assert test.calls == 0
    detector.good(3, 5.0, 110.0, 9.0)
    assert test.calls == 1


def test_labels_in_blocks_of_one_kind_refuse_no_call(clock: ManualClock) -> None:
    breaker = make(clock)
    load = Load(breaker, clock)

    for _ in range(60):
        (label,) = load.random.choices([*MIXED])
        load.run(load.labels(40, {label: MIXED[label]}), 0.5)

    assert load.refused == 0
    assert is_closed(breaker)
    assert breaker.metrics().generation == 0


def test_without_their_labels_the_same_calls_are_trouble(clock: ManualClock) -> None:
    """Otherwise the test before this one would show nothing."""
    breaker = make(clock)
    load = Load(breaker, clock)

    for _ in range(60):
        (label,) = load.random.choices([*MIXED])
        load.run((("", latency) for _, latency in load.labels(40, {label: MIXED[label]})), 0.5)

    assert breaker.metrics().generation > 0


def test_a_callee_that_becomes_slower_for_all_labels_is_noticed(clock: ManualClock) -> None:
    breaker = make(clock)
    load = Load(breaker, clock)
    load.run(load.labels(1000, MIXED), 0.5)
    assert is_closed(breaker)

    slower = {label: 8.0 * latency for label, latency in MIXED.items()}
    took = load.run(load.labels(200, slower), 0.5, until=State.LIMITED)

    assert breaker.state is State.LIMITED
    assert took < 20.0


def test_an_answer_that_is_in_time_for_its_size_is_good_though_it_was_long(
    clock: ManualClock,
) -> None:
    breaker = make(clock)
    teach_labels(breaker, clock, {})
    for _ in range(9):
        permit = breaker.acquire()
        clock.advance(0.15)
        permit.size = 1000
        permit.success()
    slow = breaker.metrics().slow

    permit = breaker.acquire()
    clock.advance(0.15)
    permit.size = 1000
    permit.success()

    assert breaker.metrics().slow == slow


def test_a_call_that_waited_for_its_caller_keeps_its_label(clock: ManualClock) -> None:
    breaker = make(clock)
    teach_labels(breaker, clock, {"upload": 2.0})
    permit = breaker.admit_strict(Permit)
    assert isinstance(permit, Permit)
    permit.label = "upload"

    clock.advance(100.0)
    breaker.delay(permit, 100.0, clock.now)
    clock.advance(2.0)
    breaker.acquire().success()

    assert permit.label == "upload"
    assert breaker.metrics().evidence == 0.0
    permit.success()
    assert breaker.metrics().slow == 0
    assert breaker.metrics().in_flight == 0


def test_reset_forgets_the_ratios(clock: ManualClock) -> None:
    breaker = make(clock)
    teach_labels(breaker, clock, {"export": 2.0})
    explained = breaker._circuit.explained
    assert explained is not None

    breaker.reset()

    assert explained.ratio(("export", None)) == inf


def test_probes_of_a_new_label_close_it(clock: ManualClock) -> None:
    breaker = make(clock)
    learned(breaker, clock)
    open_breaker(breaker)
    breaker.half_open()

    for _ in range(40):
        if (permit := breaker.try_acquire("new")) is not None:
            clock.advance(3.0)
            permit.success()

    assert is_closed(breaker)


def test_labelled_probes_take_their_places_in_the_window(clock: ManualClock) -> None:
    breaker = make(clock)
    teach_labels(breaker, clock, {"export": 2.0})
    breaker.open(for_=1.0)
    clock.advance(1.0)

    probe = breaker.try_acquire("export")

    assert probe is not None
    assert probe.is_probe
    assert breaker.try_acquire("export") is None


# The time after which a call is hopeless


def test_the_timeout_of_a_labelled_call_is_longer(clock: ManualClock) -> None:
    breaker = make(clock)
    teach_labels(breaker, clock, {"export": 2.0})
    plain, export, new = breaker.acquire(), breaker.acquire("export"), breaker.acquire("new")
    export.token = new.token = plain.token  # one call in eight may take twice as long
    kinds = {plain.token: ("export", None)}
    explained = breaker._circuit.explained
    assert explained is not None

    usual = breaker.timeout
    explained.kinds = {}
    unlabelled = plain.timeout
    explained.kinds = dict(kinds)
    assert export.timeout / unlabelled == pytest.approx(20.0, rel=0.3)
    explained.kinds = {plain.token: ("new", None)}
    assert new.timeout == breaker.policy.slow_ceiling
    assert breaker.timeout == usual
    export.token = new.token = 0


def test_the_ceiling_is_the_same_for_all(clock: ManualClock) -> None:
    breaker = make(clock, slow_ceiling=3.0)
    teach_labels(breaker, clock, {"export": 2.0})

    assert breaker.acquire("export").timeout == 3.0
    assert call(breaker, clock, 3.1, "export")
