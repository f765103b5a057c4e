"""Outbound calls, without a client: what a status, an error and the user's rules make of a call."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.breaker_state import votes
from tests.support.named_waits import record_waits
from tests.support.plain_requests import (
    PlainRequest,
    PlainResponse,
    permit_of,
    plain_calls,
)

from recloser import Outcome, Refused, Registry
from recloser.testing import ManualClock

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.asked_to_wait import AskedWatch
from recloser_adapters._outbound.permit import ReportedPermit, ScopedPermit, WatchingPermit
from recloser_adapters._outbound.verdicts import VerdictWatch

CHAT, ORDER = PlainRequest(), PlainRequest("http://h/orders", "GET")
JSON = "application/json"


def admitted(calls: Any, request: PlainRequest) -> ScopedPermit:
    permit = calls.admit(request, WatchingPermit)
    assert isinstance(permit, ScopedPermit)
    return permit


def answered(
    calls: Any, status: int, *, request: PlainRequest | None = ORDER, **headers: str
) -> Any:
    """The watch of an answer, or None."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    permit = permit_of(calls.registry)
    return calls.watch_answer(permit, PlainResponse(status), status, named, JSON, request)


# What a status means


@pytest.mark.parametrize(
    ("status", "vote"),
    [
        (101, "successes"),
        (404, "ignored"),
        (400, "ignored"),
        (408, "failures"),
        (500, "failures"),
        (529, "failures"),
    ],
)
def test_most_answers_end_a_call_by_their_headers(
    registry: Registry, status: int, vote: str
) -> None:
    for _ in range(2):
        assert answered(plain_calls(registry), status) is None

    assert votes(registry["h"].metrics()) == {vote: 2}


@pytest.mark.parametrize("status", [200, 204, 299, 300, 304, 399])
def test_a_good_answer_ends_with_its_body(registry: Registry, status: int) -> None:
    watch = answered(plain_calls(registry), status)
    assert isinstance(watch, WatchingPermit)
    assert registry["h"].metrics().in_flight == 1

    watch.eof()

    assert votes(registry["h"].metrics()) == {"successes": 1}


def test_only_without_rules_of_the_user_a_status_is_enough() -> None:
    assert plain_calls(None).good_statuses == {*range(200, 400)}
    assert plain_calls(None, verdict=None, classify=None).good_statuses == {*range(200, 400)}
    assert plain_calls(None, classify=lambda _: None).good_statuses == frozenset()
    assert plain_calls(None, verdict="llm").good_statuses == frozenset()


def test_the_latency_of_a_bad_answer_is_the_time_to_its_headers(
    registry: Registry, clock: ManualClock
) -> None:
    reports: list[Any] = []
    calls = plain_calls(registry, on_end=reports.append)
    for status in (404, 429):
        permit = calls.admit(ORDER, WatchingPermit)
        assert isinstance(permit, ReportedPermit)
        clock.advance(0.25)
        watch = calls.watch_answer(permit, PlainResponse(status), status, {}, JSON, ORDER)
        clock.advance(5.0)
        if watch is not None:
            watch.eof()

    assert [report.latency for report in reports] == [pytest.approx(0.25)] * 2


def test_the_reason_of_an_opening_names_the_status(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = record_waits(monkeypatch)
    for _ in range(5):
        answered(plain_calls(registry), 502, retry_after="50")

    assert waits == [50.0] * 5
    assert "HTTP 502" in str(registry["h"].refusal())


# Answers that ask for a pause


def test_a_429_that_says_for_how_long_ends_its_call_at_once(registry: Registry) -> None:
    for _ in range(4):
        assert answered(plain_calls(registry), 429, retry_after="50") is None

    assert votes(registry["h"].metrics()) == {"ignored": 4}
    assert registry["h /orders"].retry_after == pytest.approx(50.0)


def test_one_that_does_not_ends_it_with_its_body(registry: Registry) -> None:
    for _ in range(4):
        watch = answered(plain_calls(registry), 429)
        assert isinstance(watch, AskedWatch)
        watch.chunk(b'{"retry_after": 50}')
        watch.eof()

    assert registry["h /orders"].retry_after == pytest.approx(50.0)


def test_that_a_retry_is_no_use_asks_for_the_longest_pause(registry: Registry) -> None:
    for _ in range(4):
        answered(plain_calls(registry), 429, x_should_retry="false").eof()

    longest = registry["h"].policy.max_open_for
    assert registry["h /orders"].retry_after == pytest.approx(longest)


def test_the_limits_in_the_headers_are_read_of_a_429_only(registry: Registry) -> None:
    headers: Any = {"x_ratelimit_reset_requests": "50s", "x_ratelimit_remaining_requests": "0"}
    for _ in range(4):
        assert answered(plain_calls(registry), 429, **headers) is None
    assert registry["h /orders"].retry_after == pytest.approx(50.0)
    for _ in range(5):
        answered(plain_calls(registry), 503, **headers)
    assert registry["h"].retry_after == pytest.approx(0.15)


@pytest.mark.parametrize(
    ("settings", "throttled"), [({}, True), ({"classify": lambda _: None}, False)]
)
def test_a_403_that_limits_the_rate_is_a_429_unless_the_user_has_rules(
    registry: Registry, settings: dict[str, Any], throttled: bool
) -> None:
    answered(plain_calls(registry, **settings), 403, retry_after="50")

    assert ("h /orders" in registry) is throttled


def test_without_its_request_a_wait_is_that_of_the_key(registry: Registry) -> None:
    answered(plain_calls(registry), 429, request=None, retry_after="50")

    assert votes(registry["h"].metrics()) == {"throttled": 1}
    assert len(registry) == 1


@pytest.mark.parametrize(
    ("status", "said", "vote"),
    [
        (400, b'"insufficient_quota"', "quota"),
        (403, b'"insufficient_quota"', "quota"),
        (402, b"", "quota"),
        (400, b"{}", "ignored"),
        (404, None, "ignored"),
        (500, None, "failures"),
    ],
)
def test_an_api_of_a_model_may_say_with_other_statuses_that_the_money_is_gone(
    registry: Registry, status: int, said: bytes | None, vote: str
) -> None:
    calls = plain_calls(registry)
    for _ in range(4):
        permit = admitted(calls, CHAT)
        watch = calls.watch_answer(permit, PlainResponse(status), status, {}, JSON, CHAT)
        assert (watch is None) is (said is None)
        if watch is not None:
            watch.chunk(said or b"")
            watch.eof()

    if vote == "quota":
        refusal = calls.admit(CHAT, WatchingPermit)
        assert isinstance(refusal, Refused)
        assert refusal.breaker.retry_after == pytest.approx(900.0)
    else:
        assert votes(registry["h chat"].metrics()) == {vote: 4}


def test_a_402_of_a_model_asks_for_the_pause_of_its_headers(registry: Registry) -> None:
    calls = plain_calls(registry)
    for _ in range(4):
        permit = admitted(calls, CHAT)
        headers = {"retry-after": "50"}
        watch = calls.watch_answer(permit, PlainResponse(402), 402, headers, JSON, CHAT)
        assert isinstance(watch, AskedWatch)
        watch.eof()

    refusal = calls.admit(CHAT, WatchingPermit)
    assert isinstance(refusal, Refused)
    assert refusal.breaker.retry_after == pytest.approx(50.0)


@pytest.mark.parametrize("status", [400, 402, 403])
def test_elsewhere_such_a_status_is_the_callers_own(registry: Registry, status: int) -> None:
    calls = plain_calls(registry, on_end=lambda _: None)
    permit = admitted(calls, ORDER)

    assert calls.watch_answer(permit, PlainResponse(status), status, {}, JSON, ORDER) is None
    assert votes(registry["h"].metrics()) == {"ignored": 1}


# The user's rules


@pytest.mark.parametrize("status", [200, 404, 429, 500])
@pytest.mark.parametrize("outcome", [*Outcome, None])
def test_classify_sees_each_answer_and_overrules_its_status(
    registry: Registry, status: int, outcome: Outcome | None
) -> None:
    seen: list[Any] = []

    def classify(answer: object) -> Outcome | None:
        seen.append(answer)
        return outcome

    watch = answered(plain_calls(registry, classify=classify), status, request=None)
    if watch is not None:
        watch.eof()

    expected = outcome or Outcome.of_upstream_status(status)
    names = {
        Outcome.SUCCESS: "successes",
        Outcome.FAILURE: "failures",
        Outcome.THROTTLED: "throttled",
        Outcome.IGNORED: "ignored",
        Outcome.CANCELLED: "cancelled",
    }
    assert seen == [PlainResponse(status)]
    assert registry.faults == 0
    metrics = votes(registry["h"].metrics())
    if expected is Outcome.CANCELLED:
        assert sum(metrics.values()) == 1  # its headers came: what it counts as, the core knows
    else:
        assert metrics == {names[expected]: 1}


@pytest.mark.parametrize("junk", ["failure", 7, ZeroDivisionError()])
def test_a_rule_that_fails_is_a_fault_and_leaves_the_usual_outcome(
    registry: Registry, junk: Any
) -> None:
    def classify(answer: object) -> Any:
        if isinstance(junk, Exception):
            raise junk
        return junk

    answered(plain_calls(registry, classify=classify), 500)

    assert votes(registry["h"].metrics()) == {"failures": 1}
    assert registry.faults == 1


@pytest.mark.parametrize("status", [500, 404])
def test_a_verdict_is_asked_about_the_body_of_a_bad_answer(registry: Registry, status: int) -> None:
    seen: list[Any] = []

    def verdict(*said: Any) -> Outcome | None:
        seen.append(said)
        return Outcome.SUCCESS if said[2] == b"fine" else None

    calls = plain_calls(registry, verdict=verdict)
    for said in (b"fine", b"not"):
        watch = answered(calls, status, x="y")
        assert isinstance(watch, VerdictWatch)
        assert registry["h"].metrics().in_flight == 1
        watch.chunk(said)
        watch.eof()

    assert seen == [(status, {"x": "y"}, b"fine"), (status, {"x": "y"}, b"not")]
    bad = "failures" if status == 500 else "ignored"
    assert votes(registry["h"].metrics()) == {"successes": 1, bad: 1}


def test_and_about_that_of_a_429(registry: Registry) -> None:
    calls = plain_calls(registry, verdict=lambda *said: None if said[2] else Outcome.SUCCESS)
    for said in (b"", b'{"retry_after": 50}'):
        watch = answered(calls, 429, request=None)
        assert isinstance(watch, VerdictWatch)
        watch.chunk(said)
        watch.eof()

    assert votes(registry["h"].metrics()) == {"successes": 1, "throttled": 1}
    assert registry["h"].asked_pause == pytest.approx(50.0)
