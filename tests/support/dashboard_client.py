"""Asks a dashboard, as a server of either kind would."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from recloser_adapters.dashboard import Dashboard

USER, PASSWORD = "anna", "pässword:1"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


Ask = Callable[..., Reply]


def login(user: str = USER, password: str = PASSWORD) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def ask_wsgi(
    dashboard: Dashboard,
    method: str,
    path: str,
    body: bytes,
    headers: dict[str, str],
    client: str | None,
    prefix: str,
    query: str,
) -> Reply:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": prefix,
        "PATH_INFO": path.encode().decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.input": io.BytesIO(body),
        "CONTENT_LENGTH": str(len(body)) if body else "",
    }
    if client:
        environ["REMOTE_ADDR"] = client
    for name, value in headers.items():
        name = name.upper().replace("-", "_")
        environ[name if name == "CONTENT_TYPE" else f"HTTP_{name}"] = value
    started: list[Any] = []
    answer = dashboard.wsgi(environ, lambda *start: started.append(start))  # type: ignore[arg-type]
    status, pairs = started[0]
    return Reply(int(status[:3]), {name.lower(): value for name, value in pairs}, b"".join(answer))


def ask_asgi(
    dashboard: Dashboard,
    method: str,
    path: str,
    body: bytes,
    headers: dict[str, str],
    client: str | None,
    prefix: str,
    query: str,
) -> Reply:
    scope = {
        "type": "http",
        "method": method,
        "root_path": prefix,
        "path": prefix + path,
        "raw_path": quote(prefix + path).encode(),
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": (client, 4711) if client else None,
    }
    pieces = [body[at : at + 1000] for at in range(0, len(body), 1000)] or [b""]
    messages = [{"type": "http.request", "body": each, "more_body": True} for each in pieces]
    messages[-1]["more_body"] = False
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(dashboard(scope, receive, send))
    start, end = sent
    pairs = {name.decode(): value.decode() for name, value in start["headers"]}
    return Reply(start["status"], pairs, end["body"])
