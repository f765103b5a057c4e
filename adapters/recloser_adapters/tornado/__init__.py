"""Breakers for Tornado, one per URL spec, added in one line.

    guard(app)

The key of a request is its method and the pattern of its URL spec, such as `GET /orders/([0-9]+)`;
that of a WebSocket handler begins with `WS`. Static files are exempt. Requests that match no URL
spec share a key whose breaker never opens.
"""

from recloser.asgi import DEFAULT_EXEMPT, UNMATCHED
from recloser_adapters._routes.marks import exempt, keyed
from recloser_adapters.tornado._exchange import refuse
from recloser_adapters.tornado._guard import (
    BreakerGuard,
    guard,
    guarded_keys,
    note_refusal,
    permit_of,
)
from recloser_adapters.tornado._keys import SpecKeys

__all__ = [
    "DEFAULT_EXEMPT",
    "UNMATCHED",
    "BreakerGuard",
    "SpecKeys",
    "exempt",
    "guard",
    "guarded_keys",
    "keyed",
    "note_refusal",
    "permit_of",
    "refuse",
]
