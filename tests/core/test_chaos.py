"""Chaos: calls that fail, hang or are slow on purpose, and what breakers measure of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from math import inf
from typing import Any

import pytest

from recloser import Breaker, BreakerOpenError, Mode, Registry, State, asgi
from recloser._chaos import Chaos, Kind, Plan, check_allowed
from recloser.testing import ChaosError, ManualClock, chaos

KEY = "payments"
Run = Callable[[Any], Any]


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECLOSER_CHAOS", "1")


@pytest.fixture
def breaker(registry: Registry) -> Breaker:
    return registry[KEY]


def outcome(call: Callable[[], Any]) -> str:
    try:
        call()
    except ChaosError:
        return "fault"
    except BreakerOpenError:
        return "refused"
    return "made"


# What is allowed


@pytest.mark.parametrize("said", [None, "", "0", "no", "maybe"])
def test_without_the_variable_nothing_is_injected(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, said: str | None
) -> None:
    monkeypatch.delenv("RECLOSER_CHAOS")
    if said is not None:
        monkeypatch.setenv("RECLOSER_CHAOS", said)

    with pytest.raises(RuntimeError, match="set RECLOSER_CHAOS=1 in its environment"):
        chaos(registry, KEY, fail=1.0).start()

    assert registry[KEY].call(lambda: 1) == 1


@pytest.mark.parametrize("said", ["1", "true", "YES", " on "])
def test_the_variable_allows_it(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("RECLOSER_CHAOS", said)

    check_allowed()


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({}, ValueError, "write fail=0.3 for 30 % of the calls"),
        ({"fail": 0.6, "hang": 0.6}, ValueError, "at most 1 in all, not 1.2"),
        ({"fail": 30}, ValueError, "fail must be a number from 0 to 1, not 30"),
        ({"fail": "0.3"}, TypeError, "fail must be a number from 0 to 1, not '0.3'"),
        ({"fail": True}, TypeError, "fail must be a number from 0 to 1, not True"),
        ({"slow": 0.1, "slow_by": 0.0}, ValueError, "slow_by must be a number from 0.001"),
        ({"hang": 0.1, "hang_for": float("inf")}, ValueError, "hang_for must be a number"),
        ({"fail": 1.0, "for_": -1}, ValueError, "for_ must be a number from 0.001"),
        ({"fail": 1.0, "sleep": asyncio.sleep}, TypeError, "sleep must be a plain function"),
        ({"fial": 1.0}, TypeError, "chaos() has no setting 'fial': did you mean 'fail'?"),
    ],
    ids=str,
)
def test_a_mistake_is_told_by_name(
    registry: Registry, settings: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as caught:
        chaos(registry, KEY, **settings)

    assert said in str(caught.value)


def test_the_registry_comes_first(registry: Registry) -> None:
    make: Any = chaos
    with pytest.raises(TypeError, match="registry must be a Registry"):
        make(registry[KEY], KEY, fail=1.0)
    with pytest.raises(TypeError, match="key must be a str"):
        make(registry, registry[KEY], fail=1.0)


# What happens to calls


def test_calls_fail_and_the_callee_is_not_called(registry: Registry, breaker: Breaker) -> None:
    made: list[int] = []

    with chaos(registry, KEY, fail=1.0) as faults:
        for _ in range(3):
            with pytest.raises(ChaosError, match="payments: a call failed on purpose"):
                breaker.call(made.append, 1)

    assert made == []
    assert breaker.metrics().failures == 3
    assert breaker.metrics().in_flight == 0
    assert faults.injected == {"fail": 3, "hang": 0, "slow": 0}
    assert faults.calls == 3


def test_the_breaker_opens_by_what_it_measures(registry: Registry, breaker: Breaker) -> None:
    with chaos(registry, KEY, fail=1.0) as faults:
        outcomes = [outcome(lambda: breaker.call(int)) for _ in range(30)]

    assert "made" not in outcomes
    assert outcomes[-1] == "refused"
    assert breaker.state is State.OPEN
    assert faults.injected["fail"] == outcomes.count("fault") < 12


def test_the_share_is_kept_and_a_seed_repeats_it(registry: Registry) -> None:
    def play(key: str, seed: int) -> list[str]:
        registry[key].mode = Mode.OBSERVE
        with chaos(registry, key, fail=0.3, seed=seed):
            return [outcome(lambda: registry[key].call(int)) for _ in range(1000)]

    first, again, other = play("a", 1), play("b", 1), play("c", 2)

    assert first == again != other
    assert 250 < first.count("fault") < 350


def test_a_hang_takes_its_time_and_then_fails(
    registry: Registry, breaker: Breaker, clock: ManualClock
) -> None:
    before = clock()

    with chaos(registry, KEY, hang=1.0, hang_for=20.0, sleep=clock.advance):
        assert outcome(lambda: breaker.call(int)) == "fault"

    assert clock() - before == 20.0
    assert breaker.metrics().failures == 1
    assert breaker.metrics().mean == 20.0


def test_a_slow_call_is_made_after_its_delay(
    registry: Registry, breaker: Breaker, clock: ManualClock
) -> None:
    with chaos(registry, KEY, slow=1.0, slow_by=2.0, sleep=clock.advance):
        breaker.call(clock.advance, 0.5)

    assert breaker.metrics().successes == 1
    assert breaker.metrics().mean == 2.5


def test_in_a_coroutine_it_waits_without_a_thread(
    registry: Registry, breaker: Breaker, clock: ManualClock, run: Run
) -> None:
    @breaker
    async def call() -> int:
        return 7

    async def both() -> tuple[int, float]:
        before = clock()
        answers = await asyncio.gather(call(), call())
        return sum(answers), clock() - before

    with chaos(registry, KEY, slow=1.0, slow_by=2.0):
        assert run(both()) == (14, 2.0)
    assert breaker.metrics().mean == 2.0


def test_a_hang_that_is_cancelled_is_a_cancelled_call(
    registry: Registry, breaker: Breaker, run: Run
) -> None:
    @breaker
    async def call() -> int:
        return 7

    async def given_up() -> None:
        async with asyncio.timeout(1.0):
            await call()

    with chaos(registry, KEY, hang=1.0), pytest.raises(TimeoutError):
        run(given_up())

    assert breaker.metrics().cancelled == 1
    assert breaker.metrics().in_flight == 0


def test_in_a_coroutine_a_clock_of_a_test_is_moved(
    registry: Registry, breaker: Breaker, clock: ManualClock
) -> None:
    @breaker
    async def call() -> int:
        return 7

    with chaos(registry, KEY, slow=1.0, slow_by=2.0, sleep=clock.advance):
        assert asyncio.run(call()) == 7

    assert breaker.metrics().mean == 2.0


def test_other_keys_and_other_registries_are_left_alone(registry: Registry) -> None:
    with chaos(registry, "GET /orders*", fail=1.0):
        assert outcome(lambda: registry["GET /orders/{id}"].call(int)) == "fault"
        assert outcome(lambda: registry["GET /items"].call(int)) == "made"
        assert outcome(lambda: Registry()["GET /orders"].call(int)) == "made"


def test_what_cannot_let_a_fault_happen_has_none(registry: Registry, breaker: Breaker) -> None:
    with chaos(registry, KEY, fail=1.0):
        with breaker:
            pass
        breaker.acquire().success()
        permit = breaker.try_acquire("label", 1.0)
        assert permit is not None
        permit.success()

        @breaker
        def items() -> Any:
            yield 1

        assert list(items()) == [1]

    assert breaker.metrics().successes == 4
    assert breaker.metrics().in_flight == 0


# Begin and end


def test_it_ends_by_itself(
    registry: Registry, breaker: Breaker, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    faults = chaos(registry, KEY, fail=1.0, for_=10.0)
    with caplog.at_level(logging.WARNING, "recloser"):
        faults.start()
        clock.advance(9.0)
        assert faults.is_active
        assert outcome(lambda: breaker.call(int)) == "fault"
        clock.advance(1.0)
        assert not faults.is_active
        assert outcome(lambda: breaker.call(int)) == "made"

    begins, ends = caplog.messages
    assert begins == (
        "chaos in 'payments': 1 of the calls fail, on purpose; it begins, for 10 s at most"
    )
    assert ends.endswith("it ends: 1 fail, 0 hang, 0 slow")
    assert registry.listeners.chaos is None


def test_explain_says_so(registry: Registry, breaker: Breaker, clock: ManualClock) -> None:
    with chaos(registry, KEY, fail=0.2, hang=0.1, slow=0.05, for_=60.0):
        clock.advance(20.0)
        assert breaker.explain().startswith(
            "chaos in 'payments': 0.2 of the calls fail, 0.1 of the calls hang, 0.05 of the calls "
            "are slow, on purpose, for 40 s more; closed: "
        )
        assert registry["other"].explain().startswith("closed")
        clock.advance(40.0)
        assert breaker.explain().startswith("closed")
    assert breaker.explain().startswith("closed")


def test_it_can_be_started_again_but_not_twice(registry: Registry, breaker: Breaker) -> None:
    faults = chaos(registry, KEY, fail=0.5, seed=3)

    def play() -> list[str]:
        with faults:
            return [outcome(lambda: breaker.call(int)) for _ in range(4)]

    first = play()
    breaker.reset()
    assert play() == first
    with faults, pytest.raises(RuntimeError, match="has been started already"):
        faults.start()
    faults.stop()


def test_after_its_time_it_can_be_started_again(
    registry: Registry, breaker: Breaker, clock: ManualClock
) -> None:
    faults = chaos(registry, KEY, fail=1.0, for_=60.0)
    faults.start()
    clock.advance(61.0)

    with faults:  # no call has come since
        assert outcome(lambda: breaker.call(int)) == "fault"
    assert outcome(lambda: breaker.call(int)) == "made"


def test_two_at_once_are_both_injected(registry: Registry) -> None:
    with chaos(registry, "a", fail=1.0), chaos(registry, "*", fail=1.0):
        assert outcome(lambda: registry["a"].call(int)) == "fault"
        assert outcome(lambda: registry["b"].call(int)) == "fault"
    assert outcome(lambda: registry["a"].call(int)) == "made"


def test_it_is_a_decorator(registry: Registry, breaker: Breaker, run: Run) -> None:
    @chaos(registry, KEY, fail=1.0)
    def game_day() -> str:
        return outcome(lambda: breaker.call(int))

    @chaos(registry, KEY, fail=1.0)
    async def async_game_day() -> str:
        await asyncio.sleep(0.0)
        return outcome(lambda: breaker.call(int))

    assert game_day() == run(async_game_day()) == "fault"
    assert outcome(lambda: breaker.call(int)) == "made"


def test_it_is_an_async_context_manager(registry: Registry, breaker: Breaker, run: Run) -> None:
    async def game_day() -> str:
        async with chaos(registry, KEY, fail=1.0):
            return outcome(lambda: breaker.call(int))

    assert run(game_day()) == "fault"
    assert outcome(lambda: breaker.call(int)) == "made"


def test_a_call_that_is_refused_or_not_guarded_has_no_fault(
    registry: Registry, breaker: Breaker
) -> None:
    breaker.open("by hand", for_=60.0)
    with chaos(registry, KEY, fail=1.0) as faults:
        assert outcome(lambda: breaker.call(int)) == "refused"
        breaker.mode = Mode.DISABLED
        assert outcome(lambda: breaker.call(int)) == "made"
    assert faults.calls == 0


def test_a_fault_of_ours_breaks_no_call(registry: Registry, breaker: Breaker) -> None:
    faults = chaos(registry, KEY, fail=1.0)

    class Broken(Chaos):
        def inject(self, permit: Any, now: float) -> None:
            raise ZeroDivisionError

    broken = Broken(registry, faults.plan, seed=None, sleep=None)
    with broken:
        assert outcome(lambda: breaker.call(int)) == "made"
    assert registry.faults == 1


def test_after_it_calls_are_quick_again(
    registry: Registry, breaker: Breaker, clock: ManualClock
) -> None:
    def play() -> float:
        for _ in range(100):
            breaker.call(clock.advance, 0.1)
        return breaker._calls.quick_until

    assert play() > -inf
    with chaos(registry, KEY, fail=0.001, seed=1):
        assert play() == -inf
    assert play() > -inf


def test_the_plan_is_told() -> None:
    plan = Plan(key="k", fail=0.0, hang=0.25, slow=0.0, hang_for=1.0, slow_by=1.0, for_=1.0)

    assert str(plan) == "chaos in 'k': 0.25 of the calls hang, on purpose"
    assert [kind.value for kind in Kind] == ["fail", "hang", "slow"]


# Web requests


def test_a_web_request_gets_the_fault_in_place_of_the_handler(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    served: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        served.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    guarded = asgi.BreakerMiddleware(app, registry)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    def request() -> Any:
        scope = {"type": "http", "method": "GET", "path": "/x", "headers": []}
        run(guarded(scope, receive, send))
        return scope

    with chaos(registry, "app", fail=1.0), pytest.raises(ChaosError):
        request()
    assert served == sent == []
    assert registry["app"].metrics().failures == 1

    with chaos(registry, "app", slow=1.0, slow_by=2.0):
        scope = request()
    assert served == ["/x"]
    assert [each["type"] for each in sent] == ["http.response.start", "http.response.body"]
    assert registry["app"].metrics().successes == 1
    assert asgi.PERMIT not in scope
    assert registry["app"].metrics().in_flight == 0
