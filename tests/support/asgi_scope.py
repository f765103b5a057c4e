"""Scopes, as a server passes them to an ASGI app."""

from __future__ import annotations

from typing import Any


def scope_of(path: str, method: str = "GET", **more: Any) -> dict[str, Any]:
    """Make the scope of a request. `host` sets the header; other arguments are added unchanged."""
    return {
        "type": "http",
        "method": method,
        "path": path,
        "root_path": "",
        "headers": [(b"host", more.pop("host", "example.org").encode())],
        "query_string": b"",
        **more,
    }
