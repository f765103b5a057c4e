"""The circuit of a worker in a fleet, in detail: what orders change, and what is written down."""

from __future__ import annotations

from math import log

import pytest
from tests.support.fleets import Worker, World
from tests.support.followers import WHY, admitted, circuit_of, fail, follow, learn_labels, trained

from recloser import Outcome, Reason, State
from recloser._circuit import votes
from recloser._circuit.evidence import FAILED, SLOW
from recloser._circuit.in_flight import WAITING
from recloser._circuit.journal import Begun, Ended
from recloser._circuit.learned import Learned
from recloser._circuit.orders import Orders
from recloser._circuit.votes import Ending


@pytest.fixture
def worker() -> Worker:
    """One that knows that 0.1 s is normal; no fleet gives it orders but the test."""
    return trained()


# How much evidence is worth a question


def suspicious(worker: Worker, bad: int, share: float, rate: float = 0.0, workers: int = 1) -> bool:
    """Whether a worker is, if it has seen so many bad calls and has this share of the evidence."""
    circuit = circuit_of(worker)
    evidence = circuit.detector.evidence
    evidence.bad, evidence.level = bad, share * evidence.threshold
    circuit.counts.rate = rate
    return circuit.is_suspicious(workers)


def test_a_suspicion_has_two_bad_calls_and_a_part_of_the_evidence_that_opens(
    worker: Worker,
) -> None:
    assert not suspicious(worker, 1, 1.0)
    assert not suspicious(worker, 2, 0.29)
    assert suspicious(worker, 2, 0.3)


def test_where_there_are_many_calls_chance_asks_once_in_a_minute(worker: Worker) -> None:
    threshold = circuit_of(worker).detector.evidence.threshold
    share = log(60.0 * 10.0 * 3) / threshold
    assert 0.3 < share < 0.85

    assert not suspicious(worker, 5, share - 0.01, rate=10.0, workers=3)
    assert suspicious(worker, 5, share + 0.01, rate=10.0, workers=3)


def test_nearly_enough_to_open_is_worth_a_question_however_many_calls_there_are(
    worker: Worker,
) -> None:
    assert not suspicious(worker, 5, 0.89, rate=1e9, workers=1000)
    assert suspicious(worker, 5, 0.9, rate=1e9, workers=1000)


# What orders leave as it is, and what they change


def test_orders_while_a_probe_is_in_flight_are_heard_unless_they_say_that_it_is_open(
    worker: Worker,
) -> None:
    follow(worker, State.HALF_OPEN, places=1)
    (probe,) = admitted(worker, 1)

    follow(worker, State.LIMITED, places=3)

    assert worker.breaker.state is State.LIMITED
    probe.success()


def test_the_wait_of_an_order_is_for_a_circuit_that_is_open(worker: Worker) -> None:
    before = circuit_of(worker).probe_at

    follow(worker, State.LIMITED, wait=7.0)

    assert circuit_of(worker).probe_at == before


def test_the_same_state_for_another_reason_with_another_limit_is_taken_over(
    worker: Worker,
) -> None:
    orders = follow(worker, State.LIMITED, size=4.0)
    circuit, now, other = circuit_of(worker), worker.clock.now, Reason("fleet_limited", "slower")
    limit, generation = circuit.limit, circuit.generation
    assert limit is not None

    worker.breaker.in_turn(now, circuit.follow, orders, other, 1.0, 9.0, now)

    assert circuit.limit is limit
    assert limit.size == 9.0
    assert circuit.reason == other
    assert circuit.generation == generation


def test_the_trouble_goes_on_from_state_to_state(worker: Worker) -> None:
    circuit = circuit_of(worker)
    follow(worker, State.OPEN)
    trouble = circuit.recovery
    assert trouble is not None
    assert trouble.run == 1
    trouble.begin_round(4)

    follow(worker, State.HALF_OPEN)

    assert circuit.recovery is trouble
    assert trouble.window == 1


@pytest.mark.parametrize(
    ("state", "slow", "window"),
    [(State.OPEN, False, 4), (State.HALF_OPEN, False, 1), (State.LIMITED, True, 4)],
)
def test_only_a_limit_says_that_calls_are_slow_and_only_probes_begin_a_round(
    worker: Worker, state: State, slow: bool, window: int
) -> None:
    circuit = circuit_of(worker)
    follow(worker, State.LIMITED if state is State.OPEN else State.OPEN)
    assert circuit.recovery is not None
    circuit.recovery.begin_round(4)
    circuit.recovery.was_slow = False

    follow(worker, state, size=6.0)

    assert circuit.recovery.was_slow is slow
    assert circuit.recovery.window == window
    assert (circuit.limit is not None) is slow
    if circuit.limit is not None:
        assert circuit.limit.size == 6.0


@pytest.mark.parametrize("state", [State.OPEN, State.CLOSED])
def test_what_its_own_calls_had_shown_is_no_suspicion_any_more(
    worker: Worker, state: State
) -> None:
    for _ in range(2):
        fail(worker.breaker.acquire())
    circuit, now = circuit_of(worker), worker.clock.now
    assert circuit.detector.evidence.bad == 2

    if state is State.OPEN:
        follow(worker, state)
    else:
        worker.breaker.in_turn(now, circuit.follow_closing, WHY, now)

    assert circuit.detector.evidence.bad == 0
    assert worker.breaker.state is state


def test_a_closed_circuit_that_hears_that_the_fleet_has_closed_keeps_its_calls(
    worker: Worker,
) -> None:
    circuit, now = circuit_of(worker), worker.clock.now
    (permit,) = admitted(worker, 1)

    worker.breaker.in_turn(now, circuit.follow_closing, WHY, now)

    assert [*circuit.calls.voting] == [permit.token]
    permit.success()


def test_who_has_closed_with_the_fleet_follows_no_more(worker: Worker) -> None:
    circuit, now = circuit_of(worker), worker.clock.now
    assert circuit.has_followed is False
    follow(worker, State.OPEN)
    worker.breaker.in_turn(now, circuit.follow_closing, WHY, now)

    assert circuit.has_followed is False


def test_who_has_orders_follows_whatever_the_reason_is(worker: Worker) -> None:
    circuit, now, orders = circuit_of(worker), worker.clock.now, Orders(State.OPEN)
    why = Reason("failures", "six of seven calls failed")
    worker.breaker.in_turn(now, circuit.follow, orders, why, 1.0, 4.0, now)

    assert circuit.has_followed is True


# Probes by orders


def test_a_ticket_is_for_a_circuit_that_is_open(worker: Worker) -> None:
    follow(worker, State.HALF_OPEN, places=0, ticket_until=worker.clock.now + 9.0)

    assert admitted(worker, 3) == []


def test_a_ticket_begins_a_round_of_one_probe(worker: Worker) -> None:
    follow(worker, State.OPEN, wait=0.0, ticket_until=worker.clock.now + 9.0)
    recovery = circuit_of(worker).recovery
    assert recovery is not None
    recovery.begin_round(4)

    assert len(admitted(worker, 3)) == 1

    assert recovery.window == 1


def test_a_probe_that_is_overdue_holds_no_place(worker: Worker) -> None:
    follow(worker, State.HALF_OPEN, places=1)
    (late,) = admitted(worker, 1)
    assert admitted(worker, 1) == []
    worker.clock.advance(100.0)

    assert len(admitted(worker, 1)) == 1
    late.success()


def test_a_probe_that_waits_for_its_own_caller_holds_no_place(worker: Worker) -> None:
    follow(worker, State.HALF_OPEN, places=1)
    (probe,) = admitted(worker, 1)
    circuit_of(worker).calls.voting[probe.token].answered = WAITING

    assert len(admitted(worker, 2)) == 1
    probe.success()


# A limit alone


def test_alone_it_counts_its_calls_under_the_limit(worker: Worker) -> None:
    follow(worker, State.LIMITED, size=4.0)
    circuit = circuit_of(worker)
    worker.breaker.in_turn(worker.clock.now, circuit.decide_alone)

    running = admitted(worker, 9)

    assert len(running) == 4
    assert circuit.limit is not None
    assert [*circuit.limit._in_flight] == [permit.token for permit in running]


def test_a_callee_that_asks_for_a_pause_is_heard_by_the_fleet_only(worker: Worker) -> None:
    follow(worker, State.LIMITED, places=4)
    states: list[State] = []
    for _ in range(2):
        for _ in range(10):
            for permit in admitted(worker, 4):
                permit.throttled(5.0)
        states.append(worker.breaker.state)
        worker.breaker.in_turn(worker.clock.now, circuit_of(worker).decide_alone)

    assert states == [State.LIMITED, State.OPEN]


@pytest.mark.parametrize("is_alone", [False, True])
def test_callers_that_leave_make_room_for_other_probes_only_where_it_decides_alone(
    worker: Worker, is_alone: bool
) -> None:
    circuit = circuit_of(worker)
    follow(worker, State.HALF_OPEN, places=1)
    if is_alone:
        worker.breaker.in_turn(worker.clock.now, circuit.decide_alone)
    for _ in range(5):
        (permit, *others) = admitted(worker, 1)
        assert others == []
        worker.clock.advance(0.01)
        permit.cancel()
    worker.breaker.metrics()

    assert circuit.recovery is not None
    assert (circuit.recovery.spare > 0) is is_alone


def test_bad_calls_are_named_in_the_news_although_the_fleet_decides(worker: Worker) -> None:
    circuit = circuit_of(worker)
    follow(worker, State.LIMITED, places=9)
    before = len(circuit.bad_calls)

    fail(worker.breaker.acquire())

    assert len(circuit.bad_calls) == before + 1


def test_the_end_of_a_call_is_told_to_the_caller_and_in_the_journal(worker: Worker) -> None:
    circuit, now = circuit_of(worker), worker.clock.now
    worker.breaker.in_turn(now, circuit.watch, 1)
    (good,) = admitted(worker, 1)

    assert circuit.end(Ending(good.token, Outcome.SUCCESS, 0.1, now)) is votes.GOOD

    (_, ended), _, _ = worker.breaker.in_turn(now, circuit.take_journal, now)
    assert ended[:5] == (good.token, now, Outcome.SUCCESS, 0.1, 0.0)
    assert ended[-1] == ""


def test_while_the_fleet_decides_a_caller_that_leaves_has_said_nothing(worker: Worker) -> None:
    circuit, now = circuit_of(worker), worker.clock.now
    follow(worker, State.LIMITED, places=9)
    worker.breaker.in_turn(now, circuit.watch, 1)
    (left,) = admitted(worker, 1)
    token = left.token
    left.cancel()

    (_, ended), _, _ = worker.breaker.in_turn(now, circuit.take_journal, now)
    assert ended[:5] == (token, now, Outcome.IGNORED, 0.0, 0.0)


# The journal, in corners


def test_who_is_watched_already_goes_on_with_another_share(worker: Worker) -> None:
    circuit = circuit_of(worker)
    circuit.watch(1)
    journal = circuit.journal
    assert journal is not None

    circuit.watch(4)

    assert circuit.journal is journal
    assert journal.one_in == 4


def test_what_could_not_be_told_is_lost_where_nobody_wants_to_know_any_more(
    worker: Worker,
) -> None:
    circuit = circuit_of(worker)
    circuit.give_back([Begun(1, 0.0)], 3)

    assert circuit.take_journal(worker.clock.now) == ([], 0, ())


@pytest.mark.parametrize("state", [State.OPEN, State.LIMITED])
def test_a_refused_call_has_not_begun(worker: Worker, state: State) -> None:
    circuit, now = circuit_of(worker), worker.clock.now
    worker.breaker.in_turn(now, circuit.watch, 1)
    follow(worker, state, places=0)
    assert admitted(worker, 3) == []

    assert worker.breaker.in_turn(now, circuit.take_journal, now) == ([], 3, ())


def test_a_call_that_waited_for_its_own_caller_begins_later(worker: Worker) -> None:
    circuit, clock = circuit_of(worker), worker.clock
    worker.breaker.in_turn(clock.now, circuit.watch, 1)
    (permit,) = admitted(worker, 1)
    before, began = permit.token, clock.now
    worker.breaker.in_turn(clock.now, circuit.take_journal, clock.now)
    clock.advance(0.05)

    worker.breaker.delay(permit, 0.05, clock.now)

    entries, _, still_open = worker.breaker.in_turn(clock.now, circuit.take_journal, clock.now)
    assert entries == [
        Ended(before, began + 0.05, Outcome.IGNORED, 0.0),
        Begun(permit.token, began + 0.05),
    ]
    assert still_open == (permit.token,)
    permit.success()


def test_a_late_call_that_waited_for_its_own_caller_is_still_the_same(worker: Worker) -> None:
    circuit, clock = circuit_of(worker), worker.clock
    worker.breaker.in_turn(clock.now, circuit.watch, 1)
    late, _ = admitted(worker, 2)
    worker.breaker.in_turn(clock.now, circuit.take_journal, clock.now)
    clock.advance(5.0)
    worker.breaker.metrics()
    worker.breaker.in_turn(clock.now, circuit.notice, clock.now)
    assert late.token in circuit.calls.overdue

    worker.breaker.delay(late, 0.05, clock.now)

    entries, _, still_open = worker.breaker.in_turn(clock.now, circuit.take_journal, clock.now)
    assert late.token in still_open
    assert late.token not in [entry.token for entry in entries]


def test_who_is_not_watched_may_wait_for_its_own_caller(worker: Worker) -> None:
    (permit,) = admitted(worker, 1)
    before = permit.token

    worker.breaker.delay(permit, 0.05, worker.clock.now)

    assert permit.token != before
    permit.success()


def test_where_more_is_known_of_calls_they_are_told_when_they_end(worker: Worker) -> None:
    """An unknown label says nothing yet, not even if the call fails."""
    circuit, breaker, clock = circuit_of(worker), worker.breaker, worker.clock
    learn_labels(worker)
    breaker.in_turn(clock.now, circuit.watch, 1)
    permit, new = breaker.acquire(label="list"), breaker.acquire(label="new")
    began, tokens = clock.now, (permit.token, new.token)
    assert breaker.in_turn(clock.now, circuit.take_journal, clock.now)[0] == []
    clock.advance(0.125)
    permit.success()
    new.failure()

    entries, _, _ = breaker.in_turn(clock.now, circuit.take_journal, clock.now)

    begun = {entry.token: entry.at for entry in entries if isinstance(entry, Begun)}
    ended = {entry.token: entry.outcome for entry in entries if isinstance(entry, Ended)}
    assert begun == dict.fromkeys(tokens, pytest.approx(began))
    assert ended == dict(zip(tokens, (Outcome.SUCCESS, Outcome.IGNORED), strict=True))


# What is learned of others


@pytest.mark.parametrize(("slow", "failed"), [(0.2, 0.0), (0.0, 0.2), (0.2, 0.1)])
def test_shares_of_bad_calls_that_the_fleet_has_seen_are_normal_here(
    worker: Worker, slow: float, failed: float
) -> None:
    circuit = circuit_of(worker)
    usual = circuit.detector.evidence.share(0)

    circuit.expect(slow, failed, worker.clock.now)

    now_usual = circuit.detector.evidence.share(0)
    for index, share in enumerate((slow, failed)):
        if share:
            assert now_usual[index] > max(0.6 * share, usual[index])
        else:
            assert now_usual[index] < 0.02


def test_shares_that_are_usual_here_change_nothing(worker: Worker) -> None:
    circuit = circuit_of(worker)
    before, usual = circuit.detector.evidence.learned, circuit.detector.evidence.share(0)

    circuit.expect(*usual, worker.clock.now)

    assert circuit.detector.evidence.learned == before


def test_what_others_have_learned_is_added_to_what_is_known_here(worker: Worker) -> None:
    circuit, now = circuit_of(worker), worker.clock.now
    known = circuit.detector.baseline.history().total
    lesson = circuit.learned(now)

    worker.breaker.in_turn(now, lambda: circuit.learn_from(lesson, now, anew=False))

    assert circuit.detector.baseline.history().total == pytest.approx(2.0 * known)


def test_a_rate_is_learned_where_none_is_known_and_none_is_learned_from_none() -> None:
    new = World(1, is_trained=False).workers[0]
    circuit, now = circuit_of(new), new.clock.now
    lesson = circuit.learned(now)
    half_life = circuit.detector.evidence.half_life
    assert lesson.rate == 0.0

    new.breaker.in_turn(now, lambda: circuit.learn_from(lesson, now, anew=False))
    assert circuit.detector.evidence.half_life == half_life
    rare = Learned.from_plain({**lesson.as_plain(), "rate": 0.01})
    new.breaker.in_turn(now, lambda: circuit.learn_from(rare, now, anew=False))

    assert circuit.counts.rate == 0.01
    assert circuit.detector.evidence.half_life > half_life


def test_shares_are_compared_kind_by_kind_with_those_outside_of_runs(worker: Worker) -> None:
    """If many calls usually fail, it does not follow that many are usually slow."""
    circuit, now = circuit_of(worker), worker.clock.now
    evidence = circuit.detector.evidence
    runs = {(1, SLOW): 20.0, (1, FAILED): 20.0}
    evidence.take_over(0.0, {(0, FAILED): 20.0, **runs}, (0.0, 0.0), now)
    slow, failed = evidence.share(0)
    assert slow < 0.05 < failed
    assert evidence.share(1)[0] > 0.2

    circuit.expect(0.05, 0.0, now)

    assert circuit.detector.evidence.share(0)[0] > 0.03


def test_a_rate_that_was_measured_here_is_not_replaced_however_often_one_is_told(
    worker: Worker,
) -> None:
    circuit, now = circuit_of(worker), worker.clock.now
    faster = Learned.from_plain({**circuit.learned(now).as_plain(), "rate": 5_000.0})

    for _ in range(2):
        worker.breaker.in_turn(now, lambda: circuit.learn_from(faster, now, anew=False))

    assert 0.0 < circuit.counts.rate < 50.0
