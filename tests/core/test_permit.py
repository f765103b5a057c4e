"""Permit: one call, one outcome, and a place in flight that always comes back."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Callable, Generator
from contextlib import suppress
from math import inf, nan
from typing import Any

import pytest
from tests.support.breaker_state import WAYS, counts, is_closed
from tests.support.outage import ASKED_BY_ALL, ask_to_wait
from tests.support.training import learned

from recloser import Breaker, LoosePermit, Mode, Outcome, Permit, Policy, Registry, State
from recloser._locks import owns
from recloser.testing import ManualClock, open_breaker


@pytest.mark.parametrize("first", WAYS)
@pytest.mark.parametrize("second", WAYS)
def test_only_the_first_end_counts(breaker: Breaker, first: str, second: str) -> None:
    permit = breaker.acquire()

    getattr(permit, first)()
    getattr(permit, second)()

    assert permit.ended
    assert counts(breaker) == {way: int(way == first) for way in WAYS}


@pytest.mark.parametrize("outcome", Outcome)
def test_the_general_form_ends_it_too(breaker: Breaker, outcome: Outcome) -> None:
    permit = breaker.acquire()

    permit.end(outcome, error="HTTP 500", retry_after=None)

    assert permit.ended
    assert breaker.metrics().in_flight == 0
    assert sum(counts(breaker).values()) == 1


def test_two_ends_at_once_count_once(breaker: Breaker) -> None:
    """Two threads may both have read the token before either took it."""
    permit = breaker.acquire()
    token = permit.token

    permit.success()
    permit.token = token
    permit.failure()

    assert counts(breaker)["success"] == 1
    assert counts(breaker)["failure"] == 0


def test_a_dropped_permit_is_cancelled(breaker: Breaker) -> None:
    breaker.acquire()

    assert breaker.metrics().in_flight == 0
    assert counts(breaker)["cancel"] == 1


def test_a_permit_in_a_reference_cycle_is_taken_back_by_the_collector(breaker: Breaker) -> None:
    loop: list[Any] = [breaker.acquire()]
    loop.append(loop)
    assert breaker.metrics().in_flight == 1

    del loop
    gc.collect()

    assert breaker.metrics().in_flight == 0


@pytest.mark.parametrize("is_reentrant_for", ["success", "failure", "cancel"])
def test_a_finalizer_that_ends_a_permit_cannot_deadlock(
    breaker: Breaker, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, is_reentrant_for: str
) -> None:
    """The collector may run at any point of a decision, on the thread that holds the lock."""
    outer, inner = breaker.acquire(), breaker.acquire()
    circuit = breaker._circuit
    admit = type(circuit).admit
    clock.advance(breaker.slow_threshold)  # or there is nothing to decide

    def collecting(self: Any, token: int, call: Any, now: float) -> bool:
        getattr(inner, is_reentrant_for)()
        assert breaker.try_acquire() is not None
        breaker.metrics()
        return admit(self, token, call, now)

    monkeypatch.setattr(type(circuit), "admit", collecting)
    breaker.acquire().success()
    monkeypatch.undo()
    outer.success()

    assert breaker.metrics().in_flight == 0


def test_a_guarded_generator_in_a_cycle_is_collected_within_a_decision(breaker: Breaker) -> None:
    @breaker
    def items() -> Generator[int, None, None]:
        yield from range(3)

    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(200):
            cycle: list[Any] = [items()]
            next(cycle[0])
            cycle.append(cycle)
            del cycle
            breaker.acquire().success()
    finally:
        gc.set_threshold(*threshold)
        gc.collect()

    assert breaker.metrics().in_flight == 0


def test_a_long_answer_is_not_overdue_while_its_end_is_told(
    breaker: Breaker, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned(breaker, clock)
    permit = breaker.acquire()
    permit.mark()
    clock.advance(10.0)
    lock = breaker._lock

    def another_call_is_first() -> Any:
        monkeypatch.undo()
        breaker.acquire().success()
        return lock

    waiting = type("Lock", (), {"__enter__": lambda _: another_call_is_first().__enter__()})
    waiting.__exit__ = lambda _, *error: lock.__exit__(*error)  # type: ignore[attr-defined]
    waiting._is_owned = lambda _: owns(lock)  # type: ignore[attr-defined]
    monkeypatch.setattr(breaker, "_lock", waiting())
    permit.cancel()

    assert breaker.metrics().evidence == 0.0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("where", ["clock", "decision"])
def test_a_signal_handler_that_raises_at_the_end_of_a_call_keeps_no_permit(
    breaker: Breaker, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, way: str, where: str
) -> None:
    permit = breaker.acquire()
    clock.advance(100.0)  # slow, or a success is no decision

    def interrupted(*_: object) -> float:
        raise KeyboardInterrupt

    if where == "clock":
        monkeypatch.setattr(breaker, "clock", interrupted)
    else:
        monkeypatch.setattr(type(breaker._circuit), "catch_up", interrupted)
    with pytest.raises(KeyboardInterrupt):
        getattr(permit, way)()
    monkeypatch.undo()

    assert breaker.metrics().in_flight == 0


# Long answers


def test_a_marked_call_is_judged_by_its_first_byte(breaker: Breaker, clock: ManualClock) -> None:
    for _ in range(50):
        permit = breaker.acquire()
        clock.advance(0.1)
        permit.mark()
        clock.advance(10.0)
        permit.success()

    assert breaker.metrics().mean == pytest.approx(0.1)


def test_a_mark_at_time_zero_is_a_mark() -> None:
    clock = ManualClock()
    breaker = Breaker("k", clock=clock)
    permit = breaker.acquire()

    permit.mark()
    clock.advance(9.0)
    permit.success()

    assert breaker.metrics().mean == 0.0


# Waits


def test_an_upstream_that_asks_all_callers_to_wait_is_left_alone(
    breaker: Breaker, clock: ManualClock
) -> None:
    for _ in range(ASKED_BY_ALL - 1):
        breaker.acquire().throttled(30.0)
        assert is_closed(breaker)
    breaker.acquire().throttled(30.0)

    assert breaker.state is State.OPEN
    assert breaker.retry_after == pytest.approx(30.0)
    assert breaker.metrics().failures == 0
    clock.advance(29.9)
    assert breaker.try_acquire() is None
    clock.advance(0.2)
    assert breaker.try_acquire() is not None


def test_one_that_asks_only_some_of_them_is_not(breaker: Breaker) -> None:
    """The limit of one tenant refuses none of the others."""
    for _ in range(50):
        for _ in range(4):
            breaker.acquire().success()
        breaker.acquire().throttled(30.0)

    assert breaker.state is State.CLOSED


def test_after_a_pause_one_more_is_one_of_some_again(breaker: Breaker, clock: ManualClock) -> None:
    ask_to_wait(breaker)
    for _ in range(5):  # each probe is asked to wait
        clock.advance(breaker.retry_after + 0.01)
        breaker.acquire().throttled()
        assert breaker.state is State.OPEN
    clock.advance(breaker.retry_after + 0.01)
    while not is_closed(breaker):
        breaker.acquire().success()

    breaker.acquire().throttled()

    assert breaker.state is State.CLOSED


def test_a_wait_without_a_time_grows(breaker: Breaker, clock: ManualClock) -> None:
    ask_to_wait(breaker)
    waits = [breaker.retry_after]
    for _ in range(7):
        clock.advance(breaker.retry_after)
        breaker.acquire().throttled()
        waits.append(breaker.retry_after)

    assert waits == pytest.approx([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0])


def test_a_longer_wait_is_never_shortened(breaker: Breaker) -> None:
    first, second = (breaker.acquire() for _ in range(2))
    ask_to_wait(breaker, 30.0)

    first.throttled(5.0)
    assert breaker.retry_after == pytest.approx(30.0)
    second.throttled(40.0)

    assert breaker.retry_after == pytest.approx(40.0)


@pytest.mark.parametrize("wait", [None, 0.0, -5.0, nan, -inf, "soon", object()])
def test_a_wait_that_is_none_counts_as_one_without_a_time(breaker: Breaker, wait: Any) -> None:
    breaker.acquire().throttled(wait)

    assert is_closed(breaker)
    assert breaker.asked_pause == pytest.approx(1.0)
    assert counts(breaker)["throttled"] == 1
    for _ in range(ASKED_BY_ALL - 1):
        breaker.acquire().throttled(wait)

    assert breaker.state is State.OPEN
    assert breaker.retry_after == pytest.approx(1.0)


@pytest.mark.parametrize("wait", [1e9, inf, 86_400])
def test_a_wait_is_capped(breaker: Breaker, wait: float) -> None:
    ask_to_wait(breaker, wait)

    assert breaker.retry_after == pytest.approx(Policy().max_retry_after)


def test_a_used_up_quota_waits_long_unless_told_how_long(breaker: Breaker) -> None:
    late = breaker.acquire()

    ask_to_wait(breaker, 20.0, quota=True)
    assert breaker.retry_after == pytest.approx(20.0)
    late.throttled(quota=True)

    assert breaker.retry_after == pytest.approx(Policy().quota_open_for)


def test_a_run_of_failures_that_ask_for_a_wait_is_no_sign_that_all_do(
    breaker: Breaker, policy: Policy
) -> None:
    for _ in range(5):
        assert is_closed(breaker)
        breaker.acquire().failure("HTTP 503", retry_after=60.0)

    assert breaker.state is State.OPEN
    assert breaker.retry_after == pytest.approx(policy.open_for)


def test_the_wait_of_one_failure_among_many_is_not_for_all(
    breaker: Breaker, policy: Policy
) -> None:
    for number in range(5):
        breaker.acquire().failure("HTTP 503", retry_after=60.0 if number == 0 else None)

    assert breaker.state is State.OPEN
    assert breaker.retry_after == pytest.approx(policy.open_for)


# The pause that a callee asked for, for callers that have another callee


def test_one_call_is_enough_to_know_of_a_pause_and_refuses_nobody(
    breaker: Breaker, clock: ManualClock
) -> None:
    assert breaker.asked_pause == 0.0

    breaker.acquire().throttled(30.0)

    assert breaker.asked_pause == pytest.approx(30.0)
    assert breaker.retry_after == 0.0
    clock.advance(20.0)
    assert breaker.asked_pause == pytest.approx(10.0)
    clock.advance(20.0)
    assert breaker.asked_pause == 0.0


def test_who_observes_only_knows_of_no_pause(breaker: Breaker) -> None:
    breaker.mode = Mode.OBSERVE
    breaker.try_acquire()
    breaker.acquire().throttled(30.0)

    assert breaker.asked_pause == 0.0


def test_a_call_that_began_later_and_was_served_ends_the_pause(breaker: Breaker) -> None:
    earlier = breaker.acquire()
    breaker.acquire().throttled(30.0)
    later = breaker.acquire()

    earlier.success()
    assert breaker.asked_pause == pytest.approx(30.0)
    later.success()

    assert breaker.asked_pause == 0.0


def test_a_busy_key_that_ends_calls_without_a_decision_sees_that_too(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    earlier = [breaker.acquire() for _ in range(20)]
    breaker.acquire().throttled(30.0)
    for permit in earlier:
        permit.success()
    assert breaker.asked_pause == pytest.approx(30.0)

    breaker.acquire().success()

    assert breaker.asked_pause == 0.0


def test_pauses_without_a_time_grow_until_a_call_is_served(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    pauses = []
    for _ in range(3):
        breaker.acquire().throttled()
        pauses.append(breaker.asked_pause)
        clock.advance(pauses[-1])
    breaker.acquire().success()
    breaker.acquire().throttled()
    pauses.append(breaker.asked_pause)

    assert pauses == pytest.approx([1.0, 2.0, 4.0, 1.0])


def test_calls_that_were_sent_at_the_same_time_say_it_once(
    breaker: Breaker, clock: ManualClock
) -> None:
    permits = [breaker.acquire() for _ in range(3)]
    clock.advance(1.0)
    permits[0].throttled()
    clock.advance(1.5)
    permits[1].throttled()
    permits[2].throttled()

    assert breaker.asked_pause == 0.0


@pytest.mark.parametrize("by_hand", ["reset", "half_open"])
def test_by_hand_a_pause_is_over(breaker: Breaker, by_hand: str) -> None:
    breaker.acquire().throttled(30.0)

    getattr(breaker, by_hand)()

    assert breaker.asked_pause == 0.0


# Blocks, and what they raise


@pytest.mark.parametrize("awaits", [False, True])
@pytest.mark.parametrize(
    ("error", "way"),
    [(None, "success"), (ConnectionResetError(), "failure"), (KeyboardInterrupt(), "cancel")],
)
def test_a_permit_is_a_block(
    breaker: Breaker, awaits: bool, error: BaseException | None, way: str
) -> None:
    async def asynchronously() -> None:
        async with breaker.acquire():
            if error is not None:
                raise error

    def run() -> None:
        if awaits:
            coroutine = asynchronously()
            try:
                coroutine.send(None)
            except StopIteration:
                return
        with breaker.acquire():
            if error is not None:
                raise error

    if error is None:
        run()
    else:
        with pytest.raises(type(error)) as caught:
            run()
        assert caught.value is error

    assert counts(breaker)[way] == 1


def test_a_permit_ended_within_its_block_is_left_alone(breaker: Breaker) -> None:
    with suppress(ConnectionResetError), breaker.acquire() as permit:
        permit.ignore()
        raise ConnectionResetError

    assert counts(breaker) == {way: int(way == "ignore") for way in WAYS}


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_error_that_cannot_be_printed_stays_the_callers_own(breaker: Breaker) -> None:
    with pytest.raises(UnprintableError), breaker.acquire():
        raise UnprintableError

    assert counts(breaker)["failure"] == 1


class BrokenClock:
    broken = False

    def __call__(self) -> float:
        if self.broken:
            raise OSError("no clock")
        return 1.0


@pytest.mark.parametrize("way", WAYS)
def test_a_clock_that_raises_reaches_no_caller(way: str) -> None:
    clock = BrokenClock()
    registry = Registry(clock=clock)
    before = registry["k"].acquire()
    clock.broken = True

    getattr(before, way)()
    during = registry["k"].try_acquire()

    assert during is not None
    getattr(during, way)()
    assert registry.faults >= 2
    clock.broken = False
    assert registry["k"].metrics().in_flight == 0


@pytest.mark.parametrize("jump", [-3600.0, nan, inf, 1e300])
def test_a_clock_that_jumps_yields_no_latency(jump: float) -> None:
    clock = ManualClock(10_000.0)
    registry = Registry(clock=clock)
    breaker = registry["k"]
    permit = breaker.acquire()

    clock.now = 10_000.0 + jump
    permit.success()
    clock.now = 10_001.0

    assert registry.strange_latencies == 1
    assert breaker.metrics().count == 0
    assert breaker.metrics().ignored == 1
    assert breaker.try_acquire() is not None


def test_what_a_permit_is_shows_in_its_repr(breaker: Breaker) -> None:
    permit = breaker.acquire()
    assert repr(permit) == "<Permit 'k' in flight>"
    permit.success()
    assert repr(permit) == "<Permit 'k' ended>"
    open_breaker(breaker)
    breaker.half_open()

    assert repr(breaker.acquire()) == "<Permit 'k' probe>"


# The time-out of a call


def test_a_permit_knows_how_long_its_call_may_take(breaker: Breaker, clock: ManualClock) -> None:
    assert breaker.acquire().timeout == breaker.timeout == breaker.policy.slow_ceiling

    for _ in range(11):
        learned(breaker, clock)

    assert breaker.timeout == pytest.approx(2.0 * breaker.slow_threshold)
    ratios = {round(breaker.acquire().timeout / breaker.timeout) for _ in range(64)}
    assert ratios >= {1, 2}
    assert ratios <= {1, 2, 4, 8}


def test_a_probe_may_take_as_long_as_the_outage(breaker: Breaker, clock: ManualClock) -> None:
    for _ in range(11):
        learned(breaker, clock)
    breaker.open(for_=20.0)
    clock.advance(21.0)

    probe = breaker.acquire()

    assert probe.is_probe
    assert probe.timeout in (21.0, 42.0, 60.0)
    assert breaker.timeout < 1.0


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.DISABLED])
def test_where_nothing_is_enforced_nothing_is_hopeless(breaker: Breaker, mode: Mode) -> None:
    permit = breaker.acquire()

    breaker.mode = mode

    assert permit.timeout == breaker.acquire().timeout == inf


def test_a_call_that_has_ended_has_no_time_out(breaker: Breaker) -> None:
    permit = breaker.acquire()

    permit.success()

    assert permit.timeout == inf


def test_a_clock_that_fails_does_not_make_the_time_out_raise(clock: ManualClock) -> None:
    broken: list[bool] = []

    def failing() -> float:
        if broken:
            raise OSError
        return clock()

    breaker = Breaker("k", clock=failing)
    breaker.open(for_=1.0)
    clock.advance(2.0)
    probe = breaker.acquire()
    broken.append(True)

    assert probe.timeout == breaker.timeout


# Copies


@pytest.mark.parametrize("label", [None, "export"])
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_that_is_dropped_does_not_end_the_call(
    breaker: Breaker, copied: Callable[[Permit], Permit], label: str | None
) -> None:
    permit = breaker.acquire(label)
    copied(permit)
    gc.collect()

    assert breaker.metrics().in_flight == 1
    permit.success()
    assert counts(breaker)["success"] == 1


def test_a_pickled_permit_is_one_that_has_ended() -> None:
    breaker = Registry()["k"]  # a clock that can be pickled
    permit = breaker.acquire()
    unpickled = pickle.loads(pickle.dumps(permit))
    assert unpickled.ended
    unpickled.failure()
    del unpickled
    gc.collect()

    assert breaker.metrics().in_flight == 1
    permit.success()
    assert counts(breaker)["success"] == 1


@pytest.mark.filterwarnings("error")
def test_a_permit_that_no_breaker_gave_is_collected_silently() -> None:
    LoosePermit()
    copy.copy(LoosePermit())
    gc.collect()


def test_waits_asked_for_in_an_older_generation_open_nothing(
    breaker: Breaker, clock: ManualClock
) -> None:
    for _ in range(100):
        breaker.record(0.1, success=True)
    old = [breaker.acquire() for _ in range(30)]
    breaker.open(for_=1.0)
    breaker.reset()
    for _ in range(100):
        breaker.record(0.1, success=True)
    for permit in old:
        permit.throttled(30.0)

    assert breaker.state is State.CLOSED
    assert breaker.metrics().throttled == 30


def test_a_call_that_has_begun_to_answer_does_not_wait_for_its_caller_any_more(
    breaker: Breaker, clock: ManualClock
) -> None:
    """Its latency is known: time for which its client is slow is none of it."""
    learned(breaker, clock)
    permit = breaker.admit(LoosePermit)
    assert isinstance(permit, LoosePermit)
    clock.advance(0.1)
    permit.mark()
    permit.wait()
    clock.advance(60.0)
    permit.go_on(60.0)
    clock.advance(60.0)
    permit.success()

    assert breaker.metrics().slow == 0


def test_after_it_has_waited_for_its_caller_a_loose_permit_waits_for_the_callee(
    breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)
    permit = breaker.admit(LoosePermit)
    assert isinstance(permit, LoosePermit)
    permit.wait()
    clock.advance(60.0)
    permit.go_on(60.0)
    clock.advance(1.0)

    permit.success()

    metrics = breaker.metrics()
    assert (metrics.slow, metrics.in_flight) == (1, 0)


def test_an_error_whose_class_cannot_be_judged_is_a_failure_and_a_fault_of_ours(
    registry: Registry,
) -> None:
    class Broken(type):
        @property
        def __mro__(cls) -> Any:
            raise RuntimeError("no order")

    class OddError(Exception, metaclass=Broken):
        pass

    breaker = registry["k"]
    permit = breaker.acquire()
    with suppress(OddError), permit:
        raise OddError

    assert counts(breaker)["failure"] == 1
    assert registry.faults == 1
