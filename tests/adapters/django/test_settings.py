"""The setting `RECLOSER` is checked: a mistake is one clear error that names it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("django")

from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.http import HttpRequest, HttpResponse
from django.urls import path
from tests.support.django_project import MIDDLEWARE, Project, Start

from recloser import Mode, Policy, Registry, State
from recloser_adapters.django import exempt, get_registry, keyed, protect

CORS = "corsheaders.middleware.CorsMiddleware"
SECURITY = "django.middleware.security.SecurityMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
MINE = Registry()


def ok(request: HttpRequest, **kwargs: Any) -> HttpResponse:
    return HttpResponse("ok")


def spare(status: int) -> Any:
    raise AssertionError


async def never(request: Any) -> None:
    raise AssertionError


PATTERNS = [path("orders/<int:number>", ok), path("about", ok)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"MODDE": "observe"}, r"RECLOSER\['MODDE'\]: unknown, did you mean 'MODE'\?"),
        ({"mode": "observe"}, r"RECLOSER\['mode'\]: unknown, did you mean 'MODE'\?"),
        ({"WHATEVER": 1}, r"RECLOSER\['WHATEVER'\]: unknown, there are CLASSIFY, ENABLED"),
        ({"MODE": "lenient"}, r"RECLOSER\['MODE'\]: mode must be one of enforce, observe"),
        ({"ENABLED": "no"}, r"RECLOSER\['ENABLED'\]: must be True or False, not 'no'"),
        ({"EXEMPT": "/static/*"}, r"RECLOSER\['EXEMPT'\]: exempt must be an iterable of patterns"),
        ({"EXEMPT": ["static/*"]}, r"RECLOSER\['EXEMPT'\]: exempt: the path of a pattern begins"),
        ({"EXEMPT": 5}, r"RECLOSER\['EXEMPT'\]: "),
        ({"EXPOSE_DETAILS": 1}, r"RECLOSER\['EXPOSE_DETAILS'\]: must be True or False, not 1"),
        ({"MAX_KEYS": 0}, r"RECLOSER\['MAX_KEYS'\]: max_keys must be a whole number >= 1"),
        ({"REGISTRY": {}}, r"RECLOSER\['REGISTRY'\]: must be a Registry or its dotted path"),
        ({"REGISTRY": "no.such"}, r"RECLOSER\['REGISTRY'\]: No module named 'no'"),
        ({"POLICY": {"SLOW_CEILLING": 1}}, r"RECLOSER\['POLICY'\]: .*slow_ceilling"),
        ({"POLICY": 5}, r"RECLOSER\['POLICY'\]: must be a Policy or a dict of its fields, not 5"),
        ({"POLICY": {"open_for": -1}}, r"RECLOSER\['POLICY'\]: open_for"),
        ({"POLICIES": []}, r"RECLOSER\['POLICIES'\]: must map keys to policies, not \[\]"),
        ({"POLICIES": {"a": {"open_for": "x"}}}, r"RECLOSER\['POLICIES'\]: 'a': open_for"),
        ({"KEY": 5}, r"RECLOSER\['KEY'\]: must be a function or its dotted path, not 5"),
        ({"KEY": never}, r"RECLOSER\['KEY'\]: must be a plain function, not the async"),
        ({"ON_REFUSE": f"{__name__}.none"}, r"RECLOSER\['ON_REFUSE'\]: Module .* does not define"),
        ({"CLASSIFY": "500"}, r"RECLOSER\['CLASSIFY'\]: "),
        (
            {"REGISTRY": MINE, "MAX_KEYS": 5},
            r"RECLOSER\['MAX_KEYS'\] has no effect beside 'REGISTRY'",
        ),
    ],
)
def test_a_mistake_names_the_setting(start: Start, options: dict[str, Any], said: str) -> None:
    start(PATTERNS, RECLOSER=options)

    with pytest.raises(ImproperlyConfigured, match=said):
        get_registry()
    (message,) = run_checks()
    assert message.id == "recloser.E001"


@pytest.mark.parametrize("value", [None, [], "observe"])
def test_the_setting_is_a_dict(start: Start, value: Any) -> None:
    start(PATTERNS, RECLOSER=value)

    with pytest.raises(ImproperlyConfigured, match="RECLOSER must be a dict such as"):
        get_registry()


def test_a_server_does_not_start_with_a_mistake(start: Start) -> None:
    project = start(PATTERNS, RECLOSER={"MODDE": "observe"})

    for handler in (project.wsgi, project.asgi):
        with pytest.raises(ImproperlyConfigured, match="MODDE"):
            handler()


def test_no_setting_is_needed(start: Start) -> None:
    from django.conf import settings

    project = start(PATTERNS)
    del settings.RECLOSER

    assert project.get("/about").status_code == 200
    assert [breaker.key for breaker in get_registry()] == ["GET /about"]


def test_the_settings_describe_the_registry(start: Start, tmp_path: Path) -> None:
    start(
        PATTERNS,
        registry=None,
        mode="observe",
        max_keys=7,
        store=tmp_path / "breakers.db",
        policy={"slow_ceiling": 3.0},
        policies={"GET /about": Policy(open_for=2.0)},
    )
    made = get_registry()

    assert made.mode is Mode.OBSERVE
    assert made["x"].policy.slow_ceiling == 3.0
    assert made["GET /about"].policy.open_for == 2.0
    assert made.fleet is not None
    made.fleet.close()


def test_a_dotted_path_names_the_projects_own_registry(start: Start) -> None:
    start(PATTERNS, registry=f"{__name__}.MINE")

    assert get_registry() is MINE


@pytest.mark.parametrize("how", ["setting", "environment"])
def test_it_can_be_turned_off(start: Start, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    if how == "environment":
        monkeypatch.setenv("RECLOSER_ENABLED", "0")
    project = start(PATTERNS, **({"enabled": False} if how == "setting" else {}))
    project.registry["GET /about"].open()

    assert project.get("/about").status_code == 200
    assert [message.id for message in run_checks()] == []


def test_a_test_of_a_project_has_breakers_of_its_own(start: Start) -> None:
    """`override_settings(RECLOSER=...)` makes new ones."""
    from django.test.utils import override_settings

    start(PATTERNS, registry=None)
    before = get_registry()
    before["GET /about"].open()
    with override_settings(RECLOSER={"MODE": "enforce"}):
        assert get_registry() is not before
        assert get_registry()["GET /about"].state is State.CLOSED


# The checks


def ids() -> list[str]:
    return [str(message.id) for message in run_checks() if str(message.id).startswith("recloser")]


@pytest.mark.parametrize(
    ("middleware", "expected"),
    [
        ([MIDDLEWARE], []),
        ([MIDDLEWARE, SECURITY, SESSIONS], []),
        ([CORS, SECURITY, MIDDLEWARE, SESSIONS], []),
        ([], ["recloser.W001"]),
        ([SESSIONS], ["recloser.W001"]),
        ([MIDDLEWARE, SESSIONS, MIDDLEWARE], ["recloser.W002"]),
        ([SESSIONS, MIDDLEWARE], ["recloser.W003"]),
    ],
)
def test_the_place_of_the_middleware_is_checked(
    start: Start, middleware: list[str], expected: list[str]
) -> None:
    start(PATTERNS, MIDDLEWARE=middleware)

    assert ids() == expected


@pytest.mark.parametrize(
    ("options", "said", "hint"),
    [
        ({"exempt": ["/abuot"]}, "RECLOSER['EXEMPT']: '/abuot' matches no URL", "'/about'"),
        (
            {"policies": {"GET /order/<int:number>": {}}},
            "RECLOSER['POLICIES']: 'GET /order/<int:number>' is the key of no URL",
            "'GET /orders/<int:number>'",
        ),
        (
            {"policies": {"/orders/<int:number>": {}}},
            "RECLOSER['POLICIES']: '/orders/<int:number>' is the key of no URL",
            "'DELETE /orders/<int:number>'",
        ),
    ],
)
def test_what_matches_no_pattern_is_told(
    start: Start, options: dict[str, Any], said: str, hint: str
) -> None:
    start(PATTERNS, registry=None, **options)

    (message,) = [each for each in run_checks() if str(each.id).startswith("recloser")]

    assert message.msg.startswith(said)
    assert hint in str(message.hint)


def test_what_matches_is_not_told(start: Start) -> None:
    start(
        PATTERNS,
        registry=None,
        exempt=["/about", "GET /orders/*"],
        policies={"GET /orders/<int:number>": {}, "POST /*": {}, "payments": {}},
    )

    assert ids() == []


# The command


def shown(*arguments: str) -> str:
    out = io.StringIO()
    call_command("recloser", *arguments, stdout=out)
    return out.getvalue()


@exempt
def repair(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


@keyed("payments")
def pay(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


@protect(None, "ledger")
def ledger(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


@pytest.fixture
def several(start: Start) -> Project:
    return start(
        [
            *PATTERNS,
            path("repair", repair),
            path("pay", pay),
            path("refund", pay),
            path("ledger", ledger),
            path("static/<path:path>", ok),
        ]
    )


def test_status_shows_each_pattern_and_its_breaker(several: Project) -> None:
    several.get("/about")
    several.registry["GET /about"].open("maintenance")

    lines = shown("status").splitlines()

    assert lines[0] == "mode enforce"
    row = {line[:24].strip(): line[24:] for line in lines[1:-1]}
    assert "open" in row["GET /about"]
    assert "maintenance" in row["GET /about"]
    assert "no calls yet" in row["GET /orders/<int:number>"]
    assert "exempt" in row["GET /repair"]
    assert "for GET /pay, GET /refund" in row["payments"].replace(", POST /pay", "")
    assert "for GET /ledger, POST /ledger" in row["ledger"]
    assert "matches /static/*" in row["GET /static/<path:path>"]


def test_status_as_json(several: Project) -> None:
    several.get("/about")

    report = json.loads(shown("status", "--json"))

    assert report["enabled"] is True
    assert report["mode"] == "enforce"
    keys = {row["key"]: row for row in report["keys"]}
    assert keys["GET /about"]["calls"] == 1
    assert keys["payments"]["rules"] == ["GET /pay", "POST /pay", "GET /refund", "POST /refund"]


def test_status_makes_no_breakers(several: Project) -> None:
    shown("status")

    assert several.registry.breakers() == []


def test_the_command_needs_to_know_what(several: Project) -> None:
    with pytest.raises(CommandError, match="status"):
        call_command("recloser")
