"""A server that speaks the JSON API of a dashboard, with the answers that a test wants."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

PREFIX = "/ops/breakers"
VIEW = {"host": "web-3", "pid": 4242, "uptime": 11520.0, "mode": "enforce", "read_only": False}


def key_facts(key: str, state: str = "closed", **more: Any) -> dict[str, Any]:
    """One key as the API tells it."""
    counts = {"calls": 1204, "failures": 21, "slow": 10, "refused": 0, "in_flight": 3}
    figures = {"p95": 0.412, "evidence": 0.0, "evidence_threshold": 13.8, "limit": None}
    said = {
        "since": 150.0,
        "explain": f"{state}: as it is",
        "mode": "enforce",
        "enforce_share": 1.0,
    }
    return {"key": key, "state": state, **counts, **figures, **said, "overrides": [], **more}


class Stub:
    """The dashboard.

    Attributes:
        url: Where it is mounted.
        keys: What it shows.
        asked: The requests so far: method, path, headers, and the body as JSON.
        answer: What it answers instead: status, headers, body; None for the usual answers.
        users: From a name to its password; empty if nobody must log in.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}{PREFIX}"
        self.keys: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        self.answer: tuple[int, dict[str, str], bytes] | None = None
        self.users: dict[str, str] = {}

    def respond(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        self.asked.append((method, path, headers, json.loads(body) if body else None))
        if self.answer is not None:
            return self.answer
        if self.users and not self._is_known(headers.get("authorization", "")):
            return _problem(401, "Log in.")
        rest = path.removeprefix(f"{PREFIX}/keys")
        if method == "GET" and not rest:
            tag = f'"{hash(json.dumps(self.keys))}"'
            if headers.get("if-none-match") == tag:
                return 304, {"ETag": tag}, b""
            told = json.dumps({"view": VIEW, "keys": self.keys}).encode()
            return 200, {"ETag": tag, "Content-Type": "application/json"}, told
        name, _, action = rest.removeprefix("/").rpartition("/")
        for key in self.keys:
            if method == "POST" and key["key"] == unquote(name):
                return self._act(key, action, json.loads(body))
        return _problem(404, "There is no such key.")

    def _is_known(self, authorization: str) -> bool:
        given = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        return any(given == f"{name}:{password}" for name, password in self.users.items())

    @staticmethod
    def _act(
        key: dict[str, Any], action: str, asked: dict[str, Any]
    ) -> tuple[int, dict[str, str], bytes]:
        if (asked.get("for") or 0.0) > 2592000:
            return _problem(422, "for must be at most 30 days")
        if action == "open":
            key["state"] = "open"
            key["explain"] = f"open: {asked['reason']}"
            left = asked["for"]
            override = {"what": "open", "state": "open", "mode": None, "enforce_share": None}
            key["overrides"] = [
                {**override, "age": 0.0, "left": left, "reason": asked["reason"], "by": "ann"}
            ]
        return 200, {"Content-Type": "application/json"}, json.dumps(key).encode()


def _problem(status: int, detail: str) -> tuple[int, dict[str, str], bytes]:
    body = {"type": "about:blank", "title": "No", "status": status, "detail": detail}
    return status, {"Content-Type": "application/problem+json"}, json.dumps(body).encode()


@contextmanager
def dashboard_stub() -> Iterator[Stub]:
    """Serve it on a free port until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, more, body = stub.respond(
                self.command, self.path, headers, self.rfile.read(length)
            )
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _answer  # noqa: N815 - the names of the library

        def log_message(self, *args: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        stub = Stub(server.server_port)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield stub
        finally:
            server.shutdown()
            thread.join()
