"""The end of a permit: without a decision where there is none to make, and whatever goes wrong."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Any

import pytest
from tests.support.breaker_state import counts
from tests.support.outage import ASKED_BY_ALL
from tests.support.training import learned

from recloser import Breaker, LoosePermit, Mode, Outcome, Permit, Policy, Registry
from recloser._http.request_marks import RequestPermit
from recloser._permit import voteless
from recloser.testing import ManualClock, no_jitter


def one_call(breaker: Breaker, clock: ManualClock, latency: float) -> Permit:
    permit = breaker.acquire()
    clock.advance(latency)
    permit.success()
    return permit


# Without a decision


@pytest.mark.parametrize("latency", [0.0, 0.1])
def test_a_usual_good_call_needs_no_decision(
    breaker: Breaker, clock: ManualClock, decisions: list[float], latency: float
) -> None:
    learned(breaker, clock)
    breaker.metrics()  # what has ended so far is counted
    decisions.clear()

    permit = one_call(breaker, clock, latency)

    assert decisions == []
    assert permit.ended
    permit.failure()
    assert breaker.last_undecided == pytest.approx(latency)
    assert breaker.metrics().failures == 0
    assert breaker.metrics().in_flight == 0


def test_the_general_form_needs_none_either(
    breaker: Breaker, clock: ManualClock, decisions: list[float]
) -> None:
    learned(breaker, clock)
    breaker.metrics()
    decisions.clear()
    permit = breaker.acquire()

    permit.end(Outcome.SUCCESS)

    assert decisions == []


def test_a_marked_call_that_ends_soon_has_the_latency_of_its_mark(
    breaker: Breaker, clock: ManualClock, decisions: list[float]
) -> None:
    learned(breaker, clock)
    breaker.metrics()
    decisions.clear()
    permit = breaker.acquire()
    clock.advance(0.05)
    permit.mark()
    clock.advance(0.02)

    permit.success()

    assert decisions == []
    assert breaker.last_undecided == pytest.approx(0.05)


@pytest.mark.parametrize("latency", [1.0, -1.0])
def test_an_unusual_one_is_decided_about(
    registry: Registry, clock: ManualClock, decisions: list[float], latency: float
) -> None:
    breaker = registry["k"]
    learned(breaker, clock)
    breaker.metrics()
    decisions.clear()

    permit = one_call(breaker, clock, latency)

    assert len(decisions) == 1
    assert permit.ended
    assert registry.strange_latencies == (latency < 0.0)
    assert breaker.metrics().slow == (latency > 0.0)


def test_what_is_known_of_a_call_is_decided_about(
    breaker: Breaker, clock: ManualClock, decisions: list[float]
) -> None:
    """Its latency is not comparable with that of others."""
    learned(breaker, clock)
    permit = breaker.acquire("export")
    decisions.clear()

    permit.success()

    assert len(decisions) == 1


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_permit_whose_end_was_interrupted_has_ended(
    breaker: Breaker, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    permit = breaker.acquire()

    def failing() -> float:
        raise error

    monkeypatch.setattr(breaker, "clock", failing)
    with suppress(KeyboardInterrupt):
        permit.success()
    monkeypatch.undo()

    assert permit.ended
    permit.success()
    assert breaker.metrics().in_flight == 0
    assert counts(breaker) == {
        "success": 0, "failure": 0, "throttled": 0, "ignore": 0, "cancel": 1
    }  # fmt: skip


# By outcome


@pytest.mark.parametrize(
    ("settings", "pause"), [({}, 1.0), ({"quota": True}, Policy().quota_open_for)]
)
def test_the_general_form_tells_a_used_up_quota_too(
    breaker: Breaker, settings: dict[str, Any], pause: float
) -> None:
    for _ in range(ASKED_BY_ALL):
        breaker.acquire().end(Outcome.THROTTLED, **settings)

    assert breaker.retry_after == pytest.approx(pause)


# By error


class NotFoundError(Exception):
    status_code = 404


def test_an_error_by_which_the_callee_answered_takes_the_latency(
    breaker: Breaker, clock: ManualClock
) -> None:
    permit = breaker.acquire()
    clock.advance(0.5)

    permit.end_by_error(NotFoundError())

    assert permit.answered == clock()
    assert counts(breaker)["ignore"] == 1


def test_one_that_comes_after_the_first_byte_does_not_take_it_again(
    breaker: Breaker, clock: ManualClock
) -> None:
    permit = breaker.acquire()
    permit.mark()
    answered = clock()
    clock.advance(0.5)

    permit.end_by_error(NotFoundError())

    assert permit.answered == answered


@pytest.mark.parametrize("kind", [Permit, RequestPermit])
def test_an_error_that_is_no_answer_takes_none(
    breaker: Breaker, clock: ManualClock, kind: type[Permit]
) -> None:
    """What a handler raises is no answer of a callee, whatever status it has."""
    permit = breaker.admit_strict(kind)
    assert isinstance(permit, Permit)
    clock.advance(0.5)

    permit.end_by_error(ValueError() if kind is Permit else NotFoundError())

    assert permit.answered == inf


def test_an_error_that_cannot_be_judged_is_no_answer(clock: ManualClock) -> None:
    class Broken(type):
        @property
        def __mro__(cls) -> Any:
            raise RuntimeError("no order")

    class OddError(Exception, metaclass=Broken):
        pass

    permit = Breaker("k", clock=clock).acquire()

    permit.end_by_error(OddError())

    assert permit.answered == inf


def test_what_is_raised_after_the_end_is_not_judged(clock: ManualClock) -> None:
    judged: list[BaseException] = []
    breaker = Breaker("k", Policy(classify_error=judged.append), clock=clock)
    with suppress(OSError), breaker.acquire() as permit:
        permit.success()
        raise OSError

    assert judged == []


def test_a_signal_handler_that_strikes_while_an_error_is_judged_keeps_no_permit(
    clock: ManualClock,
) -> None:
    def interrupted(error: BaseException) -> None:
        raise KeyboardInterrupt

    breaker = Breaker("k", Policy(classify_error=interrupted), clock=clock)
    permit = breaker.acquire()
    with pytest.raises(KeyboardInterrupt):
        permit.end_by_error(OSError())

    assert breaker.metrics().in_flight == 0
    assert counts(breaker)["cancel"] == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NotFoundError(), Outcome.IGNORED),
        (OSError(), Outcome.FAILURE),
        (KeyboardInterrupt(), Outcome.CANCELLED),
    ],
)
def test_it_tells_what_an_error_says_without_ending(
    breaker: Breaker, error: BaseException, expected: Outcome
) -> None:
    permit = breaker.acquire()

    outcome, retry_after = permit.classify(error)

    assert (outcome, retry_after) == (expected, None)
    assert not permit.ended


class Timeout(BaseException):
    """Like those of gevent and eventlet."""


def handle(breaker: Breaker, clock: ManualClock, error: BaseException) -> bool:
    """Let a handler raise after 30 ms; return whether it was admitted."""
    permit = breaker.admit_strict(RequestPermit)
    clock.advance(0.03)
    if isinstance(permit, RequestPermit):
        permit.end_by_error(error)
    return isinstance(permit, RequestPermit)


def test_handlers_that_a_server_cancels_are_clients_that_leave(
    breaker: Breaker, clock: ManualClock
) -> None:
    """A client call that is cancelled as soon was cut off by its program, and opens a new key."""
    for _ in range(100):
        assert handle(breaker, clock, asyncio.CancelledError())


def test_handlers_that_time_out_are_failures(breaker: Breaker, clock: ManualClock) -> None:
    calls = 0
    while calls < 100 and handle(breaker, clock, Timeout()):
        calls += 1

    assert calls == breaker.policy.min_failures


def test_the_reason_names_what_handlers_raised(breaker: Breaker, clock: ManualClock) -> None:
    while handle(breaker, clock, ConnectionResetError()):
        pass

    assert "ConnectionResetError" in breaker.explain()


# With a clock that fails


class FailingClock(ManualClock):
    fails = False

    def __call__(self) -> float:
        if self.fails:
            raise OSError("no clock")
        return super().__call__()


@pytest.mark.parametrize("strict", [False, True])
def test_a_mark_by_a_clock_that_fails_is_none_and_a_fault(strict: bool) -> None:
    clock = FailingClock(1000.0)
    registry = Registry(clock=clock, random=no_jitter)
    permit = registry["k"].admit_strict(Permit) if strict else registry["k"].acquire()
    assert isinstance(permit, Permit)
    clock.fails = True

    permit.mark()

    assert registry.faults == 1
    assert permit.answered == inf


def test_a_call_that_is_not_counted_has_a_begin_whatever_the_clock_says() -> None:
    clock = FailingClock(1000.0)
    registry = Registry(clock=clock, random=no_jitter, mode=Mode.DISABLED)
    breaker = registry["k"]
    assert voteless(breaker, Permit).started == 1000.0
    clock.fails = True

    permit = voteless(breaker, LoosePermit)
    permit.mark()
    permit.wait()
    permit.go_on(1.0)

    assert permit.ended
    assert (permit.started, permit.answered, permit.outer) == (0.0, inf, None)
    assert registry.faults == 2


# Waits for its caller


@pytest.fixture
def waiting(breaker: Breaker, clock: ManualClock) -> LoosePermit:
    """A call that waited for its caller for a minute, after 0.05 s at the callee."""
    learned(breaker, clock)
    permit = breaker.admit(LoosePermit)
    assert isinstance(permit, LoosePermit)
    clock.advance(0.05)
    permit.wait()
    clock.advance(60.0)
    return permit


def test_time_for_which_it_waits_for_its_caller_is_no_latency(
    breaker: Breaker, clock: ManualClock, waiting: LoosePermit
) -> None:
    waiting.go_on(60.0)
    assert waiting.answered == waiting.timing.answered == inf
    clock.advance(0.05)
    mean = breaker.metrics().mean

    assert waiting.started == pytest.approx(clock() - 0.1)
    waiting.success()

    assert breaker.metrics().slow == 0
    assert breaker.metrics().mean == pytest.approx(mean)


def test_who_does_not_wait_cannot_go_on(breaker: Breaker, clock: ManualClock) -> None:
    learned(breaker, clock)
    permit = breaker.admit(LoosePermit)
    assert isinstance(permit, LoosePermit)
    clock.advance(10.0)

    permit.go_on(10.0)

    assert permit.started == clock() - 10.0
    permit.success()
    assert breaker.metrics().slow == 1


def test_a_call_that_has_ended_does_not_wait(breaker: Breaker) -> None:
    permit = breaker.admit(LoosePermit)
    assert isinstance(permit, LoosePermit)
    permit.success()

    permit.wait()
    permit.go_on(1.0)

    assert permit.answered == inf
    assert permit.ended


def test_a_call_that_goes_on_may_become_overdue(
    breaker: Breaker, clock: ManualClock, waiting: LoosePermit
) -> None:
    waiting.go_on(60.0)
    clock.advance(10.0)

    breaker.notice()

    assert breaker.metrics().evidence > 0.0
    waiting.cancel()


def test_by_a_clock_that_fails_the_call_goes_on_all_the_same() -> None:
    clock = FailingClock(1000.0)
    registry = Registry(clock=clock, random=no_jitter)
    permit = registry["k"].admit(LoosePermit)
    assert isinstance(permit, LoosePermit)
    permit.wait()
    clock.fails = True

    permit.go_on(1.0)

    clock.fails = False
    assert registry.faults == 1
    assert not permit.ended
    permit.success()
    assert counts(registry["k"])["success"] == 1


# Streams


@pytest.mark.parametrize(("latency", "clock_moves"), [(0.5, 0.5), (0.0, -5.0)])
def test_the_first_piece_takes_the_latency(
    breaker: Breaker, clock: ManualClock, latency: float, clock_moves: float
) -> None:
    permit = breaker.acquire()
    clock.advance(clock_moves)

    pieces = permit.pieces()

    assert permit.answered == clock()
    assert pieces.latency == pytest.approx(latency)


def test_the_first_piece_after_the_first_byte_does_not(
    breaker: Breaker, clock: ManualClock
) -> None:
    permit = breaker.acquire()
    permit.mark()
    answered = clock()
    clock.advance(1.0)

    pieces = permit.pieces()

    assert permit.answered == answered
    assert pieces.latency == 0.0


# Blocks and copies


def test_an_async_block_has_the_permit(breaker: Breaker) -> None:
    async def main() -> None:
        permit = breaker.acquire()
        async with permit as entered:
            assert entered is permit

    asyncio.run(main())


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_is_the_same_permit(breaker: Breaker, copied: Callable[[Permit], Permit]) -> None:
    permit = breaker.acquire()

    assert copied(permit) is permit
    permit.success()


def test_a_permit_that_has_ended_is_dropped_without_effect(
    breaker: Breaker, clock: ManualClock
) -> None:
    """It is not taken for one of the calls that are still in flight."""
    late = breaker.acquire()
    for _ in range(10):
        breaker.acquire().success()

    assert not breaker.is_spare(clock())
    late.success()
    assert breaker.is_spare(clock())
