"""The Anthropic SDK, 0.x on httpx and 2.x on httpx2, in front of a provider that can be sick."""

from __future__ import annotations

import json
from typing import Any

import anthropic
from tests.support.sdk_promises import Promises, Sdk

ASKED: dict[str, Any] = {
    "model": "m",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "ping"}],
}
MESSAGE: dict[str, Any] = {
    "id": "1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}


class Anthropic(Sdk):
    module = anthropic
    path = "/v1/messages"

    def make(self, url: str, http_client: Any) -> Any:
        kind: Any = anthropic.AsyncAnthropic if self.is_async else anthropic.Anthropic
        return kind(api_key="none", base_url=url, http_client=http_client)

    def send(self, stream: bool) -> Any:
        return self.client.messages.create(**ASKED, stream=stream)

    def reply(self) -> bytes:
        content = [{"type": "text", "text": "pong"}]
        return json.dumps({**MESSAGE, "content": content, "stop_reason": "end_turn"}).encode()

    def events(self) -> list[bytes]:
        delta = {"type": "text_delta", "text": "pong"}
        events: list[dict[str, Any]] = [
            {"type": "message_start", "message": MESSAGE},
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "text", "text": ""},
            },
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_stop"},
        ]
        return [f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in events]

    def quota(self) -> bytes:
        details = {"error_code": "enforced_spend_limit_reached"}
        error = {"type": "rate_limit_error", "message": "pay", "details": details}
        return json.dumps({"type": "error", "error": error}).encode()


class TestAnthropic(Promises):
    sdk = Anthropic
