"""A bounded memory of the keys of requests."""

from __future__ import annotations

from typing import Any, TypeAlias

from recloser_adapters._routes.keys import MISSING

RequestParts: TypeAlias = tuple[str | None, ...]
"""All that decides on the route of a request: method, path, mount point, host."""


class KeyCache:
    """Keys of the requests seen lately, in bounded memory and without a lock.

    There are two dicts. What is looked up moves to the newer one; when that is full, the older one
    is dropped and the newer one takes its place. A flood of paths that are seen once thus pushes
    out other such paths, and costs a busy path one more lookup at most. Threads that collide
    repeat a lookup, or keep an entry for one turn longer; they never get a wrong key.

    Args:
        size: Requests per dict, >= 1; twice that many are held at most.
        longest: Requests of more characters than this are not held, because clients choose path
            and host.

    Attributes:
        newer: Where the key of a busy path is. Callers look there directly first, because a method
            call would cost as much as the rest of the lookup.
    """

    __slots__ = ("_longest", "_older", "_size", "newer")

    def __init__(self, size: int = 2048, longest: int = 512) -> None:
        self._size = size
        self._longest = longest
        self.newer: dict[RequestParts, Any] = {}
        self._older: dict[RequestParts, Any] = {}

    def __len__(self) -> int:
        return len(self.newer) + len(self._older)

    def recall(self, request: RequestParts) -> Any:
        """Look up a request: its key, `None` if exempt, `MISSING` if it is not known."""
        key = self.newer.get(request, MISSING)
        if key is MISSING:
            key = self._older.get(request, MISSING)
            if key is not MISSING:
                self._store(request, key)
        return key

    def put(self, request: RequestParts, key: str | None) -> None:
        """Remember the key of a request, unless the request is too long to hold."""
        if sum(len(part) for part in request if part) <= self._longest:
            self._store(request, key)

    def clear(self) -> None:
        """Forget everything, because the routes changed."""
        self.newer, self._older = {}, {}

    def _store(self, request: RequestParts, key: Any) -> None:
        if len(self.newer) >= self._size:
            self._older, self.newer = self.newer, {}
        self.newer[request] = key
