"""What is read of a request, whatever the client library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

RequestT = TypeVar("RequestT")


@dataclass(frozen=True, slots=True)
class RequestReader(Generic[RequestT]):
    """Reads the requests of one client library. Nothing is sent, consumed or kept by that.

    Attributes:
        host: The host, plus the port if it is not the default; "" if the URL has none.
        tail: The last segment of the path. It is read of each POST, so it must be cheap.
        query: The query as it is sent, without the question mark; "" if there is none. It is read of
            each request, so it must be cheap.
        target: The path as it is sent, with the query.
        header: The value of a header by its lower-case name; "" if there is none.
        body: The body if it is in memory, else b"".
    """

    host: Callable[[RequestT], str]
    tail: Callable[[RequestT], str]
    query: Callable[[RequestT], str]
    target: Callable[[RequestT], str]
    header: Callable[[RequestT, str], str]
    body: Callable[[RequestT], bytes]
