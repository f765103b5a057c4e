"""Bottle: the key of each route, seen by requesting it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.support.wsgi_client import Exchange

bottle: Any = pytest.importorskip("bottle")

from recloser import Registry
from recloser.wsgi import BreakerMiddleware as AnyAppMiddleware
from recloser_adapters._pytest.apps import known_keys
from recloser_adapters.bottle import UNMATCHED, BreakerMiddleware, exempt, guarded_keys, keyed


def answer(*args: object, **kwargs: object) -> str:
    return "ok"


def plain(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"ok"]


def make_app() -> Any:
    app = bottle.Bottle()
    for rule in (
        "/",
        "/orders",
        "/orders/<id:int>",
        "/orders/<id:int>/lines",
        "/orders/<id:int>/lines/<line:int>",
        "/prices/<amount:float>",
        "/users/<name>",
        "/users/<name>/",
        "/codes/<code:re:[a-z]{2}>",
        "/codes/<code:re:[0-9]+>",
        "/files/<path:path>",
        "/old/:style",
        "/ünïcode/<x>",
        "/dots.<ext>",
        "/first/<a>/second/<b>",
    ):
        app.route(rule, callback=answer)
    app.post("/orders", callback=answer)
    app.put("/orders/<id:int>", callback=answer)
    app.delete("/orders/<id:int>", callback=answer)
    app.patch("/orders/<id:int>", callback=answer)
    app.route("/both", method=["GET", "POST"], callback=answer)
    app.route(["/one", "/two"], callback=answer)
    app.route("/any/<x>", method="ANY", callback=answer)
    app.route("/free/<x>", callback=exempt(lambda x: x))
    app.route("/shared/<x>", callback=keyed("payments")(lambda x: x))
    child = bottle.Bottle()
    child.route("/items/<id>", callback=answer)
    child.route("/", callback=answer)
    app.mount("/shop/", child)
    merged = bottle.Bottle()
    merged.route("/merged/<x>", callback=answer)
    app.merge(merged)
    app.mount("/plain/", plain)
    app.mount("/closed/", exempt(lambda environ, start_response: plain(environ, start_response)))
    return app


CASES = [
    ("GET", "/", "GET /"),
    ("GET", "/orders", "GET /orders"),
    ("HEAD", "/orders", "GET /orders"),
    ("POST", "/orders", "POST /orders"),
    ("GET", "/orders/7", "GET /orders/<id:int>"),
    ("GET", "/orders/-7", "GET /orders/<id:int>"),
    ("PUT", "/orders/7", "PUT /orders/<id:int>"),
    ("DELETE", "/orders/7", "DELETE /orders/<id:int>"),
    ("PATCH", "/orders/7", "PATCH /orders/<id:int>"),
    ("GET", "/orders/7/lines", "GET /orders/<id:int>/lines"),
    ("GET", "/orders/7/lines/8", "GET /orders/<id:int>/lines/<line:int>"),
    ("GET", "/prices/1.5", "GET /prices/<amount:float>"),
    ("GET", "/users/anna", "GET /users/<name>"),
    ("GET", "/users/anna/", "GET /users/<name>/"),
    ("GET", "/codes/de", "GET /codes/<code:re:[a-z]{2}>"),
    ("GET", "/codes/49", "GET /codes/<code:re:[0-9]+>"),
    ("GET", "/files/a/b/c.txt", "GET /files/<path:path>"),
    ("GET", "/old/thing", "GET /old/:style"),
    ("GET", "/ünïcode/ß", "GET /ünïcode/<x>"),
    ("GET", "/dots.json", "GET /dots.<ext>"),
    ("GET", "/first/1/second/2", "GET /first/<a>/second/<b>"),
    ("GET", "/both", "GET /both"),
    ("POST", "/both", "POST /both"),
    ("GET", "/one", "GET /one"),
    ("GET", "/two", "GET /two"),
    ("GET", "/any/1", "GET /any/<x>"),
    ("DELETE", "/any/1", "DELETE /any/<x>"),
    ("BREW", "/any/1", "OTHER /any/<x>"),
    ("GET", "/shared/1", "payments"),
    ("GET", "/shop/items/1", "GET /shop/items/<id>"),
    ("GET", "/shop/", "GET /shop/"),
    ("GET", "/merged/1", "GET /merged/<x>"),
    ("GET", "/plain/a/b", "GET /plain/<:re:.*>"),
]
UNGUARDED = [
    ("GET", "/free/1", 200),
    ("GET", "/closed/1", 200),
    ("GET", "/none", 404),
    ("GET", "/orders/x", 404),
    ("DELETE", "/orders", 405),
    ("GET", "/health", 404),
    ("OPTIONS", "/any/1", 200),
]


def in_latin_1(path: str) -> str:
    """As WSGI has it."""
    return path.encode().decode("latin-1")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Bottle warns of `:style`
@pytest.mark.parametrize(("method", "path", "key"), CASES)
def test_each_route_has_its_own_breaker(
    registry: Registry, method: str, path: str, key: str
) -> None:
    app = BreakerMiddleware(make_app(), registry)

    for _ in range(3):  # the second time from the cache
        assert Exchange(method, in_latin_1(path)).run(app).status == 200

    assert [breaker.key for breaker in registry.breakers()] == [key]
    assert registry[key].metrics().successes == 3
    assert registry.faults == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("method", "path", "status"), UNGUARDED)
def test_what_matches_no_rule_or_is_exempt_has_no_breaker(
    registry: Registry, method: str, path: str, status: int
) -> None:
    app = BreakerMiddleware(make_app(), registry)

    assert Exchange(method, path).run(app).status == status

    assert registry.breakers() == []
    assert registry.faults == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_keys_are_known_before_the_first_request(registry: Registry) -> None:
    app = BreakerMiddleware(make_app(), registry)

    [keys] = guarded_keys(app).values()

    requested = {key for method, _, key in CASES if method in ("GET", "POST", "PUT", "PATCH")}
    assert requested <= keys
    assert guarded_keys(AnyAppMiddleware(app, Registry())) == {registry: keys}


def test_a_route_that_is_added_later_has_its_key(registry: Registry) -> None:
    inner = bottle.Bottle()
    app = BreakerMiddleware(inner, registry)
    assert Exchange("GET", "/late").run(app).status == 404

    inner.route("/late", callback=answer)

    assert Exchange("GET", "/late").run(app).status == 200
    assert registry["GET /late"].metrics().successes == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Bottle recommends another way
def test_a_bottle_that_is_mounted_without_a_slash_has_its_rules_as_keys(
    registry: Registry,
) -> None:
    app, child = bottle.Bottle(), bottle.Bottle()
    child.route("/items/<id>", callback=answer)
    child.route("/", callback=answer)
    app.mount("/shop", child)
    guarded = BreakerMiddleware(app, registry)

    statuses = [Exchange("GET", path).run(guarded).status for path in ("/shop/items/1", "/shop/x")]

    assert statuses == [200, 404]
    assert [breaker.key for breaker in registry.breakers()] == ["GET /shop/items/<id>"]
    assert guarded_keys(guarded) == {registry: {"GET /shop/items/<id>", "GET /shop/"}}


def test_an_app_in_another_middleware_is_found(registry: Registry) -> None:
    class Around:
        def __init__(self, app: Any) -> None:
            self.app = app

        def __call__(self, environ: Any, start_response: Any) -> Any:
            return self.app(environ, start_response)

    inner = bottle.Bottle()
    inner.route("/x/<y>", callback=answer)
    app = BreakerMiddleware(Around(inner), registry)

    Exchange("GET", "/x/1").run(app)

    assert registry["GET /x/<y>"].metrics().successes == 1


def test_an_app_that_is_no_bottle_is_an_error_at_once() -> None:
    with pytest.raises(TypeError, match=re.escape("pass bottle=, or key=")):
        BreakerMiddleware(plain)
    with pytest.raises(TypeError, match=re.escape("bottle must be a bottle.Bottle")):
        BreakerMiddleware(plain, bottle=plain)


def test_a_pattern_that_matches_no_rule_is_told(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    inner = bottle.Bottle()
    inner.route("/x/<y>", callback=answer)
    app = BreakerMiddleware(inner, registry, exempt=["/x/*", "/y/*"])

    Exchange("GET", "/z").run(app)

    assert [record.args for record in caplog.records] == [("/y/*",)]


def test_no_number_of_scanned_paths_makes_a_key(registry: Registry) -> None:
    app = BreakerMiddleware(bottle.Bottle(), registry)

    for number in range(200):
        Exchange("GET", f"/wp-admin/{number}").run(app)

    assert registry.breakers() == []
    assert registry[UNMATCHED].metrics().calls == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_pytest_plugin_knows_the_keys(registry: Registry) -> None:
    app = BreakerMiddleware(make_app(), registry)

    assert known_keys(app) == guarded_keys(app)
    assert len(known_keys(app)[registry]) > 20
