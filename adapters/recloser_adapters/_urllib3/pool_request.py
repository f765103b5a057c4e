"""One attempt of a pool of urllib3 to send a request, as key functions and others read it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import urllib3

from recloser_adapters._outbound.keys import Keys
from recloser_adapters._outbound.request_reader import RequestReader

_USUAL_PORT = {"http": 80, "https": 443}


class PoolRequest:
    """A request that is about to be sent. urllib3 itself has no such object.

    Args:
        pool: The pool that sends it.
        method: Its method, such as `GET`.
        target: The path and the query; the whole URL if it is sent to a proxy.
        body: Its body, as the caller gave it.
        headers: Its headers, as the caller gave them.

    Attributes:
        method: The method.
        target: The path and the query, or the whole URL.
        body: The body: bytes, a str, a file, an iterable, or None.
    """

    def __init__(
        self,
        pool: urllib3.HTTPConnectionPool,
        method: str,
        target: str,
        body: Any,
        headers: Mapping[str, str],
    ) -> None:
        self.method: str = method
        self.target: str = target
        self.body: Any = body
        self._pool = pool
        self._headers = headers

    @cached_property
    def headers(self) -> urllib3.HTTPHeaderDict:
        """The headers, whose names may be asked for in any case."""
        return urllib3.HTTPHeaderDict(self._headers)

    @cached_property
    def url(self) -> str:
        """The whole URL."""
        if not self.target.startswith("/"):
            return self.target
        return f"{self._pool.scheme}://{self.host}{self.target}"

    @property
    def host(self) -> str:
        """The host, plus the port if it is not the default."""
        if not self.target.startswith("/"):
            parts = urlsplit(self.target)
            name = parts.netloc.rpartition("@")[2].lower()
            return name.removesuffix(f":{_USUAL_PORT.get(parts.scheme, '')}")
        pool = self._pool
        name = f"[{pool.host}]" if ":" in pool.host else pool.host
        port = pool.port
        return (
            name if port is None or port == _USUAL_PORT.get(pool.scheme or "") else f"{name}:{port}"
        )

    def __repr__(self) -> str:
        # Not the query: it may hold a secret.
        return f"<PoolRequest {self.method} {self.url.partition('?')[0]}>"


def _host(request: PoolRequest) -> str:
    """Key by host, plus the port if it is not the default: `api.example.org:8443`."""
    return request.host


def _tail(request: PoolRequest) -> str:
    path = request.target.partition("?")[0]
    return path[path.rfind("/") + 1 :]


def _query(request: PoolRequest) -> str:
    return request.target.partition("?")[2]


def _target(request: PoolRequest) -> str:
    if request.target.startswith("/"):
        return request.target
    parts = urlsplit(request.target)
    return f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"


def _header(request: PoolRequest, name: str) -> str:
    return request.headers.get(name, "")


def _body(request: PoolRequest) -> bytes:
    body = request.body
    if isinstance(body, str):
        return body.encode("utf-8", "replace")
    return body if isinstance(body, bytes) else b""


def keys_of(module: str) -> Keys[PoolRequest]:
    """The ready-made keys, for the adapter of that name."""
    return Keys(module, RequestReader(_host, _tail, _query, _target, _header, _body))
