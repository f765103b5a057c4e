"""What the route adapters share, whatever the framework.

Marks on endpoints, and a bounded memory of resolved requests.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

from recloser.asgi import UNMATCHED

__all__ = [
    "MISSING",
    "UNMATCHED",
    "KeyCache",
    "exempt",
    "is_async",
    "keyed",
    "mark",
    "marked_key",
    "resolved_signature",
    "route_key",
]

MISSING: Final[Any] = object()
"""What `KeyCache.recall` answers for a request it does not know; `None` is a key that means exempt."""

_METHODS: Final = frozenset(
    {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY", "WS"}
)
_MARK: Final = "__recloser_key__"

_Endpoint = TypeVar("_Endpoint")

Request: TypeAlias = tuple[str | None, ...]
"""All that decides on the route of a request: method, path, mount point, host."""


def exempt(endpoint: _Endpoint) -> _Endpoint:
    """Mark an endpoint, so that no breaker guards it.

    Place it next to the function, below the decorator that registers the route.
    """
    return mark(endpoint, None)


def keyed(key: str) -> Callable[[_Endpoint], _Endpoint]:
    """Mark an endpoint, so that the middleware guards it under `key`.

    Endpoints that depend on the same thing can so share one breaker.

    Args:
        key: The breaker's key, in place of method and route template.
    """
    if not isinstance(key, str) or not key:
        raise ValueError(f"key must be a non-empty str, got {key!r}")
    return lambda endpoint: mark(endpoint, key)


def mark(endpoint: _Endpoint, key: str | None) -> _Endpoint:
    """Write the key of an endpoint onto it; `None` exempts it."""
    # A bound method takes no attributes, its function does.
    setattr(getattr(endpoint, "__func__", endpoint), _MARK, key)
    return endpoint


def marked_key(endpoint: object) -> Any:
    """Read what `mark` wrote, or `MISSING`."""
    return getattr(endpoint, _MARK, MISSING)


def route_key(method: str, template: str) -> str:
    """Name a route: HEAD shares GET's key, and methods nobody knows share one."""
    if method == "HEAD":
        method = "GET"
    # A class-based endpoint answers any method, and a client may invent one per request.
    return f"{method if method in _METHODS else 'OTHER'} {template}"


class KeyCache:
    """Keys of the requests seen lately, in bounded memory and without a lock.

    Two dicts take turns: what is asked for moves to the newer one, and when that is full the
    older one is dropped. So a flood of paths that are seen once pushes out other such paths, and
    costs a busy one a second lookup at most. Threads that collide repeat a lookup, or keep an
    entry for one turn longer; they never get a wrong key.

    Args:
        size: Requests per dict; twice that many are held at most. >= 1.
        longest: Requests of more characters than this are not held, for it is clients who choose
            path and host.

    Attributes:
        newer: Where to look first, directly: a call more would cost as much as the rest.
    """

    __slots__ = ("_longest", "_older", "_size", "newer")

    def __init__(self, size: int = 2048, longest: int = 512) -> None:
        self._size = size
        self._longest = longest
        self.newer: dict[Request, Any] = {}
        self._older: dict[Request, Any] = {}

    def __len__(self) -> int:
        return len(self.newer) + len(self._older)

    def recall(self, request: Request) -> Any:
        """Look up what is not in `newer`: a key, `None` if exempt, `MISSING` if not known."""
        key = self._older.get(request, MISSING)
        if key is not MISSING:
            self._store(request, key)
        return key

    def put(self, request: Request, key: str | None) -> None:
        """Remember the key of a request, unless it is too long to hold."""
        if sum(len(part) for part in request if part) <= self._longest:
            self._store(request, key)

    def clear(self) -> None:
        """Forget everything, because the routes changed."""
        self.newer, self._older = {}, {}

    def _store(self, request: Request, key: Any) -> None:
        if len(self.newer) >= self._size:
            self._older, self.newer = self.newer, {}
        self.newer[request] = key


def is_async(endpoint: Callable[..., Any]) -> bool:
    """Whether calling an endpoint gives something to await."""
    inner: Any = endpoint
    while isinstance(inner, partial):
        inner = inner.func
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(
        getattr(inner, "__call__", None)  # noqa: B004 - asked for its kind, not whether it is there
    )


def resolved_signature(endpoint: Callable[..., Any]) -> inspect.Signature:
    """The signature of an endpoint with its annotations evaluated where they were written.

    A wrapper lives in another module: what FastAPI finds in its `__globals__` does not resolve
    the annotations that `from __future__ import annotations` left as text.
    """
    try:
        return inspect.signature(endpoint, eval_str=True)
    except (NameError, SyntaxError, TypeError):
        return inspect.signature(endpoint)
