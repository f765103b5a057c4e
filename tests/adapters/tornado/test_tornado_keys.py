"""Tornado: the key of each URL spec, seen by requesting it from a real server."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tornado")

from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher, Rule, URLSpec
from tornado.web import Application, RequestHandler, StaticFileHandler
from tornado.websocket import WebSocketHandler

from recloser import Registry
from recloser_adapters._pytest.apps import known_keys
from recloser_adapters.tornado import UNMATCHED, exempt, guard, guarded_keys, keyed

Serve = Callable[..., Any]
FOLDER = str(Path(__file__).parent)


class Reader(RequestHandler):
    def get(self, *args: str, **kwargs: str) -> None:
        self.write("ok")

    head = get


class Writer(RequestHandler):
    async def post(self, *args: str) -> None:
        self.write("ok")

    put = patch = delete = post


class Free(Reader):
    @exempt
    def get(self, *args: str, **kwargs: str) -> None:
        self.write("ok")

    head = get


@exempt
class AllFree(Reader):
    pass


@keyed("payments")
class Paid(Reader):
    pass


class Live(WebSocketHandler):
    pass


class OnPost(Matcher):
    """A matcher of the user, which depends on the method."""

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        return {} if request.method == "POST" and request.path == "/matched" else None


def make_app(registry: Registry, **options: Any) -> Application:
    inner = Application([(r"/inner/([a-z]+)", Reader), (r"/inner/([0-9]+)", Reader)])
    app = Application(
        [
            (r"/", Reader),
            (r"/orders", Reader),
            (r"/orders/([0-9]+)", Reader),
            (r"/orders/([0-9]+)/lines", Reader),
            (r"/orders/([0-9]+)/lines/([0-9]+)", Reader),
            (r"/users/(?P<name>[^/]+)", Reader),
            (r"/users/(?P<name>[^/]+)/", Reader),
            (r"^/caret/(\w+)$", Reader),
            (r"/years/(\d{4})", Reader),
            (r"/optional(?:/(\d+))?", Reader),
            (r"/rest/(.*)", Reader),
            (r"/dots\.(json|xml)", Reader),
            URLSpec(r"/named/(\d+)", Reader, name="named"),
            URLSpec(re.compile(r"/CASE/(\d+)$", re.IGNORECASE), Reader),
            (r"/write/(\d+)", Writer),
            (r"/free/(\d+)", Free),
            (r"/all-free/(\d+)", AllFree),
            (r"/paid/(\d+)", Paid),
            (r"/live/(\w+)", Live),
            (r"/api/.*", [(r"/api/a/(\d+)", Reader), (r"/api/b/(\d+)", Reader)]),
            (r"/inner/.*", inner),
            (r"/files/(.*)", StaticFileHandler, {"path": FOLDER}),
            Rule(OnPost(), Writer),
            (r"/matched", Reader),
            (r"/twice/(\d+)", Reader),
            (r"/twice/(\w+)", Reader),
        ],
        static_path=FOLDER,
    )
    app.add_handlers(r"www\.example\.com", [(r"/orders/([0-9]+)", Reader)])
    app.add_handlers(r".*", [(r"/everywhere/(\d+)", Reader)])
    guard(app, registry, **options)
    return app


CASES = [
    ("GET", "/", "", "GET /"),
    ("GET", "/orders", "", "GET /orders"),
    ("HEAD", "/orders", "", "GET /orders"),
    ("GET", "/orders/7", "", "GET /orders/([0-9]+)"),
    ("GET", "/orders/7/lines", "", "GET /orders/([0-9]+)/lines"),
    ("GET", "/orders/7/lines/8", "", "GET /orders/([0-9]+)/lines/([0-9]+)"),
    ("GET", "/users/anna", "", "GET /users/(?P<name>[^/]+)"),
    ("GET", "/users/anna/", "", "GET /users/(?P<name>[^/]+)/"),
    ("GET", "/caret/x", "", r"GET /caret/(\w+)"),
    ("GET", "/years/1999", "", r"GET /years/(\d{4})"),
    ("GET", "/optional", "", r"GET /optional(?:/(\d+))?"),
    ("GET", "/optional/7", "", r"GET /optional(?:/(\d+))?"),
    ("GET", "/rest/a/b/c", "", "GET /rest/(.*)"),
    ("GET", "/dots.json", "", r"GET /dots\.(json|xml)"),
    ("GET", "/named/7", "", r"GET /named/(\d+)"),
    ("GET", "/case/7", "", r"GET /CASE/(\d+)"),
    ("GET", "/Case/7", "", r"GET /CASE/(\d+)"),
    ("POST", "/write/7", "", r"POST /write/(\d+)"),
    ("PUT", "/write/7", "", r"PUT /write/(\d+)"),
    ("PATCH", "/write/7", "", r"PATCH /write/(\d+)"),
    ("DELETE", "/write/7", "", r"DELETE /write/(\d+)"),
    ("GET", "/paid/7", "", "payments"),
    ("GET", "/api/a/7", "", r"GET /api/a/(\d+)"),
    ("GET", "/api/b/7", "", r"GET /api/b/(\d+)"),
    ("GET", "/inner/abc", "", "GET /inner/([a-z]+)"),
    ("GET", "/inner/123", "", "GET /inner/([0-9]+)"),
    ("POST", "/matched", "", "POST <OnPost>"),
    ("GET", "/matched", "", "GET /matched"),
    ("GET", "/twice/7", "", r"GET /twice/(\d+)"),
    ("GET", "/twice/x", "", r"GET /twice/(\w+)"),
    ("GET", "/orders/7", "www.example.com", r"GET www\.example\.com/orders/([0-9]+)"),
    ("GET", "/everywhere/7", "", r"GET /everywhere/(\d+)"),
]
UNGUARDED = [
    ("GET", "/free/7", 200),
    ("GET", "/all-free/7", 200),
    ("GET", f"/files/{Path(__file__).name}", 200),
    ("GET", f"/static/{Path(__file__).name}", 200),
    ("GET", "/none", 404),
    ("GET", "/orders/x", 404),
    ("GET", "/inner/-", 404),
    ("POST", "/orders", 405),
    ("GET", "/write/7", 405),
    ("HEAD", "/write/7", 405),
    ("BREW", "/orders", 405),
    ("GET", "/health", 404),
]


def test_each_url_spec_has_its_own_breaker(serve: Serve, registry: Registry) -> None:
    async def play(client: Any) -> None:
        for _ in range(2):  # the second time from the cache
            for method, path, host, key in CASES:
                before = registry[key].metrics().successes
                headers = {"Host": host} if host else {}
                response = await client.ask(method, path, headers=headers)

                assert response.code == 200, path
                assert registry[key].metrics().successes == before + 1, path

    serve(make_app(registry), play)

    assert {breaker.key for breaker in registry.breakers()} == {key for *_, key in CASES}
    assert registry.faults == 0


def test_what_matches_no_spec_or_is_exempt_has_no_breaker(serve: Serve, registry: Registry) -> None:
    async def play(client: Any) -> None:
        for method, path, status in UNGUARDED:
            assert (await client.ask(method, path)).code == status, path

    serve(make_app(registry), play)

    assert registry.breakers() == []
    assert registry.faults == 0


def test_the_keys_are_known_before_the_first_request(registry: Registry) -> None:
    [keys] = guarded_keys(make_app(registry)).values()

    assert {key for *_, key in CASES} <= keys
    assert r"WS /live/(\w+)" in keys
    assert UNMATCHED not in keys
    assert not any("free" in key or "files" in key for key in keys)


def test_a_spec_that_is_added_later_has_its_key(serve: Serve, registry: Registry) -> None:
    app = Application([(r"/", Reader)])
    guard(app, registry)
    app.add_handlers(r".*", [(r"/late/(\d+)", Reader)])

    assert serve(app, lambda client: client.ask("GET", "/late/1")).code == 200
    assert registry[r"GET /late/(\d+)"].metrics().successes == 1


def test_the_default_handler_of_an_application_is_not_guarded(
    serve: Serve, registry: Registry
) -> None:
    app = Application([(r"/", Reader)], default_handler_class=Reader)
    guard(app, registry)

    assert serve(app, lambda client: client.ask("GET", "/wp-admin")).code == 200
    assert registry.breakers() == []


def test_a_pattern_that_matches_no_spec_is_told(
    serve: Serve, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    exempted = ["/orders/7*", r"/years/1999", "/ordres/*"]
    app = make_app(registry, exempt=exempted)

    serve(app, lambda client: client.ask("GET", "/"))

    assert [record.args for record in caplog.records if record.name == "recloser"] == [
        ("/ordres/*",)
    ]


def test_a_pattern_is_compared_with_the_decoded_path(serve: Serve, registry: Registry) -> None:
    app = make_app(registry, exempt=["/rest/ü*"])

    async def play(client: Any) -> None:
        for path in ("/rest/%C3%BCber", "/rest/other"):
            assert (await client.ask("GET", path)).code == 200

    serve(app, play)

    assert registry["GET /rest/(.*)"].metrics().calls == 1


def test_a_key_function_and_an_exempt_function_get_the_request(
    serve: Serve, registry: Registry
) -> None:
    app = make_app(
        registry,
        key=lambda request: request.headers.get("X-Tenant"),
        exempt=lambda request: request.query == "free=1",
    )

    async def play(client: Any) -> None:
        await client.ask("GET", "/", headers={"X-Tenant": "one"})
        await client.ask("GET", "/?free=1", headers={"X-Tenant": "one"})
        await client.ask("GET", "/")

    serve(app, play)

    assert registry["one"].metrics().calls == 1
    assert len(registry.breakers()) == 1
    assert registry.faults == 0


async def never(*args: Any) -> None:
    pass


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("key", "app", TypeError),
        ("key", never, TypeError),
        ("classify", 500, TypeError),
        ("on_refuse", "later", TypeError),
        ("exempt", "/static/*", TypeError),
        ("exempt", ["static/*"], ValueError),
        ("mode", "lenient", ValueError),
        ("registry", {}, TypeError),
        ("cut_off", 1, TypeError),
    ],
)
def test_a_mistake_in_the_set_up_is_an_error_at_once(
    option: str, value: Any, error: type[Exception]
) -> None:
    app = Application([(r"/", Reader)])

    with pytest.raises(error, match=value if option == "mode" else option):
        guard(app, **{option: value})

    assert guarded_keys(app) == {}


def test_an_app_that_is_none_is_an_error_at_once() -> None:
    app: Any = None
    with pytest.raises(TypeError, match=r"app must be a tornado\.web\.Application, not None"):
        guard(app)


def test_the_pytest_plugin_knows_the_keys(registry: Registry) -> None:
    app = make_app(registry)

    assert known_keys(app) == guarded_keys(app)
    assert len(known_keys(app)[registry]) > 20
