"""The middleware that guards a whole application, with one key per route."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from recloser import Mode, Outcome, Registry
from recloser.asgi import DEFAULT_EXEMPT
from recloser.asgi import BreakerMiddleware as AnyAppMiddleware
from recloser.hints import knows_names
from recloser_adapters._routes.guarded import lasting
from recloser_adapters._routes.unused import UnusedPatterns
from recloser_adapters.starlette._cors import through_cors
from recloser_adapters.starlette._route_keys import RouteKeys


class BreakerMiddleware(AnyAppMiddleware):
    """Guard every route of a Starlette or FastAPI application with its own breaker.

    It works as `app.add_middleware(BreakerMiddleware, registry=registry)`, in `Middleware(...)`, on
    a Mount or a Router, and as `app = BreakerMiddleware(app)`. In the last form the application's
    other middleware and its handler for unhandled errors are part of the call.

    Refusals have the headers of the application's `CORSMiddleware`, whichever of the two is further
    out.

    Args:
        app: The application.
        registry: Holds the breakers; by default a new one.
        key: A function that takes the scope and returns a key, or `None` to exempt the request. By
            default `RouteKeys`: method and route template.
        routes: The routes, if they cannot be found in `app`.
        exempt: Requests that are not guarded: patterns, or a function of the scope. For this and
            all following arguments see `recloser.asgi.BreakerMiddleware`.
        classify: A function that takes a status and returns an `Outcome`.
        on_refuse: An ASGI application that answers refused requests.
        mode: The mode of the breakers; by default the registry's mode.
        expose_details: Whether a refusal names the key and the reason.
        cut_off: Whether an endpoint that has sent nothing when an answer is hopeless is cancelled,
            and its client gets a 504. A plain `def` endpoint goes on in its thread.

    Attributes:
        keys: Makes the keys; None if `key` is a function of the user.
        exempt: What is not guarded: patterns, or a function of the scope.
    """

    passes_refusals = True

    @knows_names
    def __init__(
        self,
        app: ASGIApp,
        registry: Registry | None = None,
        *,
        key: Callable[[Any], str | None] | None = None,
        routes: Sequence[BaseRoute] | None = None,
        exempt: Any = DEFAULT_EXEMPT,
        classify: Callable[[int], Outcome] | None = None,
        on_refuse: ASGIApp | None = None,
        mode: Mode | str | None = None,
        expose_details: bool = False,
        cut_off: bool = False,
    ) -> None:
        self.check_app(app)
        keys = RouteKeys(app, routes=routes) if key is None else None
        exempt = lasting(exempt)
        super().__init__(
            app,
            registry,
            key=key if keys is None else keys,
            exempt=exempt,
            classify=classify,
            on_refuse=on_refuse,
            mode=mode,
            expose_details=expose_details,
            cut_off=cut_off,
        )
        self.keys: RouteKeys | None = key if isinstance(key, RouteKeys) else keys
        self.exempt: Any = exempt
        if keys is not None:
            keys.unused = UnusedPatterns(exempt, self.registry)

    def refusal_through(self, scope: Any, answer: Any) -> Any:
        """Let an answer pass through the CORS middleware between here and the route."""
        return through_cors(self.app, scope, answer)
