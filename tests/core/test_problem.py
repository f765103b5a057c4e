"""Problem documents: bodies that any client of RFC 9457 can read."""

from __future__ import annotations

import json

import pytest

from recloser._problem import PROBLEM_TYPE, problem_document


def test_a_document_has_the_members_of_the_standard() -> None:
    body = problem_document(503, "Service Unavailable", "The service is down.")

    assert json.loads(body) == {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "The service is down.",
    }


def test_its_content_type_is_that_of_the_standard() -> None:
    assert PROBLEM_TYPE == "application/problem+json"


def test_further_members_stand_beside_them() -> None:
    body = problem_document(503, "t", "d", retry_after=2.5, keys=["a"], reason=None)

    assert json.loads(body) == {
        "type": "about:blank",
        "title": "t",
        "status": 503,
        "detail": "d",
        "retry_after": 2.5,
        "keys": ["a"],
        "reason": None,
    }


def test_a_problem_may_have_a_type_of_its_own() -> None:
    body = problem_document(503, "t", "d", type="https://example.org/problems/down")

    assert json.loads(body)["type"] == "https://example.org/problems/down"


@pytest.mark.parametrize(
    "text", ["a\r\nSet-Cookie: b", 'quoted "', "\x00\x1b[2J", "\u2028", "é", "\ud800"]
)
def test_text_from_outside_stays_text(text: str) -> None:
    body = problem_document(503, "t", text, **{text: text})

    assert json.loads(body)["detail"] == json.loads(body)[text] == text
    # So that no log, terminal or proxy takes a part of it for something else.
    assert body.decode("ascii").isprintable()


def test_what_json_cannot_hold_is_an_error() -> None:
    with pytest.raises(TypeError, match="JSON"):
        problem_document(503, "t", "d", thing=object())
