"""Transitions: what the table promises, and that a breaker goes through each of its rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.breaker_state import is_closed
from tests.support.fleets import World
from tests.support.training import learned

from recloser import Breaker, Permit, Reason, Registry, State
from recloser._circuit.orders import Orders
from recloser._circuit.transitions import (
    AFTER,
    RULES,
    TRANSITIONS,
    Cause,
    is_of_fleet,
    rule_of_fleet,
)
from recloser.testing import ManualClock, RecordingListener

CLOSED, LIMITED = State.CLOSED, State.LIMITED
OPEN, HALF_OPEN = State.OPEN, State.HALF_OPEN
BY_HAND = {Cause.OPENED, Cause.HALF_OPENED, Cause.CLOSED_BY_HAND, Cause.RESET}
BY_FLEET = {Cause.FLEET_OPENS, Cause.FLEET_LIMITS, Cause.FLEET_PROBES, Cause.FLEET_CLOSES}
# What a breaker does by what its own calls show.
ALONE = {*Cause} - BY_HAND - BY_FLEET

# The table


def reachable(start: State, causes: set[Cause]) -> set[State]:
    """The states that these causes can lead to."""
    found = {start}
    while (
        more := {
            after for before, cause, after in TRANSITIONS if before in found and cause in causes
        }
        - found
    ):
        found |= more
    return found


@pytest.mark.parametrize("state", State)
def test_every_state_leads_to_closed_without_a_hand_or_a_fleet(state: State) -> None:
    assert CLOSED in reachable(state, ALONE)


def test_without_a_hand_or_a_fleet_no_state_is_left_out() -> None:
    assert reachable(CLOSED, ALONE) == {*State}


def test_a_state_and_a_cause_lead_to_one_state() -> None:
    assert max(Counter((before, cause) for before, cause, _ in TRANSITIONS).values()) == 1
    assert len(AFTER) == len(TRANSITIONS)


@pytest.mark.parametrize("cause", Cause)
def test_the_rules_of_a_fleet_are_those_of_its_causes(cause: Cause) -> None:
    assert {is_of_fleet(rule) for rule in RULES[cause]} == {cause in BY_FLEET}
    if cause in BY_FLEET:
        after = {after for _, each, after in TRANSITIONS if each is cause}
        assert {rule_of_fleet(state) for state in after} == RULES[cause]


@pytest.mark.parametrize(("before", "cause", "after"), TRANSITIONS)
def test_the_circuit_looks_up_what_the_table_says(
    before: State, cause: Cause, after: State
) -> None:
    assert AFTER[before, cause] is after


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_a_row_and_a_rule(cause: Cause) -> None:
    assert cause in {each for _, each, _ in TRANSITIONS}
    assert RULES[cause]


@pytest.mark.parametrize("cause", Cause)
def test_a_cause_leads_to_one_state_wherever_it_comes(cause: Cause) -> None:
    assert len({after for _, each, after in TRANSITIONS if each is cause}) == 1


def test_a_rule_and_the_state_it_led_to_tell_the_cause() -> None:
    """Two rules have two causes: a hand may open and half-open, and after slow calls good probes
    lead to limited."""
    causes: dict[tuple[str, State], set[Cause]] = {}
    for _, cause, after in TRANSITIONS:
        for rule in RULES[cause]:
            causes.setdefault((rule, after), set()).add(cause)

    assert {len(each) for each in causes.values()} == {1}
    rules = Counter(rule for rules in RULES.values() for rule in rules)
    assert {rule for rule, count in rules.items() if count > 1} == {"manual", "recovered"}


@pytest.mark.parametrize("cause", BY_HAND)
def test_what_is_done_by_hand_is_done_in_every_state(cause: Cause) -> None:
    assert {before for before, each, _ in TRANSITIONS if each is cause} == {*State}


@pytest.mark.parametrize("cause", BY_FLEET)
def test_a_worker_follows_its_fleet_from_every_state(cause: Cause) -> None:
    before = {before for before, each, _ in TRANSITIONS if each is cause}

    # A worker that is closed needs no news that its fleet is.
    assert before == {*State} - ({CLOSED} if cause is Cause.FLEET_CLOSES else set())


@pytest.mark.parametrize(
    ("before", "causes"),
    [
        (CLOSED, {Cause.CLOSED_BY_HAND, Cause.RESET}),
        # No order limits: how many calls a callee can take is learned.
        (LIMITED, {Cause.FLEET_LIMITS}),
        (OPEN, {Cause.OPENED, Cause.FLEET_OPENS}),
        (HALF_OPEN, {Cause.HALF_OPENED, Cause.FLEET_PROBES}),
    ],
)
def test_only_a_hand_or_a_fleet_leaves_a_state_as_it_is(before: State, causes: set[Cause]) -> None:
    """Else a generation would begin without an event that tells why."""
    assert {cause for cause in Cause if AFTER.get((before, cause)) is before} == causes


def test_every_rule_is_documented() -> None:
    documented = set(re.findall(r"`(\w+)`", Reason.__doc__ or ""))

    # `sick` is no change of state: it is the reason of refusals while limited.
    assert {rule for rules in RULES.values() for rule in rules} | {"sick"} == documented


@pytest.mark.parametrize("cause", Cause)
def test_the_diagram_of_the_states_has_every_label(repo_root: Path, cause: Cause) -> None:
    assert cause.value in (repo_root / "docs" / "architecture.md").read_text()


def test_every_cause_has_a_label_of_its_own() -> None:
    # Enum makes an alias of a member whose value is taken.
    assert len(Cause.__members__) == len(Cause)


# A breaker in each row

End = Callable[[Permit, ManualClock], object]


def time_out(permit: Permit, clock: ManualClock) -> None:
    clock.advance(1.0)
    permit.failure()


def fail(permit: Permit, clock: ManualClock) -> None:
    clock.advance(0.1)
    permit.failure("HTTP 502")


def answer(permit: Permit, clock: ManualClock) -> None:
    clock.advance(0.1)
    permit.success()


def answer_slowly(permit: Permit, clock: ManualClock) -> None:
    clock.advance(0.3)
    permit.success()


def throttle(wait: float | None, *, quota: bool = False) -> End:
    return lambda permit, clock: permit.throttled(wait, quota=quota)


def one_in_three(end: End, others: End) -> End:
    def one_of_both(permit: Permit, clock: ManualClock) -> None:
        (others if permit.token % 3 else end)(permit, clock)

    return one_of_both


Drive = Callable[[Breaker, ManualClock, list[Permit]], object]


def call_until(after: State, end: End) -> Drive:
    """Make calls, one after another, until the breaker is in a state."""

    def drive(breaker: Breaker, clock: ManualClock, running: list[Permit]) -> None:
        for _ in range(2_000):
            permit = breaker.try_acquire()
            if permit is None:
                clock.advance(0.05)
                continue
            end(permit, clock)
            if breaker.state is after:
                return
        raise AssertionError(breaker.explain())

    return drive


def come_after_the_wait(breaker: Breaker, clock: ManualClock, running: list[Permit]) -> None:
    clock.advance(breaker.retry_after)
    breaker.acquire().cancel()


def hang(breaker: Breaker, clock: ManualClock, running: list[Permit]) -> None:
    """Make calls, none of which ends, until the breaker is open."""
    while breaker.state is not OPEN:
        if (permit := breaker.try_acquire()) is not None:
            running.append(permit)
        clock.advance(0.05)
        assert clock.now < 2_000.0


def come_back(breaker: Breaker, clock: ManualClock, running: list[Permit]) -> None:
    running[-1].success()


def crowd(breaker: Breaker, clock: ManualClock, running: list[Permit]) -> None:
    """Make rounds of probes, of which the first one is good and those at the same time fail."""
    while breaker.state is not LIMITED:
        clock.advance(breaker.retry_after)
        answer(breaker.acquire(), clock)
        while breaker.state is HALF_OPEN:
            for permit in [breaker.acquire() for _ in range(4)]:
                fail(permit, clock)
        assert clock.now < 2_000.0


# How a cause comes about, by the rule that its event names.
DRIVERS: dict[tuple[Cause, str], Drive] = {
    (Cause.EVIDENCE, "failures"): call_until(OPEN, fail),
    (Cause.EVIDENCE, "bad_calls"): call_until(OPEN, one_in_three(answer_slowly, fail)),
    (Cause.EVIDENCE, "failing"): call_until(OPEN, time_out),
    (Cause.EVIDENCE, "mute"): hang,
    (Cause.CALLS_SLOW, "limited"): call_until(LIMITED, answer_slowly),
    (Cause.EASED, "eased"): call_until(CLOSED, answer),
    (Cause.EASED, "mixed"): call_until(CLOSED, one_in_three(answer, answer_slowly)),
    (Cause.ASKED_TO_WAIT, "retry_after"): call_until(OPEN, throttle(5.0)),
    (Cause.ASKED_TO_WAIT, "quota"): call_until(OPEN, throttle(None, quota=True)),
    (Cause.TIME_TO_PROBE, "look_again"): come_after_the_wait,
    (Cause.PROBES_BAD, "probe_failed"): call_until(OPEN, fail),
    (Cause.PROBES_GOOD, "recovered"): call_until(CLOSED, answer),
    (Cause.PROBES_FAST, "recovered"): call_until(LIMITED, answer),
    (Cause.NEW_NORMAL, "new_normal"): call_until(CLOSED, answer_slowly),
    (Cause.COMES_BACK, "comes_back"): come_back,
    (Cause.CROWDED, "crowded"): crowd,
    (Cause.OPENED, "manual"): lambda breaker, *_: breaker.open("maintenance"),
    (Cause.HALF_OPENED, "manual"): lambda breaker, *_: breaker.half_open(),
    (Cause.CLOSED_BY_HAND, "manual"): lambda breaker, *_: breaker.close(),
    (Cause.RESET, "reset"): lambda breaker, *_: breaker.reset(),
}
# Rules that only one of the states can lead to.
ONLY_FROM = {"bad_calls": CLOSED, "mute": LIMITED, "failing": LIMITED}
# Rows that need an outage that began with slow calls, not with an order.
AFTER_SLOW_CALLS = {Cause.COMES_BACK, Cause.PROBES_FAST}


def put_into(
    state: State, breaker: Breaker, clock: ManualClock, cause: Cause, rule: str
) -> list[Permit]:
    """From closed to a state; it knows what latency is normal. The calls that are in flight."""
    learned(breaker, clock)
    running: list[Permit] = []
    if state is LIMITED:
        # Calls that fail lower a narrow limit to its least, and a wide one not at once.
        running += [breaker.acquire() for _ in range(20 if rule == "failures" else 1)]
        call_until(LIMITED, answer_slowly)(breaker, clock, running)
        for permit in running:
            permit.success()
    elif cause in AFTER_SLOW_CALLS:
        hang(breaker, clock, running)
        if state is HALF_OPEN:
            come_after_the_wait(breaker, clock, running)
    elif state is not CLOSED:
        breaker.open(for_=1.0)
        if state is HALF_OPEN:
            breaker.half_open()
    assert breaker.state is state
    return running


COUNTED = {"calls", "bad", "slow", "late", "bad_rate", "normal_bad_rate"}
COMPARED = {"evidence", "evidence_threshold", "slow_threshold", "median", "sigma"}
PROBES = {"good", "bad", "outage_seconds"}
# What listeners may read, by rule.
NUMBERS: dict[str, set[str]] = {
    "failures": COUNTED | COMPARED,
    "bad_calls": COUNTED | COMPARED,
    "limited": {"limit", "calls", "slow", "late", "evidence", "slow_threshold", "median"},
    "eased": {"median", "limit"},
    "mixed": {"slow_share"},
    "mute": {"in_flight", "outage_seconds"},
    "failing": {"outage_seconds"},
    "retry_after": {"wait_seconds"},
    "quota": {"wait_seconds"},
    "look_again": {"outage_seconds"},
    "probe_failed": PROBES,
    "recovered": PROBES,
    "new_normal": {"median", "median_before", "latency_patience"},
    "comes_back": {"latency", "outage_seconds"},
    "crowded": PROBES,
    "manual": set(),
    "reset": set(),
}


@pytest.mark.parametrize(
    ("before", "cause", "after", "rule"),
    [
        (before, cause, after, rule)
        for before, cause, after in TRANSITIONS
        for rule in sorted(RULES[cause])
        if cause not in BY_FLEET
        if ONLY_FROM.get(rule, before) is before
    ],
)
def test_a_breaker_goes_through_every_row(
    registry: Registry, clock: ManualClock, before: State, cause: Cause, after: State, rule: str
) -> None:
    breaker, listener = registry["k"], RecordingListener()
    running = put_into(before, breaker, clock, cause, rule)
    generation = breaker.metrics().generation
    registry.subscribe(listener)

    DRIVERS[cause, rule](breaker, clock, running)

    assert breaker.state is after
    reason = breaker.refusal().reason
    assert reason is not None
    assert reason.rule == rule
    assert {*reason.numbers} == NUMBERS[rule]
    if before is after:
        # A new generation begins, and nothing is told.
        assert listener.transitions == []
        assert breaker.metrics().generation == generation + 1
        return
    last = listener.transitions[-1]
    assert (last.before, last.after, last.reason) == (before, after, reason)
    assert last.generation == breaker.metrics().generation
    told = [(each.before, each.after) for each in listener.transitions]
    # What takes some rounds of probes; all else is one step.
    many = before is HALF_OPEN and cause in (Cause.NEW_NORMAL, Cause.CROWDED)
    assert told == [(before, after)] or many


@pytest.mark.parametrize(
    ("before", "cause", "after"), [row for row in TRANSITIONS if row[1] in BY_FLEET]
)
def test_a_breaker_of_a_fleet_goes_through_the_rows_of_fleets(
    before: State, cause: Cause, after: State
) -> None:
    worker = World(1, is_trained=False).workers[0]
    breaker, circuit, now = worker.breaker, worker.breaker.following, worker.clock.now
    (rule,) = RULES[cause]
    put_into(before, breaker, worker.clock, cause, rule)
    generation, told = breaker.metrics().generation, len(worker.listener.transitions)
    reason = Reason(rule, "the others say so", {"workers": 2.0})

    if after is CLOSED:
        breaker.in_turn(now, circuit.follow_closing, reason, now)
    else:
        breaker.in_turn(now, circuit.follow, Orders(after), reason, 1.0, 4.0, now)

    assert breaker.state is after
    assert breaker.refusal().reason == reason
    assert breaker.metrics().generation == generation + 1
    # If it was in that state already, nothing is told.
    new = worker.listener.transitions[told:]
    assert [(each.before, each.after) for each in new] == (
        [] if before is after else [(before, after)]
    )


@pytest.mark.parametrize("rule", ONLY_FROM)
def test_a_rule_that_one_state_leads_to_has_a_row_from_it(rule: str) -> None:
    (cause,) = (cause for cause, rules in RULES.items() if rule in rules)

    assert (ONLY_FROM[rule], cause) in AFTER


def test_a_row_that_is_not_in_the_table_does_not_happen(
    registry: Registry, clock: ManualClock
) -> None:
    """An open breaker has no calls with a vote: neither good nor bad ends change it."""
    breaker, listener = registry["k"], RecordingListener()
    late = [breaker.acquire() for _ in range(40)]
    breaker.open()
    registry.subscribe(listener)

    for permit in late[::2]:
        fail(permit, clock)
    for permit in late[1::2]:
        answer(permit, clock)

    assert listener.transitions == []
    assert not is_closed(breaker)
