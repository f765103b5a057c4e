"""A FastAPI app: every route gets a breaker; two routes with one provider share a breaker.

Run it:  pip install '.[fastapi]' uvicorn
         python examples/fastapi_app.py
Try it:  curl -i localhost:8000/orders/1
         curl -X PUT localhost:8000/ledger/down       # the service behind the orders fails
         for i in $(seq 9); do curl -i localhost:8000/orders/$i; done
                                                      # five times 502, then refused: 503 at once
         curl -i localhost:8000/invoices/1            # the same provider: refused too
         curl -i localhost:8000/about                 # the other routes still work
         curl localhost:8000/breakers                 # why
         curl -X PUT localhost:8000/ledger/up         # it closes by itself, after eight good calls
"""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI, HTTPException

from recloser import Registry
from recloser_adapters.starlette import BreakerMiddleware, exempt, keyed

registry = Registry()
ledger = {"up": True}  # represents a database or another service

app = FastAPI()
app.add_middleware(BreakerMiddleware, registry=registry)


@app.get("/orders/{number}")
@keyed("ledger")
async def order(number: int) -> dict[str, int]:
    if not ledger["up"]:
        raise HTTPException(502, "the ledger is down")
    return {"order": number}


@app.get("/invoices/{number}")
@keyed("ledger")
async def invoice(number: int) -> dict[str, int]:
    if not ledger["up"]:
        raise HTTPException(502, "the ledger is down")
    return {"invoice": number}


@app.get("/about")  # its key is "GET /about"
async def about() -> str:
    return "We sell things."


@app.put("/ledger/{how}")
@exempt  # an endpoint for repairs must never be refused
async def repair(how: str) -> dict[str, bool]:
    ledger["up"] = how == "up"
    return ledger


@app.get("/breakers")
@exempt
async def breakers() -> dict[str, str]:
    return {breaker.key: breaker.explain() for breaker in registry.breakers()}


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    uvicorn.run(app, host="127.0.0.1", port=port)
