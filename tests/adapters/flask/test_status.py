"""Flask: what `flask recloser status` says of rules, keys and breakers, and whether it is so."""

from __future__ import annotations

import json
from collections.abc import Callable
from fnmatch import translate
from re import match
from typing import Any

import pytest
from flask import Flask
from flask.views import MethodView
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.routing import Map, Rule

from recloser import Mode, Registry
from recloser.testing import ManualClock, open_breaker
from recloser_adapters._routes.cover import Cover, cover
from recloser_adapters.flask import DEFAULT_EXEMPT, Recloser, exempt, keyed, protect


def app_with(*rules: str) -> Flask:
    app = Flask(__name__, static_folder=None)
    for rule in rules:
        app.add_url_rule(rule, rule, lambda **values: "here")
    return app


def get(app: Flask, path: str) -> None:
    app.test_client().get(path, buffered=True)


def status(app: Flask) -> str:
    result = app.test_cli_runner().invoke(args=["recloser", "status"])
    assert result.exit_code == 0, result.output
    return result.output


def lines(app: Flask) -> dict[str, str]:
    """What is said of each key."""
    parts = [line.partition("  ") for line in status(app).splitlines()]
    return {key.strip(): " ".join(said.split()) for key, _, said in parts if said}


def report(app: Flask) -> Any:
    return json.loads(app.test_cli_runner().invoke(args=["recloser", "status", "--json"]).output)


def test_every_rule_and_its_breaker_is_shown(registry: Registry) -> None:
    app = app_with("/good", "/other/<int:number>")
    recloser = Recloser(app, registry)
    app.add_url_rule("/hidden", "hidden", recloser.exempt(lambda: "hidden"))
    get(app, "/good")
    open_breaker(registry["payments"])

    said = lines(app)

    assert said["GET /good"].startswith("closed closed: bad is")
    assert said["GET /other/<int:number>"] == "closed no calls yet"
    assert said["GET /hidden"] == "exempt not guarded: marked so"
    assert said["payments"].startswith("open open")
    assert "opened by a test" in said["payments"]
    # Looking must not make breakers.
    assert sorted(each.key for each in registry) == ["GET /good", "payments"]


def test_a_limited_key_says_how_many_calls_it_gets(registry: Registry, clock: ManualClock) -> None:
    app = app_with("/slow")
    Recloser(app, registry)
    breaker = registry["GET /slow"]
    held = [breaker.acquire() for _ in range(8)]
    clock.advance(breaker.policy.slow_ceiling + 1.0)
    assert breaker.try_acquire() is None

    assert held
    assert lines(app)["GET /slow"].startswith(
        "limited limited: at most 8 calls at a time, 8 in flight"
    )


def test_machines_get_json(registry: Registry) -> None:
    app = app_with("/good", "/health", "/<path:rest>")
    Recloser(app, registry)
    get(app, "/good")

    said = report(app)

    assert (said["enabled"], said["mode"]) == (True, "enforce")
    rows = {row["key"]: row for row in said["keys"]}
    assert (rows["GET /good"]["calls"], rows["GET /good"]["state"]) == (1, "closed")
    assert (rows["GET /health"]["state"], rows["GET /health"]["exempt"]) == ("exempt", ["/health"])
    assert rows["GET /<path:rest>"]["exempt"] == list(DEFAULT_EXEMPT[1:])
    assert rows["GET /<path:rest>"]["calls"] == 0


def test_a_key_cannot_forge_lines(registry: Registry) -> None:
    app = app_with("/good")
    Recloser(app, registry)
    registry["evil\nGET /good  open\x1b[2J"].acquire().success()

    output = status(app)

    assert "\x1b" not in output
    assert not [line for line in output.splitlines() if line.startswith("GET /good  open")]


def test_static_files_are_shown_as_such(registry: Registry) -> None:
    app = Flask(__name__)
    Recloser(app, registry, exempt=[])

    assert lines(app) == {"GET /static/<path:filename>": "exempt not guarded: static files"}


def test_rules_that_share_a_key_are_named(registry: Registry) -> None:
    app = app_with()
    Recloser(app, registry)
    for path in ("/pay", "/refund"):
        app.add_url_rule(path, path, keyed("payments")(lambda: "paid"))

    assert lines(app) == {"payments": "closed no calls yet; for GET /pay, GET /refund"}
    assert report(app)["keys"][0]["rules"] == ["GET /pay", "GET /refund"]


# Exempt paths


def test_rules_exempt_by_a_pattern_are_shown_as_such(registry: Registry) -> None:
    app = app_with("/health", "/orders/<int:number>")
    Recloser(app, registry)

    assert lines(app) == {
        "GET /health": "exempt not guarded: the path matches /health",
        "GET /orders/<int:number>": "closed no calls yet",
    }


def test_patterns_that_can_be_read_only_once_are_kept(registry: Registry) -> None:
    app = app_with("/health")
    Recloser(app, registry, exempt=iter(["/health"]))

    get(app, "/health")

    assert lines(app) == {"GET /health": "exempt not guarded: the path matches /health"}
    assert list(registry) == []


def test_a_rule_of_which_some_paths_are_exempt_says_which(registry: Registry) -> None:
    app = app_with("/<name>")
    Recloser(app, registry, exempt=["/health", "POST /x", "/a*"])

    said = "closed no calls yet; not where it matches /health or /a*"
    assert lines(app) == {"GET /<name>": said}
    get(app, "/health")
    assert list(registry) == []


COVERS = [
    ("/health", "/health", Cover.ALL),
    ("/health", "/healthz", Cover.NONE),
    ("/health*", "/health/<x>", Cover.ALL),
    ("GET /items/*", "/items/<x>", Cover.ALL),
    ("get /items/*", "/items/<x>", Cover.ALL),
    ("POST /items/*", "/items/<x>", Cover.NONE),
    ("/items/?", "/items/<x>", Cover.SOME),
    ("/items/??*", "/items/<x>", Cover.SOME),
    ("/items/new", "/items/<x>", Cover.SOME),
    ("/items/new", "/items/<int:x>", Cover.SOME),
    ("/items/7", "/items/<int(min=3):x>", Cover.SOME),
    ("/items/*/edit", "/items/<x>", Cover.SOME),
    ("/items/*/edit", "/items/<path:x>", Cover.SOME),
    ("/items/*/edit", "/items/<x>/<any(edit, show):what>", Cover.SOME),
    ("/items/[!x]*", "/items/<x>", Cover.SOME),
    ("/items/[a-c]", "/items/b", Cover.ALL),
    ("/items/[a-c]", "/other/<x>", Cover.NONE),
    ("*", "/", Cover.ALL),
    ("*.css", "/<path:x>", Cover.SOME),
    ("/static/*", "/static/<path:x>", Cover.ALL),
    ("/docs", "/docs/", Cover.NONE),
]


@pytest.mark.parametrize(("pattern", "rule", "expected"), COVERS)
def test_a_pattern_covers_rules_as_it_does_paths(pattern: str, rule: str, expected: Cover) -> None:
    assert cover(pattern, "GET", rule) is expected


VALUES = {
    "<int:a>": ["0", "7", "12"],
    "<b>": ["a", "b", "ab", "7", "new"],
    "<path:c>": ["a", "a/b", "b/a/7"],
}
LITERALS = ["a", "b", "ab", "7", "new"]
PIECES = [*"ab7/*?", "/", "/", "*", "[ab]", "[!a]", "new"]


@st.composite
def rules_and_paths(draw: Callable[[Any], Any]) -> tuple[str, str]:
    parts = draw(st.lists(st.sampled_from([*VALUES, *LITERALS]), max_size=3, unique=True))
    values = [draw(st.sampled_from(VALUES.get(part, [part]))) for part in parts]
    return "/" + "/".join(parts), "/" + "/".join(values)


@given(both=rules_and_paths(), pieces=st.lists(st.sampled_from(PIECES), max_size=7))
def test_what_is_said_of_a_rule_is_true_of_its_paths(
    both: tuple[str, str], pieces: list[str]
) -> None:
    template, path = both
    rule = Rule(template, endpoint="x")
    adapter = Map([rule]).bind("example.org")
    assert adapter.test(path)
    glob = "/" + "".join(pieces)

    said = cover(glob, "GET", rule.rule)

    assert said is not (Cover.NONE if match(translate(glob), path) else Cover.ALL)


# Views with breakers of their own


def test_protected_views_are_shown_with_their_breakers(registry: Registry) -> None:
    app = app_with()
    recloser = Recloser(app, registry)
    beside = Registry(clock=ManualClock())

    class Both(MethodView):
        @recloser.protect("orders")
        def get(self) -> str:
            return "here"

        def post(self) -> str:
            return "here"

    app.add_url_rule("/pay", "pay", recloser.protect("payments")(lambda: "paid"))
    app.add_url_rule("/health", "health", recloser.protect("vitals")(lambda: "well"))
    app.add_url_rule("/beside", "beside", protect(beside, "beside")(lambda: "here"))
    app.add_url_rule("/both", view_func=Both.as_view("both"))
    open_breaker(beside["beside"])

    said = lines(app)

    assert said.pop("beside").startswith("open open")
    assert said == {
        "payments": "closed no calls yet; for GET /pay",
        # A pattern exempts from the middleware, which does not guard this one.
        "vitals": "closed no calls yet; for GET /health",
        "orders": "closed no calls yet; for GET /both",
        "POST /both": "closed no calls yet",
    }


def test_a_view_with_a_key_and_a_breaker_of_its_own_is_shown_with_both(registry: Registry) -> None:
    app = app_with()
    recloser = Recloser(app, registry)
    app.add_url_rule("/", "home", keyed("outer")(recloser.protect("inner")(lambda: "here")))

    assert sorted(lines(app)) == ["inner", "outer"]
    get(app, "/")
    assert sorted(each.key for each in registry) == ["inner", "outer"]


def test_an_exempt_mark_above_a_protected_view_hides_nothing(registry: Registry) -> None:
    app = app_with()
    recloser = Recloser(app, registry)
    app.add_url_rule("/", "home", exempt(recloser.protect("inner")(lambda: "here")))

    assert sorted(lines(app)) == ["inner"]


# Functions of the user


def by_tenant(environ: Any) -> str:
    return "tenant"


def test_rules_are_not_listed_under_keys_that_a_function_never_gives(registry: Registry) -> None:
    app = app_with("/good", "/health")
    recloser = Recloser(app, registry, key=by_tenant)
    app.add_url_rule("/pay", "pay", recloser.protect("payments")(lambda: "paid"))
    get(app, "/good")

    said = lines(app)

    assert sorted(said) == ["payments", "tenant"]
    assert "named by by_tenant: only keys that were used are listed" in status(app)


def test_a_function_that_exempts_is_named(registry: Registry) -> None:
    app = app_with("/good")
    Recloser(app, registry, exempt=lambda environ: False)

    assert lines(app) == {"GET /good": "closed no calls yet"}
    assert "<lambda> says which requests are exempt" in status(app)


# Modes

OFF = "mode disabled: nothing is guarded"


@pytest.mark.parametrize(
    ("options", "mode", "expected"),
    [
        ({}, Mode.ENFORCE, "mode enforce"),
        ({}, Mode.OBSERVE, "mode observe: nothing is refused"),
        ({"mode": "observe"}, Mode.ENFORCE, "mode observe: nothing is refused"),
        ({"mode": "enforce"}, Mode.OBSERVE, "mode observe: nothing is refused"),
        ({"mode": "disabled"}, Mode.ENFORCE, OFF),
        ({"enabled": False}, Mode.ENFORCE, OFF),
    ],
)
def test_the_mode_is_that_which_holds(
    registry: Registry, options: dict[str, Any], mode: Mode, expected: str
) -> None:
    app = app_with("/good")
    Recloser(app, registry, **options)
    registry.mode = mode

    assert status(app).splitlines()[0] == expected
    assert expected.startswith(f"mode {report(app)['mode']}")
    assert report(app)["enabled"] is options.get("enabled", True)


def test_the_environment_is_heard(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECLOSER_ENABLED", "0")
    app = app_with("/good", "/health")
    Recloser(app, registry)

    assert status(app).splitlines()[0] == OFF
    assert report(app)["enabled"] is False
    assert lines(app)["GET /good"] == "closed no calls yet"
