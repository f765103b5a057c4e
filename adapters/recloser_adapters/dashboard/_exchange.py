"""Requests and answers, as both front ends (ASGI and WSGI) know them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from recloser import problem_document

MAX_BODY = 16_384
"""Bytes of a request body; a longer one gets a 413."""
JSON = "application/json"
_PROBLEM = "application/problem+json"
_COMPRESSED_FROM = 1000  # bytes; below that, compression saves no packet
_ALWAYS = (
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    # An answer is for who asked, and true for a moment: a cache asks each time, by the ETag.
    ("Cache-Control", "private, no-cache"),
    ("Vary", "Accept-Encoding"),
)


class Headers(Mapping[str, str]):
    """The headers of a request by name, in upper or lower case.

    A header that was sent several times has its values joined by commas.
    """

    __slots__ = ("_values",)

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        values: dict[str, str] = {}
        for name, value in pairs:
            name = name.lower()
            values[name] = f"{values[name]}, {value}" if name in values else value
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        method: In capital letters.
        prefix: Where the dashboard is mounted, such as `/breakers`; empty at the root.
        path: What follows the prefix, decoded.
        query: The query string as it was sent.
        headers: The headers.
        client: The address of the client; None if the server does not know it.
        body: The body of a POST.
    """

    method: str
    prefix: str
    path: str
    query: str
    headers: Headers
    client: str | None
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer.

    Attributes:
        status: The HTTP status.
        content_type: The type of the body; empty for none.
        body: The body.
        headers: Further headers.
        tag: What the ETag is made of; empty for none.
    """

    status: int
    content_type: str = ""
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    tag: str = ""


class Problem(Exception):  # noqa: N818 - what RFC 9457 calls a problem
    """The request gets a problem document instead of what it asked for; nothing was changed."""

    def __init__(
        self, status: int, title: str, detail: str, *headers: tuple[str, str], **members: object
    ) -> None:
        super().__init__(title)
        body = problem_document(status, title, detail, **members)
        self.answer = Answer(status, _PROBLEM, body, headers)


def json_answer(value: object, tag: str = "", status: int = 200) -> Answer:
    """An answer with a JSON document."""
    return Answer(status, JSON, dumps(value), tag=tag)


def dumps(value: object) -> bytes:
    """JSON in ASCII, without spaces. It must not hold infinity or NaN."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def loads(body: bytes) -> dict[str, Any]:
    """Read the JSON object of a request.

    Raises:
        Problem: 400, the body is no JSON object.
    """
    try:
        value: Any = json.loads(body, parse_constant=_no_constant, object_pairs_hook=_no_twins)
        # 1e999 becomes infinite, and a text with half a character cannot be written to a log.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise Problem(400, "No JSON", f"The body is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise Problem(400, "No JSON object", "The body must be a JSON object, such as {}")
    return cast("dict[str, Any]", value)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is there twice")
    return members


def complete(request: Request, answer: Answer) -> Answer:
    """Add what all answers have: headers, the 304 of a matching ETag, and compression."""
    etag = f'W/"{answer.tag}"' if answer.tag else ""
    headers = [*answer.headers, *_ALWAYS]
    if etag:
        headers.append(("ETag", etag))
        if answer.status == 200 and _matches(request.headers.get("if-none-match", ""), etag):
            return Answer(304, headers=tuple(headers))
    body = answer.body
    if answer.content_type:
        headers.append(("Content-Type", answer.content_type))
    if len(body) >= _COMPRESSED_FROM and _takes_gzip(request.headers.get("accept-encoding", "")):
        body = gzip.compress(body, 1, mtime=0)
        headers.append(("Content-Encoding", "gzip"))
    if answer.status != 204:
        headers.append(("Content-Length", str(len(body))))
    if request.method == "HEAD":
        body = b""
    return replace(answer, body=body, headers=tuple(headers))


def _matches(asked: str, etag: str) -> bool:
    strong = etag.removeprefix("W/")
    return any(each.strip().removeprefix("W/") in ("*", strong) for each in asked.split(","))


def _takes_gzip(accepted: str) -> bool:
    for each in accepted.split(","):
        name, _, weight = each.partition(";")
        if name.strip().lower() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
