"""What the body of an answer says of the operation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from recloser import Outcome
from recloser_adapters.graphql._answer import error_in

FAILURE, IGNORED = Outcome.FAILURE, Outcome.IGNORED


def error(path: bool = True, **extensions: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"message": "m"}
    if path:
        found["path"] = ["order"]
    if extensions:
        found["extensions"] = extensions
    return found


@pytest.mark.parametrize(
    ("document", "outcome"),
    [
        ({"data": {"order": 1}}, None),
        ({"data": None}, None),
        ({"data": None, "errors": []}, None),
        ({"data": None, "errors": [error()]}, FAILURE),
        ({"errors": [error()]}, FAILURE),
        # A field that may be null is null if its resolver failed.
        ({"data": {"order": None}, "errors": [error()]}, FAILURE),
        ({"data": {"order": None, "user": None}, "errors": [error()]}, FAILURE),
        ({"data": {"order": None, "user": {"id": 1}}, "errors": [error()]}, None),
        ({"data": {"order": 0}, "errors": [error()]}, None),
        # The query was not executed.
        ({"errors": [error(path=False)]}, IGNORED),
        ({"errors": [error(code="GRAPHQL_VALIDATION_FAILED")]}, IGNORED),
        ({"errors": [error(code="BAD_USER_INPUT")]}, IGNORED),
        ({"errors": [error(code="UNAUTHENTICATED")]}, IGNORED),
        ({"errors": [error(code="FORBIDDEN")]}, IGNORED),
        ({"errors": [error(code="NOT_FOUND")]}, IGNORED),
        ({"errors": [error(code="PERSISTED_QUERY_NOT_FOUND")]}, IGNORED),
        ({"errors": [error(code="RATE_LIMITED")]}, IGNORED),
        ({"errors": [error(status=404)]}, IGNORED),
        ({"errors": [error(status=502)]}, FAILURE),
        ({"errors": [error(code="INTERNAL_SERVER_ERROR")]}, FAILURE),
        ({"errors": [error(code="BAD_USER_INPUT"), error()]}, FAILURE),
        ({"errors": ["text"]}, IGNORED),
        ({"errors": "text"}, None),
        ([{"errors": [error()]}, {"errors": [error()]}], FAILURE),
        ([{"errors": [error()]}, {"data": {"order": 1}}], None),
        ([], None),
        ("errors", None),
        (None, None),
    ],
)
def test_the_outcome_of_an_answer(document: Any, outcome: Outcome | None) -> None:
    found = error_in(json.dumps(document).encode())

    assert (None if found is None else found.outcome) is outcome


@pytest.mark.parametrize("body", [b"", b"{", b'{"errors": [', b"[" * 60_000, b'"errors"\xff'])
def test_what_is_no_json_says_nothing(body: bytes) -> None:
    assert error_in(body) is None


def test_the_user_judges_first() -> None:
    def classify(error: Mapping[str, Any]) -> Outcome | None:
        return IGNORED if error["message"] == "not found" else None

    missing = json.dumps({"data": None, "errors": [{"message": "not found", "path": ["a"]}]})
    broken = json.dumps({"data": None, "errors": [{"message": "broken", "path": ["a"]}]})

    assert error_in(missing.encode(), classify).outcome is IGNORED  # type: ignore[union-attr]
    assert error_in(broken.encode(), classify).outcome is FAILURE  # type: ignore[union-attr]


@pytest.mark.parametrize("wrong", ["ignored", 1])
def test_a_fault_of_the_user_is_told_and_the_default_applies(wrong: Any) -> None:
    told: list[str] = []
    body = json.dumps({"data": None, "errors": [error()]}).encode()

    found = error_in(
        body, lambda error: wrong, lambda where, error: told.append(f"{where}: {error}")
    )
    assert found is not None
    assert found.outcome is FAILURE

    found = error_in(body, lambda error: error["none"], lambda where, error: told.append(where))
    assert found is not None
    assert found.outcome is FAILURE
    assert told == [
        f"classify_error: classify_error must return an Outcome or None, not {wrong!r}",
        "classify_error",
    ]
