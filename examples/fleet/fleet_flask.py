"""A Flask app that asks the same upstream. gunicorn runs four workers of it, with threads."""

from __future__ import annotations

import httpx
from flask import Flask
from flask.typing import ResponseReturnValue
from fleet_guard import TIMEOUT, UPSTREAM, make_registry, worker

from recloser import BreakerOpenError
from recloser_adapters.httpx import wrap_client

client = wrap_client(httpx.Client(timeout=TIMEOUT), make_registry())
app = Flask(__name__)


@app.get("/price")
def price() -> ResponseReturnValue:
    try:
        answer = client.get(f"{UPSTREAM}/price")
    except BreakerOpenError as refusal:
        return f"refused: {refusal}", 503, worker()
    except httpx.HTTPError as error:
        return f"failed: {error!r}", 502, worker()
    return answer.text, 200 if answer.is_success else 502, worker()


@app.get("/alive")
def alive() -> ResponseReturnValue:
    return "alive", 200, worker()
