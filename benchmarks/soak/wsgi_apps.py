"""The WSGI apps of the soak: plain, Flask, Django, Bottle. One that is not installed is left out.

`app` has them all, each under its name: `/flask/item/7`. All routes are the same.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

import recloser.wsgi
from benchmarks.soak import work

_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 500: "Internal Server Error"}


def plain(environ: Any, start_response: Any) -> Iterable[bytes]:
    """Read as the WSGI specification has it: from `wsgi.input`, as much as was announced."""
    route, _, argument = environ["PATH_INFO"].removeprefix("/plain/").partition("/")
    status, body = 200, b""
    if route in {"upload", "json"}:
        length = environ.get("CONTENT_LENGTH")
        received = environ["wsgi.input"].read(*([int(length)] if length else []))
        if route == "upload":
            body = work.digest(received)
        else:
            status, body = _total(received, length)
    elif route == "item":
        body = work.item(int(argument))
    elif route == "big":
        body = work.big()
    elif route == "stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return work.pieces()
    elif route == "write" and (write := start_response("200 OK", [("Content-Type", "text/plain")])):
        for piece in work.pieces():
            write(piece)
        return []
    elif route == "faulty":
        status, body, delay = work.checked(int(argument))
        time.sleep(delay)
    elif route == "outage":
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        body = work.through_outage()
    else:
        status = 404
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
    start_response(f"{status} {_REASONS[status]}", headers)
    return [body]


def _total(received: bytes, length: object) -> tuple[int, bytes]:
    """Status and body of the answer to a JSON document; `length` is what its client announced."""
    try:
        return 200, work.total(json.loads(received))
    except ValueError:
        # Some servers pass on what has come of a cut chunked body, as if it were all. So only a
        # handler can see that, and it has to answer 400: a 500 counts as its own failure.
        if length:
            raise
        return 400, b""


def flask() -> Any:
    from flask import Flask, Response, request

    from recloser_adapters.flask import Recloser

    app = Flask("soak")
    app.logger.disabled = True

    @app.post("/flask/upload")
    def upload() -> Any:
        return work.digest(request.get_data())

    @app.post("/flask/json")
    def numbers() -> Any:
        status, body = _total(request.stream.read(), request.content_length)
        return body, status

    @app.post("/flask/form")
    def form() -> Any:
        return work.fields(request.form.to_dict(), request.files["file"].read())

    @app.get("/flask/item/<int:number>")
    def item(number: int) -> Any:
        return work.item(number)

    @app.get("/flask/big")
    def big() -> Any:
        return work.big()

    @app.get("/flask/stream")
    def stream() -> Any:
        return Response(work.pieces(), mimetype="text/plain")

    @app.get("/flask/faulty/<int:number>")
    def faulty(number: int) -> Any:
        status, body, delay = work.checked(number)
        time.sleep(delay)
        return body, status

    @app.post("/flask/outage")
    def outage() -> Any:
        request.get_data()
        return work.through_outage()

    if work.GUARDED:
        Recloser(app, registry=work.registry)
    return app


def bottle() -> Any:
    import bottle as library

    app = library.Bottle(catchall=False)
    request, response = library.request, library.response

    @app.post("/bottle/upload")
    def upload() -> Any:
        return work.digest(request.body.read())

    @app.post("/bottle/json")
    def numbers() -> Any:
        return work.total(request.json)

    @app.post("/bottle/form")
    def form() -> Any:
        return work.fields(dict(request.forms), request.files["file"].file.read())

    @app.get("/bottle/item/<number:int>")
    def item(number: int) -> Any:
        return work.item(number)

    @app.get("/bottle/big")
    def big() -> Any:
        return work.big()

    @app.get("/bottle/stream")
    def stream() -> Any:
        return work.pieces()

    @app.get("/bottle/faulty/<number:int>")
    def faulty(number: int) -> Any:
        response.status, body, delay = work.checked(number)
        time.sleep(delay)
        return body

    @app.post("/bottle/outage")
    def outage() -> Any:
        request.body.read()
        return work.through_outage()

    return guarded(app)


def django() -> Any:
    from benchmarks.soak.django_app import wsgi

    return guarded(wsgi())


def guarded(app: Any) -> Any:
    """Put a breaker for each method and route around an app, unless this is the unguarded twin."""
    if not work.GUARDED:
        return app
    return recloser.wsgi.BreakerMiddleware(
        app,
        work.registry,
        key=lambda environ: work.key(environ["REQUEST_METHOD"], environ["PATH_INFO"]),
    )


def _apps() -> dict[str, Any]:
    apps = {"plain": guarded(plain)}
    for make in (flask, bottle, django):
        try:
            apps[make.__name__] = make()
        except ImportError:
            continue
    return apps


APPS = _apps()


def app(environ: Any, start_response: Any) -> Any:
    """Serve by the first part of the path; `/breakers` shows what the breakers counted."""
    name = environ["PATH_INFO"].split("/")[1]
    if name in APPS:
        return APPS[name](environ, start_response)
    body = json.dumps([*APPS]).encode() if name == "apps" else work.described()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]
