"""Werkzeug's development server, which Flask runs: `python -m benchmarks.soak.development_server PORT`."""

from __future__ import annotations

import sys

from werkzeug.serving import make_server

from benchmarks.soak.wsgi_apps import app

if __name__ == "__main__":
    make_server("127.0.0.1", int(sys.argv[1]), app, threaded=True).serve_forever()
