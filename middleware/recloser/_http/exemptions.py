"""Exemptions: which requests are not guarded, by patterns of their paths."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate

DEFAULT_EXEMPT: tuple[str, ...] = (
    "OPTIONS *",
    "/health",
    "/health/*",
    "/healthz",
    "/livez",
    "/readyz",
    "/ping",
    "/metrics",
    "/metrics/",
    "/static/*",
    "/favicon.ico",
    "/robots.txt",
    "/docs",
    "/docs/*",
    "/redoc",
    "/openapi.json",
)
"""What is not guarded by default. An orchestrator whose health check is refused kills the process;
a preflight request or a static file says nothing about the handlers."""

# Clients choose paths. So the memory for them is bounded; when it is full it is emptied.
_MAX_PATHS = 2048
_MAX_METHODS = 16
_MAX_LENGTH = 256


class _EveryMethod(frozenset[str]):
    """The set that contains every method."""

    __slots__ = ()

    def __contains__(self, method: object) -> bool:
        return True


_EVERY: frozenset[str] = _EveryMethod("*")
_NONE: frozenset[str] = frozenset()


class Exemptions:
    """Which paths are not guarded, by patterns: `/health*`, or `GET /search*` for one method.

    Args:
        patterns: Paths with the wildcards `*`, `?` and `[...]`; `*` also matches `/`. A method and
            a space before a path limit it to that method; GET includes HEAD.

    Raises:
        TypeError: `patterns` is one string, or a pattern is no string.
        ValueError: A pattern could never match: a path begins with `/` or `*`.

    Attributes:
        guarded: The recent paths that are not exempt, by method.
    """

    __slots__ = ("_exempt", "_rules", "guarded")

    def __init__(self, patterns: Iterable[str]) -> None:
        if isinstance(patterns, (str, bytes)):
            raise TypeError(f"exempt must be an iterable of patterns, not the one {patterns!r}")
        if not isinstance(patterns, Iterable):
            raise TypeError(f"exempt must be patterns or a function, not {patterns!r}")
        by_methods: dict[frozenset[str], list[str]] = {}
        for pattern in patterns:
            methods, glob = self._parse(pattern)
            by_methods.setdefault(methods, []).append(translate(glob))
        self._rules = [
            (methods, re.compile("|".join(globs)).match) for methods, globs in by_methods.items()
        ]
        self.guarded: dict[str | None, set[str]] = {}
        self._exempt: dict[str | None, set[str]] = {}

    @staticmethod
    def _parse(pattern: str) -> tuple[frozenset[str], str]:
        if not isinstance(pattern, str):
            raise TypeError(f"exempt: a pattern must be a str, not {pattern!r}")
        method, space, glob = pattern.partition(" ")
        if not space:
            method, glob = "", pattern
        if not glob.startswith(("/", "*")):
            raise ValueError(f"exempt: the path of a pattern begins with / or *, not {pattern!r}")
        if not method:
            return _EVERY, glob
        method = method.upper()
        return frozenset({method, "HEAD"} if method == "GET" else {method}), glob

    def exempts(self, method: str | None, path: str, root: str = "") -> bool:
        """Whether a request is exempt. The answer is remembered.

        Args:
            method: The method; None for a WebSocket, which has none.
            path: The path, with or without `root`.
            root: The path at which the app is mounted.
        """
        if path in self._exempt.get(method, _NONE):
            return True
        if path in self.guarded.get(method, _NONE):  # a WebSocket, which has no method
            return False
        paths = {path, path.removeprefix(root)}
        exempt = any(
            any(match(path) for path in paths)
            for methods, match in self._rules
            if method in methods
        )
        if len(path) <= _MAX_LENGTH and len(method or "") <= _MAX_LENGTH:
            self._remember(self._exempt if exempt else self.guarded, method, path)
        return exempt

    @staticmethod
    def _remember(known: dict[str | None, set[str]], method: str | None, path: str) -> None:
        if method not in known and len(known) >= _MAX_METHODS:
            known.clear()
        paths = known.setdefault(method, set())
        if len(paths) >= _MAX_PATHS:
            paths.clear()
        paths.add(path)
