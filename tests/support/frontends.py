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
        is_async: Whether handlers run in tasks. They are then tested on asyncio and trio.
        speaks_http: Whether there is a response with a status.
        backends: What its handlers run on, if they run in tasks.
        sees_messages: Whether what the server is sent passes it, under ASGI.
    """

    key: ClassVar[str] = "handler"
    is_async: ClassVar[bool]
    speaks_http: ClassVar[bool] = False
    backends: ClassVar[tuple[str, ...]] = ("asyncio", "trio")
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
    """

    speaks_http = True
    key = "app"
    heeds_disconnect = False

    def configure(self, **options: Any) -> None:
        self.app: Any = recloser.asgi.BreakerMiddleware(self.handler, self.registry, **options)

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


class Wsgi(SyncFrontend):
    speaks_http = True
    key = "app"

    def configure(self, **options: Any) -> None:
        self.app: Any = recloser.wsgi.BreakerMiddleware(self.handler, self.registry, **options)

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
WSGI: tuple[type[Wsgi], ...] = (Wsgi, WsgiLate, WsgiValidated, Flask, Werkzeug)
HTTP: tuple[type[Frontend], ...] = (*ASGI, *WSGI)
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
}
