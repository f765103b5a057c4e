"""Scopes: what a server hands to an ASGI app."""

from __future__ import annotations

from typing import Any


def scope_of(path: str, method: str = "GET", **more: Any) -> dict[str, Any]:
    """The scope of a request; `host` sets its header, all else is added as it is."""
    return {
        "type": "http",
        "method": method,
        "path": path,
        "root_path": "",
        "headers": [(b"host", more.pop("host", "example.org").encode())],
        "query_string": b"",
        **more,
    }
