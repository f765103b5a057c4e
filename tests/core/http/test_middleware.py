"""Middleware: the settings that the middlewares for ASGI and WSGI share."""

from __future__ import annotations

from typing import Any

import pytest

import recloser.asgi
import recloser.wsgi
from recloser import Mode, Registry

MIDDLEWARES: list[Any] = [recloser.asgi.BreakerMiddleware, recloser.wsgi.BreakerMiddleware]


@pytest.fixture(params=MIDDLEWARES, ids=["asgi", "wsgi"])
def middleware(request: pytest.FixtureRequest) -> Any:
    return request.param


def app(*_: Any) -> Any:
    raise AssertionError("never called")


@pytest.mark.parametrize("no_app", [None, "module:app", 3])
def test_an_app_that_cannot_be_called_is_named(middleware: Any, no_app: Any) -> None:
    with pytest.raises(TypeError, match=r"^app must be an? \wSGI app, not "):
        middleware(no_app)


def test_an_app_for_refusals_that_cannot_be_called_is_named(middleware: Any) -> None:
    with pytest.raises(TypeError, match=r"^on_refuse must be an? \wSGI app, not 503$"):
        middleware(app, on_refuse=503)


@pytest.mark.parametrize(
    "setting",
    [
        {"registry": "r"},
        {"key": 1},
        {"exempt": "/health"},
        {"mode": "on"},
        {"expose_details": "no"},
    ],
)
def test_a_setting_that_cannot_be_used_is_named(middleware: Any, setting: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=next(iter(setting))):
        middleware(app, **setting)


def test_settings_other_than_app_and_registry_have_to_be_named(middleware: Any) -> None:
    with pytest.raises(TypeError, match="positional"):
        middleware(app, Registry(), lambda request: "key")


def test_the_app_and_the_registry_can_be_read(middleware: Any) -> None:
    registry = Registry()

    guarded = middleware(app, registry)

    assert guarded.app is app
    assert guarded.registry is registry


def test_without_a_registry_each_has_one_of_its_own_in_its_mode(middleware: Any) -> None:
    one, other = middleware(app, mode="observe"), middleware(app)

    assert one.registry is not other.registry
    assert one.registry.mode is Mode.OBSERVE
    assert other.registry.mode is Mode.ENFORCE
