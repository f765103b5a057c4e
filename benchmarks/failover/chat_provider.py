"""Two fake providers of a chat model, each on a port of its own: `python -m` this module.

It prints both ports, and ends with its standard input. It needs nothing installed.
`GET /mode/NAME` sets the mode of a port, `GET /sends` lists when it got requests, in seconds of the
monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from typing import Any

from benchmarks.failover.provider import Served

BASE = 0.05  # seconds to an answer, or to the first token
TOKENS = 8
BETWEEN = 0.01  # seconds between two tokens

# The modes in which a provider is sick, and what it does then.
FAULTS = {
    "hang": "does not answer",
    "503": "answers 503",
    "429 after": "answers 429 with Retry-After: 5",
    "429 bare": "answers 429 without a time",
    "slow": "takes ten times as long",
    "drop": "closes the connection without an answer",
    "stall": "stops in the middle of a stream",
}


class ChatProvider(Served):
    """One provider: its name, its mode, and when it got requests."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.mode = "ok"
        self.sends: list[float] = []

    async def answer(
        self,
        path: str,
        headers: dict[str, str],
        body: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Answer one request; return whether the connection goes on."""
        if path.startswith("/mode/"):
            self.mode = path.removeprefix("/mode/").replace("%20", " ")
            return await self._send(writer, 200, {})
        if path == "/sends":
            return await self._send(writer, 200, self.sends)
        self.sends.append(time.monotonic())
        return await self._chat(reader, writer, json.loads(body))

    async def _chat(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: dict[str, Any]
    ) -> bool:
        mode = self.mode
        if mode == "hang":
            await reader.read(1)  # until the client closes the connection
            return False
        if mode == "drop":
            return False
        error = {"error": {"message": mode, "type": "error"}}
        if mode == "503":
            return await self._send(writer, 503, error)
        if mode.startswith("429"):
            wait = "retry-after: 5\r\n" if mode == "429 after" else ""
            return await self._send(writer, 429, error, wait)
        await asyncio.sleep(BASE * (10 if mode == "slow" else 1))
        answer = {"id": "1", "created": 1, "model": asked["model"], "object": "chat.completion"}
        text = {"role": "assistant", "content": f"{self.name} "}
        if not asked.get("stream"):
            choice = {"index": 0, "message": text, "finish_reason": "stop"}
            return await self._send(writer, 200, {**answer, "choices": [choice]})
        writer.write(
            b"HTTP/1.1 200 x\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        )
        for number in range(TOKENS):
            if mode == "stall" and number == TOKENS // 2:
                await reader.read(1)
                return False
            last = "stop" if number == TOKENS - 1 else None
            choice = {"index": 0, "delta": text, "finish_reason": last}
            event = {**answer, "object": "chat.completion.chunk", "choices": [choice]}
            writer.write(f"data: {json.dumps(event)}\n\n".encode())
            await writer.drain()
            await asyncio.sleep(BETWEEN)
        writer.write(b"data: [DONE]\n\n")
        await writer.drain()
        return False

    async def _send(
        self, writer: asyncio.StreamWriter, status: int, content: object, more: str = ""
    ) -> bool:
        body = json.dumps(content).encode()
        kind = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        writer.write(f"HTTP/1.1 {status} x\r\n{kind}{more}\r\n".encode() + body)
        await writer.drain()
        return True


async def main() -> None:
    """Serve both providers until standard input ends."""
    servers = [
        await asyncio.start_server(ChatProvider(name).serve, "127.0.0.1", 0)
        for name in ("primary", "backup")
    ]
    print(json.dumps([server.sockets[0].getsockname()[1] for server in servers]), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
