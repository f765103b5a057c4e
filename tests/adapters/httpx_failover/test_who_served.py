"""What a delivery tells of the answer, and what belongs to the provider that made it."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from tests.adapters.httpx_failover.test_rejections import transport_of_all_calls
from tests.support.httpx_failover_client import World

from recloser import Answer
from recloser.testing import open_breaker


@pytest.fixture
def models(world: World) -> World:
    endpoint = world.adapter.LLMEndpoint
    world.targets = {
        "a": endpoint("https://a.example/v1", "key-of-a"),
        "b": endpoint("https://b.example/v1", "key-of-b", models={"m": "b-m"}),
    }
    return world


def ask(world: World, path: str = "chat/completions", **body: Any) -> Any:
    return world.request("POST", f"http://failover/{path}", json={"model": "m", **body})


OPENAI = {"id": "1", "usage": {"prompt_tokens": 3, "completion_tokens": 8, "total_tokens": 11}}
ANTHROPIC = {"id": "1", "usage": {"input_tokens": 3, "output_tokens": 8}}
GEMINI = {"usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 8}}
OLLAMA = {"done": True, "prompt_eval_count": 3, "eval_count": 8}


@pytest.mark.parametrize("answer", [OPENAI, ANTHROPIC, GEMINI, OLLAMA])
@pytest.mark.parametrize("packed", [False, True])
def test_a_delivery_tells_model_request_id_and_tokens(
    models: World, answer: dict[str, Any], packed: bool
) -> None:
    content = json.dumps(answer).encode()
    headers = {"x-request-id": "req-1", "content-type": "application/json"}
    if packed:
        content, headers["content-encoding"] = gzip.compress(content), "gzip"

    def served(request: Any) -> Any:
        return models.lib.Response(200, headers=headers, stream=models.lib.ByteStream(content))

    models.answers = {"a": models.status(503), "b": served}

    assert ask(models).json() == answer
    (delivery,) = models.deliveries
    assert delivery.served_by == "b"
    assert delivery.answer == Answer("b-m", "req-1", 3, 8)
    assert (delivery.sends, delivery.wasted_sends) == (2, 1)


def test_a_stream_tells_its_tokens_at_its_end(models: World) -> None:
    start = b'data: {"type": "message_start", "message": {"usage": {"input_tokens": 3}}}\n\n'
    models.answers["a"] = models.events(
        start,
        b'data: {"type": "content_block_delta"}\n\n',
        b'data: {"usage": {"output_tokens": 8}}\n\n',
    )

    ask(models, "messages", stream=True)

    assert models.deliveries[0].answer == Answer("m", None, 3, 8)


def test_an_answer_that_tells_nothing_is_delivered_all_the_same(models: World) -> None:
    ask(models)

    assert models.deliveries[0].answer == Answer("m", None, None, None)


def test_what_a_provider_made_is_asked_of_it(models: World) -> None:
    transport_of_all_calls(models)

    def made(request: Any) -> Any:
        return models.lib.Response(200, json={"id": "batch-1", "object": "batch"})

    models.answers["b"] = made
    open_breaker(models.registry["a"])
    assert ask(models, "batches").json()["id"] == "batch-1"
    models.registry["a"].reset()

    models.answers["b"] = models.status(404)
    models.request("GET", "http://failover/batches/batch-1")
    models.request("GET", "http://failover/batches/batch-of-another-process")

    assert models.counts == {"b": 2, "a": 1}


def test_a_conversation_stays_with_the_provider_that_began_it(models: World) -> None:
    transport_of_all_calls(models)
    models.answers["a"] = models.status(503)
    models.answers["b"] = lambda request: models.lib.Response(200, json={"id": "resp_1"})
    ask(models, "responses", input="x")

    ask(models, "responses", input="y", previous_response_id="resp_1")

    assert models.counts == {"a": 1, "b": 2}


@pytest.mark.parametrize("name", ["key", "api_key", "access_token", "api-key", "KEY", "k%65y"])
def test_a_credential_in_the_query_is_not_sent_to_another(models: World, name: str) -> None:
    models.answers["a"] = models.status(503)

    models.request("GET", f"http://failover/models?x=1&{name}=secret&y=2")

    assert [str(models.received[key][0].url).partition("?")[2] for key in "ab"] == ["x=1&y=2"] * 2


def test_a_deployment_has_the_providers_own_name_in_the_url_and_the_body(models: World) -> None:
    models.answers["a"] = models.status(503)

    ask(models, "openai/deployments/m/chat/completions?api-version=1")

    (sent,) = models.received["b"]
    assert sent.url.raw_path == b"/v1/openai/deployments/b-m/chat/completions?api-version=1"
    assert json.loads(sent.content)["model"] == "b-m"


# Keys that are renewed


def test_a_key_may_be_a_function_that_is_called_for_each_attempt(models: World) -> None:
    keys = iter(["first", "second"])
    models.targets["a"] = models.adapter.LLMEndpoint("https://a.example", lambda: next(keys))

    ask(models)
    ask(models)

    sent = [each.headers["authorization"] for each in models.received["a"]]
    assert sent == ["Bearer first", "Bearer second"]


async def renewed() -> str:
    return "renewed"


def test_for_async_clients_it_may_be_awaited(models: World) -> None:
    models.targets["a"] = models.adapter.LLMEndpoint("https://a.example", renewed)

    served_by = ask(models).extensions[models.adapter.PROVIDER]

    if models.asynchronous:
        assert models.received["a"][0].headers["authorization"] == "Bearer renewed"
    else:
        assert served_by == "b"
        assert models.registry.faults == 1


def test_a_key_that_is_not_to_be_had_is_a_fault_and_the_next_is_asked(models: World) -> None:
    transport_of_all_calls_with_broken_key(models)

    for _ in range(5):
        assert ask(models).extensions[models.adapter.PROVIDER] == "b"

    assert models.registry.faults == 1  # it is put last for a while
    assert models.counts == {"b": 5}


def test_if_all_lack_a_key_the_error_is_the_functions_own(models: World) -> None:
    def broken() -> str:
        raise LookupError("no token")

    for key in "ab":
        models.targets[key] = models.adapter.LLMEndpoint(f"https://{key}.example", broken)

    with pytest.raises(LookupError, match="no token"):
        ask(models)
    assert models.in_flight() == 0


@pytest.mark.parametrize("key", [None, "", 7])
def test_a_key_that_is_none_is_an_error_that_names_the_provider(models: World, key: Any) -> None:
    for name in "ab":
        models.targets[name] = models.adapter.LLMEndpoint(f"https://{name}.example", lambda: key)

    with pytest.raises(TypeError, match="api_key of 'a' must return a non-empty str"):
        ask(models)


def test_a_key_of_another_kind_is_an_error_at_construction(world: World) -> None:
    with pytest.raises(TypeError, match="api_key must be a str or a function, not int"):
        world.adapter.LLMEndpoint("https://a.example", 7)


def transport_of_all_calls_with_broken_key(world: World) -> None:
    def broken() -> str:
        raise LookupError("no token")

    world.targets["a"] = world.adapter.LLMEndpoint("https://a.example", broken)
    transport_of_all_calls(world)


def test_a_form_with_a_file_goes_on_to_another(models: World) -> None:
    models.answers["a"] = models.status(503)

    response = models.request(
        "POST",
        "http://failover/audio/transcriptions",
        files={"file": ("a.wav", b"RIFF")},
        data={"model": "m"},
    )

    assert response.text == "b"
    assert b"b-m" in models.received["b"][0].content
    assert b"RIFF" in models.received["b"][0].content


def test_the_name_of_a_tool_in_an_answer_is_not_taken_for_what_was_made(models: World) -> None:
    transport_of_all_calls(models)
    tools = [{"type": "function", "name": "get_weather"}]
    made = {"id": "resp_1", "tools": tools}
    models.answers["b"] = lambda request: models.lib.Response(200, json=made)
    models.answers["a"] = models.status(503)
    ask(models, "responses", tools=tools)
    del models.answers["a"]

    ask(models, "responses", previous_response_id="resp_of_old", tools=tools)

    assert models.counts == {"a": 2, "b": 1}


def test_a_file_of_gemini_is_asked_of_its_maker(models: World) -> None:
    transport_of_all_calls(models)
    made = {"file": {"name": "files/abc", "uri": "https://x.example/v1beta/files/abc"}}
    models.answers["b"] = lambda request: models.lib.Response(200, json=made)
    open_breaker(models.registry["a"])
    models.request("POST", "http://failover/upload/v1beta/files", content=b"x")
    models.registry["a"].reset()

    models.request("GET", "http://failover/v1beta/files/abc")
    uri = {"fileUri": "https://x.example/v1beta/files/abc"}
    ask(models, "models/m:generateContent", contents=[{"parts": [{"fileData": uri}]}])

    assert models.counts == {"b": 3}
