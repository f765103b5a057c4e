"""The keys of an application that are known before its first request, for tests and tools."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from starlette.applications import Starlette
from starlette.routing import Router

from recloser import Registry
from recloser_adapters._routes.guarded import keys_of
from recloser_adapters._routes.marks import protection
from recloser_adapters.starlette._middleware import BreakerMiddleware
from recloser_adapters.starlette._route_keys import known_route
from recloser_adapters.starlette._route_search import RouteEntry, RouteIndex, find_routes

_DEEPEST: Final = 64
_METHODS: Final = ("get", "post", "put", "patch", "delete", "on_connect")


def guarded_keys(app: Any, *, build: bool = True) -> dict[Registry, set[str]]:
    """Return the keys that guard routes of an application, by the registry of their breakers.

    It finds the middleware of the application, of its mounts and of its routes, `protect` and
    `dependency`. Not known are keys that a function of the user makes, and routes of an application
    that hides them. A registry may have no key that is known.

    Args:
        app: A Starlette or FastAPI application, also one that is wrapped in middleware.
        build: Whether the middleware of an application that has served no request is made now, as
            its first request would do. Otherwise that middleware is not known.
    """
    around = list(_middlewares(app, build))
    keys: dict[Registry, set[str]] = {middleware.registry: set() for middleware in around}
    routes = find_routes(app)
    for registry, key in () if routes is None else _within(RouteIndex(routes), around):
        keys.setdefault(registry, set()).add(key)
    return keys


def _middlewares(app: Any, build: bool) -> Iterator[BreakerMiddleware]:
    for _ in range(_DEEPEST):
        if isinstance(app, BreakerMiddleware):
            yield app
        elif build and isinstance(app, Starlette) and app.middleware_stack is None:
            app.middleware_stack = app.build_middleware_stack()
        if isinstance(app, Router):
            # What comes after it belongs to its routes. Its own middleware is around it.
            return
        app = getattr(app, "middleware_stack", None) or getattr(app, "app", None)


def _within(index: RouteIndex, around: list[BreakerMiddleware]) -> Iterator[tuple[Registry, str]]:
    for entry in index.entries():
        inner = [*around, *_middlewares(getattr(entry.route, "app", None), build=True)]
        if entry.routes is not None:
            yield from _within(RouteIndex(entry.routes, entry.name), inner)
            continue
        route = known_route(entry)
        for middleware in inner:
            if middleware.keys is not None:
                for key in keys_of([route], middleware.exempt):
                    yield middleware.registry, key
        for registry, name in _protections(entry):
            yield from ((registry, key) for key in ([name] if name is not None else route.keys))


def _protections(entry: RouteEntry) -> Iterator[tuple[Registry, str | None]]:
    endpoint = entry.endpoint
    guards: list[object] = [endpoint]
    if isinstance(endpoint, type):
        guards += [getattr(endpoint, name, None) for name in _METHODS]
    guards += _calls(getattr(entry.route, "dependant", None))
    for guard in guards:
        found = protection(guard)
        if found is not None and found[0] is not None:
            yield found[0], found[1]


def _calls(dependant: Any) -> Iterable[object]:
    """The functions of the dependencies of a FastAPI route."""
    for each in getattr(dependant, "dependencies", ()):
        yield each.call
        yield from _calls(each)
