"""Answers that a breaker gives instead of the application pass the CORS middleware all the same.

A browser hides an answer without CORS headers from the script that asked for it. The answer would
have them if the CORS middleware were further out than the breaker. If it is further in, the answer
passes through a copy of it. Which origins are allowed is decided by that middleware alone.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, Final

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Match, Router
from starlette.types import ASGIApp, Scope

_DEEPEST: Final = 64

_Wrap = Callable[[ASGIApp], ASGIApp]


def through_cors(app: ASGIApp, scope: Scope, answer: ASGIApp) -> ASGIApp:
    """Wrap an answer in the CORS middleware between a breaker and the route of a request.

    Args:
        app: The application inside the breaker.
        scope: The request.
        answer: Answers the request.
    """
    for wrap in reversed([*_cors_on_the_way(app, scope)]):
        answer = wrap(answer)
    return answer


def _cors_on_the_way(app: Any, scope: Scope) -> Iterator[_Wrap]:
    for _ in range(_DEEPEST):
        if isinstance(app, CORSMiddleware):
            yield _copy_of(app)
            app = app.app
        elif isinstance(app, Starlette):
            if app.middleware_stack is None:  # it is built at the first request
                yield from _configured(app)
                app = app.router
            else:
                app = app.middleware_stack
        elif isinstance(app, Router):
            yield from _of_router(app)
            app, scope = _app_of_route(app, scope)
        else:
            app = getattr(app, "app", None)
        if app is None:
            return


def _copy_of(middleware: CORSMiddleware) -> _Wrap:
    def wrap(answer: ASGIApp) -> ASGIApp:
        copied = copy.copy(middleware)
        copied.app = answer
        return copied

    return wrap


def _configured(app: Starlette) -> Iterator[_Wrap]:
    for each in app.user_middleware:
        kind: Any = each.cls
        if isinstance(kind, type) and issubclass(kind, CORSMiddleware):
            make: Any = each.cls
            yield _copy_of(make(app.router, *each.args, **each.kwargs))


def _of_router(router: Router) -> Iterator[_Wrap]:
    """The CORS middleware that a router has of its own."""
    app: Any = router.middleware_stack
    while app is not None and getattr(app, "__self__", None) is not router:
        if isinstance(app, CORSMiddleware):
            yield _copy_of(app)
        app = getattr(app, "app", None)


def _app_of_route(router: Router, scope: Scope) -> tuple[Any, Scope]:
    """What a router hands a request to, and the scope for it; None if there is no such route."""
    for route in router.routes:
        match, child = route.matches(scope)
        if match is Match.FULL:
            return getattr(route, "app", None), {**scope, **child}
    return None, scope
