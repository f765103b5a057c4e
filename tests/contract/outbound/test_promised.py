"""What a request promises of its answer: JSON, a model's words, or events of a subscription."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.promised import (
    is_subscription,
    may_be_text,
    preset_of,
    wants_json,
)


def request(method: str = "POST", url: Any = "http://h/graphql", **headers: str) -> Any:
    return SimpleNamespace(method=method, url=url, headers=headers)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/json", True),
        ("Application/JSON", True),
        ("application/problem+json, text/plain", True),
        ("text/html, application/json", False),
        ("application/json, */*", False),
        ("text/plain", False),
        ("", False),
    ],
)
def test_a_request_wants_json_that_accepts_nothing_like_a_page(accept: str, expected: bool) -> None:
    assert wants_json(request(accept=accept)) is expected


def test_what_is_not_known_promises_nothing() -> None:
    assert wants_json(None) is False
    assert wants_json(request()) is False
    assert preset_of(None) == ""
    assert is_subscription(None) is False


@pytest.mark.parametrize(
    ("method", "url", "preset"),
    [
        ("POST", "http://h/v1/chat/completions?a=b", "llm"),
        ("POST", "http://h/graphql", "graphql"),
        ("POST", "http://h/api/graphql?q", "graphql"),
        ("POST", SimpleNamespace(path="/graphql"), "graphql"),
        ("POST", "http://h/graphql/schema", ""),
        ("GET", "http://h/graphql", ""),
        ("GET", "http://h/v1/chat/completions", ""),
    ],
)
def test_models_and_graphql_are_known_by_their_paths(method: str, url: Any, preset: str) -> None:
    assert preset_of(request(method, url)) == preset


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h/v1/audio/transcriptions", True),
        ("http://h/v1/audio/translations?x=y", True),
        (SimpleNamespace(path="/v1/audio/transcriptions"), True),
        ("http://h/v1/chat/completions", False),
        ("http://audio/v1/audios", False),
    ],
)
def test_who_asks_for_a_transcript_may_get_a_text(url: Any, expected: bool) -> None:
    assert may_be_text(request(url=url)) is expected
    assert may_be_text(None) is True


@pytest.mark.parametrize(("method", "expected"), [("GET", True), ("HEAD", True), ("POST", False)])
def test_a_stream_that_was_only_opened_is_a_subscription(method: str, expected: bool) -> None:
    assert is_subscription(request(method)) is expected
