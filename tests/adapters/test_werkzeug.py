"""Werkzeug: which key a request gets from a routing.Map, and the middleware for plain apps."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule, Subdomain, Submount
from werkzeug.test import Client, EnvironBuilder
from werkzeug.wrappers import Request, Response

from recloser import BreakerOpenError, Registry, State
from recloser.testing import open_breaker
from recloser_adapters.werkzeug import (
    DEFAULT_EXEMPT,
    UNMATCHED,
    BreakerMiddleware,
    RuleKeys,
    ViewRefusedError,
    exempt,
    keyed,
)

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment


def environ_of(path: str, method: str = "GET", **more: Any) -> dict[str, Any]:
    builder = EnvironBuilder(path=path, method=method, **more)
    try:
        return builder.get_environ()
    finally:
        builder.close()


class App:
    """A plain Werkzeug application, as in its tutorial."""

    def __init__(self, rules: Iterable[Any], **options: Any) -> None:
        self.url_map = Map(rules, **options)
        self.fails = False

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self.wsgi_app(environ, start_response)

    def wsgi_app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        response: Any
        try:
            rule, _ = self.url_map.bind_to_environ(environ).match(return_rule=True)
        except HTTPException as error:
            response = error
        else:
            response = Response(f"{request.method} {rule.rule}", 500 if self.fails else 200)
        body: Iterable[bytes] = response(environ, start_response)
        return body


def rules() -> list[Any]:
    # New ones each time: a rule belongs to the first map it is put in.
    return [
        Rule("/", endpoint="home"),
        Rule("/items", endpoint="items", methods=["GET", "POST"]),
        Rule("/items/<int:id>", endpoint="item"),
        Rule("/items/<name>", endpoint="named", methods=["DELETE"]),
        Rule("/dir/", endpoint="dir"),
        Rule("/all/<path:rest>", endpoint="all"),
        Rule("/any", endpoint="any", methods=None),
        Rule("/moved", endpoint="moved", redirect_to="/items"),
        Submount("/sub", [Rule("/<slug>", endpoint="slug")]),
        Rule("/live/<room>", endpoint="live", websocket=True),
    ]


CASES = [
    ("GET", "/", "GET /"),
    ("GET", "/items", "GET /items"),
    ("HEAD", "/items", "GET /items"),
    ("POST", "/items", "POST /items"),
    ("GET", "/items/7", "GET /items/<int:id>"),
    ("DELETE", "/items/x", "DELETE /items/<name>"),
    ("GET", "/all/a/b/c", "GET /all/<path:rest>"),
    ("GET", "/sub/x", "GET /sub/<slug>"),
    ("GET", "/dir/", "GET /dir/"),
    ("BREW", "/any", "OTHER /any"),
    ("STEEP", "/any", "OTHER /any"),
    ("GET", "/items/x", UNMATCHED),
    ("PUT", "/items", UNMATCHED),
    ("GET", "/dir", UNMATCHED),
    ("GET", "/moved", UNMATCHED),
    ("GET", "/none", UNMATCHED),
    ("GET", "/live/1", UNMATCHED),
]


@pytest.mark.parametrize(("method", "path", "key"), CASES)
def test_a_request_is_named_by_method_and_rule(method: str, path: str, key: str) -> None:
    keys = RuleKeys(Map(rules()))

    assert [keys(environ_of(path, method)) for _ in range(3)] == [key] * 3


def test_a_websocket_rule_is_told_from_another_on_its_path() -> None:
    keys = RuleKeys(Map([Rule("/a", endpoint="page"), Rule("/a", endpoint="live", websocket=True)]))
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}

    found = [keys(environ_of("/a", headers=headers)) for headers in ({}, upgrade, {}, upgrade)]

    assert found == ["GET /a", "WS /a", "GET /a", "WS /a"]


def test_hosts_and_subdomains_are_told_apart() -> None:
    by_host = Map(
        [Rule("/", endpoint="a", host="a.org"), Rule("/", endpoint="b", host="<x>.b.org")],
        host_matching=True,
    )
    by_subdomain = Map([Rule("/", endpoint="c"), Subdomain("api", [Rule("/", endpoint="d")])])

    hosts = RuleKeys(by_host)
    subdomains = RuleKeys(
        by_subdomain, bind=lambda environ: by_subdomain.bind_to_environ(environ, "example.org")
    )

    def ask(keys: RuleKeys, host: str) -> str | None:
        return keys(environ_of("/", base_url=f"http://{host}/"))

    for _ in range(2):
        assert ask(hosts, "a.org") == "GET a.org/"
        assert ask(hosts, "7.b.org") == "GET <x>.b.org/"
        assert ask(hosts, "c.org") == UNMATCHED
        assert ask(subdomains, "example.org") == "GET /"
        assert ask(subdomains, "api.example.org") == "GET api/"


@given(
    words=st.lists(st.sampled_from(["items", "7", "x", "dir", "sub", "", "all"]), max_size=4),
    method=st.sampled_from(["GET", "POST", "DELETE", "HEAD"]),
)
@settings(max_examples=200)
def test_the_key_is_that_of_the_rule_which_then_answers(words: list[str], method: str) -> None:
    app = App(rules()[:7])
    path = "/" + "/".join(words)

    key = RuleKeys(app.url_map)(environ_of(path, method))
    answer = Client(app).open(path, method=method)

    label = "GET" if method == "HEAD" else method
    if answer.status_code == 200 and method != "HEAD":
        assert key == answer.get_data(as_text=True)
    elif answer.status_code == 200:
        assert key is not None
        assert key.startswith(f"{label} ")
    else:
        assert key == UNMATCHED


def test_resolving_leaves_the_environ_as_it_is() -> None:
    environ = environ_of("/items/7")
    before = dict(environ)

    RuleKeys(Map([Rule("/items/<int:id>", endpoint="item")]))(environ)

    assert environ == before


def test_a_seen_path_asks_the_map_no_more() -> None:
    url_map = Map([Rule("/items/<int:id>", endpoint="item")])
    asked: list[str] = []

    def bind(environ: WSGIEnvironment) -> Any:
        asked.append(environ["PATH_INFO"])
        return url_map.bind_to_environ(environ)

    keys = RuleKeys(url_map, bind=bind)
    for path in ("/items/1", "/items/1", "/items/2", "/none", "/none"):
        keys(environ_of(path))

    assert asked == ["/items/1", "/items/2", "/none", "/none"]


def test_a_flood_of_paths_fills_no_memory() -> None:
    url_map = Map([Rule("/items/<name>", endpoint="item")])
    keys = RuleKeys(url_map)
    environ = environ_of("/items/x")
    for n in range(10_000):
        assert keys({**environ, "PATH_INFO": f"/items/{n}"}) == "GET /items/<name>"
    keys({**environ, "PATH_INFO": "/items/" + "x" * 100_000})

    assert len(keys._cache) <= 2 * 2048
    keys.clear()
    assert len(keys._cache) == 0


def test_marked_endpoints_are_exempt_or_share_a_key() -> None:
    @exempt
    def health() -> None: ...

    @keyed("payments")
    def pay() -> None: ...

    keys = RuleKeys(Map([Rule("/health", endpoint=health), Rule("/pay/<id>", endpoint=pay)]))

    assert keys(environ_of("/health")) is None
    assert keys(environ_of("/pay/1")) == "payments"


# The middleware


def test_a_rule_that_fails_is_refused_and_its_neighbours_are_not(registry: Registry) -> None:
    app = App([Rule("/good", endpoint="good"), Rule("/bad/<id>", endpoint="bad")])
    client = Client(BreakerMiddleware(app.wsgi_app, registry, url_map=app.url_map))

    app.fails = True
    statuses = [client.get(f"/bad/{n}", buffered=True).status_code for n in range(40)]
    app.fails = False

    assert registry["GET /bad/<id>"].state is State.OPEN
    assert (statuses[0], statuses[-1]) == (500, 503)
    assert client.get("/good").status_code == 200
    assert client.get("/none").status_code == 404
    assert sorted(each.key for each in registry) == ["GET /bad/<id>", "GET /good"]


@pytest.mark.parametrize("inside", ["app", "method"])
def test_the_map_of_an_app_is_found(registry: Registry, inside: str) -> None:
    app = App([Rule("/<x>", endpoint="x")])

    Client(BreakerMiddleware(app if inside == "app" else app.wsgi_app, registry)).get("/1")

    assert [each.key for each in registry] == ["GET /<x>"]


def test_an_app_without_a_map_is_an_error_at_once() -> None:
    with pytest.raises(TypeError, match=r"url_map must be a werkzeug\.routing\.Map, not None"):
        BreakerMiddleware(lambda environ, start_response: [])


def test_a_key_function_needs_no_map(registry: Registry) -> None:
    app = App([Rule("/", endpoint="x")])

    Client(BreakerMiddleware(lambda e, s: app(e, s), registry, key=lambda environ: "mine")).get("/")

    assert [each.key for each in registry] == ["mine"]


def test_the_default_exemptions_can_be_added_to(registry: Registry) -> None:
    app = App([Rule("/health", endpoint="health"), Rule("/<x>", endpoint="x")])
    client = Client(BreakerMiddleware(app, registry, exempt=[*DEFAULT_EXEMPT, "/internal"]))

    for path in ("/health", "/internal", "/1"):
        assert client.get(path).status_code == 200

    assert [each.key for each in registry] == ["GET /<x>"]


def test_a_map_that_fails_is_the_apps_affair_and_a_counted_fault(registry: Registry) -> None:
    def bind(environ: WSGIEnvironment) -> Any:
        raise RuntimeError("cannot say")

    app = App([Rule("/", endpoint="x")])
    keys = RuleKeys(app.url_map, bind=bind)

    assert Client(BreakerMiddleware(app, registry, key=keys)).get("/").status_code == 200
    assert registry.faults == 1


def test_a_refused_view_answers_like_the_middleware(registry: Registry) -> None:
    registry["payments"].open("test", for_=20.0)

    error = ViewRefusedError(registry["payments"].refusal())
    answer = Response.from_app(error, environ_of("/"))

    assert isinstance(error, BreakerOpenError)
    assert (error.key, error.state, error.code) == ("payments", State.OPEN, 503)
    assert 19.0 < error.retry_after <= 22.0
    assert answer.status_code == 503
    assert answer.content_type == "application/problem+json"
    assert 20 <= int(answer.headers["Retry-After"]) <= 24
    assert "payments" not in answer.get_data(as_text=True)
    # For who answers with these and a body of their own.
    assert {name for name, _ in error.get_headers()} == {
        "Content-Type",
        "Retry-After",
        "Cache-Control",
    }


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))]
)
def test_a_refused_view_can_be_copied_and_pickled(registry: Registry, again: Any) -> None:
    open_breaker(registry["payments"])
    error = ViewRefusedError(registry["payments"].refusal())

    other = again(error)

    assert type(other) is ViewRefusedError
    assert (str(other), other.reason, other.code) == (str(error), error.reason, 503)
    assert other.get_headers() == error.get_headers()


def test_an_open_breaker_refuses_without_asking_the_app(registry: Registry) -> None:
    app = App([Rule("/<x>", endpoint="x")])
    open_breaker(registry["GET /<x>"])

    assert Client(BreakerMiddleware(app, registry)).get("/1").status_code == 503
