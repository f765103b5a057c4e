"""What may be asked twice, and of whom: the table of requests of real SDKs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from recloser_adapters._httpx.llm_requests import (
    Reach,
    read_request,
    renamed_body,
    renamed_path,
)
from recloser_adapters._outbound.llm import llm_call, route_of

FUNCTION = {"type": "function", "function": {"name": "f"}}


def reach(method: str, path: str, body: Any = None, *, raw: bytes | None = None) -> Reach:
    content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
    return read_request(method, path.encode(), content).reach


@pytest.mark.parametrize(
    "path",
    [
        "/chat/completions",
        "/openai/deployments/dep1/chat/completions?api-version=2024-10-21",
        "/v1/responses",
        "/v1/responses/input_tokens",
        "/v1/messages",
        "/v1/messages?beta=true",
        "/v1/messages/count_tokens",
        "/embeddings",
        "/moderations",
        "/v1beta/models/gemini-2:generateContent",
        "/v1beta/models/gemini-2:streamGenerateContent?alt=sse",
        "/v1beta/models/gemini-2:countTokens",
        "/v1beta/models/gemini-2:embedContent",
        "/v1/projects/p/locations/l/publishers/anthropic/models/claude:rawPredict",
        "/model/anthropic.claude/converse",
        "/v2/chat",
        "/v2/embed",
        "/v1/rerank",
        "/api/chat",
        "/api/generate",
        "/api/embed",
        "/audio/speech",
        "/images/generations",
    ],
)
def test_what_a_model_answers_may_be_asked_of_anyone(path: str) -> None:
    assert reach("POST", path, {"model": "m"}) is Reach.ANYONE


@pytest.mark.parametrize(
    "tools",
    [
        [FUNCTION],
        [{"type": "custom", "name": "f"}],
        [{"name": "f", "input_schema": {}}],
        [{"functionDeclarations": [{"name": "f"}]}],
        [{"name": "f", "parameter_definitions": {}}],
        [],
        None,
    ],
)
def test_tools_that_the_caller_executes_change_nothing(tools: Any) -> None:
    assert reach("POST", "/v1/responses", {"model": "m", "tools": tools}) is Reach.ANYONE


@pytest.mark.parametrize(
    "acting",
    [
        {"tools": [{"type": "mcp", "server_url": "https://x"}]},
        {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
        {"tools": [{"type": "computer_use_preview"}]},
        {"tools": [{"type": "computer_20250124", "name": "computer"}]},
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"tools": [{"type": "code_execution_20250522", "name": "code_execution"}]},
        {"tools": [{"type": "local_shell"}]},
        {"tools": [{"type": "a tool of next year"}]},
        {"tools": [FUNCTION, {"type": "mcp"}]},
        {"tools": [{"codeExecution": {}}]},
        {"tools": [{"functionDeclarations": [], "googleSearch": {}}]},
        {"tools": [{}]},
        {"tools": {"type": "mcp"}},
        {"tools": ["mcp"]},
        {"tools": [{"type": ["function"]}]},
        {"tools": [{"type": {}}]},
        {"mcp_servers": [{"type": "url", "url": "https://x"}]},
        {"background": True},
        {"connectors": [{"id": "web-search"}]},
        {"web_search_options": {}},
        {"plugins": [{"id": "web"}]},
    ],
)
@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages", "/chat/completions"])
def test_what_the_provider_executes_is_sent_once(path: str, acting: dict[str, Any]) -> None:
    assert reach("POST", path, {"model": "m", **acting}) is Reach.ONCE


@pytest.mark.parametrize(
    "naming",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"conversation": {"id": "conv_1"}},
        {"prompt": {"id": "pmpt_1"}},
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
        {"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]},
        {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]},
        {"container": "container_1"},
        {"cachedContent": "cachedContents/1"},
        {"contents": [{"parts": [{"fileData": {"fileUri": "https://x/files/1"}}]}]},
    ],
)
def test_what_names_something_made_is_for_its_maker(naming: dict[str, Any]) -> None:
    assert reach("POST", "/v1/responses", {"model": "m", **naming}) is Reach.MAKER


def test_a_text_that_speaks_of_names_does_not() -> None:
    text = json.dumps({"file_id": "file-1", "previous_response_id": "resp_1", "tools": ["mcp"]})
    body = {"model": "m", "previous_response_id": None, "input": text}

    assert reach("POST", "/v1/responses", body) is Reach.ANYONE


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/batches/batch-1"),
        ("GET", "/v1/files"),
        ("GET", "/v1/files/file-1/content"),
        ("DELETE", "/v1/files/file-1"),
        ("GET", "/v1/responses/resp_1"),
        ("DELETE", "/v1/responses/resp_1"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("GET", "/v1/chat/completions/chatcmpl-1"),
        ("POST", "/v1/threads/thread_1/messages"),
        ("POST", "/v1/threads/thread_1/runs"),
        ("POST", "/v1/batches/batch-1/cancel"),
        ("GET", "/v1/vector_stores/vs_1"),
        ("GET", "/v1/fine_tuning/jobs/ftjob-1"),
        ("GET", "/v1/assistants/asst_1"),
        ("GET", "/v1/messages/batches/msgbatch_1"),
        ("GET", "/v1beta/files/abc"),
        ("PUT", "/v1/whatever"),
        ("DELETE", "/v1/models/ft:m"),
    ],
)
def test_what_a_provider_has_made_is_asked_of_it_alone(method: str, path: str) -> None:
    assert reach(method, path) is Reach.MAKER


@pytest.mark.parametrize(
    "path",
    [
        "/v1/files",
        "/v1/batches",
        "/v1/threads",
        "/v1/threads/runs",
        "/v1/fine_tuning/jobs",
        "/v1/messages/batches",
        "/v1/videos",
        "/v1/charges",
        "/chat/completions/cancel-all",
        "/",
    ],
)
def test_what_makes_something_or_is_unknown_is_sent_once(path: str) -> None:
    assert reach("POST", path, {"model": "m"}) in (Reach.ONCE, Reach.MAKER)


@pytest.mark.parametrize("raw", [b"", b"{", b'{"model": "m"', b"[1]", b"\xff"])
def test_a_body_that_cannot_be_read_may_say_anything(raw: bytes) -> None:
    assert reach("POST", "/v1/responses", raw=raw) is Reach.ONCE


def test_a_body_that_can_be_sent_only_once_is() -> None:
    assert read_request("POST", b"/chat/completions", None).reach is Reach.ONCE


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/gpt-4o", "/health"])
def test_models_are_asked_of_anyone(path: str) -> None:
    assert reach("GET", path) is Reach.ANYONE


FORM = (
    b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n\x00\xff\r\n--x--\r\n'
)


@pytest.mark.parametrize(
    ("path", "content", "model"),
    [
        ("/chat/completions", b'{"model": "m"}', "m"),
        ("/openai/deployments/dep%2D1/chat/completions", b"{}", "dep-1"),
        ("/v1beta/models/gemini:generateContent", b"{}", "gemini"),
        ("/audio/transcriptions", FORM, "whisper-1"),
        ("/chat/completions", b'{"model": 7}', None),
        ("/chat/completions", json.dumps({"model": "x" * 129}).encode(), None),
    ],
)
def test_the_model_is_found_where_the_request_names_it(
    path: str, content: bytes, model: str | None
) -> None:
    assert read_request("POST", path.encode(), content).model == model


def test_a_model_is_renamed_in_paths_bodies_and_forms() -> None:
    models = {"dep1": "dep/2", "whisper-1": "whisper-large"}
    form = read_request("POST", b"/audio/transcriptions", FORM)

    assert renamed_path(b"/openai/deployments/dep1/x?y=1", models) == (
        b"/openai/deployments/dep%2F2/x?y=1"
    )
    assert renamed_path(b"/models/other:x", models) == b"/models/other:x"
    assert renamed_body(form, FORM, models) == FORM.replace(b"whisper-1", b"whisper-large")


USER = [{"role": "user", "content": "x" * 3000}]
WORK: list[tuple[str, str, dict[str, Any], str]] = [
    ("/v1", "/chat/completions", {"messages": USER}, "chat"),
    ("/v1", "/chat/completions", {"messages": USER, "stream": True, "max_tokens": 9}, "stream"),
    ("/v1", "/chat/completions", {"max_completion_tokens": 1000}, "1024 tokens"),
    ("/v1", "/chat/completions", {"reasoning_effort": "high", "n": 1}, "high"),
    ("/v1", "/responses", {"reasoning": {"effort": "low"}}, "responses low"),
    ("/v1", "/responses", {"max_output_tokens": 60, "stream": False}, "responses 64 tokens"),
    ("/api/v1", "/chat/completions", {"reasoning": {"max_tokens": 4000}}, "thinking 4096"),
    ("", "/v1/messages", {"thinking": {"type": "enabled", "budget_tokens": 5000}}, "thinking 4096"),
    ("", "/v1/messages", {"thinking": {"type": "adaptive"}}, "thinking"),
    ("", "/v1/messages", {"thinking": {"type": "disabled"}, "max_tokens": 256}, "256 tokens"),
    ("", "/v1/messages", {"output_config": {"effort": "max"}}, "max"),
    ("", "/v1beta/models/g:streamGenerateContent", {"contents": []}, "stream"),
    (
        "",
        "/v1beta/models/g:generateContent",
        {"generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}, "maxOutputTokens": 4}},
        "low 4 tokens",
    ),
    ("", "/api/chat", {"model": "m"}, "stream"),
    ("", "/api/chat", {"stream": False, "think": True}, "thinking"),
    (
        "",
        "/api/generate",
        {"stream": False, "options": {"num_predict": 64}},
        "completions 64 tokens",
    ),
    ("", "/v2/chat", {"thinking": {"type": "enabled", "token_budget": 250}}, "thinking 256"),
    ("", "/model/m/converse", {"inferenceConfig": {"maxTokens": 500}}, "256 tokens"),
    ("/v1", "/embeddings", {"input": ["x"] * 99}, "embeddings"),
    ("/v1", "/chat/completions", {"messages": USER * 40, "model": "m", "stream": True}, "stream"),
    ("/v1", "/chat/completions", {"max_tokens": "many", "reasoning": 7, "think": {}}, "chat"),
    ("/v1", "/chat/completions", {"max_tokens": True, "n": -1, "thinking": []}, "chat"),
]


@pytest.mark.parametrize(("base", "path", "body", "label"), WORK)
def test_all_adapters_see_the_same_work(
    base: str, path: str, body: dict[str, Any], label: str
) -> None:
    """A failover knows the path after the base URL; the other adapters know the whole path."""
    content = json.dumps({"model": "m", **body}).encode()
    route = route_of(base + path)
    asked = read_request("POST", path.encode(), content).call

    assert route is not None
    assert asked is not None
    assert asked[1:] == llm_call(route, content)[1:]
    assert asked.request_bytes == len(content)
    assert asked.label == label


def test_a_form_names_its_model_to_all_adapters() -> None:
    route = route_of("/v1/audio/transcriptions")

    assert route is not None
    assert llm_call(route, FORM) == read_request("POST", b"/audio/transcriptions", FORM).call
    assert llm_call(route, FORM).model == "whisper-1"
