"""Breakers for Flask: one per rule, in one line.

    Recloser(app)

The key of a request is its method and rule, such as `GET /items/<int:id>`, blueprint prefixes
included. Static files are exempt; requests that no rule answers share a key that never opens.
Each worker process has breakers of its own.
"""

from recloser.wsgi import DEFAULT_EXEMPT, UNMATCHED
from recloser_adapters._routes.marks import exempt, keyed
from recloser_adapters.flask._config import RecloserState
from recloser_adapters.flask._extension import Recloser
from recloser_adapters.flask._views import protect, refuse
from recloser_adapters.werkzeug import ViewRefusedError

__all__ = [
    "DEFAULT_EXEMPT",
    "UNMATCHED",
    "Recloser",
    "RecloserState",
    "ViewRefusedError",
    "exempt",
    "keyed",
    "protect",
    "refuse",
]
