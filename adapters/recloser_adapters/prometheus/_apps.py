"""Apps that answer Prometheus: `/metrics` for ASGI and WSGI."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    generate_latest,
    multiprocess,
)

from recloser import Registry
from recloser_adapters.prometheus._collector import BreakerCollector, Compat, writing

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Message = MutableMapping[str, Any]
# That class has no annotations.
_add_all_processes: Callable[[CollectorRegistry], object] = multiprocess.MultiProcessCollector
# All versions of Prometheus read it. prometheus-client has no name for it in all of its versions.
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ALLOWED = "GET, HEAD, OPTIONS"


class _Page:
    """What the apps answer with: the figures of breakers, after those of prometheus-client."""

    def __init__(
        self,
        registries: tuple[Registry, ...],
        others: CollectorRegistry | None,
        compat: Compat | None,
    ) -> None:
        self._breakers = BreakerCollector(*registries, compat=compat)
        self._others = others

    def answer(self, method: str) -> tuple[int, list[tuple[str, str]], bytes]:
        """The status, the headers and the body of an answer."""
        if method not in ("GET", "HEAD"):
            status = 204 if method == "OPTIONS" else 405
            return status, [("Allow", _ALLOWED)], b""
        try:
            body = self.figures()
        except OSError as error:  # Prometheus shows the scrape as failed
            self._breakers.registries[0].fault("prometheus", error)
            headers = [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")]
            body = b"The figures of the other processes cannot be read; see the log.\n"
            return 503, headers, body if method == "GET" else b""
        headers = [
            ("Content-Type", _CONTENT_TYPE),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
        ]
        return 200, headers, body if method == "GET" else b""

    def figures(self) -> bytes:
        """All figures now, in the text format of Prometheus."""
        others = self._others
        if others is None:
            others = REGISTRY
            if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
                # As prometheus-client asks: a new one for each answer.
                others = CollectorRegistry()
                _add_all_processes(others)
        with writing(self._breakers.registries):
            rest = generate_latest(others)
        return rest + self._breakers.text().encode()


class MetricsApp:
    """An ASGI app that tells Prometheus the figures of breakers.

    It is an object, not a function: routes of Starlette take a function for a request handler.
    """

    def __init__(self, page: _Page) -> None:
        self._page = page

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"metrics are served by HTTP only, not {scope['type']}")
        status, headers, body = self._page.answer(scope["method"])
        fields = [(name.lower().encode(), value.encode()) for name, value in headers]
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": body})


def make_asgi_app(
    *registries: Registry, others: CollectorRegistry | None = None, compat: Compat | None = None
) -> MetricsApp:
    """An ASGI app that tells Prometheus the figures of breakers, and what prometheus-client has.

    Args:
        *registries: The registries of the breakers, at least one.
        others: The registry of prometheus-client for all else; None for its default. With
            `PROMETHEUS_MULTIPROC_DIR` that is what all processes wrote there.
        compat: As for `BreakerCollector`.

    Returns:
        The app, to be mounted or to be a route: `app.routes.append(Route("/metrics", make_asgi_app(registry)))`.

    Raises:
        TypeError: An argument is no registry, or there is none.
        ValueError: `compat` is unknown.
    """
    return MetricsApp(_Page(registries, others, compat))


def make_wsgi_app(
    *registries: Registry, others: CollectorRegistry | None = None, compat: Compat | None = None
) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    """A WSGI app that tells Prometheus the figures of breakers; see `make_asgi_app`."""
    page = _Page(registries, others, compat)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        status, headers, body = page.answer(environ["REQUEST_METHOD"])
        start_response(f"{status} {_WORDS[status]}", headers)
        return [body]

    return app


_WORDS = {
    200: "OK",
    204: "No Content",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}
