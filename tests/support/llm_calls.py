"""Calls to a language model, as the SDK of OpenAI sends them, and their refusal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.outbound_clients import Client
from tests.support.scripted_upstream import Upstream

CHAT = "/v1/chat/completions"
JSON = {"content-type": "application/json"}
QUOTA = json.dumps({"error": {"message": "pay", "code": "insufficient_quota"}}).encode()


def asked(model: str, **fields: Any) -> bytes:
    """The body of a request to a model; the SDK of OpenAI sends the model after the messages."""
    return json.dumps(
        {"messages": [{"role": "user", "content": "x"}], "model": model, **fields}
    ).encode()


async def ask(
    client: Client, upstream: Upstream, model: str = "a", key: str = "sk-1", path: str = CHAT
) -> int:
    headers = {"authorization": f"Bearer {key}"}
    url = f"{upstream.url}{path}"
    status, _ = await client.get(url, method="POST", body=asked(model), headers=headers)
    return status


async def refused(client: Client, upstream: Upstream, *which: str) -> Any:
    with pytest.raises(client.refusal) as raised:
        await ask(client, upstream, *which)
    return raised.value
