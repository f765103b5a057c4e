"""Pyramid: the key of each route, seen by requesting it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.wsgi_client import Exchange

pytest.importorskip("pyramid")

from pyramid.config import Configurator
from pyramid.response import Response

from recloser import Registry
from recloser.wsgi import BreakerMiddleware as AnyAppMiddleware
from recloser_adapters._pytest.apps import known_keys
from recloser_adapters.pyramid import exempt, guarded_keys, keyed


def view(request: Any) -> Any:
    return Response(body=b"ok")


class Views:
    """A view class, as `view_defaults` has it."""

    def __init__(self, request: Any) -> None:
        self.request = request

    def __call__(self) -> Any:
        return Response(body=b"ok")

    @exempt
    def free(self) -> Any:
        return Response(body=b"ok")

    @keyed("payments")
    def paid(self) -> Any:
        return Response(body=b"ok")


ROUTES: list[tuple[str, dict[str, Any]]] = [
    ("/", {}),
    ("/orders/{id}", {}),
    ("orders/{id}/lines", {}),  # Pyramid adds the slash
    ("/orders/{id}/lines/{line}", {}),
    (r"/years/{year:\d{4}}", {}),
    (r"/prices/{amount:[0-9.]+}", {}),
    ("/users/{name}", {}),
    ("/users/{name}/", {}),
    ("/old/:style", {}),
    ("/rest/*path", {}),
    ("/tree/*traverse", {}),
    ("/ünïcode/{x}", {}),
    ("/dots.{ext}", {}),
    ("/range/{a}-{b}", {}),
    ("/only", {"request_method": "POST"}),
    ("/only", {"request_method": ("GET", "PUT")}),
    ("/ajax", {"xhr": True}),
    ("/ajax", {"header": "X-Two"}),
    ("/param", {"request_param": "a"}),
    ("/param", {"request_param": "b"}),
    ("/under", {"path_info": "/under"}),
    ("/not/{x}", {"request_method": "DELETE"}),
    ("/not/{y}", {}),
    ("/accept", {"accept": "text/plain"}),
    ("/made", {"traverse": "/"}),
]


def make_app(registry: Registry, **options: Any) -> Any:
    config = Configurator()
    config.include("recloser_adapters.pyramid")
    config.set_breakers(registry, **options)
    for number, (pattern, predicates) in enumerate(ROUTES):
        config.add_route(f"route {number}", pattern, **predicates)
        config.add_view(view, route_name=f"route {number}")
    for name in ("free", "paid"):
        config.add_route(name, f"/{name}/{{x}}")
        config.add_view(Views, attr=name, route_name=name)
    config.add_route("class", "/class/{x}")
    config.add_view(Views, route_name="class")
    config.add_route("mixed", "/mixed")
    config.add_view(view, route_name="mixed", request_method="GET")
    config.add_view(exempt(lambda request: view(request)), route_name="mixed", request_method="PUT")
    config.add_route("unclear", "/unclear")
    config.add_view(keyed("one")(lambda request: view(request)), route_name="unclear", xhr=True)
    config.add_view(keyed("two")(lambda request: view(request)), route_name="unclear", xhr=False)
    config.add_static_view("static", str(Path(__file__).parent))
    config.include(shop, route_prefix="/shop")
    return config.make_wsgi_app()


def shop(config: Any) -> None:
    config.add_route("items", "/items/{id}")
    config.add_view(view, route_name="items")


CASES: list[tuple[str, str, dict[str, str], str]] = [
    ("GET", "/", {}, "GET /"),
    ("GET", "/orders/7", {}, "GET /orders/{id}"),
    ("HEAD", "/orders/7", {}, "GET /orders/{id}"),
    ("POST", "/orders/7", {}, "POST /orders/{id}"),
    ("BREW", "/orders/7", {}, "OTHER /orders/{id}"),
    ("GET", "/orders/7/lines", {}, "GET /orders/{id}/lines"),
    ("GET", "/orders/7/lines/8", {}, "GET /orders/{id}/lines/{line}"),
    ("GET", "/years/1999", {}, r"GET /years/{year:\d{4}}"),
    ("GET", "/prices/1.5", {}, "GET /prices/{amount:[0-9.]+}"),
    ("GET", "/users/anna", {}, "GET /users/{name}"),
    ("GET", "/users/anna/", {}, "GET /users/{name}/"),
    ("GET", "/old/thing", {}, "GET /old/:style"),
    ("GET", "/rest/a/b/c", {}, "GET /rest/*path"),
    ("GET", "/tree/", {}, "GET /tree/*traverse"),
    ("GET", "/ünïcode/ß", {}, "GET /ünïcode/{x}"),
    ("GET", "/dots.json", {}, "GET /dots.{ext}"),
    ("GET", "/range/1-2", {}, "GET /range/{a}-{b}"),
    ("POST", "/only", {}, "POST /only"),
    ("GET", "/only", {}, "GET /only"),
    ("HEAD", "/only", {}, "GET /only"),
    ("PUT", "/only", {}, "PUT /only"),
    ("GET", "/ajax", {"HTTP_X_REQUESTED_WITH": "XMLHttpRequest"}, "GET /ajax"),
    ("GET", "/ajax", {"HTTP_X_TWO": "1"}, "GET /ajax"),
    ("GET", "/param", {"QUERY_STRING": "a=1"}, "GET /param"),
    ("GET", "/under", {}, "GET /under"),
    ("DELETE", "/not/1", {}, "DELETE /not/{x}"),
    ("GET", "/not/1", {}, "GET /not/{y}"),
    ("GET", "/accept", {"HTTP_ACCEPT": "text/plain"}, "GET /accept"),
    ("GET", "/made", {}, "GET /made"),
    ("GET", "/paid/1", {}, "payments"),
    ("GET", "/class/1", {}, "GET /class/{x}"),
    ("GET", "/mixed", {}, "GET /mixed"),
    ("GET", "/unclear", {}, "GET /unclear"),
    ("GET", "/shop/items/1", {}, "GET /shop/items/{id}"),
]
UNGUARDED: list[tuple[str, str, int]] = [
    ("GET", "/free/1", 200),
    ("PUT", "/mixed", 200),
    ("GET", f"/static/{Path(__file__).name}", 200),
    ("GET", "/none", 404),
    ("DELETE", "/only", 404),
    ("GET", "/ajax", 404),
    ("GET", "/years/99", 404),
    ("GET", "/health", 404),
    ("OPTIONS", "/orders/7", 200),
]


def ask(app: Any, method: str, path: str, more: dict[str, str] | None = None) -> int | None:
    exchange = Exchange(method, path.encode().decode("latin-1"))
    exchange.environ.update(more or {})
    return exchange.run(app).status


@pytest.mark.parametrize(("method", "path", "more", "key"), CASES)
def test_each_route_has_its_own_breaker(
    registry: Registry, method: str, path: str, more: dict[str, str], key: str
) -> None:
    app = make_app(registry)

    for _ in range(3):  # the second time from the cache, if the path alone decides
        assert ask(app, method, path, more) == 200

    assert [breaker.key for breaker in registry.breakers()] == [key]
    assert registry[key].metrics().successes == 3
    assert registry.faults == 0


@pytest.mark.parametrize(("method", "path", "status"), UNGUARDED)
def test_what_matches_no_route_or_is_exempt_has_no_breaker(
    registry: Registry, method: str, path: str, status: int
) -> None:
    app = make_app(registry)

    assert ask(app, method, path) == status

    assert registry.breakers() == []
    assert registry.faults == 0


def test_a_path_that_is_no_text_has_no_breaker(registry: Registry) -> None:
    exchange = Exchange("GET", "/\xff")

    exchange.run(make_app(registry))

    assert registry.breakers() == []
    assert registry.faults == 0


def test_the_keys_are_known_before_the_first_request(registry: Registry) -> None:
    app = make_app(registry)

    [keys] = guarded_keys(app).values()

    assert {key for method, _, _, key in CASES if method == "GET"} <= keys
    assert guarded_keys(AnyAppMiddleware(app, Registry())) == {registry: keys}


def test_a_route_whose_predicate_depends_on_more_is_asked_each_time(registry: Registry) -> None:
    """The cache knows method and path only."""
    app = make_app(registry)
    on_ajax = {"HTTP_X_REQUESTED_WITH": "XMLHttpRequest"}

    statuses = [ask(app, "GET", "/ajax", more) for more in (on_ajax, None, on_ajax)]

    assert statuses == [200, 404, 200]
    assert registry["GET /ajax"].metrics().calls == 2


# Traversal


class Root(dict[str, Any]):
    """The root of a tree of resources."""


def tree(request: Any) -> Root:
    return Root(a=Root(b=Root()))


def test_an_app_that_only_traverses_has_one_key_per_method(registry: Registry) -> None:
    config = Configurator(root_factory=tree)
    config.include("recloser_adapters.pyramid")
    config.set_breakers(registry)
    config.add_view(view, context=Root)
    app = config.make_wsgi_app()

    statuses = [ask(app, "GET", path) for path in ("/", "/a", "/a/b", "/a/c")]

    assert statuses == [200, 200, 200, 404]
    assert [breaker.key for breaker in registry.breakers()] == ["GET <traversal>"]
    assert registry["GET <traversal>"].metrics().successes == 3


def test_an_app_without_any_route_traverses(registry: Registry) -> None:
    config = Configurator()
    config.include("recloser_adapters.pyramid")
    config.set_breakers(registry)
    config.add_view(view)
    app = config.make_wsgi_app()

    assert ask(app, "GET", "/") == 200
    assert [breaker.key for breaker in registry.breakers()] == ["GET <traversal>"]


def test_no_number_of_scanned_paths_makes_a_key(registry: Registry) -> None:
    app = make_app(registry)

    for number in range(200):
        ask(app, "GET", f"/wp-admin/{number}")

    assert registry.breakers() == []


def test_the_pytest_plugin_knows_the_keys(registry: Registry) -> None:
    app = make_app(registry)

    assert known_keys(app) == guarded_keys(app)
    assert len(known_keys(app)[registry]) > 20
