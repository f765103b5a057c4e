"""The OpenAI SDK, 2.x on httpx and 3.x on httpx2, in front of a provider that can be sick."""

from __future__ import annotations

import json
from typing import Any

import openai
from tests.support.sdk_promises import Promises, Sdk

ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "ping"}]}


class OpenAI(Sdk):
    module = openai
    path = "/v1/chat/completions"

    def make(self, url: str, http_client: Any) -> Any:
        kind: Any = openai.AsyncOpenAI if self.is_async else openai.OpenAI
        return kind(api_key="none", base_url=f"{url}/v1", http_client=http_client)

    def send(self, stream: bool) -> Any:
        return self.client.chat.completions.create(**ASKED, stream=stream)

    def reply(self) -> bytes:
        message = {"role": "assistant", "content": "pong"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return json.dumps(
            {
                "id": "1",
                "object": "chat.completion",
                "created": 1,
                "model": "m",
                "choices": [choice],
            }
        ).encode()

    def events(self) -> list[bytes]:
        pieces: list[dict[str, str]] = [{"role": "assistant"}, {"content": "pong"}]
        chunks = [
            {
                "id": "1",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": "m",
                "choices": [{"index": 0, "delta": piece, "finish_reason": None}],
            }
            for piece in pieces
        ]
        return [*(f"data: {json.dumps(each)}\n\n".encode() for each in chunks), b"data: [DONE]\n\n"]

    def quota(self) -> bytes:
        error = {"message": "pay", "type": "insufficient_quota", "code": "insufficient_quota"}
        return json.dumps({"error": error}).encode()


class TestOpenAI(Promises):
    sdk = OpenAI
