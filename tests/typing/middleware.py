"""The middleware and the adapters, in the forms that their frameworks know."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

import recloser.asgi
import recloser.wsgi
import recloser_adapters.starlette
from recloser import Mode, Outcome, Registry
from recloser_adapters.flask import Recloser

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

registry = Registry()


async def asgi_app(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})


def wsgi_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("204 No Content", [])
    return []


def key(request: Any) -> str | None:
    return None


def classify(status: int) -> Outcome:
    return Outcome.of_status(status)


guarded_asgi: ASGIApp = recloser.asgi.BreakerMiddleware(
    asgi_app,
    registry,
    key=key,
    exempt=["/health"],
    classify=classify,
    on_refuse=asgi_app,
    mode="observe",
)
guarded_wsgi: WSGIApplication = recloser.wsgi.BreakerMiddleware(
    wsgi_app,
    registry,
    key=key,
    exempt=lambda environ: False,
    classify=classify,
    on_refuse=wsgi_app,
    mode=Mode.ENFORCE,
)

starlette_app = Starlette(
    middleware=[Middleware(recloser_adapters.starlette.BreakerMiddleware, registry=registry)]
)
starlette_app.add_middleware(recloser_adapters.starlette.BreakerMiddleware, mode=Mode.OBSERVE)
fastapi_app = FastAPI()
fastapi_app.add_middleware(recloser_adapters.starlette.BreakerMiddleware, registry=registry)
flask_app = Flask(__name__)
Recloser(flask_app)
