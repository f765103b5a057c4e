"""The dashboard: which request gets which answer."""

from __future__ import annotations

import weakref
from collections.abc import Collection
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote

from recloser import Registry
from recloser.hints import check_registry, knows_names
from recloser_adapters._routes.marks import exempt
from recloser_adapters.dashboard import _asgi, _wsgi
from recloser_adapters.dashboard._access import Access, Auth, Viewer, check_may_act
from recloser_adapters.dashboard._actions import ACTIONS, perform
from recloser_adapters.dashboard._exchange import (
    Answer,
    Problem,
    Request,
    complete,
    json_answer,
    loads,
)
from recloser_adapters.dashboard._figures import Figures
from recloser_adapters.dashboard._files import files
from recloser_adapters.dashboard._record import Record
from recloser_adapters.dashboard._sampler import Row, Sampler

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

_READ: tuple[str, ...] = ("GET", "HEAD", "OPTIONS")
_ACT: tuple[str, ...] = ("POST", "OPTIONS")


# A breaker around the dashboard could refuse it when it is needed.
@exempt
class Dashboard:
    """A page and a JSON API for the breakers of a registry, to be mounted at any prefix.

    It is an ASGI app itself, and `wsgi` is a WSGI app:

        app.mount("/breakers", dashboard)  # Starlette, FastAPI
        app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/breakers": dashboard.wsgi})  # Flask

    It shows the breakers of the process that answers. One thread of it measures them every five
    seconds, and more often while somebody looks; no call waits for that.

    Args:
        registry: The registry.
        auth: Returns the name of the user who sent a request, from its headers; None for an unknown
            one. `basic({"anna": password})` makes one. Under ASGI it is called in the event loop,
            so it must not block. Without it the dashboard is read-only, and answers clients on the
            same machine only.
        operators: The users who may act; None for all users. The others may look.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: There are `operators`, but no `auth`.
    """

    @knows_names
    def __init__(
        self,
        registry: Registry,
        auth: Auth | None = None,
        *,
        operators: Collection[str] | None = None,
    ) -> None:
        check_registry(registry, Registry)
        self._registry = registry
        self._access = Access(auth, operators)
        self._record = Record(registry.clock)
        self._sampler = Sampler(registry, self._record)
        self._figures = Figures(registry, self._sampler, self._record)
        self._files = files()
        self._end = weakref.finalize(self, _end, self._sampler, registry.subscribe(self._record))
        self._end.atexit = False
        # What comes later is new, and all of its calls are of the moment when it is found.
        self._sampler.measure()
        self._sampler.start()

    async def __call__(self, scope: _asgi.Scope, receive: _asgi.Receive, send: _asgi.Send) -> None:
        """Answer an ASGI connection."""
        await _asgi.serve(self._respond, scope, receive, send)

    def wsgi(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        """Answer a WSGI request."""
        return _wsgi.serve(self._respond, environ, start_response)

    def close(self) -> None:
        """End its thread, and listen no more. That is also done when nobody has it any more."""
        self._end()

    def _respond(self, request: Request) -> Answer:
        try:
            answer = self._route(request)
        except Problem as problem:
            answer = problem.answer
        except Exception as error:
            self._registry.fault("dashboard", error)
            answer = Problem(500, "A fault", "The dashboard has a fault; the log has it.").answer
        return complete(request, answer)

    def _route(self, request: Request) -> Answer:
        viewer = self._access.viewer(request)
        path = request.path
        if path in self._files or path in ("", "/keys", "/fleet"):
            rest, action, allowed = "", "", _READ
        elif path.startswith("/keys/"):
            rest, action, allowed = self._key_path(request.method, path.removeprefix("/keys/"))
        else:
            raise Problem(404, "Not found", "There is no such page.")
        allow = ("Allow", ", ".join(allowed))
        if request.method not in allowed:
            if rest:
                self._row(rest)  # 404 rather than 405
            raise Problem(405, "Not allowed", f"Only {allow[1]} is possible here.", allow)
        if request.method == "OPTIONS":
            return Answer(204, headers=(allow,))
        if action:
            return self._act(request, viewer, rest, action)
        if path.startswith("/keys/"):
            return json_answer(*self._figures.page(self._row(rest), viewer))
        if path == "/keys":
            return json_answer(*self._figures.keys(dict(parse_qsl(request.query)), viewer))
        if path == "/fleet":
            return json_answer(*self._figures.fleet(viewer))
        if not path:
            # Addresses in the page are relative to its folder.
            here = quote(request.prefix.rpartition("/")[2])
            return Answer(308, headers=(("Location", f"./{here}/" if here else "/"),))
        return self._files[path]

    def _key_path(self, method: str, rest: str) -> tuple[str, str, tuple[str, ...]]:
        """Split what follows `/keys/`: the key, the action or "", and the methods.

        A key may have slashes, and end like an action.
        """
        key, slash, action = rest.rpartition("/")
        acts = bool(slash) and action in ACTIONS
        if acts and (method not in ("GET", "HEAD") or self._sampler.row(rest) is None):
            return key, action, _ACT
        return rest, "", _READ

    def _row(self, name: str) -> Row:
        row = self._sampler.row(name)
        if row is None:
            raise Problem(404, "No such key", "A key is here from its first call on.")
        return row

    def _act(self, request: Request, viewer: Viewer, name: str, action: str) -> Answer:
        check_may_act(request, viewer)
        asked = loads(request.body)
        row = self._row(name)
        done = perform(row.breaker, action, asked, viewer.name)
        self._record.act(row.breaker.key, action, viewer.name, done)
        return json_answer(self._figures.key(self._row(row.id)))


def _end(sampler: Sampler, unsubscribe: object) -> None:
    sampler.stop()
    if callable(unsubscribe):
        unsubscribe()
