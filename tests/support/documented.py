"""Runs the code blocks of the documentation, and asks a check of each heading what they have done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from tests.support.markdown import code_blocks

ROOT = Path(__file__).resolve().parents[2]

# A check gets the names that each block below its heading has defined, block by block.
Check: TypeAlias = Callable[..., None]
Checks: TypeAlias = Mapping[tuple[str, str], Check]


def headings(page: str) -> list[str]:
    """The headings of a page that have code below them, each once; the page is a path in the repo."""
    return list(dict.fromkeys(heading for heading, _ in code_blocks(ROOT / page)))


def pages(checks: Checks) -> list[str]:
    """The pages that a test file names."""
    return list(dict.fromkeys(page for page, _ in checks))


def run(checks: Checks, page: str, heading: str) -> None:
    """Run the blocks below a heading, each in a namespace of its own; then check them."""
    namespaces = []
    for found, code in code_blocks(ROOT / page):
        if found == heading:
            names: dict[str, Any] = {"__name__": "documented"}
            exec(compile(code, f"{page}, {heading}", "exec"), names)
            namespaces.append(names)
    assert namespaces, f"{page} has no code below {heading!r}"
    checks[page, heading](*namespaces)


def call_asgi(app: Any, path: str = "/", headers: tuple[tuple[bytes, bytes], ...] = ()) -> Any:
    """Ask an ASGI app for a path; return the message with which its response has begun."""
    starts: list[dict[str, Any]] = []
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"example.test"), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            starts.append(message)

    asyncio.run(app(scope, receive, send))
    [start] = starts
    return start


def status_of(app: Any, path: str = "/") -> int:
    """Ask an ASGI app for a path; return the status of its answer."""
    status: int = call_asgi(app, path)["status"]
    return status
