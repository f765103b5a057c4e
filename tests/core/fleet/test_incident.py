"""An incident: what the leader makes of reports, and what it tells."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.support.fleets import World

from recloser import Outcome, Reason, State
from recloser._circuit.journal import Begun, Ended
from recloser._circuit.pooled import PooledCircuit
from recloser._fleet.facts import KeyFact
from recloser._fleet.incident import Incident
from recloser._fleet.permits import lines_for
from recloser._fleet.reports import Report
from recloser._fleet.watch import LEASE
from recloser._stall import StallWatch

PACE = 0.05


class Watch:
    """An incident of some workers, of whose calls a test reports."""

    def __init__(self, workers: int = 3) -> None:
        worker = World(1).workers[0]
        self.now = worker.clock.now
        stalls = StallWatch(lambda: 0.0)
        circuit = PooledCircuit("payments", worker.breaker.following, workers, stalls, self.now)
        self.incident = Incident("a", circuit, workers, lambda: 0.5, self.now)
        self.token = 0

    @property
    def state(self) -> State:
        return self.incident.circuit.state

    def call(self, outcome: Outcome, latency: float = 0.01) -> tuple[Begun, Ended]:
        self.token += 1
        began = self.now - latency
        return Begun(self.token, began), Ended(self.token, self.now, outcome, latency)

    def report(self, worker: str, outcome: Outcome, calls: int = 1, *, alone: str = "") -> Report:
        entries = [entry for _ in range(calls) for entry in self.call(outcome)]
        entries.sort(key=lambda entry: entry.at)
        return Report(worker=worker, written=self.now, entries=tuple(entries), alone=alone)

    def turn(self, *reports: Report) -> KeyFact | None:
        self.incident.decide(reports, self.now)
        news = self.incident.news(self.now)
        if news is not None:
            self.incident.tell(news, self.now)
        self.now += PACE
        return news

    def play(self, seconds: float, reports: Callable[[], list[Report]] = list) -> list[KeyFact]:
        news = [self.turn(*reports()) for _ in range(round(seconds / PACE))]
        return [each for each in news if each is not None]

    def open(self) -> KeyFact:
        return self.play(
            0.5, lambda: [self.report(worker, Outcome.FAILURE, 2) for worker in "abc"]
        )[-1]


@pytest.fixture
def watch() -> Watch:
    return Watch()


def test_at_first_it_tells_that_it_watches(watch: Watch) -> None:
    news = watch.turn()

    assert news is not None
    assert (news.state, news.leader, news.is_over) == (State.CLOSED, "a", False)
    assert news.lease >= LEASE


def test_it_says_something_before_its_lease_is_over(watch: Watch) -> None:
    told = watch.play(6.0, lambda: [watch.report("b", Outcome.SUCCESS)])

    assert len(told) >= 6.0 / LEASE * 2


def test_while_nothing_changes_it_does_not_write_at_every_turn(watch: Watch) -> None:
    watch.open()

    told = watch.play(1.0, lambda: [Report(worker="b", written=watch.now, refused=3)])

    assert len(told) <= 4


def test_failures_of_two_workers_open_and_those_of_one_do_not(watch: Watch) -> None:
    watch.play(1.0, lambda: [watch.report("a", Outcome.FAILURE, 3)])
    before = watch.state
    assert before is State.CLOSED

    watch.play(0.5, lambda: [watch.report("b", Outcome.FAILURE, 3)])

    assert watch.state is State.OPEN


def test_entries_of_workers_are_taken_in_the_order_of_time(watch: Watch) -> None:
    """A worker that reports late must not make others look as if they had failed first."""
    late = watch.report("b", Outcome.FAILURE, 3)
    watch.now += 0.04

    watch.incident.decide([watch.report("a", Outcome.SUCCESS, 3), late], watch.now)

    assert watch.incident.circuit.witnesses == {"b"}
    assert watch.incident.circuit.detector.evidence.bad <= 3


def test_who_has_opened_alone_opens_all_if_most_have(watch: Watch) -> None:
    watch.turn(
        watch.report("a", Outcome.SUCCESS, alone="open"),
        watch.report("b", Outcome.SUCCESS, alone="open"),
        watch.report("c", Outcome.FAILURE),
    )

    assert watch.state is State.OPEN
    reason = watch.incident.circuit.reason
    assert reason is not None
    assert reason.sentence.startswith("2 of 3 workers have opened alone")


def test_who_is_well_is_not_opened_because_most_have_opened_alone(watch: Watch) -> None:
    watch.play(
        3.0,
        lambda: [
            watch.report("a", Outcome.FAILURE, alone="open"),
            watch.report("b", Outcome.FAILURE, alone="open"),
            watch.report("c", Outcome.SUCCESS, 2),
        ],
    )

    assert watch.state is State.CLOSED


@pytest.mark.parametrize("alone", [("open", "", ""), ("limited", "limited", "limited")])
def test_one_that_has_opened_alone_or_all_that_have_limited_open_nobody(
    watch: Watch, alone: tuple[str, str, str]
) -> None:
    watch.turn(
        *[
            watch.report(name, Outcome.SUCCESS, alone=each)
            for name, each in zip("abc", alone, strict=True)
        ]
    )

    assert watch.state is State.CLOSED


@pytest.mark.parametrize(
    ("alone", "overrules"),
    [
        (("open", "", ""), True),
        (("half_open", "", ""), True),
        (("", "", ""), False),
        (("open", "", "limited"), False),
    ],
)
def test_most_are_closed_and_somebody_is_not(
    watch: Watch, alone: tuple[str, str, str], overrules: bool
) -> None:
    told = watch.turn(
        *[
            watch.report(name, Outcome.SUCCESS, alone=each)
            for name, each in zip("abc", alone, strict=True)
        ]
    )

    assert told is not None
    assert told.overrules is overrules
    assert watch.incident.closing(watch.now).overrules is overrules


def test_who_has_not_reported_is_not_taken_for_closed(watch: Watch) -> None:
    told = watch.turn(
        watch.report("a", Outcome.SUCCESS, alone="open"), watch.report("b", Outcome.SUCCESS)
    )

    assert told is not None
    assert not told.overrules


def test_that_most_are_closed_is_told_at_once(watch: Watch) -> None:
    watch.turn(watch.report("a", Outcome.SUCCESS, alone="open"))
    watch.turn()

    told = watch.turn(watch.report("b", Outcome.SUCCESS), watch.report("c", Outcome.SUCCESS))

    assert told is not None
    assert told.overrules


def test_a_ticket_is_given_before_it_is_time_and_to_one_of_few_workers(watch: Watch) -> None:
    told = [watch.open()]
    circuit = watch.incident.circuit
    told += watch.play(
        circuit.probe_at - watch.now - PACE,
        lambda: [Report(worker=worker, written=watch.now, refused=1) for worker in "abc"],
    )

    tickets = told[-1].tickets
    assert tickets is not None
    assert len(tickets) == 1
    assert set(tickets) <= set("abc")


def test_a_ticket_is_not_given_to_who_has_decided_alone(watch: Watch) -> None:
    def reports() -> list[Report]:
        return [
            Report(worker="b", written=watch.now, refused=9, alone="open"),
            Report(worker="c", written=watch.now, refused=1),
            Report(worker="a", written=watch.now, refused=9, alone="open"),
        ]

    watch.open()
    watch.play(10.0, reports)  # the tickets of before are over now

    told = watch.play(10.0, reports)

    assert {each for fact in told for each in fact.tickets or ()} == {"c"}


def test_a_ticket_that_nobody_used_is_given_again(watch: Watch) -> None:
    watch.open()
    circuit = watch.incident.circuit

    told = watch.play(
        circuit.probe_at - watch.now + 30.0,
        lambda: [Report(worker=worker, written=watch.now, refused=1) for worker in "abc"],
    )

    assert len([fact for fact in told if fact.tickets]) > 3


def test_a_fleet_that_is_calm_again_ends_its_watch(watch: Watch) -> None:
    watch.play(0.2, lambda: [watch.report(worker, Outcome.FAILURE) for worker in "ab"])
    assert not watch.incident.watch.is_over

    watch.play(8.0, lambda: [watch.report(worker, Outcome.SUCCESS, 3) for worker in "abc"])

    assert watch.incident.watch.is_over
    closing = watch.incident.closing(watch.now)
    assert closing.is_over
    assert closing.learned is None


def test_a_watch_ends_although_one_worker_goes_on_to_fail(watch: Watch) -> None:
    watch.play(
        35.0,
        lambda: [watch.report("a", Outcome.FAILURE), watch.report("b", Outcome.SUCCESS)],
    )

    assert watch.state is State.CLOSED
    assert watch.incident.watch.is_over


def test_while_it_is_not_closed_it_is_not_over(watch: Watch) -> None:
    watch.open()

    watch.play(100.0)

    assert not watch.incident.watch.is_over


def test_of_many_calls_only_a_part_is_written_down_and_of_few_all_again(watch: Watch) -> None:
    def calls(a_second: int) -> list[Report]:
        part = round(a_second * PACE / 2 / watch.incident.one_in)
        return [watch.report(worker, Outcome.SUCCESS, part) for worker in "ab"]

    busy = watch.play(3.0, lambda: calls(4_000))
    assert busy[-1].one_in == 4

    calm = watch.play(6.0, lambda: calls(200))

    assert calm[-1].one_in == 1


def test_permits_follow_from_what_is_asked_and_what_ends() -> None:
    watch = Watch(workers=8)
    circuit = watch.incident.circuit
    circuit.go_on(State.LIMITED, 0.0, 20.0, Reason("slow", "slow"), watch.now)

    def reports() -> list[Report]:
        served = watch.report("a", Outcome.SUCCESS, 10)
        return [served, Report(worker="b", written=watch.now, refused=2)]

    told = watch.play(3.0, reports)[-1]

    # 240 calls a second are asked for, and 200 end.
    offered = told.size / 8 * 1.2
    assert told.state is State.LIMITED
    assert told.permits == pytest.approx(8 * lines_for(0.98 * offered, offered, 1e3), rel=0.1)
    assert told.permits > 1.2 * told.size


def test_who_takes_over_a_limit_tells_permits_at_once() -> None:
    watch = Watch()
    circuit = watch.incident.circuit
    circuit.go_on(State.LIMITED, 0.0, 20.0, Reason("slow", "slow"), watch.now)
    taken = Incident("b", circuit, 3, lambda: 0.5, watch.now)

    told = taken.news(watch.now)

    assert told is not None
    assert told.permits >= told.size > 0.0


def test_an_end_of_a_call_that_began_before_the_watch_is_no_evidence(watch: Watch) -> None:
    for outcome in (Outcome.FAILURE, Outcome.SUCCESS):
        threshold = watch.incident.circuit.detector.baseline.threshold
        ends = tuple(Ended(number, watch.now, outcome, 60.0) for number in range(1000, 1200))

        watch.turn(*(Report(worker=worker, written=watch.now, entries=ends) for worker in "ab"))

        circuit = watch.incident.circuit
        assert watch.state is State.CLOSED
        assert circuit.running == 0
        assert circuit.detector.evidence.idle
        assert circuit.witnesses == set()
        assert circuit.detector.baseline.threshold == threshold


def in_flight(watch: Watch, *entries: Begun | Ended, still_open: tuple[int, ...]) -> int:
    watch.turn(Report(worker="b", written=watch.now, entries=entries, open=still_open))
    return watch.incident.circuit.running


def test_a_call_that_is_open_and_did_not_begin_is_in_flight_until_it_is_not(watch: Watch) -> None:
    assert in_flight(watch, still_open=(1000, 1001)) == 2
    assert in_flight(watch, Begun(1002, watch.now), still_open=(1000, 1001, 1002)) == 3
    ended = Ended(1000, watch.now, Outcome.SUCCESS, 9.0)
    assert in_flight(watch, ended, still_open=(1001, 1002)) == 2
    assert in_flight(watch, still_open=(1002,)) == 1
    assert len(watch.incident.circuit.calls.voting) == 1  # that whose begin was told


def test_calls_from_before_do_not_fill_a_limit_for_ever(watch: Watch) -> None:
    watch.incident.circuit.go_on(State.LIMITED, 0.0, 4.0, Reason("limited", "slow"), watch.now)
    assert in_flight(watch, still_open=(1000, 1001)) == 2
    watch.now += 60.0
    assert in_flight(watch, still_open=(1000, 1001)) == 2

    assert in_flight(watch, *watch.call(Outcome.SUCCESS), still_open=(1000, 1001)) == 2
    assert in_flight(watch, still_open=(1000, 1001)) == 0


def test_a_call_that_is_told_twice_is_one(watch: Watch) -> None:
    begun = Begun(1, watch.now)

    assert in_flight(watch, begun, begun, still_open=(1,)) == 1
    assert in_flight(watch, begun, still_open=(1,)) == 1

    watch.now += 60.0
    assert in_flight(watch, Ended(1, watch.now, Outcome.SUCCESS, 0.1), still_open=()) == 0


def test_a_call_whose_begin_is_not_judged_yet_is_in_flight_once(watch: Watch) -> None:
    begun = Begun(1, watch.now)
    watch.turn(Report(worker="a", written=watch.now, entries=(begun,), open=(1,)))
    later = Begun(2, watch.now)  # beyond the time until which a's calls are known

    watch.turn(Report(worker="b", written=watch.now, entries=(later,), open=(2,)))
    watch.turn(Report(worker="b", written=watch.now, open=(2,)))
    assert watch.incident.circuit.running == 1

    watch.turn(Report(worker="a", written=watch.now, open=(1,)))
    assert watch.incident.circuit.running == 2
    assert len(watch.incident.circuit.calls.voting) == 2


def test_when_fewer_calls_are_looked_at_those_in_flight_count_no_more_than_before(
    watch: Watch,
) -> None:
    begun = tuple(Begun(token, watch.now) for token in range(1, 401))
    report = Report(worker="b", written=watch.now, entries=begun, open=tuple(range(1, 501)))
    for _ in range(3):
        watch.turn(report)
        watch.incident.watch.demand = 16_000.0
        report = Report(worker="b", written=watch.now, open=report.open)

    assert watch.incident.one_in == 16
    assert watch.incident.circuit.running == 500 // 16


def test_a_worker_of_which_nothing_is_heard_holds_nobody_up_for_long(watch: Watch) -> None:
    begun = Begun(1, watch.now)
    watch.turn(Report(worker="dead", written=watch.now, entries=(begun,)))

    watch.play(1.0, lambda: [watch.report(worker, Outcome.FAILURE, 2) for worker in "ab"])

    assert watch.state is State.OPEN
