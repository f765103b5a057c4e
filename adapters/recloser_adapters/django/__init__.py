"""Breakers for Django, one per URL pattern, added in one line.

    MIDDLEWARE = ["recloser_adapters.django.BreakerMiddleware", ...]

The key of a request is its method and URL pattern, such as `GET /orders/<int:number>`. It is known
before Django has routed the request. Static files are exempt. Requests that match no pattern share a
key whose breaker never opens. Each worker process has its own breakers, unless they share a store.

With "recloser_adapters.django" in `INSTALLED_APPS`, `manage.py check` finds mistakes in the settings,
and `manage.py recloser status` shows the breaker of each pattern.
"""

from recloser.wsgi import DEFAULT_EXEMPT, UNMATCHED
from recloser_adapters._routes.marks import exempt, keyed
from recloser_adapters.django._keys import UrlKeys
from recloser_adapters.django._middleware import BreakerMiddleware
from recloser_adapters.django._protect import protect
from recloser_adapters.django._refusals import permit_of, refuse
from recloser_adapters.django._rows import guarded_keys
from recloser_adapters.django._state import get_registry

__all__ = [
    "DEFAULT_EXEMPT",
    "UNMATCHED",
    "BreakerMiddleware",
    "UrlKeys",
    "exempt",
    "get_registry",
    "guarded_keys",
    "keyed",
    "permit_of",
    "protect",
    "refuse",
]
