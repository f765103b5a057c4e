"""Flask: a refusal has the headers that `after_request` functions add for browsers."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, g, request

from recloser import Registry
from recloser_adapters.flask import Recloser

ORIGIN = {"Origin": "https://shop.example"}


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__)
    app.logger.disabled = True
    app.add_url_rule("/item", "item", lambda: "here")
    return app


def allow(response: Response) -> Response:
    response.headers["Access-Control-Allow-Origin"] = request.headers.get("Origin", "nobody")
    return response


def refused(app: Flask, registry: Registry, path: str = "/item", **headers: str) -> Any:
    registry[f"GET {path}"].open("test")
    answer = app.test_client().get(path, headers=headers)
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers
    assert answer.get_json()["status"] == 503
    return answer


@pytest.mark.parametrize("added_last", [False, True])
def test_a_refusal_passes_the_functions_of_the_app(
    app: Flask, registry: Registry, added_last: bool
) -> None:
    if not added_last:
        app.after_request(allow)
    Recloser(app, registry)
    if added_last:
        app.after_request(allow)

    answer = refused(app, registry, **ORIGIN)

    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN["Origin"]


def test_only_a_browser_that_tells_its_origin_needs_that(app: Flask, registry: Registry) -> None:
    app.after_request(allow)
    Recloser(app, registry)

    assert "Access-Control-Allow-Origin" not in refused(app, registry).headers


def test_the_functions_of_a_blueprint_are_asked_for_its_rules(
    app: Flask, registry: Registry
) -> None:
    part = Blueprint("part", __name__, url_prefix="/part")
    part.add_url_rule("/item", "item", lambda: "here")
    part.after_request(allow)
    app.register_blueprint(part)
    Recloser(app, registry)

    assert "Access-Control-Allow-Origin" in refused(app, registry, "/part/item", **ORIGIN).headers
    assert "Access-Control-Allow-Origin" not in refused(app, registry, **ORIGIN).headers


def test_a_function_that_needs_what_a_view_does_is_left_out(app: Flask, registry: Registry) -> None:
    app.after_request(allow)

    @app.after_request
    def close(response: Response) -> Response:
        g.connection.close()
        return response

    Recloser(app, registry)

    answer = refused(app, registry, **ORIGIN)

    assert "Access-Control-Allow-Origin" in answer.headers
    assert registry.faults == 1


def test_a_teardown_that_fails_costs_only_the_headers(app: Flask, registry: Registry) -> None:
    app.after_request(allow)

    @app.teardown_request
    def fail(error: BaseException | None) -> None:
        raise RuntimeError("no connection")

    Recloser(app, registry)

    assert "Access-Control-Allow-Origin" not in refused(app, registry, **ORIGIN).headers
    assert registry.faults == 1


@pytest.mark.skipif(
    importlib.util.find_spec("flask_cors") is None, reason="Flask-CORS is not installed"
)
@pytest.mark.parametrize("cors_last", [False, True])
def test_flask_cors_is_one_of_them(app: Flask, registry: Registry, cors_last: bool) -> None:
    import flask_cors

    install_cors: Any = flask_cors.CORS

    install = [lambda: install_cors(app), lambda: Recloser(app, registry)]
    for each in reversed(install) if cors_last else install:
        each()

    assert refused(app, registry, **ORIGIN).headers["Access-Control-Allow-Origin"]
