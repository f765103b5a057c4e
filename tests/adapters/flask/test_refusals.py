"""Flask: what becomes of a refusal by a breaker inside a view."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, abort, request
from tests.support.breaker_state import votes
from werkzeug.exceptions import HTTPException, ServiceUnavailable

from recloser import BreakerOpenError, Registry
from recloser.testing import open_breaker
from recloser_adapters.flask import Recloser, ViewRefusedError, protect, refuse

CALLS = 20


class UnreachableError(ConnectionError):
    """As a client library names what it cannot reach."""


class RefusedUnreachableError(BreakerOpenError, UnreachableError):
    """As the outbound adapters refuse: their library's own error, too."""


@pytest.fixture
def outbound() -> Registry:
    registry = Registry()
    open_breaker(registry["db"])
    return registry


@pytest.fixture
def app(registry: Registry, outbound: Registry) -> Flask:
    """Its view makes an outbound call that is refused."""
    app = Flask(__name__)
    Recloser(app, registry)

    @app.get("/")
    def view() -> str:
        with outbound["db"]:
            return "here"

    return app


def call(app: Flask, path: str = "/", **more: Any) -> Any:
    """Make many calls, of which the last is answered like all before."""
    client = app.test_client()
    answers = [client.get(path, buffered=True, **more) for _ in range(CALLS)]
    assert len({answer.status_code for answer in answers}) == 1
    return answers[-1]


def test_a_refusal_below_a_view_is_answered_and_not_counted(app: Flask, registry: Registry) -> None:
    answer = call(app)

    assert answer.status_code == 503
    assert answer.content_type == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert int(answer.headers["Retry-After"]) >= 60
    assert "db" not in answer.get_data(as_text=True)
    assert votes(registry["GET /"].metrics()) == {"ignored": CALLS}


def test_it_is_answered_alike_where_errors_propagate(app: Flask) -> None:
    app.testing = True

    assert call(app).status_code == 503


def test_who_wants_to_see_all_errors_gets_the_one_that_was_raised(app: Flask) -> None:
    app.config.update(TESTING=True, TRAP_HTTP_EXCEPTIONS=True)

    with pytest.raises(BreakerOpenError) as caught:
        app.test_client().get("/")

    assert type(caught.value) is BreakerOpenError


def test_it_is_answered_alike_before_the_view(app: Flask, registry: Registry) -> None:
    @app.before_request
    def ask() -> None:
        raise BreakerOpenError("db", registry["GET /"].state, None, 5.0)

    answer = call(app)

    assert (answer.status_code, answer.headers["Retry-After"]) in {(503, "5"), (503, "6")}
    assert votes(registry["GET /"].metrics()) == {"ignored": CALLS}


def test_a_failure_beside_it_still_counts(app: Flask, registry: Registry) -> None:
    @app.get("/broken")
    def broken() -> str:
        raise RuntimeError("out of order")

    assert app.test_client().get("/broken", buffered=True).status_code == 500
    assert votes(registry["GET /broken"].metrics()) == {"failures": 1}


HANDLED: list[Any] = [BreakerOpenError, 503, HTTPException, Exception]


@pytest.mark.parametrize("where", ["app", "blueprint"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("handled", HANDLED)
def test_a_handler_of_the_application_answers_and_is_not_counted(
    registry: Registry, outbound: Registry, handled: Any, first: bool, where: str
) -> None:
    seen: list[Any] = []

    def mine(error: Any) -> tuple[str, int]:
        seen.append(error)
        return "mine", 500

    app = Flask(__name__)
    blueprint = Blueprint("shop", __name__)
    if not first:
        Recloser(app, registry)

    @blueprint.get("/")
    def view() -> str:
        with outbound["db"]:
            return "here"

    (app if where == "app" else blueprint).register_error_handler(handled, mine)
    app.register_blueprint(blueprint)
    if first:
        Recloser(app, registry)

    assert call(app).get_data() == b"mine"
    assert isinstance(seen[-1], BreakerOpenError)
    assert seen[-1].key == "db"
    assert votes(registry["GET /"].metrics()) == {"ignored": CALLS}


def test_a_handler_for_all_http_errors_also_answers_what_protect_refuses(
    registry: Registry,
) -> None:
    app = Flask(__name__)
    recloser = Recloser(app, registry)
    app.add_url_rule("/", "home", recloser.protect("payments")(lambda: "here"))
    open_breaker(registry["payments"])

    @app.errorhandler(HTTPException)
    def as_json(error: HTTPException) -> Any:
        # As Flask's documentation has it.
        response: Any = error.get_response()
        response.data = json.dumps({"name": error.name})
        response.content_type = "application/json"
        return response

    answer = call(app)

    assert (answer.status_code, answer.json) == (503, {"name": "Service Unavailable"})
    assert "Retry-After" in answer.headers


def test_a_handler_for_the_clients_errors_comes_first(registry: Registry) -> None:
    app = Flask(__name__)
    Recloser(app, registry)
    app.register_error_handler(UnreachableError, lambda error: ("stale", 200))

    @app.get("/")
    def view() -> str:
        raise RefusedUnreachableError("db", registry["GET /"].state, None, 5.0)

    assert call(app).get_data() == b"stale"
    assert votes(registry["GET /"].metrics()) == {"ignored": CALLS}


def test_what_a_handler_raises_is_the_applications_affair(app: Flask, registry: Registry) -> None:
    @app.errorhandler(BreakerOpenError)
    def mine(error: BreakerOpenError) -> str:
        raise RuntimeError("out of order")

    assert call(app).status_code == 500


def test_a_handler_may_see_what_was_refused(app: Flask) -> None:
    seen: list[Any] = []

    @app.errorhandler(503)
    def mine(error: ViewRefusedError) -> Response:
        seen.append(error)
        return Response(str(error.retry_after), 503)

    call(app)

    assert type(seen[-1]) is ViewRefusedError
    assert type(seen[-1].__cause__) is BreakerOpenError


def test_an_application_that_is_off_is_left_as_it_is(registry: Registry) -> None:
    app = Flask(__name__)
    before = app.handle_user_exception

    Recloser(app, registry, enabled=False)

    assert app.handle_user_exception == before


@pytest.mark.parametrize("guarded_by", ["rule", "protect"])
@pytest.mark.parametrize("how", ["from it", "while it is handled"])
def test_an_error_raised_instead_of_a_refusal_is_not_counted(
    registry: Registry, outbound: Registry, guarded_by: str, how: str
) -> None:
    app = Flask(__name__)
    if guarded_by == "rule":
        Recloser(app, registry, key=lambda environ: "k")

    def view() -> str:
        try:
            with outbound["db"]:
                return "here"
        except BreakerOpenError as refusal:
            if how == "from it":
                raise ServiceUnavailable from refusal
            abort(503)

    guard: Callable[[Any], Any] = protect(registry, "k")
    app.add_url_rule("/", "home", view if guarded_by == "rule" else guard(view))

    assert call(app).status_code == 503

    assert votes(registry["k"].metrics()) == {"ignored": CALLS}


# A view that answers by itself


@pytest.mark.parametrize("guarded_by", ["rule", "protect", "both"])
@pytest.mark.parametrize("answers", ["by returning", "by raising"])
def test_a_view_can_refuse_by_itself(
    registry: Registry, outbound: Registry, guarded_by: str, answers: str
) -> None:
    app = Flask(__name__)
    if guarded_by != "protect":
        Recloser(app, registry, key=lambda environ: "rule")

    def view() -> Response:
        try:
            with outbound["db"]:
                return Response("here")
        except BreakerOpenError as error:
            response = refuse(error)
            if answers == "by raising":
                abort(response)
            return response

    guard: Callable[[Any], Any] = protect(registry, "own")
    app.add_url_rule("/", "home", view if guarded_by == "rule" else guard(view))

    answer = call(app)

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 60
    expected = {"rule": ["rule"], "protect": ["own"], "both": ["own", "rule"]}[guarded_by]
    assert {each.key: votes(each.metrics()) for each in registry} == {
        key: {"ignored": CALLS} for key in expected
    }


def test_it_is_a_handler_for_an_application_without_the_extension(outbound: Registry) -> None:
    app = Flask(__name__)
    app.register_error_handler(BreakerOpenError, refuse)
    app.add_url_rule("/", "home", lambda: outbound["db"].call(lambda: request.path))

    assert call(app).status_code == 503


def test_the_body_of_a_refusal_is_left_out_for_head(app: Flask) -> None:
    answer = app.test_client().head("/")

    assert (answer.status_code, answer.get_data()) == (503, b"")
    assert "Retry-After" in answer.headers
