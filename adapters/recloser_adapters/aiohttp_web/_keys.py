"""The keys of requests to an aiohttp.web application, made from its routes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

from aiohttp import web

from recloser import Registry
from recloser.asgi import UNMATCHED
from recloser_adapters._routes.guarded import keys_of
from recloser_adapters._routes.keys import MISSING, route_key
from recloser_adapters._routes.marks import marked_key
from recloser_adapters._routes.unused import KnownRoute

# Of each sub-application that was asked; it is in one other application only.
_domains: WeakKeyDictionary[web.Application, str] = WeakKeyDictionary()


def key_of(request: web.Request) -> str | None:
    """The key of a request: method and template of its resource, such as `GET /orders/{id}`.

    The template has the prefixes of sub-applications, and the domain of `add_domain`. A request
    that matches no route (404, 405) gets `<unmatched>`. A request for a static resource, or for a
    handler that is marked by `exempt`, gets `None`. In a class-based view the mark of a method
    takes precedence over that of the class.
    """
    match = request.match_info
    if match.http_exception is not None:
        return UNMATCHED
    return key_of_route(match.route, request.method, domain_of(match.apps))


def key_of_route(route: web.AbstractRoute, method: str, domain: str) -> str | None:
    """The key of a route for one method; `None` if it is exempt."""
    resource = route.resource
    if resource is None or isinstance(resource, web.StaticResource):
        return None
    key = _marked(route.handler, method)
    if key is not MISSING:
        return key  # type: ignore[no-any-return]  # marked_key answers MISSING, too
    return route_key(method, domain + resource.canonical)


def known(app: web.Application, domain: str = "") -> Iterator[KnownRoute]:
    """What is known of each route of an application without a request."""
    for resource in app.router.resources():
        info: Any = resource.get_info()
        if "app" in info:
            yield from known(info["app"], domain + _domain(info))
            continue
        for route in resource:
            methods = frozenset(() if route.method == "*" else {route.method})
            keys = (key_of_route(route, method, domain) for method in methods or {"GET"})
            yield KnownRoute(
                resource.canonical, methods, frozenset(key for key in keys if key is not None)
            )


def guarded_keys(app: web.Application) -> dict[Registry, set[str]]:
    """Return the keys that guard routes of an application, by the registry of their breakers.

    Not known are keys that a function of the user makes. A registry may have none that is known.

    Args:
        app: An application, with or without a `BreakerMiddleware`.
    """
    keys: dict[Registry, set[str]] = {}
    guards: list[Any] = list(app.middlewares)
    for guard in guards:
        # A `BreakerMiddleware`, whose module imports this one.
        if getattr(guard, "guards_routes", False):
            found = keys.setdefault(guard.registry, set())
            if guard.key is key_of:
                found.update(keys_of(known(app), guard.exempt))
    for resource in app.router.resources():
        info: Any = resource.get_info()
        if "app" in info:
            for registry, found in guarded_keys(info["app"]).items():
                keys.setdefault(registry, set()).update(found)
    return keys


def domain_of(apps: Sequence[web.Application]) -> str:
    """The domains by which a request came into sub-applications; "" if there are none."""
    domain = ""
    for parent, child in pairwise(apps):
        if child not in _domains:
            _domains[child] = _domain_within(parent, child)
        domain += _domains[child]
    return domain


def _domain_within(parent: web.Application, child: web.Application) -> str:
    for resource in parent.router.resources():
        info: Any = resource.get_info()
        if info.get("app") is child:
            return _domain(info)
    return ""


def _domain(info: Any) -> str:
    rule = info.get("rule")
    return "" if rule is None else str(rule.get_info().get("domain", rule.canonical))


def _marked(handler: Any, method: str) -> Any:
    if isinstance(handler, type):
        # The method answers the request.
        key = marked_key(getattr(handler, method.lower(), None))
        if key is not MISSING:
            return key
    return marked_key(handler)
