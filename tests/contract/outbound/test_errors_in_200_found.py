"""Errors in a body, without a client: where they are looked for, and which are none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from recloser import Outcome

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.asked_to_wait import is_rate_limit, may_ask
from recloser_adapters._outbound.errors_in_200 import error_of, whole_error_of
from recloser_adapters._outbound.verdicts import judge_graphql, judge_model

FAILURE, IGNORED, THROTTLED = Outcome.FAILURE, Outcome.IGNORED, Outcome.THROTTLED


def outcome_of(document: object, name: str = "") -> Outcome | None:
    error = error_of(document, name)
    return None if error is None else error.outcome


@pytest.mark.parametrize(
    ("document", "name", "expected"),
    [
        (None, "", None),
        (None, "error", FAILURE),
        ("text", "ping", None),
        ({}, "", None),
        ({}, "error", FAILURE),
        ({"type": "response.completed", "error": None}, "", None),
        ({"type": "response.failed"}, "", FAILURE),
        (
            {"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded"}}},
            "",
            THROTTLED,
        ),
        ({"response": {"error": {"code": 400}}}, "response.failed", IGNORED),
        ({"error": {"code": 502}}, "", FAILURE),
        ({"error": {"code": 400}}, "", IGNORED),
        ({"error": {"message": "x"}, "code": 400}, "", IGNORED),
        ({"object": "error", "code": 404}, "", IGNORED),
        ({"object": "chat.completion", "code": 404}, "", None),
        ({"type": "error", "code": 502}, "", FAILURE),
        ({"choices": [{"error": {"code": 502}}]}, "", FAILURE),
        ({"choices": [{"error": {"code": 400}, "finish_reason": None}]}, "", IGNORED),
        ({"choices": [{"finish_reason": "error"}]}, "", FAILURE),
        ({"choices": [{"finish_reason": "stop"}, {"finish_reason": "error"}]}, "", FAILURE),
        ({"choices": [{"finish_reason": "stop"}]}, "", None),
        ({"choices": {"error": 1}}, "", None),
        ({"choices": ["error"]}, "", None),
    ],
)
def test_an_error_is_found_where_apis_of_models_have_it(
    document: Any, name: str, expected: Outcome | None
) -> None:
    assert outcome_of(document, name) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"message": "The upstream is overloaded"}, FAILURE),
        ({"message": "The Upstream Is OVERLOADED"}, FAILURE),
        ({"message": "you wrote nonsense"}, IGNORED),
        ({}, None),
        ({"message": "you wrote nonsense", "code": 502}, FAILURE),
    ],
)
def test_without_a_code_the_words_of_a_whole_answer_tell_whose_error_it_is(
    error: dict[str, Any], expected: Outcome | None
) -> None:
    found = whole_error_of({"error": error})

    assert (None if found is None else found.outcome) is expected


@pytest.mark.parametrize(
    ("text", "whole", "fails"),
    [
        (b'{"error": {"code": 502}}', True, True),
        (b' {"error": {"code": 502}}\n', True, True),
        (b'{"error": {"code": 502}}', False, False),
        (b'{"answer": "fine"}', True, False),
        (b'{"answer": "cut', True, True),
        (b"", True, True),
        (b"", False, False),
    ],
)
def test_the_whole_answer_of_a_model_must_be_complete(
    text: bytes, whole: bool, fails: bool
) -> None:
    assert (judge_model(text, whole) is not None) is fails


@pytest.mark.parametrize("whole", [True, False])
def test_errors_of_graphql_are_those_of_a_whole_answer(whole: bool) -> None:
    failed = {"errors": [{"extensions": {"code": "INTERNAL_SERVER_ERROR"}}], "data": None}

    assert (judge_graphql(json.dumps(failed).encode(), whole) is not None) is whole
    assert judge_graphql(b'{"data": {}}', whole) is None
    assert judge_graphql(b'{"data": "errors" }', whole) is None
    assert judge_graphql(b'{"errors": ', whole) is None


# Bodies that may ask for a pause


@pytest.mark.parametrize(
    ("outcome", "status", "llm", "expected"),
    [
        (THROTTLED, 429, False, True),
        (IGNORED, 400, True, True),
        (IGNORED, 402, True, True),
        (IGNORED, 403, True, True),
        (IGNORED, 403, False, False),
        (IGNORED, 401, True, False),
        (IGNORED, 404, True, False),
        (FAILURE, 402, True, False),
    ],
)
def test_a_body_is_asked_where_it_may_speak_of_money(
    outcome: Outcome, status: int, llm: bool, expected: bool
) -> None:
    assert may_ask(outcome, status, llm=llm) is expected


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (403, {"retry-after": "5"}, True),
        (403, {"x-ratelimit-remaining": "0"}, True),
        (403, {"x-ratelimit-remaining": "1"}, False),
        (403, {}, False),
        (404, {"retry-after": "5"}, False),
    ],
)
def test_a_403_may_be_a_rate_limit(status: int, headers: dict[str, str], expected: bool) -> None:
    assert is_rate_limit(status, headers) is expected
