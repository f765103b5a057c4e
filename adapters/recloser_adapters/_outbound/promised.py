"""What a request promises about its answer: JSON, the answer of a model, or nothing but waiting.

A request is read by duck typing, because `method`, `url` and `headers` are alike in all libraries.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from recloser_adapters._outbound.llm import route_of


def preset_of(request: Any) -> str:
    """How errors in a good answer are found without a setting: "llm", "graphql", or "" for not."""
    if request is None or request.method != "POST":
        return ""
    path = _path(request)
    if route_of(path) is not None:
        return "llm"
    return "graphql" if path.endswith("/graphql") else ""


def may_be_text(request: Any) -> bool:
    """Whether a model may answer a request by text: it transcribes."""
    return request is None or "/audio/" in _path(request)


def _path(request: Any) -> str:
    url = request.url
    path = getattr(url, "path", None)
    return path if isinstance(path, str) else urlsplit(str(url)).path


def wants_json(request: Any) -> bool:
    """Whether a request accepts JSON and no HTML."""
    if request is None:
        return False
    accept = str(request.headers.get("accept")).lower()
    return "json" in accept and "html" not in accept and "*/*" not in accept


def is_subscription(request: Any) -> bool:
    """Whether an event stream is a subscription: nothing was asked, so nothing is late.

    A stream that answers a POST is an answer, and it is awaited. A stream that was opened by a GET
    tells what happens, whenever something happens. Its headers are all that is awaited.
    """
    return request is not None and request.method in ("GET", "HEAD")
