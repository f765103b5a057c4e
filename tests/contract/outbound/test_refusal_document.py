"""The 503 that stands for a refused call, for SDKs that read an answer."""

from __future__ import annotations

import json
import pickle

import pytest

from recloser import BreakerOpenError, State

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.refusal import (
    ClientBreakerOpenError,
    refusal_body,
    refusal_headers,
)


class LibraryError(Exception):
    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class RefusedError(ClientBreakerOpenError, LibraryError):
    pass


@pytest.mark.parametrize(("wait", "expected"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.2, "2")])
def test_it_says_when_to_come_again_in_whole_seconds(wait: float, expected: str) -> None:
    assert refusal_headers(BreakerOpenError("k", retry_after=wait)) == {
        "content-type": "application/problem+json",
        "cache-control": "no-store",
        "x-should-retry": "false",
        "stripe-should-retry": "false",
        "retry-after": expected,
    }


def test_its_body_is_a_problem_and_an_error_as_sdks_read_it() -> None:
    refusal = BreakerOpenError("k", State.HALF_OPEN, retry_after=1.23456)

    body = json.loads(refusal_body(refusal))

    assert body == {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": str(refusal),
        "error": {"type": "breaker_open", "code": "breaker_open", "message": str(refusal)},
        "breaker": "k",
        "state": "half_open",
        "retry_after": 1.235,
    }


def test_a_wait_without_end_is_a_number_all_the_same() -> None:
    refusal = BreakerOpenError("k", retry_after=float("inf"))

    assert refusal_headers(refusal)["retry-after"] == "86400"
    assert json.loads(refusal_body(refusal))["retry_after"] == 86_400.0


def test_the_error_of_a_client_library_is_a_refusal_in_all_its_parts() -> None:
    refusal = BreakerOpenError("k", State.OPEN, "because", 5.0)

    error = RefusedError.of(refusal)

    assert error.args == refusal.args
    assert (error.key, error.state, error.retry_after) == ("k", State.OPEN, 5.0)
    assert str(error) == str(refusal)
    assert isinstance(error, LibraryError)
    assert error.message == str(refusal)
    copied = pickle.loads(pickle.dumps(error))
    assert type(copied) is RefusedError
    assert (copied.args, copied.message) == (error.args, error.message)
    assert RefusedError("k").retry_after == 0.0
