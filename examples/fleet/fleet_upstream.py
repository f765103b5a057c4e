"""The upstream: it answers after 20 ms, or fails after 200 ms while a file `down` is there.

Usage: python fleet_upstream.py FOLDER    # prints its port; the calls of each second go to FOLDER/calls
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from pathlib import Path

GOOD, BAD = 0.02, 0.2  # seconds
_ANSWER = "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"


class Upstream:
    """Counts what arrives.

    Args:
        folder: Where `down` is looked for, and `calls` is written: a line for each call, with when it
            began and ended.
    """

    def __init__(self, folder: Path) -> None:
        self._down = folder / "down"
        self._calls = (folder / "calls").open("a", buffering=1)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        try:
            await reader.readuntil(b"\r\n\r\n")
            began, is_down = time.time(), self._down.exists()
            await asyncio.sleep(BAD if is_down else GOOD)
            status, body = ("500 Broken", "broken") if is_down else ("200 OK", "42")
            writer.write(_ANSWER.format(status=status, length=len(body), body=body).encode())
            self._calls.write(f"{began:.6f} {time.time():.6f}\n")
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def serve(self) -> None:
        """Serve until the process is ended."""
        server = await asyncio.start_server(self.answer, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Upstream(Path(sys.argv[1])).serve())
