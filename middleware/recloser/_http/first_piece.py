"""The first piece of a response: which part of a body it is, and what is learned of streams."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from recloser._permit import Permit
from recloser._pieces import Pieces

_EVENTS = "text/event-stream"
_LENGTH = frozenset({"Content-Length", "content-length", b"content-length"})
_TYPE = frozenset({"content-type", b"content-type"})
# With these no body comes, and no length either: frameworks take it away.
_BODILESS = frozenset({"204", "304"})
# A kind is made of a content type, which an app may make up.
_LONGEST_KIND = 100


def length_of(headers: Iterable[Any] | None) -> int | None:
    """The number of bytes that a response has announced; None if it has not: then it is a stream.

    Args:
        headers: Names and values, in the bytes of ASGI or the strings of WSGI. They may be in any
            form that the server would reject; then the number is one that no body reaches.
    """
    try:
        for name, value in headers or ():
            # Most names need no `lower()`.
            if name in _LENGTH or name.lower() in _LENGTH:
                return int(value)
    except Exception:  # to reject them is the server's task
        return sys.maxsize
    return None


def kind_of_stream(
    method: object, headers: Iterable[Any] | None, path: object, status: object = 200
) -> str:
    """The kind of a stream, made of method and content type; "" for a response of known length.

    Args:
        method: The method of the request.
        headers: As for `length_of`.
        path: The path where the key is that of a whole app, which may have streams of any kind;
            else "".
        status: The status of the response, a number or a status line.
    """
    content_type: Any = b""
    try:
        if method == "HEAD" or str(status)[:3] in _BODILESS:
            return ""
        for name, value in headers or ():
            name = name.lower()
            if name in _LENGTH:
                return ""
            if name in _TYPE:
                content_type = value
        return _kind(method, path, content_type)
    except Exception:  # to reject them is the server's task
        return ""


@lru_cache(maxsize=64)
def _kind(method: object, path: object, content_type: bytes | str) -> str:
    text = content_type.decode("latin-1") if isinstance(content_type, bytes) else content_type
    return f"{method} {path} {text.partition(';')[0].strip().lower()}"[-_LONGEST_KIND:]


def is_piece(kind: str, body: Any) -> bool:
    """Whether a part of a body is a piece: it has content, and is no comment of an event stream.

    Args:
        kind: The kind of the stream.
        body: The part; None if it is not known, as with a file that the server sends.
    """
    if body is None:
        return True
    if not body:
        return False
    # Such a comment keeps the connection alive while nothing happens.
    is_comment = kind.endswith(_EVENTS) and body.startswith(b":") and b"\ndata" not in body
    return not is_comment


def follow_pieces(permit: Permit, kind: str) -> Pieces | None:
    """Watch the further pieces of a stream, if streams of its kind are answers.

    A subscription has none for as long as nothing happens.
    """
    if not permit.breaker.are_answers(kind):
        return None
    latency = permit.answered - permit.started
    return Pieces(permit.breaker, permit.token, permit.answered, latency, may_be_single=True)


def end_stream(
    permit: Permit, kind: str, prompt: bool, pieces: Pieces | None = None, *, ended: bool
) -> None:
    """Learn from a stream whose call ends.

    Args:
        permit: The permit of its call.
        kind: Its kind; nothing is learned if it is "".
        prompt: Whether its first piece came within the slow threshold.
        pieces: Its pieces, if they were watched.
        ended: Whether the app ended it, and not the client.
    """
    if pieces is not None:
        pieces.end_single()
    if kind:
        permit.breaker.learn_stream(kind, prompt=prompt, ended=ended)
