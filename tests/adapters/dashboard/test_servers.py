"""The dashboard on real servers and sockets, mounted as its users mount it."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any
from urllib.parse import quote

import pytest
from tests.support.dashboard_client import PASSWORD, USER, login
from tests.support.waiting import until

from recloser import Registry
from recloser_adapters.dashboard import Dashboard, basic

KEY = "GET /orders/{order} é/open"
Serve = Callable[[Dashboard], Any]


@contextmanager
def _uvicorn(app: Any) -> Iterator[int]:
    uvicorn = pytest.importorskip("uvicorn")
    settings = {"host": "127.0.0.1", "port": 0, "log_level": "error"}
    server = uvicorn.Server(uvicorn.Config(app, **settings))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started, "the server's start")
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


@contextmanager
def _werkzeug(app: Any) -> Iterator[int]:
    serving = import_module("werkzeug.serving")

    class Quiet(serving.WSGIRequestHandler):  # type: ignore[name-defined, misc]
        def log(self, *_: object) -> None:
            """Say nothing."""

    server = serving.make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.port
    server.shutdown()
    thread.join()
    server.server_close()


def _starlette(dashboard: Dashboard) -> Any:
    applications = pytest.importorskip("starlette.applications")
    app = applications.Starlette()
    app.mount("/a/breakers", dashboard)
    return _uvicorn(app)


def _fastapi(dashboard: Dashboard) -> Any:
    fastapi = pytest.importorskip("fastapi")
    app = fastapi.FastAPI()
    app.mount("/a/breakers", dashboard)
    return _uvicorn(app)


def _flask(dashboard: Dashboard) -> Any:
    flask = pytest.importorskip("flask")
    dispatcher = import_module("werkzeug.middleware.dispatcher")
    app = flask.Flask(__name__)
    app.wsgi_app = dispatcher.DispatcherMiddleware(app.wsgi_app, {"/a/breakers": dashboard.wsgi})
    return _werkzeug(app)


@pytest.fixture(params=[_starlette, _fastapi, _flask], ids=["starlette", "fastapi", "flask"])
def serve(request: pytest.FixtureRequest) -> Serve:
    return request.param  # type: ignore[no-any-return]


def _ask(
    port: int, method: str, path: str, headers: dict[str, str], body: bytes | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, f"/a/breakers{path}", body, headers)
    response = connection.getresponse()
    read = response.read()
    connection.close()
    return response, read


def test_it_is_seen_and_steered(serve: Serve, registry: Registry) -> None:
    with registry[KEY]:
        pass
    dashboard = Dashboard(registry, auth=basic({USER: PASSWORD}))
    with serve(dashboard) as port:
        headers = {"Authorization": login(), "Content-Type": "application/json"}
        name = quote(KEY, safe="")

        moved, _ = _ask(port, "GET", "", headers)
        page, html = _ask(port, "GET", "/", headers)
        _, seen = _ask(port, "GET", f"/keys/{name}", headers)
        opened, _ = _ask(port, "POST", f"/keys/{name}/open", headers, b'{"for": 60}')
        unknown, _ = _ask(port, "GET", "/keys/x", headers)
        nobody, problem = _ask(port, "GET", "/keys", {})
        long, _ = _ask(port, "POST", f"/keys/{name}/open", headers, b" " * 17_000)
        head, nothing = _ask(port, "HEAD", "/", headers)
    dashboard.close()

    assert moved.status in (307, 308)
    assert (
        moved.headers["location"].endswith("/breakers/")
        or moved.headers["location"] == "./breakers/"
    )
    assert (page.status, html[:15].lower()) == (200, b"<!doctype html>")
    assert json.loads(seen)["key"] == KEY
    assert opened.status == 200
    assert registry[KEY].state.value == "open"
    assert unknown.status == 404
    assert (nobody.status, json.loads(problem)["status"]) == (401, 401)
    assert long.status == 413
    assert (head.status, nothing) == (200, b"")


def test_without_auth_it_is_for_this_machine(serve: Serve, registry: Registry) -> None:
    dashboard = Dashboard(registry)
    with serve(dashboard) as port:
        here, _ = _ask(port, "GET", "/keys", {})
        through_a_proxy, _ = _ask(port, "GET", "/keys", {"X-Forwarded-For": "127.0.0.1"})
    dashboard.close()

    assert (here.status, through_a_proxy.status) == (200, 403)


def test_it_is_an_app_of_its_own(registry: Registry) -> None:
    """With lifespan, and without a mount."""
    dashboard = Dashboard(registry)
    with _uvicorn(dashboard) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/keys")
        status = connection.getresponse().status
        connection.close()
    dashboard.close()

    assert status == 200
