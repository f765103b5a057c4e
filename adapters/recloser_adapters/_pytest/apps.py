"""Finds the breakers of an app, whatever a test calls it by: the app, a test client, a registry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

from recloser import Registry

# Where test clients and wrappers have their app: those of Starlette, Werkzeug and Flask, and httpx.
_INSIDE = ("app", "application", "wsgi_app", "asgi_app", "_transport")
_MOST_LAYERS = 32


def known_keys(thing: Any, *, build: bool = True) -> dict[Registry, set[str]]:
    """Return the keys of the routes of an app, by the registry of their breakers.

    Args:
        thing: An app, a middleware, a test client or a registry. What is none of these has no keys.
        build: Whether the middleware of an app that has served no request may be made. No further
            middleware can be added to it then.
    """
    keys: dict[Registry, set[str]] = {}
    for each in _layers(thing):
        # Not isinstance(): a mock says of itself that it is what it stands for.
        if issubclass(type(each), Registry):
            keys.setdefault(each, set())
        elif _is_of("recloser", "BreakerMiddleware", each):
            # Perhaps one for any app, whose keys only a function knows.
            keys.setdefault(each.registry, set())
        for found, names in _of_framework(each, build).items():
            keys.setdefault(found, set()).update(names)
    return keys


def _layers(thing: Any) -> Iterator[Any]:
    """Yield an object and what it wraps, each once."""
    layers, known = [thing], {id(thing)}
    # A mock has each attribute without end.
    for layer in islice(layers, _MOST_LAYERS):
        yield layer
        for name in _INSIDE:
            # Fixtures are any objects, whose attributes may do anything.
            with suppress(Exception):
                inner = getattr(layer, name)
                if id(inner) not in known:
                    known.add(id(inner))
                    layers.append(inner)


def _of_framework(app: Any, build: bool) -> dict[Registry, set[str]]:
    # No framework is imported for this: an app of it has imported it.
    if _is_of("flask", "Flask", app):
        from recloser_adapters import flask

        return flask.guarded_keys(app)
    if _is_of("django", "BaseHandler", app) or _is_of("django", "ClientMixin", app):
        from recloser_adapters import django

        # Settings or URLs that are not valid are told by the tests that need them.
        with suppress(Exception):
            return django.guarded_keys()
    if _is_of("recloser_adapters.werkzeug", "BreakerMiddleware", app):
        from recloser_adapters import werkzeug

        return werkzeug.guarded_keys(app)
    if _is_of("recloser_adapters._routes.routed_wsgi", "RoutedMiddleware", app) or _is_of(
        "pyramid", "Router", app
    ):
        from recloser_adapters._routes.routed_wsgi import guarded_keys

        return guarded_keys(app)
    if _is_of("aiohttp", "Application", app):
        from recloser_adapters import aiohttp_web

        return aiohttp_web.guarded_keys(app)
    if _is_of("tornado", "Application", app):
        from recloser_adapters import tornado

        return tornado.guarded_keys(app)
    if _is_of("litestar", "Litestar", app):
        from recloser_adapters import litestar

        return litestar.guarded_keys(app)
    if _is_of("recloser_adapters.falcon", "BreakerMiddleware", app):
        from recloser_adapters import falcon

        return falcon.guarded_keys(app)
    if _is_of("recloser_adapters._routes", "RoutedMiddleware", app):
        from recloser_adapters._routes.routed_asgi import guarded_keys_of

        return guarded_keys_of(app)
    if _is_of("recloser_adapters.connexion", "BreakerMiddleware", app):
        from recloser_adapters import connexion

        return connexion.guarded_keys(app)
    if _is_of("starlette", "Starlette", app) or _is_of(
        "recloser_adapters.starlette", "BreakerMiddleware", app
    ):
        from recloser_adapters import starlette

        return starlette.guarded_keys(app, build=build)
    return {}


def _is_of(package: str, name: str, thing: object) -> bool:
    """Whether an object is of a class of this name in a package, or of a subclass."""
    return any(
        kind.__name__ == name and f"{kind.__module__}.".startswith((f"{package}.", f"{package}_"))
        for kind in type(thing).__mro__
    )
