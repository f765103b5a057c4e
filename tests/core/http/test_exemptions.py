"""Exemptions: which requests no breaker guards, by method and path."""

from __future__ import annotations

import pytest

from recloser._http.exemptions import DEFAULT_EXEMPT, Exemptions


@pytest.mark.parametrize(
    "path", ["/healthz", "/health/live", "/metrics", "/static/js/app.js", "/openapi.json"]
)
def test_probes_metrics_and_files_are_exempt_by_default(path: str) -> None:
    assert Exemptions(DEFAULT_EXEMPT).exempts("GET", path)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(
    "path",
    [
        "/ready",
        "/readyz",
        "/readiness",
        "/healthcheck",
        "/health-check",
        "/health_check",
        "/liveness",
        "/startup",
        "/status",
        "/up",
        "/-/ready",
        "/-/healthy",
        "/actuator/health",
        "/actuator/health/readiness",
        "/__lbheartbeat__",
        "/api/health",
        "/api/status",
        "/v1/health",
        "/api/v2/healthz",
    ],
)
def test_what_an_orchestrator_asks_for_is_exempt_by_default(
    path: str, slash: str, method: str
) -> None:
    assert Exemptions(DEFAULT_EXEMPT).exempts(method, path + slash)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/status/17"),
        ("GET", "/orders/17/status"),
        ("GET", "/api/orders/status"),
        ("GET", "/v1/patients/7/health"),
        ("GET", "/live/matches"),
        ("GET", "/uploads"),
        ("GET", "/readyset"),
        ("GET", "/api/health/records"),
        ("POST", "/status"),
        ("PUT", "/ready"),
    ],
)
def test_a_resource_with_the_name_of_a_health_check_is_guarded(method: str, path: str) -> None:
    assert not Exemptions(DEFAULT_EXEMPT).exempts(method, path)


@pytest.mark.parametrize("path", ["/", "/healthy", "/items/static/x", "/staticx", "/metricsx"])
def test_nothing_else_is(path: str) -> None:
    exemptions = Exemptions(DEFAULT_EXEMPT)

    assert not exemptions.exempts("GET", path)
    assert exemptions.exempts("OPTIONS", path)


def test_a_pattern_may_name_a_method() -> None:
    exempts = Exemptions(["POST /hooks/*", "get /feed"]).exempts

    assert exempts("POST", "/hooks/a/b")
    assert not exempts("GET", "/hooks/a/b")
    assert [exempts(method, "/feed") for method in ("GET", "HEAD", "PUT", None)] == [
        True,
        True,
        False,
        False,
    ]


def test_patterns_for_one_path_add_up() -> None:
    exempts = Exemptions(["POST /a", "PUT /*", "/b"]).exempts

    assert [exempts(method, "/a") for method in ("POST", "PUT", "GET")] == [True, True, False]
    assert [exempts(method, "/b") for method in ("POST", "PUT", "GET", None)] == [True] * 4


def test_a_path_under_a_mount_is_exempt_with_and_without_it() -> None:
    assert Exemptions(["/healthz"]).exempts("GET", "/sub/healthz", "/sub")
    assert Exemptions(["/sub/healthz"]).exempts("GET", "/sub/healthz", "/sub")


def test_no_patterns_exempt_nothing() -> None:
    assert not Exemptions(()).exempts("GET", "/healthz")


def test_what_was_found_is_found_again() -> None:
    exemptions = Exemptions(["GET /a"])

    for method, path, expected in [("GET", "/a", True), ("PUT", "/a", False), ("GET", "/b", False)]:
        assert exemptions.exempts(method, path) is exemptions.exempts(method, path) is expected
        assert (path in exemptions.guarded.get(method, set())) is not expected


def test_what_clients_ask_for_is_remembered_within_bounds() -> None:
    exemptions = Exemptions(DEFAULT_EXEMPT)

    for number in range(10_000):
        exemptions.exempts("GET", f"/{number}")
        exemptions.exempts(f"MADE-UP-{number}", "/")
    exemptions.exempts("GET", "/" + "x" * 100_000)
    exemptions.exempts("X" * 100_000, "/")

    assert len(exemptions.guarded) <= 16
    paths = [path for paths in exemptions.guarded.values() for path in paths]
    assert len(paths) <= 16 * 2048
    assert max(map(len, [*paths, *filter(None, exemptions.guarded)])) <= 256


def test_what_was_found_for_one_method_is_kept_when_another_one_comes() -> None:
    exemptions = Exemptions(["GET /a"])

    exemptions.exempts("GET", "/b")
    exemptions.exempts("POST", "/b")

    assert exemptions.guarded == {"GET": {"/b"}, "POST": {"/b"}}
