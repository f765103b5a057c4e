"""The key of a route, made of its method and its template."""

from __future__ import annotations

from typing import Any, Final

MISSING: Final[Any] = object()
"""Means that no key is known. `None` cannot mean that: it is the key of an exempt endpoint."""

_METHODS: Final = frozenset(
    {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY", "WS"}
)


def route_key(method: str, template: str) -> str:
    """Make the key of a route, such as `GET /items/{id}`.

    HEAD has the key of GET. All non-standard methods share the key `OTHER ...`.

    Args:
        method: The method in capitals, or `WS` for a WebSocket.
        template: The path template of the route, as the framework writes it.
    """
    if method == "HEAD":
        method = "GET"
    # A class-based endpoint answers any method, so a client could send a new one per request.
    return f"{method if method in _METHODS else 'OTHER'} {template}"
