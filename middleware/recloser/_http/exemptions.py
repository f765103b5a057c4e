"""Exemptions: which requests are not guarded, by patterns of their paths."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate

_ALWAYS = (
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
# What platforms and servers ask to learn whether a process is well: Kubernetes and Compose by custom,
# Prometheus, Spring, Dockerflow, django-health-check, Rails, GitLab, Google App Engine.
_PROBES = (
    "health",
    "healthz",
    "healthcheck",
    "health-check",
    "health_check",
    "ready",
    "readyz",
    "readiness",
    "livez",
    "liveness",
    "ping",
    "heartbeat",
    "status",
)
_ROOT_PROBES = (
    "alive",
    "hc",
    "ht",
    "live",
    "startup",
    "startupz",
    "up",
    "_health",
    "_healthz",
    "_ready",
    "_status",
    "__health__",
    "__heartbeat__",
    "__lbheartbeat__",
    ".well-known/health",
    "_ah/health",
    "_ah/warmup",
    "-/health",
    "-/healthy",
    "-/live",
    "-/liveness",
    "-/readiness",
    "-/ready",
    "actuator/health",
    "actuator/health/liveness",
    "actuator/health/readiness",
    "actuator/prometheus",
    "healthz/live",
    "healthz/ready",
)
# Not `/*/health`: that would be a resource of somebody, such as `/patients/7/health`.
_API_PREFIXES = ("api/", "v[0-9]/", "api/v[0-9]/")


def _probe_patterns() -> tuple[str, ...]:
    """The patterns for health checks. Only GET and HEAD ask; a POST of that name does something."""
    below = [f"{prefix}{name}" for prefix in _API_PREFIXES for name in _PROBES]
    paths = [f"/{name}{slash}" for name in (*_PROBES, *_ROOT_PROBES, *below) for slash in ("", "/")]
    return tuple(f"GET {path}" for path in paths if path not in _ALWAYS)


DEFAULT_EXEMPT: tuple[str, ...] = (*_ALWAYS, *_probe_patterns())
"""What is not guarded by default. An orchestrator whose health check is refused kills the process;
a preflight request or a static file says nothing about the handlers. The names of health checks are
whole paths, below `/api` and a version at most: `/status` is exempt, `/status/{order}` is not."""

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
