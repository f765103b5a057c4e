"""Every URL pattern has its key, whatever it is made of, and Django would choose the same one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("django")

from tests.support import django_odd_urls as odd_urls
from tests.support.django_project import MIDDLEWARE, Project, Start, Urlconf

from recloser import Mode, Registry

LOCALE = "django.middleware.locale.LocaleMiddleware"
COMMON = "django.middleware.common.CommonMiddleware"
UUID = "5b4e8b0a-31d4-4f52-9c4b-0e7cbfa4a1de"

# What is requested, and its key; None if no breaker guards it.
EXPECTED: list[tuple[str, str | None]] = [
    ("GET /", "GET /"),
    ("HEAD /", "GET /"),
    ("POST /", "POST /"),
    ("BREW /", "OTHER /"),
    ("OPTIONS /", None),
    ("GET /orders/7", "GET /orders/<int:number>"),
    ("DELETE /orders/7", "DELETE /orders/<int:number>"),
    ("GET /orders/", "GET /orders/"),
    ("POST /orders/", "POST /orders/"),
    ("DELETE /orders/", None),
    ("GET /hex/ff/", "GET /hex/<hex:number>/"),
    ("GET /even/4", "GET /even/<even:number>"),
    ("GET /even/5", "GET /even/<int:number>"),
    ("PUT /methods/x", "PUT /methods/<str:name>"),
    ("GET /only/", "GET /only/"),
    ("GET /repair", None),
    ("POST /pay", "payments"),
    ("POST /refund/3", "payments"),
    ("GET /reports/2026", "reports"),
    ("GET /callable", "GET /callable"),
    ("GET /file", "GET /file"),
    ("GET /table/", "GET /table/"),
    ("GET /old/", "GET /old/"),
    ("GET /shop/", "GET /shop/"),
    ("GET /shop/items/5/", "GET /shop/items/<int:number>/"),
    ("GET /shop/items/five/", "GET /shop/items/<slug:slug>/"),
    ("GET /shop/items/five/reviews/1", "GET /shop/items/<slug:slug>/reviews/<int:review>"),
    ("GET /of/acme/shop/items/5/", "GET /of/<slug:tenant>/shop/items/<int:number>/"),
    (f"GET /nested/a/b/c/{UUID}", "GET /nested/a/b/c/<uuid:id>"),
    ("GET /nested/r/DE/4", "GET /nested/r/<code>/<int:n>"),
    ("GET /nested/r/DE/all", "GET /nested/r/<code>/all"),
    ("GET /years/2026/", "GET /years/<year>/"),
    ("GET /years/2026/11", "GET /years/<year>/<month>/"),
    ("GET /years/2026/11/", "GET /years/<year>/<month>/"),
    ("GET /plain/5/five", "GET /plain/<var>/<var>"),
    ("GET /maybe/", "GET /maybe/page-<page>/"),
    ("GET /maybe/page-3/", "GET /maybe/page-<page>/"),
    ("GET /same/5", r"GET /same/(?P<id>\d+)$"),
    ("GET /same/five", "GET /same/(?P<id>[a-z]+)$"),
    ("GET /dots.json", "GET /dots.json"),
    ("GET /either/one/", "GET /either/<var>/"),
    ("GET /media/logo.png", None),
    ("GET /files/a/b/c.txt", "GET /files/<path:path>"),
    ("GET /with%20space/4", "GET /with space/<int:n>"),
    ("GET /percent/%25/4", "GET /percent/%/<int:n>"),
    ("GET /%C3%BCmlaut/4", "GET /ümlaut/<int:n>"),
    ("GET /en/about/", "GET /<language>/about/"),
    ("GET /de/about/", "GET /<language>/about/"),
    ("GET /en/Delete", "GET /<language>/Delete"),
    ("GET /de/Löschen", "GET /<language>/Delete"),
    ("GET /pt-br/shop/items/5/", "GET /<language>/shop/items/<int:number>/"),
    ("GET /imprint.html", "GET /<slug:page>.html"),
    ("GET /pages/a/b", "GET /pages/<anything>"),
    # None of these has a pattern, or it is not the method that decides.
    ("GET /no/such/thing", None),
    ("GET /orders", None),
    ("GET /orders/seven", None),
    ("GET /xx/about/", None),
    ("GET /en/Löschen", None),
    ("GET /%FF", None),
    ("GET /healthz", None),
    ("GET /static/site.css", None),
]


@pytest.fixture
def odd(start: Start) -> Project:
    return start(odd_urls, MIDDLEWARE=[MIDDLEWARE, LOCALE, COMMON], USE_I18N=True)


@pytest.mark.parametrize(("request_line", "key"), EXPECTED, ids=[each for each, _ in EXPECTED])
def test_a_request_has_the_key_of_the_pattern_that_answers_it(
    odd: Project, request_line: str, key: str | None
) -> None:
    method, _, path = request_line.partition(" ")

    for _ in range(2):  # the second time from the cache
        odd.client.generic(method, path).close()

    assert odd.keys == ({key} if key else set())
    assert odd.registry.faults == 0


@pytest.mark.anyio
async def test_it_is_the_same_under_asgi(odd: Project) -> None:
    client = odd.async_client
    # The client writes other characters into the scope than a server does.
    plain = [(line, key) for line, key in EXPECTED if line.isascii() and "%" not in line]
    for request_line, _ in plain:
        method, _, path = request_line.partition(" ")
        (await client.generic(method, path)).close()

    assert odd.keys == {key for _, key in plain if key}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


WORDS = """
orders shop items of acme 7 8 five nested a b c r DE all years 2026 11 plain maybe page-3 same either one
en de about Delete files pages media even hex ff .html x.html
"""
segments = st.sampled_from(WORDS.split())
paths = st.builds(
    lambda parts, slash: "/" + "/".join(parts) + slash,
    st.lists(segments, max_size=5),
    st.sampled_from(["", "/", "\n"]),
)


@given(path=paths)
def test_django_would_choose_the_same_view(path: str) -> None:
    from django.test import RequestFactory
    from django.test.utils import override_settings
    from django.urls import Resolver404, get_resolver
    from django.utils import translation

    from recloser_adapters.django import UNMATCHED, UrlKeys
    from recloser_adapters.django._routes import RouteTable

    with override_settings(ROOT_URLCONF=odd_urls, MIDDLEWARE=[LOCALE]):
        language = translation.get_language_from_path(path) or "en-us"
        with translation.override(language):
            try:
                view: Any = get_resolver().resolve(path).func
            except Resolver404:
                view = None
            route = RouteTable(get_resolver()).find(path)
        assert (None if route is None else route.view) is view
        request = RequestFactory().get("/")
        request.path_info = path
        assert (UrlKeys()(request) == UNMATCHED) is (view is None)


def test_a_redirect_that_adds_the_last_slash_is_not_guarded(odd: Project) -> None:
    answer = odd.get("/shop")

    assert answer.status_code == 301
    assert odd.keys == set()


def test_a_language_without_prefix_has_the_same_key_as_the_others(start: Start) -> None:
    from django.conf.urls.i18n import i18n_patterns
    from django.urls import path

    patterns = i18n_patterns(path("about", odd_urls.view), prefix_default_language=False)
    project = start(patterns, MIDDLEWARE=[MIDDLEWARE, LOCALE])

    assert project.get("/about").status_code == 200
    assert project.get("/de/about", accept_language="fr").status_code == 200

    assert project.keys == {"GET /<language>/about"}
    (breaker,) = project.registry
    assert breaker.metrics().calls == 2


def test_a_path_that_is_translated_by_the_header_alone_has_its_key(start: Start) -> None:
    from django.urls import path
    from django.utils.translation import gettext_lazy

    project = start([path(gettext_lazy("Delete"), odd_urls.view)], MIDDLEWARE=[MIDDLEWARE, LOCALE])

    assert project.get("/Löschen", accept_language="de").status_code == 200
    assert project.get("/Löschen", accept_language="en").status_code == 404
    assert project.get("/Delete", accept_language="en").status_code == 200

    assert project.keys == {"GET /Delete"}
    assert project.registry["GET /Delete"].metrics().calls == 2


def test_a_request_with_a_urlconf_of_its_own_is_resolved_by_that(start: Start) -> None:
    from django.urls import path

    others = Urlconf([path("other/<int:n>", odd_urls.view)])
    project = start(
        [path("main", odd_urls.view)],
        MIDDLEWARE=["tests.support.django_middlewares.by_host", MIDDLEWARE],
        OTHER_URLCONF=others,
    )

    assert project.get("/other/5", host="other.example").status_code == 200
    assert project.get("/other/5").status_code == 404
    assert project.get("/main").status_code == 200

    assert project.keys == {"GET /other/<int:n>", "GET /main"}


def test_who_stands_above_the_middleware_that_sets_the_urlconf_is_told_once(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    from django.urls import path

    others = Urlconf([path("other/<int:n>", odd_urls.view)])
    project = start(
        [path("main", odd_urls.view)],
        MIDDLEWARE=[MIDDLEWARE, "tests.support.django_middlewares.by_host"],
        OTHER_URLCONF=others,
    )
    client = project.client

    for _ in range(3):
        assert client.get("/other/5", headers={"host": "other.example"}).status_code == 200

    told = [each for each in caplog.messages if "request.urlconf" in each]
    assert len(told) == 1


def test_404s_open_nothing_however_they_fail(start: Start) -> None:
    project = start([], MIDDLEWARE=[MIDDLEWARE, "tests.support.django_middlewares.failing"])

    for number in range(50):
        assert project.get(f"/scan/{number}").status_code == 500

    assert project.registry.breakers() == []


def test_a_pattern_of_a_class_of_the_user_is_asked_as_django_asks_it(start: Start) -> None:
    from django.urls import URLPattern, path

    class Shouted(URLPattern):
        def resolve(self, path: str) -> Any:
            return super().resolve(path.lower())

    plain = path("quiet/<int:n>", odd_urls.view)
    shouted = Shouted(plain.pattern, plain.callback)
    project = start([path("in/", ([shouted], None, None))])

    assert project.get("/in/QUIET/5").status_code == 200
    assert project.get("/in/other/5").status_code == 404
    assert project.keys == {"GET /in/quiet/<int:n>"}


def test_patterns_that_are_added_later_are_found(start: Start) -> None:
    from django.urls import path

    patterns = [path("first", odd_urls.view)]
    project = start(patterns)
    project.get("/first")

    patterns.append(path("second/<int:n>", odd_urls.view))

    assert project.get("/second/5").status_code == 200
    assert project.keys == {"GET /first", "GET /second/<int:n>"}


def test_a_converter_that_fails_is_a_failure_of_its_route(start: Start) -> None:
    from django.urls import include, path

    project = start(
        [
            path("order/<broken:order>", odd_urls.view),
            path("of/<broken:user>/", include([path("orders", odd_urls.view)])),
        ]
    )

    for _ in range(3):
        assert project.get("/order/5").status_code == 500
        assert project.get("/of/5/orders").status_code == 500

    assert project.keys == {"GET /order/<broken:order>", "GET /of/<broken:user>/..."}
    assert project.registry["GET /order/<broken:order>"].metrics().failures == 3
    assert project.registry.faults == 0


def test_a_urlconf_that_cannot_be_loaded_is_no_fault_of_ours(start: Start) -> None:
    project = start("no.such.module")

    for _ in range(3):
        with pytest.raises(ModuleNotFoundError):
            project.get("/")

    assert project.registry.faults == 0


def test_a_urlconf_that_includes_itself_is_no_trap(start: Start) -> None:
    from django.urls import include, path

    patterns: list[Any] = [path("leaf/<int:n>", odd_urls.view)]
    patterns += [path("a/", include(patterns)), path("b/", include(patterns))]
    project = start(patterns)

    assert project.get("/leaf/1").status_code == 200
    assert project.get("/a/b/b/a/leaf/1").status_code == 200
    assert project.keys == {"GET /leaf/<int:n>", "GET /a/b/b/a/leaf/<int:n>"}
    assert project.registry.faults == 0


def test_the_users_own_key_function_gets_the_request(start: Start) -> None:
    from django.urls import path

    project = start(
        [path("<path:rest>", odd_urls.view)], key=lambda request: request.headers.get("tenant")
    )

    project.get("/a", tenant="acme")
    project.get("/b")

    assert project.keys == {"acme"}


def test_a_registry_that_is_full_still_serves(start: Start) -> None:
    from django.urls import path

    project = start(
        [path(f"p{number}", odd_urls.view) for number in range(20)],
        registry=Registry(max_keys=5, mode=Mode.ENFORCE),
    )

    assert {project.get(f"/p{number}").status_code for number in range(20)} == {200}
