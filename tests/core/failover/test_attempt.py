"""Attempts: when another provider may be tried, by rule and by hand."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.support.failover_fleet import Fleet, Invoke, Run, StatusError, fates, warm

from recloser import BreakerOpenError, Fate, Outcome, Policy, Registry, State
from recloser.testing import ManualClock, open_breaker

# When another may be tried


def test_a_failure_is_never_repeated_unless_declared_safe(
    registry: Registry, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b")
    fleet.faults["a"] = TimeoutError("sent, no answer")

    with pytest.raises(TimeoutError, match="sent, no answer"):
        invoke(fleet.failover, fleet.send)

    assert fleet.sent == {"a": 1}
    assert registry["a"].metrics().failures == 1


@pytest.mark.parametrize(
    "error", [OSError("reset"), StatusError(503), StatusError(408), StatusError(429)]
)
def test_a_repeatable_call_goes_on_after_a_failure(
    registry: Registry, invoke: Invoke, error: Exception
) -> None:
    fleet = Fleet(registry, "a", "b")
    fleet.faults["a"] = error

    assert invoke(fleet.failover, fleet.send, repeatable=True) == "answer of b"
    assert fleet.sent == {"a": 1, "b": 1}


@pytest.mark.parametrize(
    "error",
    [ConnectionRefusedError(), BreakerOpenError("inner", State.OPEN, None, 1.0)],
    ids=["refused connection", "refusal of an inner breaker"],
)
def test_any_call_goes_on_where_nothing_was_sent(
    registry: Registry, invoke: Invoke, error: Exception
) -> None:
    fleet = Fleet(registry, "a", "b")
    fleet.faults["a"] = error

    assert invoke(fleet.failover, fleet.send) == "answer of b"
    assert fates(fleet.deliveries[-1]) == [("a", Fate.UNREACHABLE), ("b", Fate.SERVED)]


def test_the_cause_of_an_error_proves_nothing(registry: Registry, invoke: Invoke) -> None:
    """The client may have been refused once and have sent the second time."""
    fleet = Fleet(registry, "a", "b")
    fleet.faults["a"] = OSError("read failed")
    fleet.faults["a"].__cause__ = ConnectionRefusedError()

    with pytest.raises(OSError, match="read failed"):
        invoke(fleet.failover, fleet.send)

    assert fleet.sent == {"a": 1}


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422])
def test_a_wrong_call_is_not_tried_elsewhere(
    registry: Registry, invoke: Invoke, status: int
) -> None:
    fleet = Fleet(registry, "a", "b")
    fleet.faults["a"] = StatusError(status)

    with pytest.raises(StatusError):
        invoke(fleet.failover, fleet.send, repeatable=True)

    assert fleet.sent == {"a": 1}
    assert registry["a"].metrics().failures == 0
    assert fates(fleet.deliveries[-1]) == [("a", Fate.IGNORED)]


@pytest.mark.parametrize("kind", [asyncio.CancelledError, KeyboardInterrupt, SystemExit])
def test_a_caller_who_leaves_is_not_served_by_another(
    registry: Registry, kind: type[BaseException]
) -> None:
    fleet = Fleet(registry, "a", "b")
    fleet.faults["a"] = kind()

    with pytest.raises(kind):
        fleet.failover.call(fleet.send, repeatable=True)

    assert fleet.sent == {"a": 1}
    assert registry["a"].metrics().cancelled == 1
    assert fates(fleet.deliveries[-1]) == [("a", Fate.CANCELLED)]


@pytest.mark.parametrize("kind", [asyncio.CancelledError, KeyboardInterrupt])
def test_no_rule_can_make_a_cancelled_call_go_elsewhere(
    registry: Registry, kind: type[BaseException]
) -> None:
    fleet = Fleet(
        registry,
        "a",
        "b",
        classify=lambda error: Outcome.FAILURE,
        nothing_sent=lambda error: True,
    )
    fleet.faults["a"] = kind()

    with pytest.raises(kind):
        fleet.failover.call(fleet.send, repeatable=True)

    assert fleet.sent == {"a": 1}
    assert registry["a"].metrics().failures == 0
    assert fates(fleet.deliveries[-1]) == [("a", Fate.CANCELLED)]


class SdkError(Exception):
    """Shaped like the errors of the OpenAI and Anthropic SDKs."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status_code = status


class AiohttpError(Exception):
    """Shaped like aiohttp's: the status and the headers are its own."""

    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(status)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class ResponseError(Exception):
    """Shaped like httpx's: only the response has a status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.response = type("Response", (), {"status_code": status, "headers": {}})()


@pytest.mark.parametrize("shape", [SdkError, AiohttpError, ResponseError])
def test_the_status_is_found_whatever_the_client(registry: Registry, shape: Any) -> None:
    fleet = Fleet(registry, "a", "b")
    for status in (400, 500):
        fleet.faults["a"] = shape(status)
        with pytest.raises(shape):
            fleet.failover.call(fleet.send)

    assert registry["a"].metrics().ignored == 1
    assert registry["a"].metrics().failures == 1


def test_retry_after_is_found_on_the_error_itself(registry: Registry) -> None:
    fleet = Fleet(registry, "a", "b")
    fleet.faults["a"] = AiohttpError(429, retry_after="7")

    fleet.failover.call(fleet.send, repeatable=True)

    assert registry["a"].asked_pause == 7.0


def test_the_policy_of_the_model_decides_what_its_errors_say(invoke: Invoke) -> None:
    """Not that of its provider: the breaker that counts the call is that of the model."""
    registry = Registry(policies={"a m": Policy(ignore_errors=(LookupError,))})
    fleet = Fleet(registry, "a", "b")
    fleet.faults["a"] = KeyError("mine")

    with pytest.raises(KeyError):
        invoke(fleet.failover, fleet.send, repeatable=True, model="m")

    assert fleet.sent == {"a": 1}
    assert registry["a m"].metrics().ignored == 1


def test_errors_that_the_policy_ignores_are_ignored(clock: ManualClock, invoke: Invoke) -> None:
    registry = Registry(Policy(ignore_errors=(LookupError,)), clock=clock)
    fleet = Fleet(registry, "a", "b")
    fleet.faults["a"] = KeyError("mine")

    with pytest.raises(KeyError):
        invoke(fleet.failover, fleet.send, repeatable=True)

    assert registry["a"].metrics().ignored == 1


def test_own_rules_say_what_is_a_failure_and_what_was_not_sent(
    registry: Registry, invoke: Invoke
) -> None:
    fleet = Fleet(
        registry,
        "a",
        "b",
        classify=lambda error: Outcome.IGNORED,
        nothing_sent=lambda error: "never left" in str(error),
    )
    fleet.faults["a"] = RuntimeError("never left")
    assert invoke(fleet.failover, fleet.send) == "answer of b"

    fleet.faults["a"] = RuntimeError("left")
    with pytest.raises(RuntimeError):
        invoke(fleet.failover, fleet.send, repeatable=True)

    assert registry["a"].metrics().failures == 0


def test_a_faulty_rule_is_counted_and_never_makes_a_call_repeat(
    registry: Registry, invoke: Invoke
) -> None:
    def broken(error: BaseException) -> Any:
        raise ZeroDivisionError

    fleet = Fleet(registry, "a", "b", classify=broken, nothing_sent=broken)
    fleet.faults["a"] = ConnectionRefusedError()

    with pytest.raises(ConnectionRefusedError):
        invoke(fleet.failover, fleet.send)

    assert fleet.sent == {"a": 1}
    assert registry["a"].metrics().failures == 1
    assert registry.faults == 2


def test_no_call_is_sent_more_often_than_max_attempts(registry: Registry, invoke: Invoke) -> None:
    fleet = Fleet(registry, "a", "b", "c", "d", max_attempts=2)
    fleet.faults = {key: OSError(key) for key in "abcd"}

    with pytest.raises(OSError, match="b"):
        invoke(fleet.failover, fleet.send, repeatable=True)

    assert fleet.sent == {"a": 1, "b": 1}


def test_refusals_spend_no_attempt(registry: Registry, invoke: Invoke) -> None:
    fleet = Fleet(registry, "a", "b", "c", "d", max_attempts=1)
    for key in "abc":
        open_breaker(registry[key])

    assert invoke(fleet.failover, fleet.send) == "answer of d"


def test_each_provider_is_tried_once(registry: Registry, invoke: Invoke) -> None:
    fleet = Fleet(registry, "a", "b", max_attempts=10)
    fleet.faults = {key: OSError(key) for key in "ab"}

    with pytest.raises(OSError, match="b"):
        invoke(fleet.failover, fleet.send, repeatable=True)

    assert fleet.sent == {"a": 1, "b": 1}


def test_no_attempt_begins_after_the_time_budget(
    registry: Registry, clock: ManualClock, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b", time_budget=5.0)

    def slow(attempt: Any) -> str:
        clock.advance(5.0)
        fleet.sent[attempt.key] += 1
        raise OSError(attempt.key)

    with pytest.raises(OSError, match="a"):
        invoke(fleet.failover, slow, repeatable=True)

    assert fleet.sent == {"a": 1}


def test_when_the_others_refuse_the_failure_itself_is_raised(
    registry: Registry, invoke: Invoke
) -> None:
    fleet = Fleet(registry, "a", "b")
    fleet.faults["a"] = OSError("real")
    open_breaker(registry["b"])

    with pytest.raises(OSError, match="real"):
        invoke(fleet.failover, fleet.send, repeatable=True)

    assert fates(fleet.deliveries[-1]) == [("a", Fate.FAILED), ("b", Fate.REFUSED)]


# By hand


def test_after_commit_nothing_is_cut_off_and_nobody_else_is_tried(
    registry: Registry, clock: ManualClock, run: Run
) -> None:
    warm(registry, clock, "a")
    fleet = Fleet(registry, "a", "b")

    async def by_hand() -> None:
        for attempt in fleet.failover.attempts(repeatable=True):
            fleet.sent[attempt.key] += 1
            async with attempt:
                attempt.commit()
                await asyncio.sleep(30.0)
                raise OSError("after the first byte")

    with pytest.raises(OSError, match="after the first byte"):
        run(by_hand())

    assert fleet.sent == {"a": 1}
    assert registry["a"].metrics().failures == 1
    assert fates(fleet.deliveries[-1]) == [("a", Fate.SERVED)]


def test_what_was_committed_stays_so(registry: Registry) -> None:
    fleet = Fleet(registry, "a", "b")

    for attempt in fleet.failover.attempts(repeatable=True):
        with attempt:
            attempt.commit()
            attempt.commit()
            assert not attempt.moves_on(Outcome.FAILURE)
            attempt.end(Outcome.FAILURE)

    assert len(fleet.deliveries) == 1
    assert registry["a"].metrics().failures == 1
    assert registry["b"].metrics().calls == 0


def test_an_answer_that_is_read_may_be_given_up(registry: Registry) -> None:
    fleet = Fleet(registry, "a", "b")
    statuses = {"a": 503, "b": 200}

    def fetch(*, repeatable: bool) -> int:
        for attempt in fleet.failover.attempts(repeatable=repeatable):
            with attempt:
                status = statuses[attempt.key]
                outcome = Outcome.of_upstream_status(status)
                if attempt.moves_on(outcome, error=f"HTTP {status}"):
                    continue
                attempt.end(outcome)
                return status
        raise AssertionError

    assert fetch(repeatable=True) == 200
    assert str(fleet.deliveries[-1]).endswith("; 'a' failed (HTTP 503)")
    assert fetch(repeatable=False) == 503
    assert registry["a"].metrics().failures == 2
    assert [delivery.served_by for delivery in fleet.deliveries] == ["b", None]
