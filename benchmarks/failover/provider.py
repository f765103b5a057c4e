"""Two fake providers in their own process. Each has a mode, and counts the requests it receives.

`Providers` starts them. The header `x-id` is the name of a request. An answer takes `LATENCY`.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import subprocess
import sys
from collections import Counter
from types import TracebackType
from typing import Self

NAMES = ("primary", "backup")
LATENCY = 0.005


class Served:
    """Serves HTTP requests, one after the other on each connection. A base class."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, until the client or an answer ends it."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            goes_on = True
            while goes_on:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                request, *lines = head.rstrip().split("\r\n")
                pairs = (line.partition(": ") for line in lines)
                headers = {name.lower(): value for name, _, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                goes_on = await self.answer(request.split(" ")[1], headers, body, reader, writer)
        writer.close()

    async def answer(
        self,
        path: str,
        headers: dict[str, str],
        body: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Answer one request; return whether the connection goes on."""
        raise NotImplementedError


class Provider(Served):
    """One provider: its mode, and how often it has received each request."""

    def __init__(self) -> None:
        self.mode = "ok"
        self.received: Counter[str] = Counter()

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
            self.mode = path.removeprefix("/mode/")
            self.received.clear()
            return await self._send(writer, 200, b"{}")
        if path == "/received":
            return await self._send(writer, 200, json.dumps(self.received).encode())
        self.received[headers["x-id"]] += 1
        if self.mode == "hang":
            # Wait until the client closes the connection.
            await reader.read(1)
            return False
        if self.mode == "fail":
            return await self._send(writer, 500, b"{}")
        await asyncio.sleep(LATENCY)
        return await self._send(writer, 200, b"{}")

    async def _send(self, writer: asyncio.StreamWriter, status: int, body: bytes) -> bool:
        writer.write(b"HTTP/1.1 %d x\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body))
        await writer.drain()
        return True


class Providers:
    """Both providers, running. It is a context manager that ends them."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.ports: dict[str, int] = json.loads(self._process.stdout.readline())
        self.urls = {name: f"http://127.0.0.1:{port}" for name, port in self.ports.items()}

    def set_mode(self, name: str, mode: str) -> None:
        """Set the mode of a provider, and reset its counts."""
        self._get(name, f"/mode/{mode}")

    def received(self, name: str) -> Counter[str]:
        """Return how often a provider has received each request since its mode was set."""
        return Counter(self._get(name, "/received"))

    def _get(self, name: str, path: str) -> dict[str, int]:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[name], timeout=10)
        connection.request("GET", path)
        answer: dict[str, int] = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.communicate()


async def main() -> None:
    servers = [await asyncio.start_server(Provider().serve, "127.0.0.1", 0) for _ in NAMES]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    print(json.dumps(dict(zip(NAMES, ports, strict=True))), flush=True)
    # Standard input closes when the parent process ends, for any reason.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
