"""Django projects as front ends, with their handlers for WSGI and ASGI."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tests.support.frontends import Asgi, Wsgi
from tests.support.scripted_handler import Answer


class _Project:
    """A project with one view, guarded by the line in `MIDDLEWARE`."""

    def __init__(self, view: Callable[..., Any], **options: Any) -> None:
        from django.urls import path
        from tests.support.django_project import Urlconf, overridden

        setting = {name.upper(): value for name, value in options.items()}
        if "on_refuse" in options:
            setting["ON_REFUSE"] = _as_function(options["on_refuse"])
        overridden.by(
            ROOT_URLCONF=Urlconf([path("items/<int:id>", view)]),
            RECLOSER=setting,
        )


class DjangoWsgi(Wsgi):
    needs = "django"
    key = "GET /items/<int:id>"

    def configure(self, **options: Any) -> None:
        _Project(self.view, registry=self.registry, **options)
        from django.core.handlers.wsgi import WSGIHandler

        self.app = WSGIHandler()

    def remember_requests(self) -> list[Any]:
        return _remember(self)

    def view(self, request: Any, id: int) -> Any:  # noqa: A002 - the pattern's own name
        script = self.script
        script.begin()
        return _response(script, script.body())


class DjangoAsgi(Asgi):
    """It has no receive and send of the server: Django's handler has them, and it is further out.

    So it is not told that a client has left while nothing is sent, and that it could not be sent to.
    """

    key = "GET /items/<int:id>"
    needs = "django"
    backends = ("asyncio",)
    sees_messages = False
    makes_a_task = True
    _bodies: list[Any]

    def configure(self, **options: Any) -> None:
        _Project(self.view, registry=self.registry, **options)
        from django.core.handlers.asgi import ASGIHandler

        bodies = self._bodies = []

        class Handler(ASGIHandler):
            async def read_body(self, receive: Any) -> Any:
                bodies.append(await super().read_body(receive))
                return bodies[-1]

        self.app = Handler()

    def remember_requests(self) -> list[Any]:
        return _remember(self)

    async def call(self, **how: Any) -> Answer:
        try:
            return await super().call(**how)
        finally:
            # Django leaves the body of the request open if its handler raises.
            while self._bodies:
                self._bodies.pop().close()

    async def view(self, request: Any, id: int) -> Any:  # noqa: A002 - the pattern's own name
        script = self.script
        await script.abegin()
        return _response(script, script.abody())


def _remember(front: Any) -> list[Any]:
    requests: list[Any] = []

    def remember(request: Any) -> str:
        requests.append(request.META)
        return str(front.key)

    front.configure(key=remember)
    return requests


def _response(script: Any, stream: Any) -> Any:
    from django.http import HttpResponse, StreamingHttpResponse

    kind: Any = StreamingHttpResponse if script.streams else HttpResponse
    if script.works_afterwards:
        kind = type("ClosedLate", (kind,), {"close": _closing(kind, script.after)})
    return kind(
        stream if script.streams else script.chunks[0],
        status=script.status,
        content_type="text/plain",
    )


def _closing(kind: Any, after: Callable[[], None]) -> Callable[[Any], None]:
    """A `close()` that does the work after the response."""

    def close(self: Any) -> None:
        kind.close(self)
        after()

    return close


def _as_function(app: Any) -> Any:
    """The answer of an ASGI or WSGI app as a function from request and refusal to a response."""
    if not callable(app):
        return app

    def on_refuse(request: Any, error: Exception) -> Any:
        from django.http import HttpResponse

        said: list[Any] = []

        async def send(message: Any) -> None:
            said.append(message)

        environ = {"recloser.refusal": error}
        result: Any = app(environ, *_arguments(app, send, said))
        if hasattr(result, "send"):
            _run(result)
            if not said:
                return None
            body = b"".join(message.get("body", b"") for message in said)
            return HttpResponse(body, status=said[0]["status"])
        return HttpResponse(b"".join(result), status=int(said[0][:3]))

    return on_refuse


def _arguments(app: Any, send: Any, said: list[Any]) -> Iterable[Any]:
    import inspect

    if inspect.iscoroutinefunction(app):
        return (None, send)
    return (lambda status, headers: said.append(status),)


def _run(coroutine: Any) -> None:
    """Run a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits")


ASGI: tuple[type[Asgi], ...] = (DjangoAsgi,)
WSGI: tuple[type[Wsgi], ...] = (DjangoWsgi,)
