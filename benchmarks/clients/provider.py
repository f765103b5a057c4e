"""A fake provider on loopback, in a thread of this process: it answers as each real one does.

`Provider` starts it. `provider.mode` says how it answers: "ok", a status such as "503", or
"hang". The answer to a request of a client is found by the end of the path.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from benchmarks.clients.answers import Answer, answer_of, error_of


class Provider:
    """The fake provider; a context manager that starts and ends it.

    Attributes:
        mode: How it answers: "ok", "hang", or an HTTP status from 400.
        received: How many requests it has received, by path.
    """

    def __init__(self) -> None:
        self.mode = "ok"
        self.received: Counter[str] = Counter()
        self._over = threading.Event()
        handler = type("Handler", (_Handler,), {"provider": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def reset(self, mode: str = "ok") -> None:
        """Set the mode, and forget what was received."""
        self.mode = mode
        self.received.clear()

    def answer(self, method: str, path: str, body: bytes) -> Answer | None:
        """The answer to one request; None if it hangs until the provider ends."""
        self.received[path] += 1
        if self.mode == "hang":
            self._over.wait()
            return None
        if self.mode == "ok":
            return answer_of(method, path, body, self.url)
        return error_of(int(self.mode), path)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    provider: Provider

    def _serve(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        if self.headers.get("transfer-encoding") == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        path = self.path.split("?")[0]
        answer = self.provider.answer(self.command, path, body)
        if answer is None:
            self.close_connection = True
            return
        content = (
            answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        )
        self.send_response(answer.status)
        headers: dict[str, Any] = {"content-type": answer.content_type, **answer.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_PATCH = _serve  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Write no access log."""
