"""How many routes are asked for a key, what is kept of the answer, and routes that are unlike others."""

from __future__ import annotations

import re
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.testclient import TestClient
from tests.support.asgi_scope import scope_of
from tests.support.starlette_endpoints import page

from recloser import Registry
from recloser_adapters.starlette import UNMATCHED, BreakerMiddleware, RouteKeys


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The templates of the routes that are asked whether they match."""
    seen: list[str] = []
    matches = Route.matches

    def counted(self: Route, scope: Any) -> Any:
        seen.append(self.path)
        return matches(self, scope)

    counted.__module__ = matches.__module__
    monkeypatch.setattr(Route, "matches", counted)
    return seen


def test_a_seen_path_asks_no_route_among_600(asked: list[str]) -> None:
    keys = RouteKeys(routes=[Route(f"/api/v1/r{n}/{{id}}", page) for n in range(600)])
    keys(scope_of("/api/v1/r599/1"))
    asked.clear()

    assert keys(scope_of("/api/v1/r599/1")) == "GET /api/v1/r599/{id}"
    assert asked == []


def test_an_unseen_path_asks_only_routes_that_can_match(asked: list[str]) -> None:
    keys = RouteKeys(routes=[Route(f"/api/v1/r{n}/{{id}}", page) for n in range(600)])

    keys(scope_of("/api/v1/r599/1"))
    keys(scope_of("/api/v1/none/1"))

    assert asked == ["/api/v1/r599/{id}"]


def test_a_flood_of_paths_fills_no_memory_and_pushes_out_no_busy_path(asked: list[str]) -> None:
    keys = RouteKeys(routes=[Route("/users/{name}", page), Route("/busy", page)])
    for n in range(20_000):
        keys(scope_of(f"/users/{n}"))
        if n % 1000 == 0:
            keys(scope_of("/busy"))

    assert len(keys._cache) <= 2 * 2048
    assert asked.count("/busy") == 1


def test_a_very_long_path_is_resolved_and_not_kept() -> None:
    keys = RouteKeys(routes=[Route("/users/{name}", page)])

    assert keys(scope_of("/users/" + "x" * 100_000)) == "GET /users/{name}"
    assert len(keys._cache) == 0


def test_paths_that_no_route_answers_are_not_kept() -> None:
    keys = RouteKeys(routes=[Route("/users", page)])
    for n in range(100):
        keys(scope_of(f"/wp-admin/{n}"))

    assert len(keys._cache) == 0


def test_a_route_that_was_added_later_is_found() -> None:
    app = Starlette(routes=[Route("/old", page)])
    keys = RouteKeys(app)
    assert [keys(scope_of(path)) for path in ("/new", "/old")] == [UNMATCHED, "GET /old"]

    app.router.routes.insert(0, Route("/{any}", page))

    assert keys(scope_of("/new")) == keys(scope_of("/old")) == "GET /{any}"


def test_a_route_that_was_added_to_a_mounted_app_later_is_found() -> None:
    inner = Starlette(routes=[Route("/old", page)])
    keys = RouteKeys(Starlette(routes=[Mount("/in", inner)]))
    assert [keys(scope_of(f"/in/{path}")) for path in ("new", "old")] == [UNMATCHED, "GET /in/old"]

    inner.router.routes.append(Route("/new", page))
    assert keys(scope_of("/in/new")) == "GET /in/new"

    # Below the top level only an earlier route for a path that was seen needs this.
    inner.router.routes.insert(0, Route("/{any}", page))
    keys.clear()
    assert keys(scope_of("/in/old")) == "GET /in/{any}"


def test_a_users_own_matching_is_not_asked_where_the_librarys_tells(registry: Registry) -> None:
    """It would notice: Starlette's own tests count how often a route is asked."""
    asked: list[str] = []

    class Counting(Route):
        def matches(self, scope: Any) -> Any:
            asked.append(self.path)
            return super().matches(scope)

    app = BreakerMiddleware(Starlette(routes=[Counting("/users/{name}", page)]), registry)

    assert TestClient(app).get("/users/ann").status_code == 200

    assert asked == ["/users/{name}"]
    assert [breaker.key for breaker in registry] == ["GET /users/{name}"]


def test_a_users_own_matching_is_asked_where_the_librarys_finds_nothing() -> None:
    class Lax(Route):
        def matches(self, scope: Any) -> Any:
            return super().matches({**scope, "path": scope["path"].lower()})

    class Unlike(BaseRoute):
        def matches(self, scope: Any) -> Any:
            wanted = (b"version", b"2") in scope["headers"]
            return (Match.FULL if wanted else Match.NONE), {}

    keys = RouteKeys(routes=[Lax("/users/{name}", page), Unlike()])
    second = scope_of("/anything")
    second["headers"].append((b"version", b"2"))

    for _ in range(2):
        assert keys(scope_of("/USERS/ann")) == "GET /users/{name}"
        assert keys(second) == "GET <Unlike>"
        assert keys(scope_of("/anything")) == UNMATCHED
    assert len(keys._cache) == 0


def test_a_route_whose_pattern_was_replaced_is_found_all_the_same() -> None:
    lax, other = Route("/users/{name}", page), Route("/old", page)
    lax.path_regex = re.compile(lax.path_regex.pattern, re.IGNORECASE)
    other.path_regex = re.compile("^/(old|new)$")
    keys = RouteKeys(routes=[lax, other])

    assert keys(scope_of("/USERS/ann")) == "GET /users/{name}"
    assert keys(scope_of("/new")) == "GET /old"


def test_an_app_that_is_mounted_in_itself_is_resolved_all_the_same() -> None:
    app = Starlette(routes=[Route("/leaf", page)])
    app.mount("/again", app)

    assert RouteKeys(app)(scope_of("/again/again/leaf")) == "GET /again/again/leaf"


def test_two_mounted_apps_with_a_registry_in_common_are_told_apart_by_prefix() -> None:
    inner = [Route("/{id}", page)]

    keys = [RouteKeys(routes=inner, prefix=prefix)(scope_of("/7")) for prefix in ("/a", "/b")]

    assert keys == ["GET /a/{id}", "GET /b/{id}"]
