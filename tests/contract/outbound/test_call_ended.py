"""Outbound calls, without a client: what an error, a refusal and the settings make of a call."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.breaker_state import votes
from tests.support.named_waits import record_waits
from tests.support.plain_requests import (
    PlainRefusedError,
    PlainRequest,
    PlainResponse,
    permit_of,
    plain_calls,
)

from recloser import LoosePermit, Outcome, Registry
from recloser.testing import ManualClock, open_breaker

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.permit import ReportedPermit, WatchingPermit

CHAT, ORDER = PlainRequest(), PlainRequest("http://h/orders", "GET")
JSON = "application/json"


# Errors


class StatusError(Exception):
    status_code = 404


class LibraryError(ValueError):
    """Of the client's library, such as the one for an answer that makes no sense."""


def raised_from(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "how", "vote"),
    [
        (ValueError("Invalid header value"), {}, "ignored"),
        (TypeError(), {}, "ignored"),
        (UnicodeEncodeError("latin-1", "€", 0, 1, "no such character"), {}, "ignored"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), {}, "failures"),
        (raised_from(ValueError(), OSError()), {}, "failures"),
        (ValueError(), {"status": 500}, "failures"),
        (LibraryError(), {}, "failures"),
        (RuntimeError(), {}, "failures"),
        (OSError(), {}, "failures"),
        (OSError(), {"local": True}, "ignored"),
        (OSError(), {"status": 404}, "ignored"),
        (OSError(), {"status": 400}, "ignored"),
        (OSError(), {"status": 500}, "failures"),
        (OSError(), {"status": 429}, "throttled"),
        (OSError(), {"status": 399}, "failures"),
        (OSError(), {"status": 500, "local": True}, "ignored"),
        (StatusError(), {}, "failures"),
        (KeyboardInterrupt(), {}, "cancelled"),
        (KeyboardInterrupt(), {"local": True}, "cancelled"),
    ],
)
def test_an_error_ends_a_call_by_what_it_says(
    registry: Registry, error: BaseException, how: dict[str, Any], vote: str
) -> None:
    plain_calls(registry).end_by_error(permit_of(registry), error, **how)

    assert votes(registry["h"].metrics()) == {vote: 1}


@pytest.mark.parametrize(
    ("status", "headers", "wait"),
    [
        (429, {"retry-after": "50"}, 50.0),
        (429, {"x-ratelimit-reset": "50", "x-ratelimit-remaining": "0"}, 50.0),
        (429, {}, 1.0),
        (429, None, 1.0),
        (503, {"retry-after": "50"}, 0.15),
        (503, {"x-ratelimit-reset": "50", "x-ratelimit-remaining": "0"}, 0.15),
        (503, None, 0.15),
    ],
)
def test_an_error_for_a_status_asks_for_the_pause_of_its_headers(
    registry: Registry,
    status: int,
    headers: dict[str, str] | None,
    wait: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls, waits = plain_calls(registry), record_waits(monkeypatch)
    for _ in range(5 if status == 503 else 4):
        calls.end_by_error(permit_of(registry), OSError(), status=status, headers=headers)

    assert registry["h"].retry_after == pytest.approx(wait)
    if status == 503:
        assert "HTTP 503" in str(registry["h"].refusal())
        assert set(waits) == {50.0 if headers and "retry-after" in headers else 0.0}


def test_an_error_without_a_status_is_named_by_its_class(registry: Registry) -> None:
    for _ in range(5):
        plain_calls(registry).end_by_error(permit_of(registry), ConnectionResetError())

    assert "ConnectionResetError" in str(registry["h"].refusal())


def test_with_its_request_the_wait_of_an_error_is_that_of_its_scope(registry: Registry) -> None:
    plain_calls(registry).end_by_error(
        permit_of(registry), OSError(), status=429, headers={}, request=ORDER
    )

    assert votes(registry["h"].metrics()) == {"ignored": 1}
    assert votes(registry["h /orders"].metrics()) == {"throttled": 1}


@pytest.mark.parametrize(
    ("status", "latency"), [(None, None), (399, None), (400, 0.25), (500, 0.25)]
)
def test_an_error_for_a_status_shows_when_the_answer_came(
    registry: Registry, clock: ManualClock, status: int | None, latency: float | None
) -> None:
    reports: list[Any] = []
    calls = plain_calls(registry, on_end=reports.append)
    permit = calls.admit(ORDER, WatchingPermit)
    assert isinstance(permit, ReportedPermit)
    clock.advance(0.25)

    calls.end_by_error(permit, OSError(), status=status)

    assert [report.latency for report in reports] == [latency and pytest.approx(latency)]


@pytest.mark.parametrize(
    ("error", "vote", "asked"), [(OSError(), "successes", 1), (KeyboardInterrupt(), "cancelled", 0)]
)
def test_the_user_is_asked_about_errors_and_not_about_a_cancellation(
    registry: Registry, error: BaseException, vote: str, asked: int
) -> None:
    seen: list[object] = []

    def classify(said: object) -> Outcome:
        seen.append(said)
        return Outcome.SUCCESS

    plain_calls(registry, classify=classify).end_by_error(permit_of(registry), error)

    assert seen == [error] * asked
    assert votes(registry["h"].metrics()) == {vote: 1}


# Refusals


STAINLESS, FERN = {"x-stainless-lang": "python"}, {"x-fern-language": "Python"}


@pytest.mark.parametrize(
    ("settings", "headers", "answers", "responds"),
    [
        ({}, {}, True, False),
        ({}, STAINLESS, True, True),
        ({}, STAINLESS, False, False),
        ({"on_refuse": "auto"}, STAINLESS, True, True),
        ({"on_refuse": "raise"}, STAINLESS, True, False),
        ({"on_refuse": "response"}, {}, True, True),
        ({"on_refuse": "response"}, FERN, True, False),
        ({"on_refuse": lambda *_: None}, STAINLESS, True, False),
    ],
)
def test_a_refusal_is_raised_or_answered(
    registry: Registry,
    settings: dict[str, Any],
    headers: dict[str, str],
    answers: bool,
    responds: bool,
) -> None:
    request = PlainRequest(headers=headers)
    open_breaker(registry["h"])
    refusal = registry["h"].refusal()
    calls = plain_calls(registry, answers=answers, **settings)

    if responds:
        assert calls.answer_refusal(request, refusal) == PlainResponse(503, refusal)
        return
    with pytest.raises(PlainRefusedError) as raised:
        calls.answer_refusal(request, refusal)
    assert raised.value.request is request
    assert raised.value.args == refusal.args


def test_the_user_may_answer_it(registry: Registry) -> None:
    asked: list[Any] = []

    def on_refuse(*said: Any) -> PlainResponse:
        asked.append(said)
        if len(asked) > 1:
            raise ZeroDivisionError
        return PlainResponse(200)

    open_breaker(registry["h"])
    refusal = registry["h"].refusal()
    calls = plain_calls(registry, on_refuse=on_refuse)

    assert calls.answer_refusal(ORDER, refusal) == PlainResponse(200)
    assert asked == [(ORDER, refusal)]
    with pytest.raises(PlainRefusedError):
        calls.answer_refusal(ORDER, refusal)
    assert registry.faults == 1


# Settings


def test_a_client_has_a_registry_of_its_own_and_cuts_nothing_off_by_default() -> None:
    calls = plain_calls(None)

    assert isinstance(calls.registry, Registry)
    assert plain_calls(None).registry is not calls.registry
    assert calls.cut_off is False
    assert plain_calls(None, cut_off=True).cut_off is True


def test_a_body_is_looked_into_where_a_model_is_asked_or_the_user_says_so() -> None:
    assert plain_calls(None).looks_into(CHAT)
    assert not plain_calls(None).looks_into(ORDER)
    assert plain_calls(None, verdict="llm").looks_into(ORDER)


@pytest.mark.parametrize("cut_off", [True, False])
def test_the_settings_of_streams_reach_them(registry: Registry, cut_off: bool) -> None:
    calls = plain_calls(registry, cut_off=cut_off, sse_errors=True)
    request = PlainRequest("http://h/orders")
    permit = permit_of(registry)
    watch: Any = calls.watch_answer(
        permit, PlainResponse(200), 200, {}, "text/event-stream", request
    )
    assert watch.cuts_off is cut_off

    watch.chunk(b'data: {"error": {"code": 500}}\n\n')

    assert votes(registry["h"].metrics()) == {"failures": 1}


@pytest.mark.parametrize(
    ("answers", "on_refuse", "words"),
    [
        (True, "respond", '"auto", "raise", "response" or a callable'),
        (False, "response", '"auto", "raise" or a callable'),
    ],
)
def test_a_way_to_refuse_that_does_not_exist_is_told(
    answers: bool, on_refuse: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        plain_calls(None, answers=answers, on_refuse=on_refuse)


def test_a_loose_permit_is_watched_by_an_object_of_its_own(registry: Registry) -> None:
    permit = registry["h"].admit(LoosePermit)
    assert isinstance(permit, LoosePermit)

    watch = plain_calls(registry).watch_answer(permit, PlainResponse(200), 200, {}, JSON)

    assert watch is not None
    assert watch is not permit
    watch.closed()
    assert votes(registry["h"].metrics()) == {"successes": 1}
