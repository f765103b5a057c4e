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
