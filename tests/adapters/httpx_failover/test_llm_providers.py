"""Providers of language models: keys, model names, and what is safe to ask again."""

from __future__ import annotations

import json

import pytest
from tests.support.httpx_failover_client import World

from recloser.testing import open_breaker


@pytest.fixture
def models(world: World) -> World:
    endpoint = world.adapter.LLMEndpoint
    world.targets = {
        "a": endpoint("https://a.example/v1", "key-of-a"),
        "b": endpoint(
            "https://b.example/openai/v1", "key-of-b", models={"gpt-4o-mini": "llama-3.3-70b"}
        ),
        "c": endpoint("https://c.example", "key-of-c", key_header="api-key"),
    }
    return world


CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hë"}]}


def test_each_provider_gets_its_own_key_and_model_name_and_no_others(models: World) -> None:
    models.answers = {"a": models.status(529), "b": models.status(500)}
    headers = {"Authorization": "Bearer of-a", "OpenAI-Organization": "org", "Cookie": "c=1"}

    models.request("POST", "https://a.example/v1/chat/completions", json=CHAT, headers=headers)

    a, b, c = (models.received[key][0] for key in "abc")
    assert a.headers["authorization"] == "Bearer key-of-a"
    assert b.headers["authorization"] == "Bearer key-of-b"
    assert c.headers["api-key"] == "key-of-c"
    assert "authorization" not in c.headers
    for sent in (a, b, c):
        assert not {"cookie", "openai-organization"} & set(sent.headers)
    assert str(b.url) == "https://b.example/openai/v1/chat/completions"
    assert json.loads(a.content) == CHAT
    assert json.loads(b.content) == {**CHAT, "model": "llama-3.3-70b"}
    assert b.headers["content-length"] == str(len(b.content))


@pytest.mark.parametrize("path", ["chat/completions", "responses", "embeddings", "messages?beta=1"])
def test_to_ask_a_model_again_is_safe(models: World, path: str) -> None:
    models.answers["a"] = models.status(503)

    assert models.request("POST", f"http://failover/{path}", json=CHAT).text == "b"


def test_to_ask_a_model_again_is_safe_only_where_all_are_models(models: World) -> None:
    models.targets["b"] = "https://b.example"
    models.answers["a"] = models.status(503)

    assert models.request("POST", "http://failover/chat/completions").status_code == 503


def test_to_upload_again_is_not(models: World) -> None:
    models.answers["a"] = models.status(503)

    assert models.request("POST", "http://failover/files", content=b"x").status_code == 503
    assert models.counts == {"a": 1}


@pytest.mark.parametrize("content", [b"", b"no json", b"[1]", b'{"model": ["x"]}', b"\xff"])
def test_a_body_without_a_model_name_passes_as_it_is(models: World, content: bytes) -> None:
    open_breaker(models.registry["a"])

    models.request("POST", "http://failover/chat/completions", content=content)

    assert models.received["b"][0].content == content


def test_no_key_is_ever_shown(models: World) -> None:
    transport = models.transport()

    shown = repr(transport.failover.providers) + repr(transport.failover) + repr(models.targets)

    assert "key-of" not in shown
