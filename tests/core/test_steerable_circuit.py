"""The policy and the mode of a breaker, and what overrides the mode for a while."""

from __future__ import annotations

import threading
from dataclasses import replace
from math import inf
from typing import Any, cast

import pytest
from tests.support.training import learned

from recloser import Breaker, Mode, Override, Policy, Registry, State
from recloser.testing import ManualClock, RecordingListener, open_breaker

OBSERVE, ENFORCE, DISABLED = Mode.OBSERVE, Mode.ENFORCE, Mode.DISABLED


class Overrides:
    """A listener that keeps what it is told of overrides."""

    def __init__(self, registry: Registry) -> None:
        self.told: list[tuple[str, Override, bool]] = []
        registry.subscribe(self)

    def on_override(self, key: str, override: Override, ended: bool) -> None:
        self.told.append((key, override, ended))


def is_refused(breaker: Breaker) -> bool:
    permit = breaker.try_acquire()
    if permit is not None:
        permit.cancel()
    return permit is None


# For a while


def test_an_override_of_the_mode_ends_by_itself(registry: Registry, clock: ManualClock) -> None:
    breaker, listener = registry["k"], Overrides(registry)
    open_breaker(breaker)

    breaker.override("observe", for_=600.0, reason="a test of the provider", by="ann")

    assert (breaker.mode, is_refused(breaker)) == (OBSERVE, False)
    clock.advance(599.0)
    assert (breaker.mode, is_refused(breaker)) == (OBSERVE, False)
    clock.advance(1.0)
    assert is_refused(breaker)
    assert breaker.mode is ENFORCE
    (_, began, is_over), (key, ended, is_ended) = listener.told
    assert (is_over, is_ended, key) == (False, True, "k")
    assert (began.mode, began.reason, began.by) == (OBSERVE, "a test of the provider", "ann")
    assert began.until - began.since == 600.0
    assert (ended.since, ended.reason, ended.by) == (began.since, "its time is over", "")


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (lambda it: it.mode, ENFORCE),
        (lambda it: it.metrics().mode, ENFORCE),
        (lambda it: it.overrides, ()),
    ],
    ids=["mode", "metrics", "overrides"],
)
def test_an_override_that_is_over_is_not_shown(
    breaker: Breaker, clock: ManualClock, ask: Any, expected: object
) -> None:
    breaker.override("disabled", for_=1.0)
    clock.advance(2.0)

    assert ask(breaker) == expected
    assert breaker.overrides == ()


def test_an_override_that_another_thread_has_ended_is_told_as_ended_once(
    registry: Registry,
) -> None:
    breaker, listener = registry["k"], Overrides(registry)
    breaker.override("observe")
    (override,) = breaker.overrides
    breaker.end_override()
    breaker.override("disabled")

    breaker._lift(override, "its time is over", "")

    assert [ended for _, _, ended in listener.told] == [False, True, False]
    assert breaker.mode is DISABLED


def test_what_opened_by_itself_was_not_changed_by_hand(
    breaker: Breaker, clock: ManualClock
) -> None:
    breaker.open(for_=600.0)
    breaker.close()
    for _ in range(20):
        breaker.acquire().failure("HTTP 500")
        if breaker.state is State.OPEN:
            break

    assert breaker.state is State.OPEN
    assert breaker.overrides == ()
    other = Breaker("other", clock=clock)
    for _ in range(20):
        other.record(0.1, success=False)
    assert (other.state, other.overrides) == (State.OPEN, ())


def test_an_override_of_a_disabled_breaker_ends_as_well(
    breaker: Breaker, clock: ManualClock
) -> None:
    open_breaker(breaker)
    breaker.mode = DISABLED
    breaker.override("enforce", for_=10.0)
    assert is_refused(breaker)

    clock.advance(10.0)

    assert not is_refused(breaker)
    assert breaker.mode is DISABLED


def test_an_override_without_a_time_lasts_until_it_is_ended(
    registry: Registry, clock: ManualClock
) -> None:
    breaker, listener = registry["k"], Overrides(registry)
    breaker.override("observe", by="ann")
    clock.advance(1e6)

    (override,) = breaker.overrides
    assert (override.until, override.mode) == (inf, OBSERVE)
    breaker.end_override("done", by="bob")

    assert breaker.mode is ENFORCE
    assert breaker.overrides == ()
    assert [(told.reason, told.by, ended) for _, told, ended in listener.told] == [
        ("", "ann", False),
        ("done", "bob", True),
    ]
    breaker.end_override()
    assert len(listener.told) == 2


def test_a_share_may_be_overridden_alone(breaker: Breaker, clock: ManualClock) -> None:
    breaker.enforce_share = 0.5

    breaker.override(enforce_share=0.0, for_=5.0)
    assert (breaker.enforce_share, breaker.mode) == (0.0, ENFORCE)
    open_breaker(breaker)
    assert not is_refused(breaker)

    clock.advance(5.0)
    assert breaker.enforce_share == 0.5


def test_what_is_set_meanwhile_holds_afterwards(breaker: Breaker, clock: ManualClock) -> None:
    breaker.override("observe", for_=5.0)

    breaker.mode = "disabled"
    breaker.enforce_share = 0.2
    assert (breaker.mode, breaker.enforce_share) == (OBSERVE, 0.2)

    clock.advance(5.0)
    assert breaker.mode is DISABLED


def test_a_later_override_replaces_an_earlier_one(breaker: Breaker, clock: ManualClock) -> None:
    breaker.override("disabled", enforce_share=0.1, for_=5.0)
    breaker.override("observe", for_=50.0)
    assert breaker.enforce_share == 1.0

    clock.advance(10.0)

    assert breaker.mode is OBSERVE


def test_the_environment_limits_an_override(
    monkeypatch: pytest.MonkeyPatch, breaker: Breaker
) -> None:
    monkeypatch.setenv("RECLOSER_MODE", "observe")

    breaker.override("enforce")

    assert breaker.mode is OBSERVE


def test_a_breaker_that_was_opened_by_hand_says_who_did_and_until_when(
    breaker: Breaker, clock: ManualClock
) -> None:
    breaker.open("the provider moves", for_=600.0, by="ann")
    breaker.override("observe")

    opened, mode = breaker.overrides
    assert (opened.state, opened.reason, opened.by) == (State.OPEN, "the provider moves", "ann")
    assert (opened.since, opened.until) == (clock(), clock() + 600.0)
    assert mode.mode is OBSERVE

    breaker.half_open()
    open_again = breaker.overrides
    assert [each.state for each in open_again] == [None]


def test_an_override_that_is_replaced_is_told_as_ended(registry: Registry) -> None:
    breaker, listener = registry["k"], Overrides(registry)

    breaker.override("observe", by="ann")
    breaker.override("disabled", by="bob")

    assert [(told.mode, ended, told.by) for _, told, ended in listener.told] == [
        (OBSERVE, False, "ann"),
        (OBSERVE, True, "bob"),
        (DISABLED, False, "bob"),
    ]
    assert listener.told[1][1].reason == "replaced by another one"


def test_a_mode_that_another_thread_sets_meanwhile_brings_no_override_back(
    breaker: Breaker,
) -> None:
    over = threading.Event()

    def set_modes() -> None:
        while not over.is_set():
            breaker.mode = "enforce"
            breaker.enforce_share = 1.0

    thread = threading.Thread(target=set_modes)
    thread.start()
    try:
        for _ in range(2000):
            breaker.override("observe")
            assert breaker.overrides
            breaker.end_override()
            assert not breaker.overrides
    finally:
        over.set()
        thread.join()
    assert breaker.mode is ENFORCE


def test_an_opening_by_hand_holds_no_longer_than_it_says(
    breaker: Breaker, clock: ManualClock
) -> None:
    breaker.open(for_=5.0)
    assert breaker.overrides

    clock.advance(5.0)

    assert breaker.overrides == ()


def test_a_transition_after_the_end_of_an_override_has_the_usual_mode(
    registry: Registry, clock: ManualClock
) -> None:
    breaker, listener = registry["k"], RecordingListener()
    registry.subscribe(listener)
    running = [breaker.acquire() for _ in range(20)]
    breaker.override("observe", for_=10.0)
    clock.advance(11.0)

    for permit in running:
        permit.failure("HTTP 500")

    assert [each.mode for each in listener.transitions] == [ENFORCE]


def test_an_override_that_is_over_takes_no_place(clock: ManualClock) -> None:
    registry = Registry(clock=clock, max_keys=2)
    for key in "ab":
        registry[key].override("observe", for_=1.0)
    clock.advance(10.0)

    assert registry["c"].key == "c"


@pytest.mark.parametrize(
    ("key", "mode"), [("<overflow>", Mode.OBSERVE), ("<unmatched>", Mode.DISABLED)]
)
def test_a_key_that_stands_for_many_refuses_nothing_whatever_is_said(
    clock: ManualClock, key: str, mode: Mode
) -> None:
    registry = Registry(Policy(mode="enforce"), clock=clock)
    breaker = registry[key]
    assert breaker.mode is mode

    breaker.mode = "enforce"
    breaker.policy = Policy(mode="enforce", min_failures=7)
    registry.policy = Policy(mode="enforce", min_failures=8)
    assert breaker.mode is mode
    breaker.override("enforce")
    assert breaker.mode is mode


def test_nothing_is_cut_off_while_only_a_share_is_refused(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    permit = breaker.acquire()
    assert permit.timeout < 60.0

    breaker.enforce_share = 0.99

    assert permit.timeout == breaker.piece_timeout == inf


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((), {}, "needs a mode or an enforce_share"),
        (("observe",), {"reason": 5}, "reason must be a str"),
        (("observe",), {"by": None}, "by must be a str"),
        (("observe",), {"for_": "10m"}, "for_ must be a number"),
    ],
)
def test_an_override_of_wrong_types_is_an_error(
    breaker: Breaker, arguments: Any, settings: Any, message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        breaker.override(*arguments, **settings)
    assert breaker.overrides == ()


def test_who_ends_an_override_and_why_are_texts(breaker: Breaker) -> None:
    breaker.override("observe")

    with pytest.raises(TypeError, match="reason must be a str"):
        breaker.end_override(cast("Any", 5))
    with pytest.raises(TypeError, match="by must be a str"):
        breaker.end_override(by=cast("Any", 5))

    assert breaker.mode is OBSERVE


@pytest.mark.parametrize(
    ("mode", "settings", "message"),
    [
        ("observed", {}, "mode must be one of"),
        ("observe", {"for_": -1.0}, "for_ must be"),
        (None, {"enforce_share": 1.5}, "enforce_share must be"),
    ],
)
def test_an_override_out_of_range_is_an_error(
    breaker: Breaker, mode: Any, settings: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        breaker.override(mode, **settings)
    assert breaker.overrides == ()


def test_a_breaker_with_an_override_keeps_its_place(clock: ManualClock) -> None:
    registry = Registry(clock=clock, max_keys=2)
    registry["a"].override("observe")

    for key in "bcdef":
        registry[key].acquire().success()

    assert "a" in registry


# The policy


def test_a_policy_is_replaced_and_what_was_learned_is_kept(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    before = breaker.metrics()

    breaker.policy = Policy(slow_floor=5.0, min_failures=9, false_trip_interval=1e3)

    assert breaker.policy.min_failures == 9
    assert breaker.slow_threshold == 5.0
    after = breaker.metrics()
    assert (after.p50, after.successes) == (before.p50, before.successes)
    failures = 0
    while breaker.state is State.CLOSED:
        breaker.acquire().failure("HTTP 500")
        failures += 1
    assert failures == 9


def test_a_lower_ceiling_holds_at_once(breaker: Breaker, clock: ManualClock) -> None:
    assert breaker.slow_threshold == 60.0

    breaker.policy = Policy(slow_ceiling=2.0)

    assert breaker.slow_threshold == 2.0


def test_more_history_is_asked_only_of_what_is_not_known_yet(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    threshold = breaker.slow_threshold

    breaker.policy = Policy(min_history=1000)

    assert breaker.slow_threshold == threshold


@pytest.mark.parametrize("state", ["open", "half_open", "limited"])
def test_a_policy_is_replaced_in_every_state(
    registry: Registry, clock: ManualClock, state: str
) -> None:
    breaker = registry["k"]
    learned(breaker, clock)
    if state == "limited":
        for _ in range(200):
            permit = breaker.try_acquire()
            clock.advance(0.5)
            if permit is not None:
                permit.success()
    else:
        breaker.open(for_=5.0)
        if state == "half_open":
            breaker.half_open()

    breaker.policy = replace(Policy(), half_open_requests=1)

    clock.advance(6.0)
    for _ in range(3000):
        permit = breaker.try_acquire()
        clock.advance(0.01)
        if permit is not None:
            permit.success()
    assert breaker.state is State.CLOSED


def test_what_is_no_policy_is_an_error(breaker: Breaker) -> None:
    before = breaker.policy

    with pytest.raises(TypeError, match=r"policy must be a Policy, not \{'min_failures': 3\}"):
        breaker.policy = cast("Any", {"min_failures": 3})

    assert breaker.policy is before


def test_the_mode_and_the_share_of_a_policy_hold_with_it(breaker: Breaker) -> None:
    breaker.policy = Policy(mode="observe", enforce_share=0.25)
    assert (breaker.mode, breaker.enforce_share) == (OBSERVE, 0.25)

    breaker.policy = Policy()
    assert breaker.mode is OBSERVE


def test_a_breaker_of_no_registry_has_the_mode_and_share_of_its_policy() -> None:
    breaker = Breaker("k", Policy(mode="observe", enforce_share=0.25))
    assert (breaker.mode, breaker.enforce_share) == (OBSERVE, 0.25)
    other = Breaker("k", Policy(), mode="observe", enforce_share=0.5)
    assert (other.mode, other.enforce_share) == (OBSERVE, 0.5)


def test_what_was_set_by_hand_stays_unless_the_policies_differ_in_it(breaker: Breaker) -> None:
    breaker.policy = Policy(mode="observe")
    breaker.mode = "enforce"

    breaker.policy = Policy(mode="observe", min_failures=7)
    assert breaker.mode is ENFORCE
    breaker.policy = Policy(mode="disabled")
    assert breaker.mode is DISABLED


def test_a_suspicion_by_the_policy_before_does_not_count(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    for _ in range(4):
        breaker.acquire().failure("HTTP 500")

    breaker.policy = Policy(false_trip_interval=1e3, min_failures=2)

    figures = breaker.metrics()
    assert figures.evidence <= figures.evidence_threshold
    permit = breaker.acquire()
    clock.advance(0.1)
    permit.success()
    failures = 0
    while breaker.state is State.CLOSED:
        breaker.acquire().failure("HTTP 500")
        failures += 1
    assert failures <= 3
