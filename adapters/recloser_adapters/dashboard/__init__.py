"""A page and a JSON API that show the breakers of a registry, and steer them.

    app.mount("/breakers", Dashboard(registry, auth=basic({"anna": password})))

`Dashboard(...)` is an ASGI app, and its `wsgi` a WSGI app. Without `auth` it only shows, and only to
clients on the same machine.
"""

from recloser_adapters.dashboard._access import Auth, Basic, basic
from recloser_adapters.dashboard._dashboard import Dashboard
from recloser_adapters.dashboard._exchange import Headers

__all__ = ["Auth", "Basic", "Dashboard", "Headers", "basic"]
