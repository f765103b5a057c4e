"""Transitions: what the table promises, and that a breaker goes through each of its rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import pytest
from tests.support.breaker_state import is_closed
from tests.support.training import learned

from recloser import Breaker, Permit, Reason, Registry, State
from recloser._circuit.transitions import AFTER, RULES, TRANSITIONS, Cause
from recloser.testing import ManualClock, RecordingListener

CLOSED, OPEN, HALF_OPEN = State.CLOSED, State.OPEN, State.HALF_OPEN
BY_HAND = {Cause.OPENED, Cause.HALF_OPENED, Cause.RESET}

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
def test_every_state_leads_to_closed_without_a_hand(state: State) -> None:
    assert CLOSED in reachable(state, {*Cause} - BY_HAND)


def test_without_a_hand_no_state_is_left_out() -> None:
    assert reachable(CLOSED, {*Cause} - BY_HAND) == {*State}


def test_a_state_and_a_cause_lead_to_one_state() -> None:
    assert max(Counter((before, cause) for before, cause, _ in TRANSITIONS).values()) == 1
    assert len(AFTER) == len(TRANSITIONS)


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
    """`manual` alone has two causes: a hand may open and half-open."""
    causes: dict[tuple[str, State], set[Cause]] = {}
    for _, cause, after in TRANSITIONS:
        for rule in RULES[cause]:
            causes.setdefault((rule, after), set()).add(cause)

    assert {len(each) for each in causes.values()} == {1}
    rules = Counter(rule for rules in RULES.values() for rule in rules)
    assert [rule for rule, count in rules.items() if count > 1] == ["manual"]


@pytest.mark.parametrize("cause", BY_HAND)
def test_what_is_done_by_hand_is_done_in_every_state(cause: Cause) -> None:
    assert {before for before, each, _ in TRANSITIONS if each is cause} == {*State}


@pytest.mark.parametrize("before", State)
def test_only_a_hand_leaves_a_state_as_it_is(before: State) -> None:
    """Else a generation would begin without an event that tells why."""
    same = {cause for cause in Cause if AFTER.get((before, cause)) is before}

    assert len(same) == 1
    assert same <= BY_HAND


def test_every_rule_is_documented() -> None:
    documented = set(re.findall(r"`(\w+)`", Reason.__doc__ or ""))

    assert {rule for rules in RULES.values() for rule in rules} == documented


def test_every_cause_has_a_label_of_its_own() -> None:
    # Enum makes an alias of a member whose value is taken.
    assert len(Cause.__members__) == len(Cause)


# A breaker in each row


def fail(permit: Permit, clock: ManualClock) -> None:
    clock.advance(0.1)
    permit.failure("HTTP 502")


def answer(permit: Permit, clock: ManualClock) -> None:
    clock.advance(0.1)
    permit.success()


def answer_slowly(permit: Permit, clock: ManualClock) -> None:
    clock.advance(0.3)
    permit.success()


def fail_or_answer_slowly(permit: Permit, clock: ManualClock) -> None:
    (fail if permit.token % 2 else answer_slowly)(permit, clock)


def call_until(
    after: State, end: Callable[[Permit, ManualClock], None]
) -> Callable[[Breaker, ManualClock], None]:
    """Make calls that all end alike until the breaker is in a state."""

    def drive(breaker: Breaker, clock: ManualClock) -> None:
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


def come_after_the_wait(breaker: Breaker, clock: ManualClock) -> None:
    clock.advance(breaker.retry_after)
    breaker.acquire().cancel()


# How a cause comes about, by the rule that its event names.
DRIVERS: dict[tuple[Cause, str], Callable[[Breaker, ManualClock], object]] = {
    (Cause.EVIDENCE, "failures"): call_until(OPEN, fail),
    (Cause.EVIDENCE, "slow"): call_until(OPEN, answer_slowly),
    (Cause.EVIDENCE, "bad_calls"): call_until(OPEN, fail_or_answer_slowly),
    (Cause.ASKED_TO_WAIT, "retry_after"): lambda breaker, _: breaker.acquire().throttled(5.0),
    (Cause.ASKED_TO_WAIT, "quota"): lambda breaker, _: breaker.acquire().throttled(quota=True),
    (Cause.TIME_TO_PROBE, "look_again"): come_after_the_wait,
    (Cause.PROBES_BAD, "probe_failed"): call_until(OPEN, fail),
    (Cause.PROBES_GOOD, "recovered"): call_until(CLOSED, answer),
    (Cause.NEW_NORMAL, "new_normal"): call_until(CLOSED, answer_slowly),
    (Cause.OPENED, "manual"): lambda breaker, _: breaker.open("maintenance"),
    (Cause.HALF_OPENED, "manual"): lambda breaker, _: breaker.half_open(),
    (Cause.RESET, "reset"): lambda breaker, _: breaker.reset(),
}


def put_into(state: State, breaker: Breaker, clock: ManualClock) -> None:
    """From closed to a state, with nothing in flight; it knows what latency is normal."""
    learned(breaker, clock)
    if state is not CLOSED:
        breaker.open(for_=1.0)
    if state is HALF_OPEN:
        breaker.half_open()
    assert breaker.state is state


@pytest.mark.parametrize(
    ("before", "cause", "after", "rule"),
    [
        (before, cause, after, rule)
        for before, cause, after in TRANSITIONS
        for rule in sorted(RULES[cause])
    ],
)
def test_a_breaker_goes_through_every_row(
    registry: Registry, clock: ManualClock, before: State, cause: Cause, after: State, rule: str
) -> None:
    breaker, listener = registry["k"], RecordingListener()
    put_into(before, breaker, clock)
    generation = breaker.metrics().generation
    registry.subscribe(listener)

    DRIVERS[cause, rule](breaker, clock)

    assert breaker.state is after
    reason = breaker.refusal().reason
    assert reason is not None
    assert reason.rule == rule
    if before is after:
        # A new generation begins, and nothing is told.
        assert listener.transitions == []
        assert breaker.metrics().generation == generation + 1
        return
    last = listener.transitions[-1]
    assert (last.before, last.after, last.reason) == (before, after, reason)
    assert last.generation == breaker.metrics().generation
    told = [(each.before, each.after) for each in listener.transitions]
    # A slower callee is accepted after some rounds of probes; all else takes one step.
    assert told == [(before, after)] or cause is Cause.NEW_NORMAL


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
