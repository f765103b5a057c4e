"""Readiness: whether calls of the keys that you name would be refused now, for a readiness probe.

    app.routes.append(Route("/ready", StatusEndpoint(registry, keys=["api.payments.example"])))

It is off until you name keys, and that is on purpose. A readiness check takes the process out of
the load balancer. If the callee of a key is shared, the breakers of all processes open at about the
same time, all processes are taken out at once, and nothing is served any more: not even the routes
that do not need that callee. Without the check, the open breaker answers 503 for one route, at once,
and all others work. So name a key only if the process is of no use without it, and another process
may well have it: a disk of its own, a sidecar, a database in its zone.

Never use it for liveness. A restart does not heal a callee; it loses what was learned, and the new
process sends its calls to the sick callee again.

What is ready, so that the check cannot keep a process out for ever:

- closed and limited: calls are served
- open, while it is not yet time for a probe: **not ready**
- open when it is time for a probe, and half-open: ready. A breaker closes because calls come and are
  answered, and a process that is out gets none.
- any state in which nothing is refused (observe mode), or only a share of the callers: ready. A
  `mode=` of a middleware alone is not seen here: set that of the registry
- never asked yet: ready. Nothing is known against it. The state is `never_asked`, so that a key with
  a typo in it can be told from a healthy one.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

from recloser import Breaker, Registry, State
from recloser.hints import check_registry
from recloser_adapters._routes.marks import exempt

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

__all__ = ["NEVER_ASKED", "KeyReadiness", "Readiness", "StatusEndpoint", "readiness"]

NEVER_ASKED = "never_asked"
"""The state of a key that no call has had yet, or that has a typo in it."""

_REASONS = {200: "OK", 405: "Method Not Allowed", 503: "Service Unavailable"}
_METHODS = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class KeyReadiness:
    """Whether calls of one key may pass.

    Attributes:
        key: The key.
        ready: False while all calls are refused.
        state: The name of its state, as in `State`, or `NEVER_ASKED`; "unknown" after a fault of ours.
        mode: The name of its mode, as in `Mode`; empty if there is no breaker.
        retry_after: Seconds until a call may be admitted, >= 0.0.
        explanation: The sentence of `Breaker.explain()`. It may quote an exception.
    """

    key: str
    ready: bool
    state: str
    mode: str
    retry_after: float
    explanation: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a process is ready: the answer of `readiness()`. It is true if it is.

    Attributes:
        ready: Whether all keys are.
        keys: One entry for each key, in the order in which they were named.
    """

    ready: bool
    keys: tuple[KeyReadiness, ...]

    def __bool__(self) -> bool:
        return self.ready

    @property
    def retry_after(self) -> float:
        """Seconds until all keys may be ready, >= 0.0."""
        return max((each.retry_after for each in self.keys if not each.ready), default=0.0)

    def as_json(self, *, expose_details: bool = False) -> dict[str, Any]:
        """Return it as values for JSON.

        Args:
            expose_details: Whether the sentences are included. They quote exceptions, which may
                name a host or a user.
        """
        keys: list[dict[str, Any]] = [
            {
                "key": each.key,
                "ready": each.ready,
                "state": each.state,
                "mode": each.mode,
                "retry_after": round(each.retry_after, 3),
                **({"explanation": each.explanation} if expose_details else {}),
            }
            for each in self.keys
        ]
        return {"ready": self.ready, "keys": keys}


def readiness(registry: Registry, keys: Iterable[str]) -> Readiness:
    """Tell whether calls of some keys may pass now.

    It makes no breaker, sends nothing, and raises nothing but the errors below: a fault of ours
    counts in `registry.faults`, and the key is ready.

    Args:
        registry: Holds the breakers.
        keys: The keys without which this process is of no use. The module says why there is no
            default.

    Raises:
        TypeError: `registry` is no Registry, `keys` is one str, or a key is no str.
        ValueError: No key is named.
    """
    return _readiness(registry, _checked(registry, keys))


def _checked(registry: Registry, keys: Iterable[str]) -> tuple[str, ...]:
    check_registry(registry, Registry)
    if isinstance(keys, (str, bytes)) or not isinstance(keys, Iterable):
        raise TypeError(f"keys must be several keys, such as [{keys!r}], not {keys!r}")
    # A key that is named twice is shown once.
    named = tuple(dict.fromkeys(keys))
    for key in named:
        if not isinstance(key, str):
            raise TypeError(f"keys: a key must be a str, not {key!r}")
    if not named:
        raise ValueError(
            "keys must name at least one key: a process that is ready whatever happens needs no "
            "check of its breakers"
        )
    return named


def _readiness(registry: Registry, keys: tuple[str, ...]) -> Readiness:
    found = tuple(_of_key(registry, key) for key in keys)
    return Readiness(all(each.ready for each in found), found)


def _of_key(registry: Registry, key: str) -> KeyReadiness:
    try:
        breaker = _existing(registry, key)
        if breaker is not None:
            return _of_breaker(breaker)
    except Exception as error:
        registry.fault("readiness", error)
        return KeyReadiness(key, True, "unknown", "", 0.0, "its state could not be read")
    return KeyReadiness(key, True, NEVER_ASKED, "", 0.0, "no call has had this key yet")


def _existing(registry: Registry, key: str) -> Breaker | None:
    """The breaker of a key, also one that lost its place and is in use still. It makes none."""
    breaker = registry.get(key)
    if breaker is None and registry.evicted:
        breaker = next((each for each in registry.breakers() if each.key == key), None)
    return breaker


def _of_breaker(breaker: Breaker) -> KeyReadiness:
    # All of one moment. Its wait is 0.0 if nothing is refused, because of the mode or the state.
    figures = breaker.metrics()
    refuses_all = figures.retry_after > 0.0 and figures.enforce_share >= 1.0
    is_shut = figures.state is State.OPEN and refuses_all
    return KeyReadiness(
        breaker.key,
        not is_shut,
        figures.state.value,
        figures.mode.value,
        figures.retry_after,
        breaker.explain(),
    )


class StatusEndpoint:
    """Answers readiness probes: an ASGI app, and with `.wsgi` a WSGI app.

    GET and HEAD get 200 if all keys are ready, else 503 with `Retry-After`; the body is JSON and
    names each key and its state. It answers at every path below the one where it is mounted. No
    breaker guards it in a Starlette app. Elsewhere mount it at a path that is exempt by default,
    such as `/ready`; otherwise its 503 would count as a failure of the route.

    Args:
        registry: Holds the breakers.
        keys: The keys without which this process is of no use; see the module before you name a
            callee that other processes share.
        expose_details: Whether the body has the sentence of each key. It quotes exceptions.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: No key is named.
    """

    def __init__(
        self, registry: Registry, keys: Iterable[str], *, expose_details: bool = False
    ) -> None:
        if not isinstance(expose_details, bool):
            raise TypeError(f"expose_details must be True or False, not {expose_details!r}")
        self._keys = _checked(registry, keys)
        self._registry = registry
        self._expose_details = expose_details
        exempt(self)

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer one ASGI connection."""
        if scope["type"] == "lifespan":
            while (await receive())["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            return await send({"type": "lifespan.shutdown.complete"})
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1000})
        status, headers, body = self._answer(scope["method"])
        raw = [(name.lower().encode(), value.encode()) for name, value in headers]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        return await send({"type": "http.response.body", "body": body})

    def wsgi(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        """Answer one WSGI request."""
        status, headers, body = self._answer(environ["REQUEST_METHOD"])
        start_response(f"{status} {_REASONS[status]}", headers)
        return [body]

    def _answer(self, method: str) -> tuple[int, list[tuple[str, str]], bytes]:
        headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
        if method not in _METHODS:
            # Its own kind of body, so that nobody takes it for the state of the process.
            body = json.dumps({"error": f"use {' or '.join(_METHODS)}"}).encode()
            headers += [("Allow", ", ".join(_METHODS)), ("Content-Length", str(len(body)))]
            return 405, headers, body
        found = _readiness(self._registry, self._keys)
        if not found:
            headers.append(("Retry-After", str(max(1, ceil(found.retry_after)))))
        body = json.dumps(found.as_json(expose_details=self._expose_details)).encode()
        headers.append(("Content-Length", str(len(body))))
        return 200 if found else 503, headers, b"" if method == "HEAD" else body
