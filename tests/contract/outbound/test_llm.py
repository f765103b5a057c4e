"""Calls to models, without a client: route and model of a path, and what a body tells."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.llm import (
    ANSWERED,
    TAILS,
    LLMCall,
    _routes,
    llm_call,
    route_of,
)


def call_of(path: str = "/v1/chat/completions", **fields: Any) -> LLMCall:
    route = route_of(path)
    assert route is not None
    return llm_call(route, json.dumps(fields).encode())


# Paths


# The ends of paths by which an API is known anywhere, and the class of their route.
ROUTES = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/responses": "responses",
    "/v1/embeddings": "embeddings",
    "/v1/rerank": "rerank",
    "/v1/moderations": "moderations",
    "/v1/audio/speech": "audio/speech",
    "/v1/audio/transcriptions": "audio/transcriptions",
    "/v1/audio/translations": "audio/translations",
    "/v1/images/generations": "images/generations",
    "/v1/images/edits": "images/edits",
    "/v1/images/variations": "images/variations",
    "/v1/messages": "chat",
    "/v1/messages/count_tokens": "count_tokens",
    "/model/m/invoke": "chat",
    "/model/m/invoke-with-response-stream": "chat",
    "/model/m/converse": "chat",
    "/model/m/converse-stream": "chat",
    "/v2/chat": "chat",
    "/v2/embed": "embeddings",
    "/v2/rerank": "rerank",
    "/v1/generate": "completions",
    "/v1/classify": "classify",
    "/api/chat": "chat",
    "/api/generate": "completions",
    "/api/embed": "embeddings",
    "/api/embeddings": "embeddings",
}
# The same of paths with a colon, and at hosts that are known to have the API of a model.
METHODS = {
    "generateContent": "chat",
    "streamGenerateContent": "chat",
    "embedContent": "embeddings",
    "batchEmbedContents": "embeddings",
    "countTokens": "count_tokens",
    "predict": "predict",
    "rawPredict": "chat",
    "streamRawPredict": "chat",
}
AT_MODELS = {
    "messages": "chat",
    "/messages/count_tokens": "count_tokens",
    "responses/input_tokens": "count_tokens",
    "/chat": "chat",
    "embed": "embeddings",
    "generate": "completions",
    "classify": "classify",
    "complete": "completions",
    "tokenize": "tokenize",
    "detokenize": "detokenize",
    "ocr": "ocr",
}


@pytest.mark.parametrize(("path", "name"), ROUTES.items())
def test_a_route_of_each_api_has_its_class(path: str, name: str) -> None:
    for at_model in (False, True):
        route = route_of(path, at_model=at_model)
        assert route is not None
        assert route.name == name


@pytest.mark.parametrize(("method", "name"), METHODS.items())
def test_a_method_of_gemini_and_of_vertex_has_its_class(method: str, name: str) -> None:
    for where in ("models", "endpoints"):
        route = route_of(f"/v1/{where}/m:{method}")
        assert route == (name, "m", method.startswith("stream"))


@pytest.mark.parametrize(("path", "name"), AT_MODELS.items())
def test_at_the_host_of_a_model_shorter_paths_are_known(path: str, name: str) -> None:
    assert route_of(path, at_model=True) == (name, "", False)
    assert route_of(path) is None


def test_all_calls_to_models_are_told_from_other_requests_by_their_last_segment() -> None:
    """Of those at the host of a model only a failover transport knows, which asks in another way."""
    assert {path.rpartition("/")[2] for path in ROUTES} == TAILS


def test_on_all_known_routes_a_model_answers() -> None:
    assert {*ROUTES.values(), *METHODS.values(), *AT_MODELS.values()} <= ANSWERED
    assert "files" not in ANSWERED


def test_a_bounded_number_of_paths_is_remembered() -> None:
    _routes.clear()
    paths = [f"/{number}/v1/messages" for number in range(257)]
    for path in paths[:256]:
        assert route_of(path) is route_of(path)
    assert len(_routes) == 256
    assert route_of("/0/v1/messages") is not None
    assert len(_routes) == 256

    route_of(paths[256])

    assert len(_routes) == 1


@pytest.mark.parametrize("length", [500, 501])
def test_a_path_that_is_too_long_is_not_looked_at(length: int) -> None:
    path = "/" + "x" * (length - len("//v1/messages")) + "/v1/messages"
    assert len(path) == length

    assert (route_of(path) is None) is (length > 500)


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
        ("/api/chat", "chat", "", True),
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
        *("/model/a/invokeX", "/a:b", "/v1/models/m:", "/models/m", "/v1/messages/", "", "chat"),
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
        ({}, "chat"),
        ({"stream": True}, "stream"),
        ({"stream": "yes"}, "chat"),
        ({"reasoning_effort": "high"}, "high"),
        ({"reasoning_effort": "HIGH"}, "high"),
        ({"reasoning_effort": "very high"}, "chat"),
        ({"reasoning": {"effort": "low"}}, "low"),
        ({"reasoning": {"max_tokens": 1000}}, "thinking 1024"),
        ({"output_config": {"effort": "max"}}, "max"),
        ({"think": True}, "thinking"),
        ({"think": False}, "chat"),
        ({"thinking": {"type": "enabled"}}, "thinking"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5000}}, "thinking 4096"),
        ({"thinking": {"token_budget": 5000}}, "thinking 4096"),
        ({"thinking": {"type": "disabled"}}, "chat"),
        ({"thinking": {}}, "chat"),
        ({"thinking": "yes"}, "chat"),
        ({"generationConfig": {"thinkingConfig": {"thinkingLevel": "low"}}}, "low"),
        ({"generation_config": {"thinking_config": {"thinkingBudget": 64}}}, "thinking 64"),
        ({"max_tokens": 1}, "1 tokens"),
        ({"max_tokens": 100}, "64 tokens"),
        ({"max_completion_tokens": 100}, "64 tokens"),
        ({"max_output_tokens": 100}, "64 tokens"),
        ({"max_tokens_to_sample": 100}, "64 tokens"),
        ({"max_completion_tokens": 16, "max_tokens": 1000}, "16 tokens"),
        ({"generationConfig": {"maxOutputTokens": 100}}, "64 tokens"),
        ({"generation_config": {"max_output_tokens": 100}}, "64 tokens"),
        ({"inferenceConfig": {"maxTokens": 100}}, "64 tokens"),
        ({"options": {"num_predict": 100}}, "64 tokens"),
        ({"options": {"num_predict": -1}}, "chat"),
        ({"max_tokens": 0}, "chat"),
        ({"max_tokens": -1}, "chat"),
        ({"max_tokens": 1.5}, "chat"),
        ({"max_tokens": True}, "chat"),
        ({"max_tokens": 100_000_000}, "chat"),
        ({"stream": True, "reasoning_effort": "high", "max_tokens": 5}, "stream high"),
        ({"reasoning_effort": "high", "max_tokens": 5}, "high 4 tokens"),
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


def test_the_size_is_known_where_the_body_is() -> None:
    route = route_of("/v1/chat/completions")
    assert route is not None

    unknown, known = llm_call(route, b""), llm_call(route, b"{}" + b" " * 98)

    assert (unknown.request_bytes, unknown.size) == (0, None)
    assert known.request_bytes == 100
    assert known.size is not None
