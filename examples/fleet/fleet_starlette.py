"""A Starlette app that asks one upstream through a guarded client. uvicorn runs four workers of it."""

from __future__ import annotations

import httpx
from fleet_guard import TIMEOUT, UPSTREAM, make_registry, worker
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from recloser import BreakerOpenError
from recloser_adapters.httpx import wrap_client

client = wrap_client(httpx.AsyncClient(timeout=TIMEOUT), make_registry())


async def price(request: Request) -> Response:
    try:
        answer = await client.get(f"{UPSTREAM}/price")
    except BreakerOpenError as refusal:
        return PlainTextResponse(f"refused: {refusal}", 503, worker())
    except httpx.HTTPError as error:
        return PlainTextResponse(f"failed: {error!r}", 502, worker())
    return PlainTextResponse(answer.text, 200 if answer.is_success else 502, worker())


async def alive(request: Request) -> Response:
    return PlainTextResponse("alive", headers=worker())


app = Starlette(routes=[Route("/price", price), Route("/alive", alive)])
