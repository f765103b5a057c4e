"""A bounded cache of the keys of requests."""

from __future__ import annotations

from typing import Any, TypeAlias

from recloser_adapters._routes.keys import MISSING

RequestParts: TypeAlias = tuple[str | None, ...]
"""The parts of a request that decide on its route: method, path, mount point, host."""


class KeyCache:
    """A cache of the keys of recent requests, in bounded memory and without a lock.

    There are two dicts. An entry that is looked up moves to the newer one. When the newer dict is
    full, it becomes the older one, and the entries of the older one are dropped. A flood of paths
    that are seen once therefore pushes out only other such paths. It costs a busy path at most one
    more look-up. Threads that collide repeat a look-up, or keep an entry for one round longer.
    They never get a wrong key.

    Args:
        size: Requests per dict, >= 1. The cache holds at most twice as many.
        longest: Requests with more characters than this are not held, because clients choose path
            and host.

    Attributes:
        newer: The dict that has the keys of busy paths. Callers look there directly first, because
            a method call would cost as much as the rest of the look-up.
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
        """Look up a request: its key, `None` if exempt, `MISSING` if the cache does not have it."""
        key = self.newer.get(request, MISSING)
        if key is MISSING:
            key = self._older.get(request, MISSING)
            if key is not MISSING:
                self._store(request, key)
        return key

    def put(self, request: RequestParts, key: str | None) -> None:
        """Store the key of a request, unless the request is too long."""
        if sum(len(part) for part in request if part) <= self._longest:
            self._store(request, key)

    def clear(self) -> None:
        """Drop all entries. Needed when the routes have changed."""
        self.newer, self._older = {}, {}

    def _store(self, request: RequestParts, key: Any) -> None:
        if len(self.newer) >= self._size:
            self._older, self.newer = self.newer, {}
        self.newer[request] = key
