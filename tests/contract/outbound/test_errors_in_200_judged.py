"""Errors in a body, without a client: what each API's own words stand for, and how they are named."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.breaker_state import votes
from tests.support.named_waits import record_waits

from recloser import LoosePermit, Outcome, Registry, State

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.errors_in_200 import (
    BodyError,
    end_by,
    error_of,
    graphql_error_of,
    judge,
    speaks_of_trouble,
    whole_error_of,
)

FAILURE, IGNORED, THROTTLED = Outcome.FAILURE, Outcome.IGNORED, Outcome.THROTTLED
LONG = 200  # characters of a name that are looked at


def error(outcome: Outcome, what: str, *, quota: bool = False) -> BodyError:
    return BodyError(outcome, f"error in the body: {what}", quota)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        # OpenAI
        (
            {"error": {"message": "m", "type": "server_error", "param": None, "code": None}},
            error(FAILURE, "server_error"),
        ),
        (
            {"error": {"type": "invalid_request_error", "code": "context_length_exceeded"}},
            error(IGNORED, "context_length_exceeded, invalid_request_error"),
        ),
        (
            {"error": {"type": "tokens", "code": "rate_limit_exceeded"}},
            error(THROTTLED, "rate_limit_exceeded, tokens"),
        ),
        (
            {"error": {"type": "insufficient_quota", "code": "insufficient_quota"}},
            error(THROTTLED, "insufficient_quota, insufficient_quota", quota=True),
        ),
        (
            {"type": "response.failed", "response": {"error": {"code": "server_error"}}},
            error(FAILURE, "server_error"),
        ),
        ({"type": "response.failed", "response": {}}, error(FAILURE, "response.failed")),
        ({"type": "response.failed"}, error(FAILURE, "response.failed")),
        ({"type": "error", "code": "server_error"}, error(FAILURE, "server_error, error")),
        # Anthropic
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "m"}},
            error(FAILURE, "overloaded_error"),
        ),
        # Gemini
        (
            {"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}},
            error(THROTTLED, "RESOURCE_EXHAUSTED, 429"),
        ),
        ({"error": {"code": 503, "status": "UNAVAILABLE"}}, error(FAILURE, "UNAVAILABLE, 503")),
        # Azure
        ({"error": {"code": "429"}}, error(THROTTLED, "429, 429")),
        # vLLM, Mistral
        (
            {"object": "error", "message": "m", "type": "NotFoundError", "code": 404},
            error(IGNORED, "NotFoundError, 404"),
        ),
        ({"object": "error", "code": None}, error(FAILURE, "error")),
        # Cohere
        (
            {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "gone"}},
            error(FAILURE, "gone"),
        ),
        ({"type": "message-end", "delta": {"error": {"code": 400}}}, error(IGNORED, "400")),
        ({"finish_reason": "ERROR"}, error(FAILURE, "finish_reason: error")),
        # OpenRouter
        (
            {"choices": [{"finish_reason": "error", "error": {"code": 502}}]},
            error(FAILURE, "502"),
        ),
        ({"choices": [{"finish_reason": "error"}]}, error(FAILURE, "finish_reason: error")),
        ({"choices": [{}, {"error": {"code": 400}}]}, error(IGNORED, "400")),
        (
            {"error": {"message": "m", "code": 402, "error_type": "payment"}},
            error(THROTTLED, "payment, 402", quota=True),
        ),
        # Ollama, and gateways that say it in words
        ({"error": "model runner has stopped"}, error(FAILURE, "model runner has stopped")),
        ({"error": "it's /home/me"}, error(FAILURE, "error")),
        ({"error": "x" * 40}, error(FAILURE, "x" * 40)),
        ({"error": "x" * 41}, error(FAILURE, "error")),
        ({"error": ["x"]}, error(FAILURE, "error")),
        # Codes beside the error
        ({"error": "no", "code": 400}, error(IGNORED, "400")),
        ({"error": {"message": "no"}, "status": "INVALID"}, error(IGNORED, "INVALID")),
        ({"error": {}, "error_type": "throttled"}, None),
        ({"error": {"a": 1}, "error_type": "throttled"}, error(THROTTLED, "throttled")),
        ({"error": {"type": "api_error"}, "code": 400}, error(FAILURE, "api_error")),
        # The type of the whole is no code of its error.
        ({"error": {"message": "no"}, "type": "throttled"}, error(FAILURE, "error")),
        # Replies
        ({"choices": [{"finish_reason": "stop", "message": {"content": "Hi"}}]}, None),
        ({"type": "message-end", "delta": {"finish_reason": "COMPLETE"}}, None),
        ({"type": "message", "stop_reason": "error"}, None),
        ({"object": "response", "error": None, "status": "completed"}, None),
    ],
)
def test_the_error_of_each_api_has_its_name_and_its_meaning(
    said: dict[str, Any], found: BodyError | None
) -> None:
    assert error_of(said) == found


def test_an_event_may_be_an_error_by_its_name_alone() -> None:
    gone = BodyError(FAILURE, "error event in the stream")

    assert error_of(None, "error") == error_of("gone", "error") == gone
    assert error_of({"message": "m"}, "error") == error(FAILURE, "error")
    assert error_of({}, "response.failed") == error(FAILURE, "response.failed")
    assert error_of(None) is None
    assert error_of({"message": "m"}, "message") is None


# Codes


@pytest.mark.parametrize(
    ("words", "outcome", "quota"),
    [
        (
            "insufficient_quota insufficient_credits insufficient_funds insufficient_balance"
            " credit_balance_exhausted enforced_spend_limit_reached billing_not_active"
            " quota_exceeded",
            THROTTLED,
            True,
        ),
        (
            "rate_limit_error ratelimit too_many_requests TooManyRequestsException"
            " RESOURCE_EXHAUSTED ResourceExhausted throttlingException"
            " tokens_per_day requests_per_min",
            THROTTLED,
            False,
        ),
        (
            "invalid_request_error not_found NotFoundError permission_denied forbidden unauthorized"
            " authentication_error api_key_expired ApiKeyError bad_request BadRequestError"
            " too_large too_long request_too_large context_length_exceeded ContextLength"
            " max_tokens MaxTokens content_filter ContentPolicyViolation moderation_blocked safety"
            " unsupported_value validationException BAD_USER_INPUT FAILED_PRECONDITION"
            " OUT_OF_RANGE ALREADY_EXISTS unprocessable_entity model_not_ready"
            " GRAPHQL_PARSE_FAILED PERSISTED_QUERY_NOT_SUPPORTED string_above_max_length"
            " image_parse_error image_too_large image_content_policy image_file_broken user_error"
            " MAX_COST_EXCEEDED prohibited_content not_supported conflict",
            IGNORED,
            False,
        ),
        (
            "server_error overloaded_error api_error internal_server_error UNAVAILABLE"
            " DEADLINE_EXCEEDED modelStreamErrorException timeout_error engine_error image_error"
            " insufficient_memory quota too_many string_error",
            FAILURE,
            False,
        ),
    ],
)
def test_a_word_for_an_error_stands_for_an_outcome(
    words: str, outcome: Outcome, quota: bool
) -> None:
    for word in words.split():
        assert judge({"code": word}) == error(outcome, word, quota=quota), word
        assert judge({"type": word}) == error(outcome, word, quota=quota), word


@pytest.mark.parametrize("word", ["Too Many Requests", "too-many-requests", "Too-many Requests"])
def test_words_may_be_apart_in_any_way(word: str) -> None:
    assert judge({"code": word}) == error(THROTTLED, word)


@pytest.mark.parametrize(
    ("code", "outcome", "what"),
    [
        (400, IGNORED, "400"),
        (408, FAILURE, "408"),
        (429, THROTTLED, "429"),
        (500, FAILURE, "500"),
        (599, FAILURE, "599"),
        ("404", IGNORED, "404, 404"),
        # None of HTTP: 1000 of a game server, 0 of a shell
        (399, FAILURE, "error"),
        (600, FAILURE, "error"),
        (0, FAILURE, "error"),
        (True, FAILURE, "error"),
        (404.0, FAILURE, "error"),
        (["404"], FAILURE, "error"),
        ("", FAILURE, "error"),
        ("gone", FAILURE, "gone"),
        ("4040", FAILURE, "4040"),
        ("0404", FAILURE, "0404"),
        ("⁴⁰⁴", FAILURE, "⁴⁰⁴"),
        ("٤٠٤", FAILURE, "٤٠٤"),
        ("x04", FAILURE, "x04"),
    ],
)
def test_a_number_counts_as_the_status_of_that_number(
    code: object, outcome: Outcome, what: str
) -> None:
    assert judge({"code": code}) == error(outcome, what)


def test_of_several_codes_money_comes_first_and_then_a_limit_and_then_the_first_status() -> None:
    assert judge({"code": 500, "type": "insufficient_quota"}) == error(
        THROTTLED, "insufficient_quota, 500", quota=True
    )
    assert judge({"code": 402, "type": "rate_limit"}).quota
    assert not judge({"code": 403}).quota
    assert judge({"code": 500, "type": "rate_limit"}) == error(THROTTLED, "rate_limit, 500")
    assert judge({"code": 404, "status": 500}) == error(IGNORED, "404, 500")
    assert judge({"code": 500, "status": "NOT_FOUND"}).outcome is FAILURE
    assert judge({"code": "", "type": "api_error"}) == error(FAILURE, "api_error")


def test_of_a_long_code_the_beginning_is_looked_at() -> None:
    fits, too_long = "x" * (LONG - 9) + "not_found", "x" * (LONG - 8) + "not_found"

    assert judge({"code": fits}) == error(IGNORED, fits)
    assert judge({"code": too_long}) == error(FAILURE, too_long[:LONG])


def test_an_error_without_a_code_has_those_of_what_is_around_it() -> None:
    around = {"code": 400, "type": "throttled", "status": "x", "error_type": "y"}

    assert judge({"message": "m"}, around) == error(IGNORED, "x, y, 400")
    assert judge({"code": 502}, around) == error(FAILURE, "502")
    assert judge("no", {}) == error(FAILURE, "no")


# Whole answers


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"error": {"message": "you wrote nonsense"}}, error(IGNORED, "error")),
        ({"error": {"message": None}}, error(IGNORED, "error")),
        ({"error": {"details": [1]}}, error(IGNORED, "error")),
        ({"error": {"message": 5}}, error(IGNORED, "error")),
        ({"error": {"message": "The server had an error"}}, error(FAILURE, "error")),
        ({"error": {"message": "x" * (LONG - 6) + "server"}}, error(FAILURE, "error")),
        ({"error": {"message": "x" * (LONG - 5) + "server"}}, error(IGNORED, "error")),
        # An error that is a text has no message, and one with a code needs none.
        ({"error": "you wrote nonsense"}, error(FAILURE, "you wrote nonsense")),
        ({"error": {"message": "m", "status": "gone"}}, error(FAILURE, "gone")),
        ({"error": {"message": "m", "error_type": "gone"}}, error(FAILURE, "gone")),
        ({"error": {"message": "m"}, "error_type": "gone"}, error(FAILURE, "gone")),
        ({"error": {"message": "server"}, "code": 400}, error(IGNORED, "400")),
        ({"error": {"code": 429}}, error(THROTTLED, "429")),
        ({"finish_reason": "ERROR"}, error(FAILURE, "finish_reason: error")),
        # A stream of Gemini's API as one array
        ([{"candidates": []}, {"error": {"code": 503}}, {"error": {}}], error(FAILURE, "503")),
        ([{"error": {"message": "m"}}], error(FAILURE, "error")),
        ([{"candidates": []}, "x"], None),
        ([], None),
        ({"candidates": []}, None),
        ("error", None),
        (None, None),
    ],
)
def test_of_a_whole_answer_an_error_without_a_code_is_judged_by_its_words(
    said: object, found: BodyError | None
) -> None:
    assert whole_error_of(said) == found


@pytest.mark.parametrize(
    "words",
    [
        *("Overloaded", "Service Unavailable", "timed out", "timed-out", "time-out", "Timeout"),
        *("Internal error", "upstream", "crashed", "panic", "failed", "unexpected", "Exception"),
        *("Bad gateway", "at capacity", "Please try again", "temporarily", "Connection reset"),
        *("unreachable", "server", "CUDA error", "out of memory", "Something went wrong"),
    ],
)
def test_a_server_speaks_of_its_trouble_in_such_words(words: str) -> None:
    assert speaks_of_trouble(words.encode())
    assert speaks_of_trouble(b"\xff\xfe " + words.encode())
    assert whole_error_of({"error": {"message": words}}) == error(FAILURE, "error")


def test_other_words_are_none_of_trouble_and_late_ones_are_not_looked_at() -> None:
    assert speaks_of_trouble(b"x" * (LONG - 6) + b"server")
    assert not speaks_of_trouble(b"x" * (LONG - 5) + b"server")
    assert not speaks_of_trouble(b"")
    assert not speaks_of_trouble(b"Once upon a time, out of sight")


# GraphQL


@pytest.mark.parametrize(
    ("errors", "found"),
    [
        ([{"message": "m", "path": ["a"]}], error(FAILURE, "GraphQL error")),
        ([{"message": "m"}], error(IGNORED, "GraphQL error")),
        ([{"message": "m", "path": []}], error(IGNORED, "GraphQL error")),
        (["m"], error(IGNORED, "GraphQL error")),
        ([{"extensions": {"code": "FORBIDDEN"}, "path": ["a"]}], error(IGNORED, "FORBIDDEN")),
        ([{"extensions": {"code": "DOWNSTREAM"}}], error(FAILURE, "DOWNSTREAM")),
        ([{"extensions": {"classification": "NOT_FOUND"}}], error(IGNORED, "NOT_FOUND")),
        ([{"extensions": {"code": "a", "classification": "b"}, "type": "c"}], error(FAILURE, "a")),
        ([{"extensions": {"classification": "b"}, "type": "c"}], error(FAILURE, "b")),
        ([{"type": "THROTTLED"}], error(THROTTLED, "THROTTLED")),
        ([{"extensions": {"status": 403}}], error(IGNORED, "403")),
        ([{"extensions": {"http": {"status": 429}}}], error(THROTTLED, "429")),
        ([{"extensions": {"status": 403, "http": {"status": 500}}}], error(IGNORED, "403")),
        ([{"extensions": {"code": "X", "http": {"status": 403}}}], error(IGNORED, "X, 403")),
        # The worst of several counts, whichever is first.
        ([{"type": "THROTTLED"}, {"path": ["a"]}, {}], error(FAILURE, "GraphQL error")),
        ([{}, {"type": "THROTTLED"}], error(THROTTLED, "THROTTLED")),
        ([{"type": "INVALID"}, {}], error(IGNORED, "INVALID")),
        ([], None),
        ({}, None),
        (None, None),
    ],
)
def test_an_error_of_graphql_counts_where_there_is_no_data(
    errors: object, found: BodyError | None
) -> None:
    assert graphql_error_of({"errors": errors}) == found
    assert graphql_error_of({"errors": errors, "data": None}) == found
    assert graphql_error_of({"errors": errors, "data": {"a": None}}) is None
    assert graphql_error_of([{"errors": errors}]) is None


# The end of a call


@pytest.mark.parametrize(
    ("by", "said", "counted", "wait", "quota"),
    [
        (error(FAILURE, "x"), b'{"retry_after": 7}', "failures", 7.0, False),
        (error(FAILURE, "x"), b"{}", "failures", 0.0, False),
        (error(THROTTLED, "x"), b"{}", "throttled", 1.0, False),
        (error(THROTTLED, "x"), b'{"retry_after": 7}', "throttled", 7.0, False),
        (error(THROTTLED, "x", quota=True), b"{}", "throttled", 900.0, True),
        (error(THROTTLED, "x"), b'"insufficient_quota"', "throttled", 900.0, True),
        (error(FAILURE, "x"), b'"insufficient_quota"', "throttled", 900.0, True),
        (error(IGNORED, "x"), b'"insufficient_quota"', "ignored", 0.0, False),
        (BodyError(Outcome.SUCCESS, "x"), b'"insufficient_quota"', "successes", 0.0, False),
    ],
)
def test_an_error_ends_its_call_with_the_pause_that_its_body_asks_for(
    registry: Registry,
    by: BodyError,
    said: bytes,
    counted: str,
    wait: float,
    quota: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits = record_waits(monkeypatch)
    breaker = registry["k"]
    calls = 0
    while breaker.state is State.CLOSED and calls < 10:
        permit = breaker.admit(LoosePermit)
        assert isinstance(permit, LoosePermit)

        end_by(permit, by, said)

        calls += 1
        assert permit.ended
    assert votes(breaker.metrics()) == {counted: calls}
    if counted in ("failures", "throttled"):
        assert breaker.state is State.OPEN
        if counted == "failures":
            assert set(waits) == {wait}
        else:
            assert breaker.retry_after == pytest.approx(wait)
        reason = breaker.refusal().reason
        assert reason is not None
        assert (reason.rule == "quota") is quota
    if counted == "failures":
        assert "error in the body: x" in str(breaker.refusal())
