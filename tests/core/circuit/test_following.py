"""The circuit of a worker in a fleet: it obeys its orders, and decides alone when they are over."""

from __future__ import annotations

import pytest
from tests.support.fleets import Worker, World
from tests.support.followers import WHY, admitted, circuit_of, fail, follow, learn_labels, trained
from tests.support.training import learned, teach

from recloser import Outcome, State
from recloser._circuit.journal import Begun, Ended
from recloser._circuit.learned import Learned


@pytest.fixture
def worker() -> Worker:
    """One that knows that 0.1 s is normal; no fleet gives it orders but the test."""
    return trained()


# What a suspicion is worth


def test_two_failures_in_a_row_are_worth_a_question_and_one_is_not(worker: Worker) -> None:
    fail(worker.breaker.acquire())
    assert not circuit_of(worker).is_suspicious(1)

    fail(worker.breaker.acquire())

    assert circuit_of(worker).is_suspicious(1)


def test_good_calls_end_the_suspicion(worker: Worker) -> None:
    for _ in range(2):
        fail(worker.breaker.acquire())

    teach(worker.breaker, worker.clock, [0.1] * 50)
    worker.breaker.metrics()

    assert not circuit_of(worker).is_suspicious(1)


# States


@pytest.mark.parametrize("state", [State.OPEN, State.LIMITED, State.HALF_OPEN])
def test_it_is_in_the_state_of_its_fleet_for_its_reason(worker: Worker, state: State) -> None:
    follow(worker, state)

    assert worker.breaker.state is state
    assert worker.breaker.refusal().reason == WHY


def test_what_it_has_decided_alone_is_a_state_without_orders(worker: Worker) -> None:
    circuit = circuit_of(worker)
    assert circuit.alone == ""

    follow(worker, State.OPEN)
    assert circuit.alone == ""

    circuit.decide_alone()
    assert circuit.alone == "open"


def test_it_closes_as_its_fleet_does_and_keeps_what_it_has_learned(worker: Worker) -> None:
    threshold = worker.breaker.slow_threshold
    follow(worker, State.OPEN)

    now = worker.clock.now
    worker.breaker.in_turn(now, circuit_of(worker).follow_closing, WHY, now)

    assert worker.breaker.state is State.CLOSED
    assert circuit_of(worker).orders is None
    assert worker.breaker.slow_threshold == threshold


def test_the_same_orders_again_change_nothing_but_the_time(worker: Worker) -> None:
    orders = follow(worker, State.OPEN, wait=1.0)
    generation, told = worker.breaker.metrics().generation, len(worker.listener.transitions)

    now = worker.clock.now
    worker.breaker.in_turn(now, circuit_of(worker).follow, orders, WHY, 7.0, 4.0, now)

    assert worker.breaker.metrics().generation == generation
    assert len(worker.listener.transitions) == told
    assert worker.breaker.retry_after == pytest.approx(7.0)


# Open


def test_what_its_probes_were_told_before_the_fleet_decided_counts_no_more(worker: Worker) -> None:
    orders = follow(worker, State.OPEN)
    recovery, now = circuit_of(worker).recovery, worker.clock.now
    assert recovery is not None
    recovery.believe(300.0, now)

    worker.breaker.in_turn(now, circuit_of(worker).follow, orders, WHY, 7.0, 4.0, now)

    assert recovery.believe(300.0, now + 60.0) == 0.0


def test_without_a_ticket_nobody_probes_however_long_it_takes(worker: Worker) -> None:
    follow(worker, State.OPEN, wait=1.0)

    for _ in range(100):
        worker.clock.advance(1.0)
        assert worker.breaker.try_acquire() is None


def test_a_ticket_lets_one_probe_pass_when_the_wait_is_over(worker: Worker) -> None:
    now = worker.clock.now
    follow(worker, State.OPEN, wait=1.0, ticket_until=now + 2.0)
    assert worker.breaker.try_acquire() is None
    worker.clock.advance(1.1)

    assert len(admitted(worker, 5)) == 1
    assert worker.breaker.state is State.HALF_OPEN


def test_a_ticket_that_nobody_used_in_time_is_worth_nothing(worker: Worker) -> None:
    follow(worker, State.OPEN, wait=1.0, ticket_until=worker.clock.now + 2.0)
    worker.clock.advance(2.1)

    assert worker.breaker.try_acquire() is None


def test_an_old_word_that_it_is_open_does_not_end_the_probe_in_flight(worker: Worker) -> None:
    follow(worker, State.OPEN, wait=1.0, ticket_until=worker.clock.now + 2.0)
    worker.clock.advance(1.1)
    (probe,) = admitted(worker, 1)

    follow(worker, State.OPEN, wait=1.0)

    assert worker.breaker.is_probe(probe.token)
    assert worker.breaker.state is State.HALF_OPEN


def test_calls_that_began_before_an_opening_are_no_probes(worker: Worker) -> None:
    before = admitted(worker, 3)
    follow(worker, State.OPEN, wait=0.0)
    follow(worker, State.HALF_OPEN, places=2)

    for permit in before:
        assert not worker.breaker.is_probe(permit.token)
        permit.success()

    # They take no place of a probe either.
    assert len(admitted(worker, 5)) == 2


# Half-open


@pytest.mark.parametrize("places", [0, 1, 3])
def test_while_half_open_it_sends_as_many_probes_as_it_may(worker: Worker, places: int) -> None:
    follow(worker, State.HALF_OPEN, places=places)

    probes = admitted(worker, 5)

    assert len(probes) == places
    for probe in probes:
        probe.success()
    assert len(admitted(worker, 5)) == places


def test_its_probes_decide_nothing_here(worker: Worker) -> None:
    follow(worker, State.HALF_OPEN, places=1)
    for end in ["failure"] * 3 + ["success"] * 30:
        (probe,) = admitted(worker, 1)
        getattr(probe, end)()

    assert worker.breaker.state is State.HALF_OPEN


# Limited


def test_while_limited_it_has_as_many_calls_in_flight_as_it_may(worker: Worker) -> None:
    orders = follow(worker, State.LIMITED, places=3, size=10.0)
    running = admitted(worker, 5)
    assert len(running) == 3

    orders.places = 4
    running += admitted(worker, 5)
    assert len(running) == 4
    running[0].success()
    assert len(admitted(worker, 5)) == 1


def test_its_own_failures_and_slow_calls_do_not_end_a_limit_of_its_fleet(worker: Worker) -> None:
    follow(worker, State.LIMITED, places=1)
    for number in range(60):
        (permit,) = admitted(worker, 1)
        worker.clock.advance(2.0)
        permit.success() if number % 2 else permit.failure()

    assert worker.breaker.state is State.LIMITED


# Alone


def test_when_orders_are_over_it_waits_a_second_then_probes_by_its_own_calendar(
    worker: Worker,
) -> None:
    follow(worker, State.OPEN, wait=1.0, until=worker.clock.now + 3.0)
    worker.clock.advance(3.1)
    assert worker.breaker.try_acquire() is None
    worker.clock.advance(0.9)
    assert worker.breaker.try_acquire() is None

    worker.clock.advance(0.2)

    assert len(admitted(worker, 1)) == 1


def test_alone_it_goes_on_from_where_it_is(worker: Worker) -> None:
    follow(worker, State.OPEN, wait=0.5, until=worker.clock.now + 1.0)
    worker.clock.advance(1.5)
    assert worker.breaker.try_acquire() is None  # from here on, its second of grace
    worker.clock.advance(1.5)
    for _ in range(20):
        for probe in admitted(worker, 1):
            worker.clock.advance(0.1)
            probe.success()

    assert worker.breaker.state is State.CLOSED


def test_alone_it_opens_by_its_own_calls(worker: Worker) -> None:
    follow(worker, State.LIMITED, places=9)
    worker.breaker.in_turn(worker.clock.now, circuit_of(worker).decide_alone)

    for _ in range(200):
        for permit in admitted(worker, 1):
            worker.clock.advance(1.0)
            permit.failure()
        worker.clock.advance(0.1)

    assert worker.breaker.state is State.OPEN
    assert "failing" in worker.rules


def test_a_fork_forgets_orders_and_the_journal(worker: Worker) -> None:
    follow(worker, State.OPEN)
    circuit_of(worker).watch(1)

    worker.breaker.after_fork()

    assert circuit_of(worker).orders is None
    assert circuit_of(worker).journal is None


@pytest.mark.parametrize(
    ("do", "after"),
    [
        ("open", State.OPEN),
        ("half_open", State.HALF_OPEN),
        ("close", State.CLOSED),
        ("reset", State.CLOSED),
    ],
)
def test_an_operator_has_the_last_word(worker: Worker, do: str, after: State) -> None:
    follow(worker, State.LIMITED)

    getattr(worker.breaker, do)()

    assert worker.breaker.state is after
    assert circuit_of(worker).orders is None


def test_whose_fleet_falls_silent_still_knows_that_it_had_followed(worker: Worker) -> None:
    """So it closes with the fleet when it hears of it again."""
    circuit = circuit_of(worker)
    assert not circuit.has_followed
    follow(worker, State.OPEN)
    worker.breaker.in_turn(worker.clock.now, circuit.decide_alone)

    assert circuit.orders is None
    assert circuit.has_followed
    worker.breaker.reset()
    assert not circuit.has_followed


# The journal


def test_while_it_is_watched_every_call_is_told_with_its_end(worker: Worker) -> None:
    circuit, began = circuit_of(worker), worker.clock.now
    worker.breaker.in_turn(began, circuit.watch, 1)
    good, failed, left, running = admitted(worker, 4)
    worker.clock.advance(0.125)
    good.success()
    failed.failure("HTTP 502")
    left.cancel()

    entries, refused, still_open = worker.breaker.in_turn(
        worker.clock.now, circuit.take_journal, worker.clock.now
    )

    begun = [entry for entry in entries if isinstance(entry, Begun)]
    ended = [entry for entry in entries if isinstance(entry, Ended)]
    assert [entry.at for entry in begun] == [began] * 4
    assert [entry.outcome for entry in ended] == [
        Outcome.SUCCESS,
        Outcome.FAILURE,
        Outcome.IGNORED,  # its caller left after a usual time: that says nothing
    ]
    assert [entry.latency for entry in ended] == [pytest.approx(0.125)] * 3
    assert ended[1].what == "HTTP 502"
    assert refused == 0
    assert still_open == (running.token,)
    running.success()


def test_calls_in_flight_when_the_watch_begins_are_told(worker: Worker) -> None:
    circuit, now = circuit_of(worker), worker.clock.now
    running, ended = admitted(worker, 2)
    ended.success()

    worker.breaker.in_turn(now, circuit.watch, 1)
    worker.breaker.in_turn(now, circuit.watch, 1)

    assert worker.breaker.in_turn(now, circuit.take_journal, now) == ([], 0, (running.token,))
    running.failure("HTTP 502")
    [told] = worker.breaker.in_turn(now, circuit.take_journal, now)[0]
    assert isinstance(told, Ended)
    assert told.outcome is Outcome.FAILURE


def test_of_calls_of_different_kinds_only_those_that_have_ended_are_told(worker: Worker) -> None:
    circuit, now = circuit_of(worker), worker.clock.now
    permit = worker.breaker.acquire(size=10.0)

    worker.breaker.in_turn(now, circuit.watch, 1)

    assert worker.breaker.in_turn(now, circuit.take_journal, now) == ([], 0, ())
    permit.success()
    told, _, still_open = worker.breaker.in_turn(now, circuit.take_journal, now)
    assert [type(each) for each in told] == [Begun, Ended]
    assert still_open == ()


def test_refusals_are_told_as_a_number_once(worker: Worker) -> None:
    circuit = circuit_of(worker)
    worker.breaker.in_turn(worker.clock.now, circuit.watch, 1)
    follow(worker, State.OPEN)
    assert admitted(worker, 7) == []

    now = worker.clock.now
    assert worker.breaker.in_turn(now, circuit.take_journal, now)[1] == 7
    assert worker.breaker.in_turn(now, circuit.take_journal, now)[1] == 0


def test_what_could_not_be_told_is_told_the_next_time(worker: Worker) -> None:
    circuit, now = circuit_of(worker), worker.clock.now
    worker.breaker.in_turn(now, circuit.watch, 1)
    (permit,) = admitted(worker, 1)
    permit.success()
    follow(worker, State.OPEN)
    assert admitted(worker, 3) == []
    entries, refused, _ = worker.breaker.in_turn(now, circuit.take_journal, now)

    worker.breaker.in_turn(now, circuit.give_back, entries, refused)

    assert refused == 3
    assert worker.breaker.in_turn(now, circuit.take_journal, now)[:2] == (entries, refused)


def test_who_is_not_watched_tells_nothing_and_decides_most_calls_without_a_lock(
    worker: Worker, decisions: list[float]
) -> None:
    circuit, now = circuit_of(worker), worker.clock.now

    def decisions_of_calls() -> int:
        decisions.clear()
        teach(worker.breaker, worker.clock, [0.001] * 100)
        return len(decisions)

    assert decisions_of_calls() < 20
    worker.breaker.in_turn(now, circuit.watch, 1)
    assert decisions_of_calls() == 200
    worker.breaker.in_turn(now, circuit.stop_watching)

    assert decisions_of_calls() < 20
    assert circuit.take_journal(now) == ([], 0, ())


def test_a_call_of_a_known_label_is_told_by_what_is_left_after_that(worker: Worker) -> None:
    """An export takes ten seconds as usual: for the fleet it is no slow call."""
    circuit, breaker, clock = circuit_of(worker), worker.breaker, worker.clock
    learn_labels(worker)
    breaker.in_turn(clock.now, circuit.watch, 1)
    permit = breaker.acquire(label="export")
    clock.advance(10.0)
    permit.success()

    entries, _, _ = breaker.in_turn(clock.now, circuit.take_journal, clock.now)

    (end,) = (entry for entry in entries if isinstance(entry, Ended))
    assert end.outcome is Outcome.SUCCESS
    assert end.latency < breaker.slow_threshold


# What was learned


def test_what_a_worker_has_learned_is_taught_to_another_with_its_rate(worker: Worker) -> None:
    new = World(1, is_trained=False).workers[0]
    lesson: Learned = circuit_of(worker).learned(worker.clock.now)
    assert lesson.rate > 0.0

    now = new.clock.now
    new.breaker.in_turn(now, lambda: circuit_of(new).learn_from(lesson, now, anew=False))

    assert new.breaker.slow_threshold == pytest.approx(worker.breaker.slow_threshold, rel=0.1)
    assert circuit_of(new).counts.rate == lesson.rate


def test_a_worker_that_is_taught_knows_what_share_of_bad_calls_is_normal(worker: Worker) -> None:
    """Latency is judged for the first time then, which makes a breaker forget what was slow."""
    for number in range(2000):
        permit = worker.breaker.acquire()
        worker.clock.advance(0.05)
        permit.failure() if number % 25 == 0 else permit.success()
    lesson: Learned = circuit_of(worker).learned(worker.clock.now)
    usual = worker.breaker.metrics().normal_bad_rate
    assert usual > 0.03
    new = World(1, is_trained=False).workers[0]

    now = new.clock.now
    new.breaker.in_turn(now, lambda: circuit_of(new).learn_from(lesson, now, anew=False))

    assert new.breaker.metrics().normal_bad_rate == pytest.approx(usual, rel=0.05)


def test_what_a_fleet_has_learned_anew_replaces_what_was_known(worker: Worker) -> None:
    circuit, now = circuit_of(worker), worker.clock.now
    known = worker.breaker.slow_threshold
    lesson = circuit.learned(now)
    slower = Learned.from_plain({**lesson.as_plain(), "first": lesson.first + 40})

    worker.breaker.in_turn(now, lambda: circuit.learn_from(slower, now, anew=True))

    assert worker.breaker.slow_threshold > 3.0 * known


def test_a_rate_that_was_measured_here_is_not_replaced(worker: Worker) -> None:
    learned(worker.breaker, worker.clock)
    circuit, now = circuit_of(worker), worker.clock.now
    assert 0.0 < circuit.counts.rate < 50.0
    lesson = circuit.learned(now)
    faster = Learned.from_plain({**lesson.as_plain(), "rate": 5_000.0})

    worker.breaker.in_turn(now, lambda: circuit.learn_from(faster, now, anew=False))

    assert 0.0 < circuit.counts.rate < 50.0
