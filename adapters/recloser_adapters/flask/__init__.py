"""Breakers for Flask, one per URL rule, added in one line.

    Recloser(app)

The key of a request is its method and rule, such as `GET /items/<int:id>`, blueprint prefixes
included. Static files are exempt. Requests that match no rule share a key whose breaker never
opens. Each worker process has its own breakers.
"""

from recloser.wsgi import DEFAULT_EXEMPT, UNMATCHED
from recloser_adapters._routes.marks import exempt, keyed
from recloser_adapters.flask._config import RecloserState
from recloser_adapters.flask._extension import Recloser
from recloser_adapters.flask._rows import guarded_keys
from recloser_adapters.flask._views import protect, refuse
from recloser_adapters.werkzeug import ViewRefusedError

__all__ = [
    "DEFAULT_EXEMPT",
    "UNMATCHED",
    "Recloser",
    "RecloserState",
    "ViewRefusedError",
    "exempt",
    "guarded_keys",
    "keyed",
    "protect",
    "refuse",
]
