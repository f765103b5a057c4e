"""Calls to models, without a client: route and model of a path, and what a body tells."""

from __future__ import annotations

import json
from math import sqrt
from typing import Any

import pytest

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.llm import LLMCall, llm_call, route_of, top_level

TEXT = "x" * 100_000  # more than is parsed in whole


def call_of(path: str = "/v1/chat/completions", **fields: Any) -> LLMCall:
    route = route_of(path)
    assert route is not None
    return llm_call(route, json.dumps(fields).encode())


# Paths


@pytest.mark.parametrize(
    ("path", "route", "model", "stream"),
    [
        ("/v1/chat/completions", "chat", "", False),
        ("/gateway/eu/v1/chat/completions", "chat", "", False),
        ("chat/completions", "chat", "", False),
        ("/v1/completions", "completions", "", False),
        ("/v1/responses", "responses", "", False),
        ("/v1/embeddings", "embeddings", "", False),
        ("/v1/audio/speech", "audio/speech", "", False),
        ("/v1/images/edits", "images/edits", "", False),
        ("/openai/deployments/my-gpt/chat/completions", "chat", "my-gpt", False),
        ("/v1/messages", "chat", "", False),
        ("/v1/messages/count_tokens", "count_tokens", "", False),
        ("/v1beta/models/gemini-pro:generateContent", "chat", "gemini-pro", False),
        ("/v1beta/models/gemini-pro:streamGenerateContent", "chat", "gemini-pro", True),
        ("/v1beta/models/e:batchEmbedContents", "embeddings", "e", False),
        ("/v1/publishers/a/models/claude:rawPredict", "chat", "claude", False),
        ("/v1/publishers/a/models/claude:streamRawPredict", "chat", "claude", True),
        ("/v1/endpoints/7:predict", "predict", "7", False),
        ("/model/a.b%3A0/invoke", "chat", "a.b:0", False),
        ("/model/a/invoke-with-response-stream", "chat", "a", True),
        ("/model/a/converse-stream", "chat", "a", True),
        ("/v2/chat", "chat", "", False),
        ("/v1/embed", "embeddings", "", False),
        ("/v1/generate", "completions", "", False),
        ("/api/chat", "chat", "", False),
        ("/api/embed", "embeddings", "", False),
        ("/model/two%20words/invoke", "chat", "", False),
    ],
)
def test_a_path_tells_route_and_model(path: str, route: str, model: str, stream: bool) -> None:
    for _ in range(2):  # found, and remembered
        assert route_of(path) == (route, model, stream)


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/v1/models", "/v1/chat/completions/7", "/chat", "/v3/chat", "/messages"),
        "/" + "x" * 500 + "/v1/messages",
    ],
)
def test_other_paths_are_no_calls_to_models(path: str) -> None:
    assert route_of(path) is None


# Bodies


@pytest.mark.parametrize(
    ("fields", "label"),
    [
        ({}, ""),
        ({"stream": True}, "stream"),
        ({"stream": "yes"}, ""),
        ({"reasoning_effort": "high"}, "high"),
        ({"reasoning": {"effort": "low"}}, "low"),
        ({"reasoning": {"effort": "low"}, "reasoning_effort": "high"}, "low"),
        ({"reasoning": {}, "reasoning_effort": "high"}, "high"),
        ({"reasoning_effort": "Very High"}, ""),
        ({"reasoning_effort": 7}, ""),
        ({"thinking": {"type": "enabled"}}, "thinking"),
        ({"thinking": {"type": "disabled"}}, ""),
        ({"thinking": {}}, ""),
        ({"thinking": "yes"}, ""),
        ({"max_tokens": 1}, "short"),
        ({"max_tokens": 128}, "short"),
        ({"max_completion_tokens": 128}, "short"),
        ({"max_output_tokens": 128}, "short"),
        ({"max_tokens": 129}, ""),
        ({"max_tokens": -1}, ""),
        ({"max_tokens": 1.5}, ""),
        ({"max_tokens": True}, ""),
        ({"stream": True, "reasoning_effort": "high", "max_tokens": 5}, "stream high short"),
    ],
)
def test_a_body_tells_what_explains_the_latency(fields: dict[str, Any], label: str) -> None:
    assert call_of(model="m", **fields).label == label


def test_other_routes_than_a_chat_are_named_and_a_path_may_tell_that_it_streams() -> None:
    assert call_of("/v1/embeddings").label == "embeddings"
    assert call_of("/model/a/converse-stream").label == "stream"
    assert call_of("/v1/embeddings", stream=True).label == "embeddings stream"


def test_the_model_of_the_path_comes_before_that_of_the_body() -> None:
    assert call_of(model="b").model == "b"
    assert call_of("/model/a/invoke", model="b").model == "a"
    assert call_of(model="b").name == "b"
    assert call_of().name == "chat"


@pytest.mark.parametrize("model", ["two words", "", "x" * 129, 5, None, "a\nb"])
def test_what_is_no_name_is_no_model(model: object) -> None:
    assert call_of(model=model).model == ""


def test_the_size_is_that_of_the_body() -> None:
    route = route_of("/v1/chat/completions")
    assert route is not None

    assert llm_call(route, b"").size is None
    assert llm_call(route, b"{}" + b" " * 98).size == sqrt(100)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b'"text"', b"7", b"{", b'{"model": ', b'x{"model": "a"}'),
        b'{"a":' * 20_000,  # deeper than the parser goes
    ],
)
def test_what_is_no_object_tells_nothing(body: bytes) -> None:
    assert top_level(body) == {}


@pytest.mark.parametrize("text", ["short", TEXT])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("first", [True, False])
def test_the_fields_of_an_object_are_found_at_both_ends(
    text: str, indent: int | None, first: bool
) -> None:
    known = {"model": "m", "stream": True, "max_tokens": 100, "reasoning_effort": "high"}
    messages = {"messages": [{"role": "user", "content": text}]}
    fields = {**known, **messages} if first else {**messages, **known}

    for body in (json.dumps(fields, indent=indent), f" \n{json.dumps(fields, indent=indent)}\n "):
        found = top_level(body.encode())
        assert {name: found.get(name) for name in known} == known


@pytest.mark.parametrize("where", ["before", "after"])
def test_those_of_objects_within_it_do_not_count(where: str) -> None:
    """They may come from anybody, as a text that holds such a field may."""
    within: dict[str, Any] = {"metadata": {"model": "inner", "list": [{"model": "deep"}, []]}}
    told: dict[str, Any] = {"note": '{"model": "told", "stream": true}, "model": "told"'}
    messages: dict[str, Any] = {"messages": [{"content": TEXT, "model": "of a message"}]}
    parts = [within, told, messages] if where == "before" else [messages, told, within]
    body = {name: value for part in parts for name, value in part.items()}

    assert dict(top_level(json.dumps(body).encode())) == {}
    outer = {**within, "model": "outer", **messages}
    assert top_level(json.dumps(outer).encode())["model"] == "outer"
    outer = {**messages, "model": "outer", **within}
    assert top_level(json.dumps(outer).encode())["model"] == "outer"


def test_where_both_ends_name_a_model_the_first_one_counts() -> None:
    body = f'{{"model": "first", "messages": "{TEXT}", "model": "last"}}'

    assert top_level(body.encode())["model"] == "first"


def test_a_long_body_is_searched_within_bounds() -> None:
    many = ", ".join(f'"max_tokens": {number}' for number in range(100))

    at_the_end = top_level(f'{{"messages": "{TEXT}", {many}}}'.encode())
    at_the_beginning = top_level(f'{{{many}, "messages": "{TEXT}"}}'.encode())

    assert at_the_end["max_tokens"] == 99
    assert at_the_beginning["max_tokens"] == 11
