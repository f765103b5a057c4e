"""What the body of an answer says about a wait is read, and nothing else is taken for one."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recloser._asked_in_body import LONGEST, asked_in_body

GEMINI = {
    "error": {
        "code": 429,
        "status": "RESOURCE_EXHAUSTED",
        "details": [
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "45.8s"},
        ],
    }
}


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        (json.dumps(GEMINI), 45.8),
        (json.dumps(GEMINI, indent=2), 45.8),
        ('{"retryDelay": {"seconds": 12, "nanos": 5}}', 12.0),
        ('{"retry_delay": {"seconds": "12"}}', 12.0),
        ('{"message": "You are being rate limited.", "retry_after": 1.5}', 1.5),
        ('{"retryAfter":30}', 30.0),
        ('{"retry_after_seconds": 30}', 30.0),
        ('{"retry_after_ms": 250}', 0.25),
        ("Rate limit reached. Please try again in 6m0s. Visit ...", 360.0),
        ("Please try again in 7m12.5s", 432.5),
        ("Please try again in 120ms.", 0.12),
        ("Please retry in 45.8s.", 45.8),
        ("Please retry after 20 seconds.", 20.0),
        ("Please retry after 1 second.", 1.0),
        ("Try again in 2 hours", 7200.0),
        # A field comes before words.
        ('{"message": "try again in 9s", "retry_after": 3}', 3.0),
    ],
)
def test_each_form_of_a_wait_is_read(body: str, seconds: float) -> None:
    asked = asked_in_body(body.encode())

    assert asked.seconds == pytest.approx(seconds)
    assert not asked.quota


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        "<html>",
        '{"retryDelay": "-4s"}',
        '{"retryDelay": "NaNs"}',
        '{"retryDelay": "1e9s"}',
        '{"retryDelay": "soon"}',
        '{"retry_after": 0}',
        '{"retry_after": -1}',
        '{"retry_after": 1e5}',
        '{"retry_after": "tomorrow"}',
        '{"retry_after": ' + "9" * 400 + "}",
        "we will retry in a while",
        "try again in 5",
        "retry after 3.5.7s",
        r'{"error": {"message": "you said \"retry_after\": 5 and \"insufficient_quota\""}}',
        '{"code": "insufficient_funds"}',
        " " * LONGEST + '{"retry_after": 5, "code": "insufficient_quota"}',
    ],
)
def test_what_is_no_wait_is_none(body: str) -> None:
    assert asked_in_body(body.encode()) == (None, False)


@pytest.mark.parametrize(
    "code",
    [
        "insufficient_quota",
        "credit_balance_exhausted",
        "enforced_spend_limit_reached",
        "billing_hard_limit_reached",
        "exceeded_current_quota_error",
        "insufficient_balance",
        "insufficient_credits",
    ],
)
def test_a_quota_that_is_used_up_is_told_from_a_rate(code: str) -> None:
    body = {"error": {"type": code, "message": "try again in 5s"}}

    assert asked_in_body(json.dumps(body).encode()) == (5.0, True)
    assert asked_in_body(b'{"error": {"code": "rate_limit_exceeded"}}') == (None, False)


@given(st.binary(max_size=300))
def test_any_bytes_have_an_answer(body: bytes) -> None:
    for text in (body, b'{"retry_after": ' + body, b"try again in " + body):
        seconds, _ = asked_in_body(text)

        assert seconds is None or (seconds > 0.0 and math.isfinite(seconds))


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (b'{"detail": "Request was throttled. Expected available in 17 seconds."}', 17.0),
        (b'{"message": "Please wait 2 minutes before trying again"}', 120.0),
        (b'{"message": "Wait for another 5 seconds."}', 5.0),
        (b'{"message": "We await 3 seconds"}', None),
    ],
)
def test_other_words_for_a_wait_are_read(said: bytes, seconds: float | None) -> None:
    assert asked_in_body(said).seconds == seconds


def test_the_header_of_an_asked_provider_may_be_in_the_body(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.0)
    said = b'{"error": {"metadata": {"headers": {"X-RateLimit-Reset": "%d"}}}}'

    assert asked_in_body(said % 1_700_000_025_000).seconds == 25.0
    assert asked_in_body(said % 1_700_000_025).seconds == 25.0
    assert asked_in_body(said % 1_600_000_000).seconds is None


@pytest.mark.parametrize(
    ("said", "quota"),
    [
        (b'{"error": {"message": "Your credit balance is too low to access the API."}}', True),
        (b'{"error": {"message": "Insufficient Balance", "code": "invalid_request_error"}}', True),
        (b'{"error": {"type": "credit_limit", "message": "x"}}', True),
        (b'{"error": {"message": "The prompt \\"insufficient balance\\" is too long"}}', False),
        (b'{"error": {"message": "You exceeded your current quota"}}', False),  # per minute, too
    ],
)
def test_credit_that_is_used_up_may_be_told_in_words(said: bytes, quota: bool) -> None:
    assert asked_in_body(said).quota is quota
