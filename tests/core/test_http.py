"""What the two middleware share, without either: exemptions, answers to refused requests."""

from __future__ import annotations

import json

import pytest

from recloser import Breaker, Policy
from recloser._http.exemptions import DEFAULT_EXEMPT, Exemptions
from recloser._http.gate import enabled, permit_of
from recloser._http.refusal import Refusals
from recloser.testing import ManualClock


@pytest.mark.parametrize(
    "path", ["/healthz", "/health/live", "/metrics", "/static/js/app.js", "/openapi.json"]
)
def test_probes_metrics_and_files_are_exempt_by_default(path: str) -> None:
    assert Exemptions(DEFAULT_EXEMPT).exempts("GET", path)


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


def opened(wait: float | None) -> Breaker:
    breaker = Breaker("key", Policy(max_open_for=30.0), clock=ManualClock(start=5.0))
    breaker.open(for_=wait)
    return breaker


def retry_after(wait: float | None) -> int:
    refusal = Refusals(expose_details=False).of(opened(wait)._refuse(5.0))
    return int(dict(refusal.headers)["Retry-After"])


@pytest.mark.parametrize(
    ("wait", "lowest", "highest"),
    [(0.0, 1, 1), (0.2, 1, 1), (9.0, 9, 10), (None, 30, 33), (1e12, 86_400, 86_400)],
)
def test_retry_after_never_comes_early_and_is_bounded(
    wait: float | None, lowest: int, highest: int
) -> None:
    seen = {retry_after(wait) for _ in range(50)}

    assert lowest <= min(seen)
    assert max(seen) <= highest


def test_an_answer_is_built_once_for_each_second() -> None:
    refusals = Refusals(expose_details=False)
    breaker = opened(0.5)

    assert refusals.of(breaker._refuse(5.0)) is refusals.of(breaker._refuse(5.1))
    assert refusals.of(breaker._refuse(5.0)) is refusals.of(opened(0.4)._refuse(5.0))


def test_answers_of_one_second_are_spread() -> None:
    refusals, breaker = Refusals(expose_details=False), opened(60.0)

    assert len({refusals.of(breaker._refuse(5.0)) for _ in range(8)}) > 1


def test_an_answer_holds_no_longer_than_its_seconds() -> None:
    clock = ManualClock()
    breaker = Breaker("key", clock=clock)
    breaker.open(for_=60.0)
    refusals = Refusals(expose_details=False)

    for _ in range(600):
        told = int(dict(refusals.of(breaker._refuse(clock())).headers)["Retry-After"])
        assert breaker.retry_after <= told <= 1.1 * (breaker.retry_after + 1.0) + 1.0
        clock.advance(0.1)


def test_a_longer_wait_is_told_at_once() -> None:
    clock = ManualClock()
    breaker = Breaker("key", clock=clock)
    breaker.open(for_=0.9)
    refusals = Refusals(expose_details=False)
    refusals.of(breaker._refuse(clock()))

    breaker.open(for_=50.0)

    assert int(dict(refusals.of(breaker._refuse(clock())).headers)["Retry-After"]) >= 50


def test_answers_kept_are_bounded() -> None:
    refusals = Refusals(expose_details=False)

    for wait in range(1, 3000):
        refusals.of(opened(float(wait))._refuse(5.0))

    assert len(refusals._built) <= 1024
    assert len(refusals._kept) <= 1024


def test_headers_are_the_same_for_asgi_and_wsgi() -> None:
    refusal = Refusals(expose_details=True).of(opened(3.0)._refuse(5.0))

    as_wsgi = [(name.lower().encode(), value.encode()) for name, value in refusal.headers]
    assert as_wsgi == list(refusal.raw_headers)


def test_a_hostile_key_forges_neither_header_nor_line() -> None:
    breaker = Breaker("GET /\r\nSet-Cookie: a=b\x00\x1b[2J\u2028\ud800")
    breaker.open("also\r\nhere")

    refusal = Refusals(expose_details=True).of(breaker._refuse(breaker.clock()))

    assert {name for name, _ in refusal.headers} == {
        "Content-Type",
        "Content-Length",
        "Retry-After",
        "Cache-Control",
    }
    assert all(value.isprintable() for _, value in refusal.headers)
    assert refusal.body.isascii()
    assert json.loads(refusal.body)["key"] == breaker.key
    assert refusal.body.decode().isprintable()


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0", False), ("false", False), (" No ", False), ("OFF", False), ("1", True), ("", True)],
)
def test_the_environment_switches_it_off(
    value: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECLOSER_ENABLED", value)

    assert enabled() is expected


@pytest.mark.parametrize("value", ["disabled", "n", "2"])
def test_an_environment_that_says_neither_is_an_error(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECLOSER_ENABLED", value)

    with pytest.raises(ValueError, match=f"RECLOSER_ENABLED must be one of .*, not '{value}'"):
        enabled()


def test_where_no_breaker_guards_there_is_a_permit_without_effect() -> None:
    permit = permit_of({})

    permit.mark()
    permit.failure("stale data served")

    assert permit.ended
    assert not permit.is_probe
    assert permit.breaker.metrics().calls == 0
