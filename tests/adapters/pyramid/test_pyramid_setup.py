"""Pyramid: settings, other execution policies, refusals of outbound calls."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.breaker_state import votes
from tests.support.wsgi_client import Exchange

pytest.importorskip("pyramid")

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPServiceUnavailable
from pyramid.interfaces import IExecutionPolicy
from pyramid.response import Response
from pyramid.router import default_execution_policy

from recloser import BreakerOpenError, Registry, State
from recloser.wsgi import permit_of
from recloser_adapters.pyramid import guarded_keys, refuse

REFUSAL = BreakerOpenError("upstream", State.OPEN, None, 20.0)


def make_config(registry: Registry | None, view: Any, **settings: Any) -> Any:
    config = Configurator(settings=settings)
    config.include("recloser_adapters.pyramid")
    if registry is not None:
        config.set_breakers(registry)
    config.add_route("x", "/x")
    config.add_view(view, route_name="x")
    return config


def ok(request: Any) -> Any:
    return Response(body=b"ok")


def raises(request: Any) -> Any:
    raise REFUSAL


def raises_503(request: Any) -> Any:
    try:
        raise REFUSAL
    except BreakerOpenError as error:
        raise HTTPServiceUnavailable from error


def answers(request: Any) -> Any:
    try:
        raise REFUSAL
    except BreakerOpenError as error:
        return refuse(error, request)


def ask(app: Any, path: str = "/x") -> Any:
    return Exchange("GET", path).run(app)


@pytest.mark.parametrize("view", [raises, answers])
def test_a_refusal_is_answered_by_a_503_that_says_when_to_come_again(
    registry: Registry, view: Any
) -> None:
    app = make_config(registry, view).make_wsgi_app()

    for _ in range(20):
        answer = ask(app)
        assert answer.status == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) >= 20

    assert votes(registry["GET /x"].metrics()) == {"ignored": 20}


def test_an_error_that_stands_for_a_refusal_is_no_failure(registry: Registry) -> None:
    app = make_config(registry, raises_503).make_wsgi_app()

    assert ask(app).status == 503
    assert votes(registry["GET /x"].metrics()) == {"ignored": 1}


def test_another_503_is_a_failure(registry: Registry) -> None:
    def view(request: Any) -> Any:
        raise HTTPServiceUnavailable

    assert ask(make_config(registry, view).make_wsgi_app()).status == 503
    assert votes(registry["GET /x"].metrics()) == {"failures": 1}


def test_an_exception_view_of_the_application_takes_precedence(registry: Registry) -> None:
    config = make_config(registry, raises)
    config.add_exception_view(
        lambda error, request: Response(body=b"later", status=202), context=BreakerOpenError
    )

    answer = ask(config.make_wsgi_app())

    assert (answer.status, answer.body) == (202, b"later")
    assert votes(registry["GET /x"].metrics()) == {"ignored": 1}


def test_a_view_may_give_its_own_verdict(registry: Registry) -> None:
    def view(request: Any) -> Any:
        permit_of(request.environ).failure("stale data served")
        return ok(request)

    assert ask(make_config(registry, view).make_wsgi_app()).body == b"ok"
    assert votes(registry["GET /x"].metrics()) == {"failures": 1}


def test_what_an_exception_view_makes_of_an_error_counts(registry: Registry) -> None:
    def view(request: Any) -> Any:
        raise LookupError

    config = make_config(registry, view)
    config.add_exception_view(
        lambda error, request: Response(body=b"none", status=404), context=LookupError
    )

    assert ask(config.make_wsgi_app()).status == 404
    assert votes(registry["GET /x"].metrics()) == {"ignored": 1}


# Settings


def test_settings_are_read(registry: Registry) -> None:
    settings = {"recloser.exempt": "/free/*\nGET /x", "recloser.expose_details": "false"}

    assert ask(make_config(registry, ok, **settings).make_wsgi_app()).status == 200
    assert registry.breakers() == []


def test_a_setting_of_the_mode_holds(registry: Registry) -> None:
    app = make_config(registry, ok, **{"recloser.mode": "observe"}).make_wsgi_app()
    registry["GET /x"].open()

    assert ask(app).status == 200


def test_an_argument_takes_precedence_over_a_setting(registry: Registry) -> None:
    config = make_config(registry, ok, **{"recloser.mode": "observe"})
    config.commit()
    config.set_breakers(registry, mode="enforce", expose_details=True)
    app = config.make_wsgi_app()
    registry["GET /x"].open()

    assert ask(app).status == 503
    assert b'"key": "GET /x"' in ask(app).body


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("recloser.mood", "observe", "recloser.mood: unknown; there are recloser.mode"),
        ("recloser.mode", "lenient", "lenient"),
        ("recloser.exempt", "static/*", "exempt: the path of a pattern begins with"),
    ],
)
def test_a_setting_that_is_not_valid_is_an_error_at_once(
    name: str, value: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_config(None, ok, **{name: value})


# Other policies


def test_it_is_put_around_the_policy_that_the_application_has(registry: Registry) -> None:
    """As pyramid_retry does: wherever in the configuration its policy is set."""
    seen: list[str] = []

    def other(environ: Any, router: Any) -> Any:
        seen.append(environ["PATH_INFO"])
        return default_execution_policy(environ, router)

    config = make_config(registry, ok)
    config.set_execution_policy(other)
    app = config.make_wsgi_app()

    assert ask(app).body == b"ok"
    assert seen == ["/x"]
    registry["GET /x"].open()
    assert ask(app).status == 503
    assert seen == ["/x"]


def test_a_configuration_that_is_committed_twice_is_guarded_once(registry: Registry) -> None:
    config = make_config(None, ok)
    config.commit()
    config.set_breakers(registry)
    app = config.make_wsgi_app()

    policy = config.registry.queryUtility(IExecutionPolicy)
    assert policy.policy is default_execution_policy
    assert guarded_keys(app) == {registry: {"GET /x"}}


def test_without_a_registry_each_application_has_its_own(registry: Registry) -> None:
    apps = [make_config(None, ok).make_wsgi_app() for _ in range(2)]
    first, second = (next(iter(guarded_keys(app))) for app in apps)

    first["GET /x"].open()

    assert first is not second
    assert [ask(app).status for app in apps] == [503, 200]


def test_a_tween_is_inside_the_breaker(registry: Registry) -> None:
    """A tween that fails is part of the call, as any other part of the application."""
    config = make_config(registry, ok)
    config.add_tween(f"{__name__}.failing_tween")
    app = config.make_wsgi_app()

    answer = ask(app)

    assert isinstance(answer.error, ArithmeticError)
    assert votes(registry["GET /x"].metrics()) == {"failures": 1}


def failing_tween(handler: Any, registry: Any) -> Any:
    def tween(request: Any) -> Any:
        raise ArithmeticError

    return tween


def test_a_subrequest_is_part_of_the_call(registry: Registry) -> None:
    def view(request: Any) -> Any:
        inner = type(request).blank("/y")
        return request.invoke_subrequest(inner)

    config = make_config(registry, view)
    config.add_route("y", "/y")
    config.add_view(ok, route_name="y")

    assert ask(config.make_wsgi_app()).body == b"ok"
    assert [breaker.key for breaker in registry.breakers()] == ["GET /x"]
