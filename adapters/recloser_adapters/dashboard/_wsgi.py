"""The dashboard as a WSGI app."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

from recloser_adapters.dashboard._exchange import MAX_BODY, Answer, Headers, Request

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment


def serve(
    respond: Callable[[Request], Answer], environ: WSGIEnvironment, start_response: StartResponse
) -> list[bytes]:
    """Answer one WSGI request."""
    answer = respond(_request(environ))
    status = f"{answer.status} {HTTPStatus(answer.status).phrase}"
    start_response(status, list(answer.headers))
    return [answer.body]


def _body(environ: WSGIEnvironment) -> bytes:
    """The body, up to one byte more than is allowed."""
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError:
        length = 0
    if environ.get("wsgi.input_terminated"):  # the server says where it ends, also without a length
        length = MAX_BODY + 1
    body = bytearray()
    left = min(length, MAX_BODY + 1)
    while left > 0:
        piece = environ["wsgi.input"].read(left)
        if not piece:
            break
        body += piece
        left -= len(piece)
    return bytes(body)


def _request(environ: WSGIEnvironment) -> Request:
    pairs = [
        (name[5:].replace("_", "-"), str(value))
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
    pairs.append(("content-type", environ.get("CONTENT_TYPE") or ""))
    method = environ["REQUEST_METHOD"]
    return Request(
        method=method,
        prefix=_decoded(environ.get("SCRIPT_NAME", "")),
        path=_decoded(environ.get("PATH_INFO", "")),
        query=environ.get("QUERY_STRING", ""),
        headers=Headers(pairs),
        client=environ.get("REMOTE_ADDR") or None,
        body=_body(environ) if method == "POST" else b"",
    )


def _decoded(path: str) -> str:
    """Undo what PEP 3333 does to a path."""
    return path.encode("latin-1", "replace").decode("utf-8", "replace")
