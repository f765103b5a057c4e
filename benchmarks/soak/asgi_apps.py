"""The ASGI apps of the soak: plain, Starlette, FastAPI, Django. One that is not installed is left out.

`app` has them all, each under its name: `/starlette/item/7`. All routes are the same.
"""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import recloser.asgi
from benchmarks.soak import work

START, BODY = "http.response.start", "http.response.body"


class LeftError(Exception):
    """The client has left while its request was received."""


async def _received(receive: Any) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise LeftError
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _respond(send: Any, status: int, body: bytes, kind: bytes = b"text/plain") -> None:
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
    await send({"type": START, "status": status, "headers": headers})
    await send({"type": BODY, "body": body})


async def plain(scope: Any, receive: Any, send: Any) -> None:
    """Do by hand what frameworks do, and nothing about clients that leave."""
    route, _, argument = scope["path"].removeprefix("/plain/").partition("/")
    if route == "stream":
        await send({"type": START, "status": 200, "headers": [(b"content-type", b"text/plain")]})
        for piece in work.pieces():
            await send({"type": BODY, "body": piece, "more_body": True})
        await send({"type": BODY, "body": b""})
        return
    status = 200
    if route == "upload":
        body = work.digest(await _received(receive))
    elif route == "json":
        body = work.total(json.loads(await _received(receive)))
    elif route == "item":
        body = work.item(int(argument))
    elif route == "big":
        body = work.big()
    elif route == "faulty":
        status, body, delay = work.checked(int(argument))
        await asyncio.sleep(delay)
    elif route == "outage":
        await _received(receive)
        body = work.through_outage()
    else:
        status, body = 404, b""
    await _respond(send, status, body)


def starlette() -> Any:
    import python_multipart  # noqa: F401 - forms need it
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import Route

    from recloser_adapters.starlette import BreakerMiddleware

    async def upload(request: Request) -> Response:
        return Response(work.digest(await request.body()))

    async def numbers(request: Request) -> Response:
        return Response(work.total(await request.json()))

    async def form(request: Request) -> Response:
        sent: Any = await request.form()
        file = sent["file"]
        return Response(work.fields({"name": sent["name"]}, await file.read()))

    async def item(request: Request) -> Response:
        return Response(work.item(request.path_params["number"]))

    async def big(request: Request) -> Response:
        return Response(work.big())

    async def stream(request: Request) -> Response:
        async def pieces() -> Any:
            for piece in work.pieces():
                yield piece

        return StreamingResponse(pieces(), media_type="text/plain")

    async def faulty(request: Request) -> Response:
        status, body, delay = work.checked(request.path_params["number"])
        await asyncio.sleep(delay)
        return Response(body, status)

    async def outage(request: Request) -> Response:
        await request.body()
        return Response(work.through_outage())

    app = Starlette(
        routes=[
            Route("/starlette/upload", upload, methods=["POST"]),
            Route("/starlette/json", numbers, methods=["POST"]),
            Route("/starlette/form", form, methods=["POST"]),
            Route("/starlette/item/{number:int}", item),
            Route("/starlette/big", big),
            Route("/starlette/stream", stream),
            Route("/starlette/faulty/{number:int}", faulty),
            Route("/starlette/outage", outage, methods=["POST"]),
        ]
    )
    if work.GUARDED:
        app.add_middleware(BreakerMiddleware, registry=work.registry)
    return app


def fastapi() -> Any:
    """Its functions are not async, so they run in threads; bodies are read before they run."""
    import python_multipart  # noqa: F401 - forms need it
    from fastapi import Body, FastAPI, Form, Response, UploadFile
    from fastapi.responses import StreamingResponse

    from recloser_adapters.starlette import BreakerMiddleware

    app = FastAPI()

    def upload(body: Annotated[bytes, Body(media_type="application/octet-stream")]) -> Response:
        return Response(work.digest(body))

    def numbers(body: Annotated[list[int], Body()]) -> Response:
        return Response(work.total(body))

    def form(name: str, file: UploadFile) -> Response:
        return Response(work.fields({"name": name}, file.file.read()))

    def item(number: int) -> Response:
        return Response(work.item(number))

    def big() -> Response:
        return Response(work.big())

    def stream() -> Response:
        return StreamingResponse(work.pieces(), media_type="text/plain")

    async def faulty(number: int) -> Response:
        status, body, delay = work.checked(number)
        await asyncio.sleep(delay)
        return Response(body, status)

    def outage(body: bytes) -> Response:
        return Response(work.through_outage())

    # The annotations above are names of this function, which FastAPI cannot look up.
    for view, names in (
        (form, {"name": Annotated[str, Form()], "file": UploadFile}),
        (numbers, {"body": Annotated[list[int], Body()]}),
        (upload, {"body": Annotated[bytes, Body(media_type="application/octet-stream")]}),
        (item, {"number": int}),
        (faulty, {"number": int}),
        (big, {}),
        (stream, {}),
        (outage, {"body": Annotated[bytes, Body(media_type="application/octet-stream")]}),
    ):
        view.__annotations__ = names
    app.post("/fastapi/upload", response_class=Response)(upload)
    app.post("/fastapi/json", response_class=Response)(numbers)
    app.post("/fastapi/form", response_class=Response)(form)
    app.get("/fastapi/item/{number}", response_class=Response)(item)
    app.get("/fastapi/big", response_class=Response)(big)
    app.get("/fastapi/stream", response_class=Response)(stream)
    app.get("/fastapi/faulty/{number}", response_class=Response)(faulty)
    app.post("/fastapi/outage", response_class=Response)(outage)
    if work.GUARDED:
        app.add_middleware(BreakerMiddleware, registry=work.registry)
    return app


def django() -> Any:
    from benchmarks.soak.django_app import asgi

    return guarded(asgi())


def guarded(app: Any) -> Any:
    """Put a breaker for each method and route around an app, unless this is the unguarded twin."""
    if not work.GUARDED:
        return app
    return recloser.asgi.BreakerMiddleware(
        app, work.registry, key=lambda scope: work.key(scope["method"], scope["path"])
    )


def _apps() -> dict[str, Any]:
    apps = {"plain": guarded(plain)}
    for make in (starlette, fastapi, django):
        try:
            apps[make.__name__] = make()
        except ImportError:
            continue
    return apps


APPS = _apps()


async def app(scope: Any, receive: Any, send: Any) -> Any:
    """Serve by the first part of the path; `/breakers` shows what the breakers counted."""
    if scope["type"] != "http":
        return None
    name = scope["path"].split("/")[1]
    if name in APPS:
        return await APPS[name](scope, receive, send)
    body = json.dumps([*APPS]).encode() if name == "apps" else work.described()
    return await _respond(send, 200, body, b"application/json")
