"""Front ends: every way to put a breaker around a handler, with one small interface."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, ClassVar
from wsgiref.validate import validator

import anyio
from tests.support import asgi_client, wsgi_client
from tests.support.scripted_handler import WAIT, Answer, Script, TaskLatch, ThreadLatch

import recloser.asgi
import recloser.wsgi
from recloser import Breaker, Registry
from recloser.testing import ManualClock


class Flight:
    """A call in flight that is held in its handler."""

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.cancel: Callable[[], object] = lambda: None


class Frontend:
    """One way to guard a handler. Options go to the constructor of the guarding object.

    Attributes:
        key: The key of the breaker around the handler.
        is_async: Whether handlers run in tasks. They are then tested on each of `backends`.
        speaks_http: Whether there is a response with a status.
        backends: The event loops of an async one.
        needs: The library that it needs, unless `NEEDS` has it.
        works_afterwards: Whether its handlers can do work after the response.
        makes_a_task: Whether its handlers run in a task of their own.
        warns: Filters for warnings that are the library's own fault.
        sees_messages: Whether what the server is sent passes it, under ASGI.
    """

    key: ClassVar[str] = "handler"
    is_async: ClassVar[bool]
    backends: ClassVar[tuple[str, ...]] = ("asyncio",)
    speaks_http: ClassVar[bool] = False
    needs: ClassVar[str | None] = None
    works_afterwards: ClassVar[bool] = True
    makes_a_task: ClassVar[bool] = False
    warns: ClassVar[tuple[str, ...]] = ()
    sees_messages: ClassVar[bool] = True

    def __init__(self, script: Script, registry: Registry, clock: ManualClock) -> None:
        self.script = script
        self.registry = registry
        self.clock = clock
        self.configure()

    def configure(self, **options: Any) -> None:
        """Wrap the handler again, with options."""
        assert not options

    def remember_requests(self) -> list[Any]:
        """Wrap the handler again; return the list of requests that its key function gets."""
        requests: list[Any] = []

        def remember(request: Any) -> str:
            requests.append(request)
            return self.key

        self.configure(key=remember)
        return requests

    def wrap(self, registry: Registry, key: str) -> Any:
        """Put one more middleware around the app, with one key; return it."""
        raise NotImplementedError

    @property
    def breaker(self) -> Breaker:
        return self.registry[self.key]

    @abstractmethod
    async def call(self, **how: Any) -> Answer:
        """Make one whole call."""

    @abstractmethod
    def in_flight(self) -> Any:
        """Make a call, and hold it in its handler while the block runs."""

    @asynccontextmanager
    async def several_in_flight(self, calls: int) -> AsyncIterator[None]:
        """Make several calls, and hold them in their handlers while the block runs."""
        async with AsyncExitStack() as flights:
            for _ in range(calls):
                await flights.enter_async_context(self.in_flight())
            yield


class AsyncFrontend(Frontend):
    is_async = True
    backends: ClassVar[tuple[str, ...]] = ("asyncio", "trio")

    @asynccontextmanager
    async def in_flight(self) -> AsyncIterator[Flight]:
        flight = Flight()
        latch = self.script.latch = TaskLatch()

        async def fly() -> None:
            with anyio.CancelScope() as scope:
                flight.cancel = scope.cancel
                flight.answer = await self.call()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fly)
            await latch.wait_reached()
            try:
                yield flight
            finally:
                latch.release()


class SyncFrontend(Frontend):
    is_async = False

    @abstractmethod
    def run(self, **how: Any) -> Answer: ...

    async def call(self, **how: Any) -> Answer:
        return self.run(**how)

    @asynccontextmanager
    async def in_flight(self) -> AsyncIterator[Flight]:
        flight = Flight()
        latch = self.script.latch = ThreadLatch()

        def fly() -> None:
            flight.answer = self.run()

        thread = threading.Thread(target=fly, daemon=True)
        thread.start()
        latch.wait_reached()
        try:
            yield flight
        finally:
            latch.release()
            thread.join(WAIT)
            assert not thread.is_alive()


# HTTP


class Asgi(AsyncFrontend):
    """A bare app.

    Attributes:
        heeds_disconnect: Whether it checks for `http.disconnect` while it streams, as the
            streaming responses of frameworks do.
        listens: Whether it can be told so at all.
    """

    speaks_http = True
    key = "app"
    heeds_disconnect = False
    listens: ClassVar[bool] = True

    def configure(self, **options: Any) -> None:
        self.app: Any = recloser.asgi.BreakerMiddleware(self.handler, self.registry, **options)

    def wrap(self, registry: Registry, key: str) -> Any:
        self.app = recloser.asgi.BreakerMiddleware(self.app, registry, key=lambda scope: key)
        return self.app

    async def call(self, **how: Any) -> Answer:
        return await asgi_client.Exchange(**how).run(self.app)

    async def handler(self, scope: Any, receive: Any, send: Any) -> None:
        script = self.script
        await script.abegin()
        await send(
            {
                "type": "http.response.start",
                "status": script.status,
                "headers": [(b"content-type", b"text/plain")],
            }
        )
        if script.streams:
            for chunk in script.body():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                if self.heeds_disconnect and await _is_gone(receive):
                    return
            await send({"type": "http.response.body"})
        else:
            await send({"type": "http.response.body", "body": script.chunks[0]})
        await script.aafter()


async def _is_gone(receive: Any) -> bool:
    """Whether the client has disconnected, without waiting for that."""
    with anyio.CancelScope() as scope:
        # This leaves time only for messages that have arrived already.
        scope.deadline = anyio.current_time()
        while (await receive())["type"] != "http.disconnect":
            pass
        return True
    return False


class Starlette(Asgi):
    key = "GET /items/{id}"

    def configure(self, **options: Any) -> None:
        from starlette.applications import Starlette as App
        from starlette.middleware import Middleware
        from starlette.routing import Route

        from recloser_adapters.starlette import BreakerMiddleware

        self.app = App(
            routes=[Route("/items/{id}", self.endpoint)],
            middleware=[Middleware(BreakerMiddleware, registry=self.registry, **options)],
        )

    async def endpoint(self, request: Any) -> Any:
        from starlette.background import BackgroundTask
        from starlette.responses import Response, StreamingResponse

        script = self.script
        await script.abegin()
        task = BackgroundTask(script.aafter) if script.works_afterwards else None
        if script.streams:
            return StreamingResponse(script.abody(), script.status, background=task)
        return Response(script.chunks[0], script.status, background=task)


class StarletteOutside(Starlette):
    """Wrapped around the whole application. It first gets a 500 for an error, then the error."""

    def configure(self, **options: Any) -> None:
        from starlette.applications import Starlette as App
        from starlette.routing import Route

        from recloser_adapters.starlette import BreakerMiddleware

        app = App(routes=[Route("/items/{id}", self.endpoint)])
        self.app = BreakerMiddleware(app, self.registry, **options)


class FastAPI(Starlette):
    def configure(self, **options: Any) -> None:
        from fastapi import APIRouter, Request
        from fastapi import FastAPI as App

        from recloser_adapters.starlette import BreakerMiddleware

        async def endpoint(id: int, request: Request) -> Any:  # noqa: A002 - the path's own name
            return await self.endpoint(request)

        # With `from __future__ import annotations` FastAPI looks names up in the module's globals.
        endpoint.__annotations__ = {"id": int, "request": Request}
        router = APIRouter()
        # FastAPI does not add HEAD by itself. Starlette does.
        router.api_route("/{id}", methods=["GET", "HEAD"], response_model=None)(endpoint)
        app = App()
        app.include_router(router, prefix="/items")
        app.add_middleware(BreakerMiddleware, registry=self.registry, **options)
        self.app = app


class AiohttpWeb(AsyncFrontend):
    """The middleware of aiohttp.web, which speaks neither ASGI nor WSGI."""

    speaks_http = True
    backends = ("asyncio",)
    key = "GET /items/{id}"

    def configure(self, **options: Any) -> None:
        from aiohttp import web

        from recloser_adapters.aiohttp_web import BreakerMiddleware

        if "on_refuse" in options:
            options["on_refuse"] = _as_aiohttp_handler(options["on_refuse"])
        self._guards: list[Any] = [BreakerMiddleware(self.registry, **options)]
        self._make = web.Application
        self._respond = web.Response, web.StreamResponse

    def remember_requests(self) -> list[Any]:
        from recloser_adapters.aiohttp_web._exchange import KEY

        requests: list[Any] = []

        def remember(request: Any) -> str:
            requests.append(request[KEY].scope)
            return self.key

        self.configure(key=remember)
        return requests

    def wrap(self, registry: Registry, key: str) -> Any:
        from recloser_adapters.aiohttp_web import BreakerMiddleware

        self._guards.insert(0, BreakerMiddleware(registry, key=lambda request: key))
        return self._guards[0]

    async def call(self, **how: Any) -> Answer:
        from tests.support.aiohttp_exchange import Exchange

        app = self._make(middlewares=self._guards)
        app.router.add_get("/items/{id}", self.endpoint)
        return await Exchange(**how).run(app)

    async def endpoint(self, request: Any) -> Any:
        script = self.script
        whole, stream = self._respond
        await script.abegin()
        response: Any
        if not script.streams:
            response = whole(body=script.chunks[0], status=script.status)
        else:
            response = stream(status=script.status)
            await response.prepare(request)
            for chunk in script.body():
                await response.write(chunk)
        if script.works_afterwards:
            await response.prepare(request)
            await response.write_eof()
            await script.aafter()
        return response


class Tornado(AsyncFrontend):
    speaks_http = True
    backends = ("asyncio",)
    key = r"GET /items/(\d+)"

    def configure(self, **options: Any) -> None:
        from tests.support.tornado_exchange import application

        from recloser_adapters.tornado import guard

        if "on_refuse" in options:
            options["on_refuse"] = _as_tornado_function(options["on_refuse"])
        self.app = application(self.script)
        guard(self.app, self.registry, **options)

    def remember_requests(self) -> list[Any]:
        from recloser_adapters.tornado._exchange import ATTRIBUTE

        requests: list[Any] = []

        def remember(request: Any) -> str:
            requests.append(getattr(request, ATTRIBUTE).scope)
            return self.key

        self.configure(key=remember)
        return requests

    def wrap(self, registry: Registry, key: str) -> Any:
        from recloser_adapters.tornado import guard

        return guard(self.app, registry, key=lambda request: key)

    async def call(self, **how: Any) -> Answer:
        from tests.support.tornado_exchange import Exchange

        return await Exchange(**how).run(self.app)


def _as_tornado_function(app: Any) -> Any:
    async def answer(handler: Any, error: Any) -> None:
        messages: list[Any] = []

        async def send(message: Any) -> None:
            messages.append(message)

        await app({"recloser.refusal": error}, None, send)
        handler.set_status(messages[0]["status"])
        handler.finish(messages[1].get("body", b""))

    return answer if callable(app) else app


def _as_aiohttp_handler(app: Any) -> Any:
    """Make of an ASGI app that answers refusals the function that aiohttp's middleware wants."""

    async def answer(request: Any, error: Any) -> Any:
        from aiohttp import web

        messages: list[Any] = []

        async def send(message: Any) -> None:
            messages.append(message)

        await app({"recloser.refusal": error}, None, send)
        return web.Response(status=messages[0]["status"], body=messages[1].get("body", b""))

    return answer if callable(app) else app


class Wsgi(SyncFrontend):
    speaks_http = True
    key = "app"

    def configure(self, **options: Any) -> None:
        self.app: Any = recloser.wsgi.BreakerMiddleware(self.handler, self.registry, **options)

    def wrap(self, registry: Registry, key: str) -> Any:
        self.app = recloser.wsgi.BreakerMiddleware(self.app, registry, key=lambda environ: key)
        return self.app

    def run(self, **how: Any) -> Answer:
        return wsgi_client.Exchange(**how).run(self.app)

    def handler(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        script = self.script
        script.begin()
        start_response(f"{script.status} Status", [("Content-Type", "text/plain")])
        if script.works_afterwards:
            return _ClosedLate(script.body(), script.after)
        return script.body() if script.streams else list(script.chunks)


class WsgiLate(Wsgi):
    """An app that is a generator: none of its code runs before its body is iterated."""

    def handler(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        script = self.script
        script.begin()
        start_response(f"{script.status} Status", [("Content-Type", "text/plain")])
        try:
            yield from script.body()
        finally:
            script.after()


class WsgiValidated(Wsgi):
    """With `wsgiref.validate` on both sides, which checks the server and the app."""

    def configure(self, **options: Any) -> None:
        inner = validator(self.handler)
        self.app = validator(recloser.wsgi.BreakerMiddleware(inner, self.registry, **options))


class _Responding(Wsgi):
    """Answers with a response object of Werkzeug. Flask's response class derives from it."""

    key = "GET /items/<int:id>"

    def respond(self, kind: Any) -> Any:
        script = self.script
        script.begin()
        content: Any = script.body() if script.streams else script.chunks[0]
        response = kind(content, script.status)
        if script.works_afterwards:
            response.call_on_close(script.after)
        return response


class Flask(_Responding):
    def configure(self, **options: Any) -> None:
        from flask import Flask as App

        from recloser_adapters.flask import Recloser

        app = App("contract")
        app.logger.disabled = True
        app.add_url_rule("/items/<int:id>", view_func=self.view, endpoint="items")
        Recloser(app, registry=self.registry, **options)
        self.app = app

    def view(self, id: int) -> Any:  # noqa: A002 - the rule's own name
        from flask import Response

        return self.respond(Response)


class Werkzeug(_Responding):
    def configure(self, **options: Any) -> None:
        from werkzeug.routing import Map, Rule

        from recloser_adapters.werkzeug import BreakerMiddleware

        self.rules = Map([Rule("/items/<int:id>", endpoint="items")])
        self.app = BreakerMiddleware(self.route, self.registry, url_map=self.rules, **options)

    def route(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        from werkzeug.exceptions import HTTPException
        from werkzeug.wrappers import Response

        try:
            self.rules.bind_to_environ(environ).match()
        except HTTPException as error:
            return error(environ, start_response)
        body: Iterable[bytes] = self.respond(Response)(environ, start_response)
        return body


class Bottle(Wsgi):
    key = "GET /items/<id:int>"

    def configure(self, **options: Any) -> None:
        from bottle import Bottle as App

        from recloser_adapters.bottle import BreakerMiddleware

        app = App()
        app.route("/items/<id:int>", callback=self.callback)
        self.app = BreakerMiddleware(app, self.registry, **options)

    def callback(self, id: int) -> Any:  # noqa: A002 - the rule's own name
        from bottle import response

        script = self.script
        script.begin()
        response.status = script.status
        if script.works_afterwards:
            return _ClosedLate(script.body(), script.after)
        return script.body() if script.streams else script.chunks[0]


class Pyramid(Wsgi):
    key = "GET /items/{id}"

    def configure(self, **options: Any) -> None:
        from pyramid.config import Configurator

        config = Configurator()
        config.include("recloser_adapters.pyramid")
        config.set_breakers(self.registry, **options)
        config.add_route("items", "/items/{id}")
        config.add_view(self.view, route_name="items")
        self.app = config.make_wsgi_app()

    def view(self, context: Any, request: Any) -> Any:
        from pyramid.response import Response

        script = self.script
        script.begin()
        if script.works_afterwards:
            return Response(app_iter=_ClosedLate(script.body(), script.after), status=script.status)
        if script.streams:
            return Response(app_iter=script.body(), status=script.status)
        return Response(body=script.chunks[0], status=script.status)


class _ClosedLate:
    """A body that does the work after the response in its `close()`."""

    def __init__(self, body: Iterator[bytes], after: Callable[[], None]) -> None:
        self._body = body
        self.close = after

    def __iter__(self) -> Iterator[bytes]:
        return self._body


# Calls


class CallFrontend(SyncFrontend):
    def run(self, **how: Any) -> Answer:
        assert not how
        try:
            return Answer(body=self.guarded())
        except BaseException as error:
            return Answer(error=error)

    def guarded(self) -> bytes:
        raise NotImplementedError

    def work(self) -> bytes:
        self.script.begin()
        return b"".join(self.script.body())


class With(CallFrontend):
    def guarded(self) -> bytes:
        with self.breaker:
            return self.work()


class Acquire(CallFrontend):
    def guarded(self) -> bytes:
        with self.breaker.acquire():
            return self.work()


class Call(CallFrontend):
    def guarded(self) -> bytes:
        return self.breaker.call(self.work)


class Decorator(CallFrontend):
    def guarded(self) -> bytes:
        return self.breaker(self.work)()


class GeneratorDecorator(CallFrontend):
    def guarded(self) -> bytes:
        return b"".join(self.breaker(self.generate)())

    def generate(self) -> Iterator[bytes]:
        self.script.begin()
        yield from self.script.body()


class AsyncCallFrontend(AsyncFrontend):
    async def call(self, **how: Any) -> Answer:
        assert not how
        try:
            return Answer(body=await self.guarded())
        except (Exception, GeneratorExit, KeyboardInterrupt, SystemExit) as error:
            return Answer(error=error)

    async def guarded(self) -> bytes:
        raise NotImplementedError

    async def work(self) -> bytes:
        await self.script.abegin()
        return b"".join(self.script.body())


class AsyncWith(AsyncCallFrontend):
    async def guarded(self) -> bytes:
        async with self.breaker:
            return await self.work()


class AsyncDecorator(AsyncCallFrontend):
    async def guarded(self) -> bytes:
        return await self.breaker(self.work)()


class AsyncGeneratorDecorator(AsyncCallFrontend):
    async def guarded(self) -> bytes:
        chunks = self.breaker(self.generate)()
        return b"".join([chunk async for chunk in chunks])

    async def generate(self) -> AsyncIterator[bytes]:
        await self.script.abegin()
        async for chunk in self.script.abody():
            yield chunk


ASGI: tuple[type[Asgi], ...] = (Asgi, Starlette, StarletteOutside, FastAPI)
WSGI: tuple[type[Wsgi], ...] = (Wsgi, WsgiLate, WsgiValidated, Flask, Werkzeug, Bottle, Pyramid)
HTTP: tuple[type[Frontend], ...] = (*ASGI, AiohttpWeb, Tornado, *WSGI)
CALLS: tuple[type[Frontend], ...] = (
    With,
    Acquire,
    Call,
    Decorator,
    GeneratorDecorator,
    AsyncWith,
    AsyncDecorator,
    AsyncGeneratorDecorator,
)
ALL: tuple[type[Frontend], ...] = (*HTTP, *CALLS)
# The third-party library that each front end needs.
NEEDS: dict[type[Frontend], str] = {
    Starlette: "starlette",
    StarletteOutside: "starlette",
    FastAPI: "fastapi",
    Flask: "flask",
    Werkzeug: "werkzeug",
    AiohttpWeb: "aiohttp",
    Tornado: "tornado",
    Bottle: "bottle",
    Pyramid: "pyramid",
}
