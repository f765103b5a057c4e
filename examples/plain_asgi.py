"""An ASGI app without a framework: one function chooses the breaker of a request.

Run it:  pip install . uvicorn
         python examples/plain_asgi.py
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
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

from recloser import Registry
from recloser.asgi import BreakerMiddleware

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]

registry = Registry()
ledger = {"up": True}  # represents a database or another service


async def shop(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError("HTTP only")
    status, text = answer(scope["method"], scope["path"])
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


def answer(method: str, path: str) -> tuple[int, str]:
    match method, path.split("/")[1:]:
        case "GET", ["orders", number]:
            return (200, f"order {number}\n") if ledger["up"] else (502, "the ledger is down\n")
        case "PUT", ["ledger", how]:
            ledger["up"] = how == "up"
            return 200, f"up: {ledger['up']}\n"
        case "GET", ["breakers"]:
            return 200, "".join(f"{each.key}: {each.explain()}\n" for each in registry.breakers())
        case "GET", ["about"]:
            return 200, "We sell things.\n"
        case _:
            return 404, "no such page\n"


def key(scope: Scope) -> str | None:
    # The path itself is no good key: clients can send any path. None leaves a request unguarded.
    return "GET /orders/{number}" if scope["path"].startswith("/orders/") else None


app = BreakerMiddleware(shop, registry, key=key)

if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    uvicorn.run(app, host="127.0.0.1", port=port, lifespan="off")
