"""A Flask app: every rule gets a breaker, with one line.

Run it:  pip install '.[flask]'
         python examples/flask_app.py
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

from flask import Flask, abort

from recloser import Registry
from recloser_adapters.flask import Recloser, exempt

registry = Registry()
ledger = {"up": True}  # represents a database or another service

app = Flask(__name__)
Recloser(app, registry)


@app.get("/orders/<int:number>")
def order(number: int) -> dict[str, int]:
    if not ledger["up"]:
        abort(502, "the ledger is down")
    return {"order": number}


@app.get("/about")
def about() -> str:
    return "We sell things.\n"


@app.put("/ledger/<how>")
@exempt  # an endpoint for repairs must never be refused
def repair(how: str) -> dict[str, bool]:
    ledger["up"] = how == "up"
    return ledger


@app.get("/breakers")
@exempt
def breakers() -> dict[str, str]:
    return {breaker.key: breaker.explain() for breaker in registry.breakers()}


if __name__ == "__main__":
    app.run(port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
