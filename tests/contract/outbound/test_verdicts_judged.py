"""The judges of bodies, without a client: what each of them takes for an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from recloser import Outcome

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.errors_in_200 import BodyError
from recloser_adapters._outbound.verdicts import (
    check_verdict,
    judge_graphql,
    judge_model,
    judge_of_user,
    judge_text,
)


def test_a_users_verdict_is_asked_with_status_headers_and_beginning() -> None:
    asked: list[Any] = []

    def verdict(status: int, headers: Mapping[str, str], beginning: bytes) -> Outcome | None:
        asked.append((status, headers, beginning))
        return Outcome.IGNORED if beginning else None

    judge = judge_of_user(verdict, 207, {"a": "b"})

    assert judge(b"x", True) == (Outcome.IGNORED, "verdict on the body of HTTP 207", False)
    assert judge(b"", False) is None
    assert asked == [(207, {"a": "b"}, b"x"), (207, {"a": "b"}, b"")]


def test_a_users_verdict_must_be_an_outcome() -> None:
    judge = judge_of_user(lambda *_: "failure", 200, {})  # type: ignore[arg-type]

    with pytest.raises(TypeError, match=r"^verdict must return an Outcome or None, not 'failure'$"):
        judge(b"", True)


INCOMPLETE = BodyError(Outcome.FAILURE, "error in the body: incomplete JSON")
REPORTED = BodyError(Outcome.FAILURE, "error in the body: 502")
NOT_JSON = BodyError(Outcome.FAILURE, "text where JSON was promised")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", INCOMPLETE),
        (b" \n", INCOMPLETE),
        (b'{"choices": [', INCOMPLETE),
        (b'{"error": {"code": 502}', None),  # it may be whole, by its last byte
        (b"<html>", INCOMPLETE),
        (b"X", INCOMPLETE),
        (b' {"error": {"code": 502}} \n', REPORTED),
        (b'[{"error": {"code": 502}}]', REPORTED),
        (
            b'{"finish_reason": "ERROR"}',
            BodyError(Outcome.FAILURE, "error in the body: finish_reason: error"),
        ),
        (b'{"choices": []}', None),
        (b'"text"', None),
        (b"[1.0", None),  # cut off, which a client notices
        (b"null", None),
        (b"true", None),
        (b"false", None),
        (b"3", None),
        *((b"1" + bytes([digit]), None) for digit in b"0123456789"),
        (b'{"error": x}', None),
        (b'{"error": ' + b"[" * 10_000 + b"]", None),
    ],
)
def test_the_answer_of_a_model_is_json_without_an_error(
    text: bytes, found: BodyError | None
) -> None:
    assert judge_model(text, True) == found
    assert judge_model(text, False) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"upstream connect error", NOT_JSON),
        (b"  Bad gateway", NOT_JSON),
        (b'"server"', NOT_JSON),
        (b"Hello.", None),
        (b"", None),
        (b"data: server", None),
        (b"event: server", None),
        (b": server", None),
        (b' {"error": {"code": 502}}', REPORTED),
        (b'[{"error": {"code": 502}}]', REPORTED),
        (b"[server", INCOMPLETE),
    ],
)
def test_a_text_in_its_place_is_trouble_if_it_says_so(text: bytes, found: BodyError | None) -> None:
    assert judge_text(text, True) == found
    assert judge_text(text, False) == (found if found is NOT_JSON else None)


def test_an_answer_of_graphql_is_judged_when_it_is_whole() -> None:
    failed = b'{"errors": [{"path": ["a"]}], "data": null}'

    assert judge_graphql(failed, True) == (
        Outcome.FAILURE,
        "error in the body: GraphQL error",
        False,
    )
    assert judge_graphql(failed, False) is None
    assert judge_graphql(b'{"data": {}}', True) is None
    assert judge_graphql(b'{"errors": [', True) is None
    assert judge_graphql(b'{"errors": ' + b"[" * 10_000, True) is None


# The setting


@pytest.mark.parametrize("verdict", [None, "llm", "graphql", lambda *_: None])
def test_a_verdict_is_a_function_or_a_name(verdict: Callable[..., None] | str | None) -> None:
    check_verdict(verdict)


@pytest.mark.parametrize(
    ("verdict", "error", "said"),
    [
        ("LLM", ValueError, "'LLM': did you mean 'llm'?"),
        ("", ValueError, "''"),
        (b"llm", TypeError, "b'llm'"),
    ],
)
def test_another_one_is_told_what_to_write(
    verdict: object, error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as raised:
        check_verdict(verdict)

    assert str(raised.value) == f'verdict must be "llm", "graphql" or a callable, not {said}'
