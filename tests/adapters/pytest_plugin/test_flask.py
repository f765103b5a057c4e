"""The pytest plugin finds the rules of real Flask and Werkzeug apps."""

from __future__ import annotations

import pytest
from tests.support.plugin_runs import failure, passed

pytest.importorskip("flask")

pytest_plugins = ["pytester"]

FLASK = """
import pytest
from flask import Flask
from recloser import Registry
from recloser_adapters.flask import Recloser, exempt, keyed, protect

payments = Registry()


def make_app(registry=None, **options):
    app = Flask(__name__)
    for rule in ("/orders/<int:order>", "/health"):
        app.add_url_rule(rule, rule, lambda **values: "hello")
    app.add_url_rule("/open", "open", exempt(lambda: "open"))
    app.add_url_rule("/named", "named", keyed("backend")(lambda: "named"))
    app.add_url_rule("/pay", "pay", protect(payments, "payments")(lambda: "paid"))
    Recloser(app, registry, **options)
    return app
"""


def test_rules_of_flask_are_known_before_their_first_request(pytester: pytest.Pytester) -> None:
    passed(
        pytester,
        FLASK
        + """
@pytest.fixture
def client(recloser_registry):
    return make_app(recloser_registry).test_client()

@pytest.mark.parametrize(
    ("path", "key"),
    [("/orders/7", "GET /orders/<int:order>"), ("/named", "backend"), ("/pay", "payments")],
)
def test_it(path, key, client, force_open, recloser_transitions):
    assert client.get(path).status_code == 200
    force_open(key)
    assert client.get(path).status_code == 503
    recloser_transitions.expect(key, "open")

def test_nothing_is_left(client):
    assert client.get("/pay").status_code == 200
""",
        tests=4,
    )


@pytest.mark.parametrize(
    "key", ["GET /orders", "GET /health", "GET /open", "GET /static/<path:filename>"]
)
def test_a_key_that_guards_nothing_in_flask_fails(pytester: pytest.Pytester, key: str) -> None:
    said = failure(
        pytester,
        FLASK
        + f"""
app = make_app()

@pytest.fixture(name="app")
def _app():
    return app

def test_it(app, force_open):
    force_open({key!r})
""",
    )

    assert f"no route and no breaker has the key {key!r}" in said
    assert "'GET /orders/<int:order>'" in said


def test_an_app_that_is_switched_off_guards_nothing(pytester: pytest.Pytester) -> None:
    said = failure(
        pytester,
        FLASK
        + """
def test_it(force_open):
    force_open("GET /orders/<int:order>", within=make_app(enabled=False))
""",
    )

    assert "force_open: no app with breakers" in said


def test_rules_of_werkzeug_are_known_too(pytester: pytest.Pytester) -> None:
    passed(
        pytester,
        """
import pytest
from werkzeug.routing import Map, Rule
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response
from recloser_adapters.werkzeug import BreakerMiddleware

class Shop:
    url_map = Map([Rule("/orders/<order>", endpoint="order"), Rule("/health", endpoint="health")])

    def __init__(self):
        self.wsgi_app = BreakerMiddleware(self.wsgi_app, url_map=self.url_map)

    def wsgi_app(self, environ, start_response):
        return Response("hello")(environ, start_response)

    def __call__(self, environ, start_response):
        return self.wsgi_app(environ, start_response)

@pytest.fixture
def client():
    return Client(Shop())

def test_it(client, force_open):
    assert client.get("/orders/7").status_code == 200
    force_open("GET /orders/<order>")
    assert client.get("/orders/7").status_code == 503
    with pytest.raises(pytest.fail.Exception, match="no route and no breaker"):
        force_open("GET /health")
""",
    )
