"""A WSGI app without a framework: one function chooses the breaker of a request.

Run it:  pip install .
         python examples/plain_wsgi.py
Try it:  curl -i localhost:8000/orders/1
         curl -X PUT localhost:8000/ledger/down       # the service behind the orders fails
         for i in $(seq 9); do curl -i localhost:8000/orders/$i; done
                                                      # five times 502, then refused: 503 at once
         curl -i localhost:8000/about                 # everything else still works
         curl localhost:8000/breakers                 # why
         curl -X PUT localhost:8000/ledger/up         # it closes by itself, after eight good calls
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING
from wsgiref.simple_server import make_server

from recloser import Registry
from recloser.wsgi import BreakerMiddleware

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

registry = Registry()
ledger = {"up": True}  # represents a database or another service


def shop(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    status, text = answer(environ["REQUEST_METHOD"], environ["PATH_INFO"])
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))]
    start_response(status, headers)
    return [text.encode()]


def answer(method: str, path: str) -> tuple[str, str]:
    match method, path.split("/")[1:]:
        case "GET", ["orders", number] if ledger["up"]:
            return "200 OK", f"order {number}\n"
        case "GET", ["orders", _]:
            return "502 Bad Gateway", "the ledger is down\n"
        case "PUT", ["ledger", how]:
            ledger["up"] = how == "up"
            return "200 OK", f"up: {ledger['up']}\n"
        case "GET", ["breakers"]:
            lines = (f"{each.key}: {each.explain()}\n" for each in registry.breakers())
            return "200 OK", "".join(lines)
        case "GET", ["about"]:
            return "200 OK", "We sell things.\n"
        case _:
            return "404 Not Found", "no such page\n"


def key(environ: WSGIEnvironment) -> str | None:
    # The path itself is no good key: clients can send any path. None leaves a request unguarded.
    return "GET /orders/{number}" if environ["PATH_INFO"].startswith("/orders/") else None


app = BreakerMiddleware(shop, registry, key=key)

if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    with make_server("127.0.0.1", port, app) as server:
        server.serve_forever()
