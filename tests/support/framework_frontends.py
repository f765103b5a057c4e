"""Front ends of more web frameworks, each guarded in the way that its adapter recommends."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from tests.support.frontends import Asgi, Wsgi


class Quart(Asgi):
    key = "GET /items/<int:id>"
    needs = "quart"
    backends = ("asyncio",)
    works_afterwards = False
    makes_a_task = True

    def configure(self, **options: Any) -> None:
        from quart import Quart as App

        from recloser_adapters.quart import BreakerMiddleware

        app = App("contract")
        app.logger.disabled = True
        app.add_url_rule("/items/<int:id>", view_func=self.view, endpoint="items")
        app.asgi_app = BreakerMiddleware(  # type: ignore[method-assign]
            app.asgi_app, self.registry, **options
        )
        self.app = app

    async def view(self, id: int) -> Any:  # noqa: A002 - the rule's own name
        from quart import Response

        script = self.script
        await script.abegin()
        content: Any = script.abody() if script.streams else script.chunks[0]
        return Response(content, script.status)


class Litestar(Asgi):
    key = "GET /items/{oid}"
    needs = "litestar"

    def configure(self, **options: Any) -> None:
        from litestar import HttpMethod, Response, route
        from litestar import Litestar as App
        from litestar.background_tasks import BackgroundTask
        from litestar.response import Stream

        from recloser_adapters.litestar import BreakerPlugin

        async def items() -> Any:
            script = self.script
            await script.abegin()
            task = BackgroundTask(script.aafter) if script.works_afterwards else None
            if script.streams:
                return Stream(script.abody(), status_code=script.status, background=task)
            return Response(script.chunks[0], status_code=script.status, background=task)

        items.__annotations__ = {"return": Any}
        handler = route("/items/{oid:int}", http_method=[HttpMethod.GET, HttpMethod.HEAD])(items)
        plugin = BreakerPlugin(self.registry, **options)
        self.app = App([handler], plugins=[plugin], logging_config=None)


class LitestarOutside(Litestar):
    """Wrapped around the whole application."""

    def configure(self, **options: Any) -> None:
        from recloser_adapters.litestar import BreakerMiddleware

        super().configure(mode="disabled")
        self.app = BreakerMiddleware(self.app, self.registry, **options)


class BlackSheep(Asgi):
    """It does not listen for the leaving of the client while it streams."""

    key = "GET /items/{int:id}"
    needs = "blacksheep"
    backends = ("asyncio",)
    listens = False
    works_afterwards = False

    def configure(self, **options: Any) -> None:
        from blacksheep import Application, Router

        from recloser_adapters.blacksheep import BreakerMiddleware

        app = Application(router=Router())
        logging.getLogger("blacksheep.server").disabled = True

        # It marks a handler, which a bound method does not allow.
        async def items(request: Any) -> Any:
            return await self.endpoint()

        app.router.add_get("/items/{int:id}", items)
        app.router.add_head("/items/{int:id}", items)
        starting = app.start()
        with contextlib.suppress(StopIteration):
            starting.send(None)  # it waits for nothing here
        self.app = BreakerMiddleware(app, self.registry, **options)

    async def endpoint(self) -> Any:
        from blacksheep import Content, Response, StreamedContent

        script = self.script
        await script.abegin()
        if script.streams:

            async def body() -> AsyncIterator[bytes]:  # it wants a generator
                async for chunk in script.abody():
                    yield chunk

            return Response(script.status, content=StreamedContent(b"text/plain", body))
        return Response(script.status, content=Content(b"text/plain", script.chunks[0]))


class FalconAsgi(Asgi):
    """It does not listen for the leaving of the client while it streams."""

    key = "GET /items/{oid:int}"
    needs = "falcon"
    backends = ("asyncio",)
    works_afterwards = False
    listens = False

    def configure(self, **options: Any) -> None:
        import falcon.asgi

        from recloser_adapters.falcon import AsgiBreakerMiddleware

        logging.getLogger("falcon").disabled = True
        app = falcon.asgi.App()
        app.add_route("/items/{oid:int}", self)
        self.app = AsgiBreakerMiddleware(app, self.registry, **options)

    async def on_get(self, req: Any, resp: Any, oid: int) -> None:
        script = self.script
        await script.abegin()
        resp.status = script.status
        if script.streams:
            resp.stream = script.abody()
        else:
            resp.data = script.chunks[0]

    on_head = on_get


class FalconWsgi(Wsgi):
    key = "GET /items/{oid:int}"
    needs = "falcon"
    works_afterwards = False

    def configure(self, **options: Any) -> None:
        import falcon

        from recloser_adapters.falcon import BreakerMiddleware

        logging.getLogger("falcon").disabled = True
        app = falcon.App()
        app.add_route("/items/{oid:int}", self)
        self.app = BreakerMiddleware(app, self.registry, **options)

    def on_get(self, req: Any, resp: Any, oid: int) -> None:
        script = self.script
        script.begin()
        resp.status = script.status
        if script.streams:
            resp.stream = script.body()
        else:
            resp.data = script.chunks[0]

    on_head = on_get


class ConnexionAsync(Asgi):
    key = "GET /items/{id}"
    needs = "connexion"
    backends = ("asyncio",)
    warns = (
        "ignore::DeprecationWarning",  # it uses what jsonschema has deprecated
    )

    def configure(self, **options: Any) -> None:
        import connexion
        from connexion.middleware import MiddlewarePosition
        from connexion.resolver import Resolver

        from recloser_adapters.connexion import BreakerMiddleware

        logging.getLogger("connexion").disabled = True
        logging.getLogger("connexion.middleware.exceptions").disabled = True
        # Of a body that breaks, its outermost middleware makes an answer that it forgets to await.
        of_connexion = connexion.ConnexionMiddleware.default_middlewares[1:]
        app = connexion.AsyncApp("contract", middlewares=[*of_connexion])
        app.add_middleware(
            BreakerMiddleware,
            position=MiddlewarePosition.BEFORE_EXCEPTION,
            registry=self.registry,
            **options,
        )
        parameter = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}
        operation = {"operationId": "item", "responses": {"200": {"description": "an item"}}}
        path = {"parameters": [parameter], "get": operation}
        document = {"openapi": "3.0.0", "info": {"title": "contract", "version": "1"}}
        app.add_api(
            {**document, "paths": {"/items/{id}": path}}, resolver=Resolver(lambda name: self.item)
        )
        self.app = app

    async def item(self, id: int) -> Any:  # noqa: A002 - the path's own name
        from starlette.background import BackgroundTask
        from starlette.responses import Response, StreamingResponse

        script = self.script
        await script.abegin()
        task = BackgroundTask(script.aafter) if script.works_afterwards else None
        if script.streams:
            return StreamingResponse(script.abody(), script.status, background=task)
        return Response(script.chunks[0], script.status, background=task)


ASGI: tuple[type[Asgi], ...] = (
    Quart,
    Litestar,
    LitestarOutside,
    BlackSheep,
    FalconAsgi,
    ConnexionAsync,
)
WSGI: tuple[type[Wsgi], ...] = (FalconWsgi,)
