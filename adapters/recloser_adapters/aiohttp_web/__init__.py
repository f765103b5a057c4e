"""Breakers for aiohttp.web, one per route, added in one line.

    app = web.Application(middlewares=[BreakerMiddleware()])

The key of a request is its method and the template of its resource, such as `GET /orders/{id}`.
Static resources are exempt. Requests that match no route share a key whose breaker never opens.
"""

from recloser.asgi import DEFAULT_EXEMPT, UNMATCHED
from recloser_adapters._routes.marks import exempt, keyed
from recloser_adapters.aiohttp_web._keys import guarded_keys, key_of
from recloser_adapters.aiohttp_web._middleware import (
    BreakerMiddleware,
    note_refusal,
    permit_of,
    refuse,
)

__all__ = [
    "DEFAULT_EXEMPT",
    "UNMATCHED",
    "BreakerMiddleware",
    "exempt",
    "guarded_keys",
    "key_of",
    "keyed",
    "note_refusal",
    "permit_of",
    "refuse",
]
