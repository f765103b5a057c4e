"""Breakers for Starlette and FastAPI, one per route, added in one line.

    app.add_middleware(BreakerMiddleware)

The key of a request is its method and route template, such as `GET /items/{id}`. It is known
before the application has routed the request. Requests that match no route share a key whose
breaker never opens.
"""

from recloser.asgi import DEFAULT_EXEMPT, UNMATCHED
from recloser_adapters._routes.marks import exempt, keyed
from recloser_adapters.starlette._endpoints import (
    EndpointRefusedError,
    dependency,
    protect,
    refuse,
)
from recloser_adapters.starlette._guarded_keys import guarded_keys
from recloser_adapters.starlette._middleware import BreakerMiddleware
from recloser_adapters.starlette._route_keys import RouteKeys

__all__ = [
    "DEFAULT_EXEMPT",
    "UNMATCHED",
    "BreakerMiddleware",
    "EndpointRefusedError",
    "RouteKeys",
    "dependency",
    "exempt",
    "guarded_keys",
    "keyed",
    "protect",
    "refuse",
]
