"""Flask: what turns breakers off, or lets them only watch, and where that reaches."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from tests.support.breaker_state import votes

from recloser import Mode, Registry
from recloser.testing import open_breaker
from recloser_adapters.flask import Recloser, RecloserState, protect


def app_of(registry: Registry, *, beside: Registry | None = None, **options: Any) -> Flask:
    """An application of three views: guarded by its rule, by a key, by a registry of its own."""
    app = Flask(__name__)
    recloser = Recloser(app, registry, **options)
    app.add_url_rule("/rule", "rule", lambda: "here")
    app.add_url_rule("/key", "key", recloser.protect("key")(lambda: "here"))
    guard = protect(registry if beside is None else beside, "own")
    app.add_url_rule("/own", "own", guard(lambda: "here"))
    return app


def open_all(registry: Registry) -> None:
    for key in ("GET /rule", "key", "own"):
        open_breaker(registry[key])


def statuses(app: Flask) -> list[int]:
    client = app.test_client()
    return [client.get(path, buffered=True).status_code for path in ("/rule", "/key", "/own")]


def state_of(app: Flask) -> RecloserState:
    state: RecloserState = app.extensions["recloser"]
    return state


def test_an_open_breaker_refuses_wherever_it_stands(registry: Registry) -> None:
    app = app_of(registry)
    open_all(registry)

    assert statuses(app) == [503, 503, 503]
    assert state_of(app).mode is Mode.ENFORCE


@pytest.mark.parametrize(
    "options", [{"enabled": False}, {"mode": "disabled"}, {"mode": Mode.OBSERVE}], ids=str
)
def test_what_the_application_may_do_holds_for_protected_views_too(
    registry: Registry, options: dict[str, Any]
) -> None:
    app = app_of(registry, **options)
    open_all(registry)

    assert statuses(app) == [200, 200, 200]
    assert state_of(app).mode is (Mode.OBSERVE if "OBSERVE" in str(options) else Mode.DISABLED)


@pytest.mark.parametrize("given", [None, True])
def test_the_environment_turns_off_protected_views_too(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, given: bool | None
) -> None:
    monkeypatch.setenv("RECLOSER_ENABLED", " Off")
    app = app_of(registry, enabled=given)
    open_all(registry)

    assert statuses(app) == [200, 200, 200]
    assert (state_of(app).enabled, state_of(app).mode) == (False, Mode.DISABLED)


def test_the_environment_turns_off_protected_views_without_an_extension(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECLOSER_ENABLED", "0")
    app = Flask(__name__)
    app.add_url_rule("/", "home", protect(registry, "key")(lambda: "here"))
    open_breaker(registry["key"])

    assert app.test_client().get("/").status_code == 200


def test_a_view_that_is_off_is_not_even_watched(registry: Registry) -> None:
    statuses(app_of(registry, enabled=False))

    assert list(registry) == []


def test_a_mode_that_the_registry_is_given_later_is_seen(registry: Registry) -> None:
    app = app_of(registry)
    open_all(registry)

    registry.mode = Mode.OBSERVE
    assert (statuses(app), state_of(app).mode) == ([200, 200, 200], Mode.OBSERVE)

    registry.mode = Mode.ENFORCE
    assert (statuses(app), state_of(app).mode) == ([503, 503, 503], Mode.ENFORCE)


def test_an_observed_view_counts_as_before(registry: Registry) -> None:
    app = app_of(registry, mode="observe")

    statuses(app)

    assert [votes(registry[key].metrics()) for key in ("key", "own")] == [{"successes": 1}] * 2


def test_the_application_limits_a_registry_of_another_one(registry: Registry) -> None:
    beside = Registry()
    app = app_of(registry, beside=beside, mode="observe")
    open_breaker(beside["own"])

    assert statuses(app)[2] == 200
    beside.mode = Mode.DISABLED
    assert state_of(app).mode_in(beside) is Mode.DISABLED


def test_a_protected_view_of_an_application_without_breakers_says_so() -> None:
    app = Flask(__name__)
    app.testing = True
    app.add_url_rule("/", "home", protect(None, "key")(lambda: "here"))

    with pytest.raises(RuntimeError, match=r"needs Recloser\(app\)"):
        app.test_client().get("/")
