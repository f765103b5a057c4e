"""A Starlette app: every route gets a breaker, with one line.

Run it:  pip install '.[starlette]' uvicorn
         python examples/starlette_app.py
Try it:  curl -i localhost:8000/orders/1
         curl -X PUT localhost:8000/ledger/down       # the service behind the orders fails
         for i in $(seq 9); do curl -i localhost:8000/orders/$i; done
                                                      # five times 502, then refused: 503 at once
         curl -i localhost:8000/about                 # the other routes still work
         curl localhost:8000/breakers                 # why
         curl -X PUT localhost:8000/ledger/up         # it closes by itself, after eight good calls
"""

from __future__ import annotations

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from recloser import Registry
from recloser_adapters.starlette import BreakerMiddleware, exempt

registry = Registry()
ledger = {"up": True}  # represents a database or another service


async def order(request: Request) -> Response:
    if not ledger["up"]:
        return JSONResponse({"error": "the ledger is down"}, status_code=502)
    return JSONResponse({"order": request.path_params["number"]})


async def about(request: Request) -> Response:
    return PlainTextResponse("We sell things.\n")


@exempt  # an endpoint for repairs must never be refused
async def repair(request: Request) -> Response:
    ledger["up"] = request.path_params["how"] == "up"
    return JSONResponse(ledger)


@exempt
async def breakers(request: Request) -> Response:
    return JSONResponse({breaker.key: breaker.explain() for breaker in registry.breakers()})


app = Starlette(
    routes=[
        Route("/orders/{number:int}", order),
        Route("/about", about),
        Route("/ledger/{how}", repair, methods=["PUT"]),
        Route("/breakers", breakers),
    ],
    middleware=[Middleware(BreakerMiddleware, registry=registry)],
)

if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    uvicorn.run(app, host="127.0.0.1", port=port)
