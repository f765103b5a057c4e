"""A pytest plugin that guards every application which a test suite builds.

    PYTHONPATH=tests/foreign:middleware:adapters pytest -p inbound_plugin

It replaces the place where a test client takes an application (`ASGI_CLIENTS`, `WSGI_CLIENTS`) or
where a framework's own answers (`BUILDERS`, Flask, uvicorn). What is not installed is left out. No breaker may open, since these tests
make things fail on purpose and none is about breakers. The session fails if nothing was guarded, if
a permit is left at its end, or if something of ours was at fault.

The environment decides on the rest:

- `RECLOSER_PLACE`: `outside` (the default) guards what a client calls, `inside` what stands where
  `add_middleware` puts it.
- `RECLOSER_ASGI`, `RECLOSER_WSGI`: more test clients, each `module:class:argument`, separated by
  blanks.
- `RECLOSER_CONTROL`: a deliberate mistake, to prove that the tests, or the count of permits, would
  notice one: see `MISTAKES`.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import pytest
from accounts import LEFT, REGISTRY

# Hooks of this plugin.
from accounts import pytest_sessionfinish as pytest_sessionfinish
from accounts import pytest_terminal_summary as pytest_terminal_summary

import recloser.wsgi

PLACE = os.environ.get("RECLOSER_PLACE", "outside")
CONTROL = os.environ.get("RECLOSER_CONTROL", "")

# Module, class, name of the argument that is the application.
Place = tuple[str, str, str]
ASGI_CLIENTS: list[Place] = [
    ("starlette.testclient", "_TestClientTransport", "app"),
    ("httpx", "ASGITransport", "app"),
    ("httpx2", "ASGITransport", "app"),
    ("asgiref.testing", "ApplicationCommunicator", "application"),
]
WSGI_CLIENTS: list[Place] = [
    ("werkzeug.test", "Client", "application"),
    ("webtest.app", "TestApp", "app"),
    ("httpx", "WSGITransport", "app"),
    ("httpx2", "WSGITransport", "app"),
]

# Frameworks whose applications are called by many clients: module, class, ASGI or WSGI method.
BUILDERS: list[Place] = [
    ("quart", "Quart", "asgi_app"),
]


# Whom we stand in front of


def guarded_asgi(app: Any) -> Any:
    """Guard an ASGI application by its routes where it has any, else by one key."""
    # Imported late: a suite of WSGI applications need not have Starlette.
    try:
        from recloser_adapters.starlette import BreakerMiddleware, RouteKeys
    except ImportError:
        from recloser.asgi import BreakerMiddleware as Plain

        return _with_mistake(Plain(app, REGISTRY, exempt=()), app)
    routes = RouteKeys(app)
    guard = BreakerMiddleware(app, REGISTRY, exempt=(), key=_or_one_key(routes))
    return _with_mistake(guard, app)


def guarded_wsgi(app: Any, key: Callable[[Any], str | None] | None = None) -> Any:
    """Guard a WSGI application, by `key` if there is one."""
    guard = recloser.wsgi.BreakerMiddleware(
        app, REGISTRY, exempt=(), key=None if key is None else _or_one_key(key)
    )
    return _with_mistake_wsgi(guard, app)


def _or_one_key(key: Callable[[Any], str | None]) -> Callable[[Any], str]:
    """Also guard what has no route, or is exempt by nature: here every request counts."""

    def named(request: Any) -> str:
        try:
            found = key(request)
        except LookupError:
            return "no routes"
        return found if found is not None and found[0] != "<" else f"as if {found}"

    return named


# Deliberate mistakes


def _with_mistake(guard: Any, app: Any) -> Any:
    mistake = MISTAKES.get(CONTROL, (None, None))[0]
    return guard if mistake is None else mistake(guard, app)


def _with_mistake_wsgi(guard: Any, app: Any) -> Any:
    mistake = MISTAKES.get(CONTROL, (None, None))[1]
    return guard if mistake is None else mistake(guard, app)


def _header(guard: Any, app: Any) -> Any:
    async def mistaken(scope: Any, receive: Any, send: Any) -> Any:
        async def changed(message: Any) -> None:
            if message["type"] == "http.response.start":
                length = (b"content-length", b"3")
                message = {**message, "headers": [*message.get("headers", ()), length]}
            await send(message)

        return await guard(scope, receive, changed)

    return mistaken


def _header_wsgi(guard: Any, app: Any) -> Any:
    def mistaken(environ: Any, start_response: Any) -> Any:
        def changed(status: str, headers: Any, *error: Any) -> Any:
            return start_response(status, [*headers, ("Content-Length", "3")], *error)

        return guard(environ, changed)

    return mistaken


def _body(guard: Any, app: Any) -> Any:
    async def mistaken(scope: Any, receive: Any, send: Any) -> Any:
        async def changed(message: Any) -> None:
            if message["type"] == "http.response.body" and message.get("body"):
                message = {**message, "body": message["body"][:-1] + b"!"}
            await send(message)

        return await guard(scope, receive, changed)

    return mistaken


def _body_wsgi(guard: Any, app: Any) -> Any:
    return lambda environ, start_response: [
        chunk[:-1] + b"!" for chunk in guard(environ, start_response) if chunk
    ]


def _silent_wsgi(guard: Any, app: Any) -> Any:
    def mistaken(environ: Any, start_response: Any) -> Any:
        try:
            return guard(environ, start_response)
        except Exception:
            start_response("500 Hidden", [])
            return [b""]

    return mistaken


class _Unclosed:
    def __init__(self, body: Iterable[bytes]) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)


def _unclosed_wsgi(guard: Any, app: Any) -> Any:
    return lambda environ, start_response: _Unclosed(guard(environ, start_response))


def _leak(guard: Any, app: Any) -> Any:
    LEFT.append(REGISTRY["left"].acquire())
    return guard


MISTAKES: dict[str, tuple[Any, Any]] = {
    "header": (_header, _header_wsgi),
    "body": (_body, _body_wsgi),
    "silent": (None, _silent_wsgi),
    "unclosed": (None, _unclosed_wsgi),
    "leak": (_leak, _leak),
}
"""Name -> the mistake in ASGI and in WSGI: a second content-length, an altered body, an exception
that is hidden, a body that is not closed, a permit that is not returned."""


# How we get there


def _replace_argument(place: Place, guard: Callable[[Any], Any]) -> None:
    module_name, class_name, argument = place
    try:
        kind = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, RuntimeError):
        return
    original = kind.__init__

    @functools.wraps(original)
    def construct(self: Any, *args: Any, **kwargs: Any) -> None:
        if argument in kwargs:
            kwargs[argument] = guard(kwargs[argument])
        elif args:
            args = (guard(args[0]), *args[1:])
        original(self, *args, **kwargs)

    kind.__init__ = construct


def _guard_flask() -> None:
    """Guard the method, not the object.

    `app.wsgi_app = Middleware(app.wsgi_app)`, as Flask's documentation has it and our extension
    does it, makes a reference cycle of any middleware, and one test asserts that there is none.
    """
    try:
        from flask import Flask

        from recloser_adapters.flask._rules import FlaskKeys
    except ImportError:
        return
    original = Flask.wsgi_app

    @functools.wraps(original)
    def wsgi_app(self: Any, environ: Any, start_response: Any) -> Any:
        guard = guarded_wsgi(functools.partial(original, self), FlaskKeys(self))
        return guard(environ, start_response)

    Flask.wsgi_app = wsgi_app  # type: ignore[method-assign]  # that is the point


def _replace_method(place: Place) -> None:
    module_name, class_name, method = place
    try:
        kind = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError):
        return
    original = getattr(kind, method)

    @functools.wraps(original)
    async def guarded(self: Any, scope: Any, receive: Any, send: Any) -> Any:
        return await guarded_asgi(functools.partial(original, self))(scope, receive, send)

    setattr(kind, method, guarded)


def guard_django() -> None:
    """Guard every handler of Django, which its tests call in many ways."""
    from django.core.handlers.wsgi import WSGIHandler

    _replace_method(("django.core.handlers.asgi", "ASGIHandler", "__call__"))
    kind: Any = WSGIHandler
    original = kind.__call__

    @functools.wraps(original)
    def call(self: Any, environ: Any, start_response: Any) -> Any:
        guard = guarded_wsgi(functools.partial(original, self))
        return guard(environ, start_response)

    kind.__call__ = call


def guard_django_inside() -> None:
    """Put the line of our adapter at the top of each test's own `MIDDLEWARE`."""
    from django.conf import settings
    from django.core.handlers.base import BaseHandler
    from django.test.utils import override_settings

    from recloser_adapters.django import UrlKeys

    kind: Any = BaseHandler
    original = kind.load_middleware
    setting = {"REGISTRY": REGISTRY, "EXEMPT": [], "KEY": _or_one_key(UrlKeys())}

    @functools.wraps(original)
    def load_middleware(self: Any, is_async: bool = False) -> None:
        line = "recloser_adapters.django.BreakerMiddleware"
        with override_settings(MIDDLEWARE=[line, *settings.MIDDLEWARE], RECLOSER=setting):
            original(self, is_async)

    kind.load_middleware = load_middleware


def _guard_uvicorn() -> None:
    """Guard what uvicorn has loaded, whatever its interface."""
    try:
        from uvicorn.config import Config
    except ImportError:
        return
    load: Callable[[Any], None] = Config.load

    @functools.wraps(load)
    def loaded(self: Any) -> None:
        load(self)
        self.loaded_app = guarded_asgi(self.loaded_app)

    Config.load = loaded  # type: ignore[method-assign,unused-ignore]  # that is the point


def _more(variable: str) -> list[Place]:
    named = [tuple(each.split(":")) for each in os.environ.get(variable, "").split()]
    if wrong := [each for each in named if len(each) != 3]:
        raise pytest.UsageError(f"{variable}: not module:class:argument: {wrong}")
    return [(module, kind, argument) for module, kind, argument in named]


def _not_twice(app: Any) -> Any:
    """A Flask application guards itself already, and its client asks it for more than calls."""
    flask = importlib.util.find_spec("flask") and importlib.import_module("flask")
    return app if flask and isinstance(app, flask.Flask) else guarded_wsgi(app)


class _Inside:
    """Stands where `add_middleware` puts it."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self._guarded = guarded_asgi(app)

    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[Any]:
        awaitable: Awaitable[Any] = self._guarded(scope, receive, send)
        return awaitable


def _guard_inside(module_name: str, class_name: str) -> None:
    try:
        kind = getattr(importlib.import_module(module_name), class_name)
    except ImportError:
        return
    if "build_middleware_stack" not in vars(kind):
        return
    build: Callable[[Any], Any] = kind.build_middleware_stack

    @functools.wraps(build)
    def build_middleware_stack(self: Any) -> Any:
        from starlette.middleware import Middleware

        own = self.user_middleware
        self.user_middleware = [Middleware(_Inside), *own]
        try:
            return build(self)
        finally:
            self.user_middleware = own

    kind.build_middleware_stack = build_middleware_stack


def pytest_configure(config: pytest.Config) -> None:
    if CONTROL and CONTROL not in MISTAKES:
        raise pytest.UsageError(f"RECLOSER_CONTROL: no mistake is called {CONTROL!r}")
    if PLACE == "inside":
        _guard_inside("starlette.applications", "Starlette")
        _guard_inside("fastapi.applications", "FastAPI")
        return
    for place in ASGI_CLIENTS + _more("RECLOSER_ASGI"):
        _replace_argument(place, guarded_asgi)
    for place in WSGI_CLIENTS + _more("RECLOSER_WSGI"):
        _replace_argument(place, _not_twice)
    for place in BUILDERS:
        _replace_method(place)
    _guard_flask()
    _guard_uvicorn()
