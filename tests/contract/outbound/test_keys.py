"""Whose health it is: by default that of a host and a model; ready-made keys."""

from __future__ import annotations

import copy
import pickle

import pytest
from tests.support.llm_calls import CHAT, ask, asked, refused
from tests.support.outbound_clients import Client
from tests.support.scripted_upstream import Upstream, answer

from recloser import Policy, Registry, State
from recloser.testing import ManualClock

from .conftest import Connect

pytestmark = pytest.mark.anyio


async def test_the_failures_of_a_model_refuse_no_other_model(
    client: Client, upstream: Upstream, registry: Registry
) -> None:
    for _ in range(registry.policy_for("").min_failures):
        upstream.answers(CHAT, answer(503))
    upstream.answers(CHAT, answer(200, b"{}"))
    while registry[f"{upstream.host} a"].state is State.CLOSED:
        await ask(client, upstream, "a")

    assert (await refused(client, upstream, "a")).key == f"{upstream.host} a"
    assert await ask(client, upstream, "b") == 200


@pytest.mark.parametrize(
    ("path", "body", "part"),
    [
        (CHAT, asked("gpt-4o"), "gpt-4o"),
        ("/v1/embeddings", b"", "embeddings"),
        ("/openai/deployments/mine/chat/completions", asked("gpt-4o"), "mine"),
        ("/v1beta/models/gemini-2.5-pro:streamGenerateContent", b"{}", "gemini-2.5-pro"),
        ("/model/anthropic.claude-3%3A0/converse", b"{}", "anthropic.claude-3:0"),
        ("/v1/messages", asked("claude-opus-4-5"), "claude-opus-4-5"),
        ("/v1/models/gpt-4o:generateContent", b"{}", "gpt-4o"),
        ("/v1/responses", b"", "responses"),
        ("/v1/completions", asked("m"), "m"),
        ("/v1/moderations", asked("m"), "m"),
        ("/v1/audio/speech", asked("m"), "m"),
        ("/v1/audio/transcriptions", b"", "audio/transcriptions"),
        ("/v1/audio/translations", b"", "audio/translations"),
        ("/v1/images/generations", asked("m"), "m"),
        ("/v1/images/edits", b"", "images/edits"),
        ("/v1/images/variations", b"", "images/variations"),
        ("/v1/messages/count_tokens", asked("m"), "m"),
        ("/model/m/invoke", b"{}", "m"),
        ("/model/m/invoke-with-response-stream", b"{}", "m"),
        ("/model/m/converse-stream", b"{}", "m"),
        ("/v2/chat", asked("m"), "m"),
        ("/v2/rerank", asked("m"), "m"),
        ("/v1/generate", asked("m"), "m"),
        ("/v1/classify", asked("m"), "m"),
        ("/api/generate", asked("m"), "m"),
        ("/api/embed", asked("m"), "m"),
        ("/api/embeddings", asked("m"), "m"),
        ("/api/chat", asked("llama3"), "llama3"),
        ("/v2/embed", asked("embed-v4"), "embed-v4"),
    ],
)
async def test_by_default_the_key_of_a_call_to_a_model_names_it(
    client: Client, upstream: Upstream, registry: Registry, path: str, body: bytes, part: str
) -> None:
    upstream.answers(path.replace("%3A", ":"), answer(200, b"{}"))
    upstream.answers(path, answer(200, b"{}"))

    await client.get(f"{upstream.url}{path}", method="POST", body=body)

    assert [each.key for each in registry] == [f"{upstream.host} {part}"]


@pytest.mark.parametrize("path", ["/chat", "/charge", "/v1/files", "/v1/batches", "/a:b", "/"])
@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_by_default_the_key_of_any_other_request_is_the_host(
    client: Client, upstream: Upstream, registry: Registry, path: str, method: str
) -> None:
    upstream.answers(path, answer(200, b"{}"))

    await client.get(f"{upstream.url}{path}", method=method, body=asked("m"))

    assert [each.key for each in registry] == [upstream.host]


async def test_the_policy_of_a_host_is_that_of_its_models(
    connect: Connect, client: Client, upstream: Upstream, clock: ManualClock
) -> None:
    registry = Registry(policies={upstream.host: Policy(min_failures=17)}, clock=clock)
    upstream.answers(CHAT, answer(200, b"{}"))

    await ask(connect(registry=registry), upstream, "gpt-4o")

    assert registry[f"{upstream.host} gpt-4o"].policy.min_failures == 17


async def test_invented_models_make_a_bounded_number_of_keys(
    client: Client, upstream: Upstream, registry: Registry
) -> None:
    upstream.answers(CHAT, answer(404, b"{}"))

    for number in range(200):
        await ask(client, upstream, f"invented-{number}")

    assert len(registry) == 128 + 1
    assert registry[upstream.host].metrics().ignored == 200 - 128


@pytest.mark.parametrize(
    ("name", "path", "headers", "part"),
    [
        ("by_host", CHAT, {}, ""),
        ("by_route", CHAT, {}, " chat"),
        ("by_route", "/v1/charges/ch_123/refunds?x=1", {}, " /v1/charges"),
        ("by_route", "/123/refunds", {}, " /*"),
        ("by_route", "/", {}, ""),
        ("by_credential", "/v1/charges", {}, ""),
        ("by_credential", "/v1/charges", {"x-api-key": "k"}, " (credential "),
    ],
)
async def test_a_ready_made_key(
    connect: Connect,
    client: Client,
    upstream: Upstream,
    registry: Registry,
    name: str,
    path: str,
    headers: dict[str, str],
    part: str,
) -> None:
    upstream.answers(path.partition("?")[0], answer(200, b"{}"))
    guarded: Client = connect(key=getattr(client.adapter, name))

    await guarded.get(f"{upstream.url}{path}", method="POST", body=asked("m"), headers=headers)

    (breaker,) = registry
    assert breaker.key.startswith(f"{upstream.host}{part}")
    assert len(breaker.key) == len(f"{upstream.host}{part}") + (9 if "cred" in part else 0)
    assert registry.faults == 0


@pytest.mark.parametrize("name", ["by_model", "by_route", "by_credential"])
async def test_a_ready_made_key_is_itself_after_a_copy(client: Client, name: str) -> None:
    key = getattr(client.adapter, name)

    assert copy.deepcopy(key) is key
    assert pickle.loads(pickle.dumps(key)) is key
    assert name in repr(key)
