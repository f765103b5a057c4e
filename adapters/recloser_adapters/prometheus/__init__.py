"""Prometheus: the figures of all breakers, read when Prometheus asks.

    from recloser_adapters.prometheus import make_asgi_app

    app.routes.append(Route("/metrics", make_asgi_app(registry)))

`make_wsgi_app` is the same for WSGI, and `export(registry)` adds the figures to a `/metrics` that the
app has already. Several workers (gunicorn, uvicorn) need `PROMETHEUS_MULTIPROC_DIR` in the environment,
as prometheus-client does: then whichever worker is asked tells the figures of all.
"""

from recloser_adapters.prometheus._apps import make_asgi_app, make_wsgi_app
from recloser_adapters.prometheus._collector import BreakerCollector, export

__all__ = ["BreakerCollector", "export", "make_asgi_app", "make_wsgi_app"]
