"""Flask: set-up, configuration, keys through blueprints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask

from recloser import Mode, Outcome, Policy, Registry, State
from recloser.testing import open_breaker
from recloser_adapters.flask import DEFAULT_EXEMPT, UNMATCHED, Recloser, RecloserState


def new_app(**config: Any) -> Flask:
    app = Flask(__name__, static_folder=str(Path(__file__).parent), static_url_path="/files")
    app.config.update(config)
    return app


def state_of(app: Flask) -> RecloserState:
    state: RecloserState = app.extensions["recloser"]
    return state


def get(app: Flask, path: str, method: str = "GET", **more: Any) -> Any:
    # A server reads each body to its end, and so do we.
    return app.test_client().open(path, method=method, buffered=True, **more)


def keys_of(registry: Registry) -> list[str]:
    return sorted(breaker.key for breaker in registry)


# Keys


def site() -> Flask:
    app = new_app()
    inner = Blueprint("inner", __name__, url_prefix="/inner")
    outer = Blueprint(
        "outer", __name__, url_prefix="/outer", static_folder=".", static_url_path="/s"
    )

    @app.route("/")
    @app.route("/items/<int:number>", methods=["GET", "DELETE"])
    @inner.route("/<path:rest>")
    @outer.get("/page")
    def view(**arguments: Any) -> str:
        return "here"

    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    app.register_blueprint(inner, name="again", url_prefix="/again")
    return app


CASES = [
    ("GET", "/", "GET /"),
    ("HEAD", "/", "GET /"),
    ("GET", "/items/7", "GET /items/<int:number>"),
    ("DELETE", "/items/7", "DELETE /items/<int:number>"),
    ("GET", "/outer/page", "GET /outer/page"),
    ("GET", "/outer/inner/a/b", "GET /outer/inner/<path:rest>"),
    ("GET", "/again/a", "GET /again/<path:rest>"),
    ("GET", "/items/x", UNMATCHED),
    ("PUT", "/items/7", UNMATCHED),
    ("GET", "/none", UNMATCHED),
    ("GET", "/files/conftest.py", None),
    ("GET", "/outer/s/any.css", None),
]


@pytest.mark.parametrize(("method", "path", "key"), CASES)
def test_a_request_is_named_by_method_and_rule(
    registry: Registry, method: str, path: str, key: str | None
) -> None:
    app = site()
    Recloser(app, registry)

    answer = get(app, path, method)

    assert (answer.status_code == 200) == (key != UNMATCHED) or key is None
    assert keys_of(registry) == ([] if key in (None, UNMATCHED) else [key])


def test_static_files_are_exempt_also_where_no_pattern_says_so(registry: Registry) -> None:
    app = site()
    Recloser(app, registry, exempt=[])

    assert get(app, f"/files/{Path(__file__).name}").status_code == 200
    assert keys_of(registry) == []


def test_subdomains_and_hosts_are_told_apart(registry: Registry) -> None:
    app = Flask(__name__, subdomain_matching=True)
    app.config["SERVER_NAME"] = "example.org"
    app.add_url_rule("/", "root", lambda: "root")
    app.add_url_rule("/", "sub", lambda tenant: tenant, subdomain="<tenant>")
    by_host = Flask(__name__, host_matching=True, static_host="a.org")
    by_host.add_url_rule("/", "a", lambda: "a", host="a.org")
    by_host.add_url_rule("/", "b", lambda: "b", host="b.org")
    for each in (app, by_host):
        Recloser(each, registry)

    for base in ("http://example.org", "http://7.example.org"):
        assert get(app, "/", base_url=base).status_code == 200
    for base in ("http://a.org", "http://b.org"):
        assert get(by_host, "/", base_url=base).status_code == 200

    assert keys_of(registry) == ["GET /", "GET <tenant>/", "GET a.org/", "GET b.org/"]


def test_resolving_leaves_the_environ_as_it_is(registry: Registry) -> None:
    app = site()
    Recloser(app, registry)
    with app.test_request_context("/items/7") as context:
        environ = {
            name: value
            for name, value in context.request.environ.items()
            if not name.startswith("werkzeug.")
        }
    before = dict(environ)

    assert state_of(app).key(environ) == "GET /items/<int:number>"
    assert environ == before


def test_rules_added_after_set_up_are_known(registry: Registry) -> None:
    app = new_app()
    Recloser(app, registry)
    app.add_url_rule("/late/<x>", "late", lambda x: x)

    get(app, "/late/1")

    assert keys_of(registry) == ["GET /late/<x>"]


# Set-up


def failing(app: Flask) -> Flask:
    @app.route("/bad/<int:number>")
    def bad(number: int) -> str:
        raise RuntimeError("out of order")

    @app.route("/good")
    def good() -> str:
        return "good"

    return app


def test_a_rule_that_fails_is_refused_and_its_neighbours_are_not(registry: Registry) -> None:
    app = failing(new_app())
    Recloser(app, registry)

    statuses = [get(app, f"/bad/{n}").status_code for n in range(40)]
    refusal = get(app, "/bad/41")

    assert registry["GET /bad/<int:number>"].state is State.OPEN
    assert (statuses[0], statuses[-1]) == (500, 503)
    assert refusal.content_type == "application/problem+json"
    assert int(refusal.headers["Retry-After"]) >= 1
    assert get(app, "/good").status_code == 200


def test_what_flasks_test_client_leaves_unread_counts_by_its_status(registry: Registry) -> None:
    app = new_app()
    Recloser(app, registry)
    app.add_url_rule("/", "home", lambda: ("out of order", 500))
    client = app.test_client()

    statuses = [client.get("/").status_code for _ in range(10)]

    assert statuses == [500] * 5 + [503] * 5


def test_exceptions_that_propagate_count_once_and_pass(registry: Registry) -> None:
    app = failing(new_app(TESTING=True))
    Recloser(app, registry)

    with pytest.raises(RuntimeError, match="out of order"):
        get(app, "/bad/1")

    assert registry["GET /bad/<int:number>"].metrics().failures == 1


def test_one_object_serves_several_applications_each_with_its_own_breakers() -> None:
    recloser = Recloser()
    first, second = failing(new_app()), failing(new_app(RECLOSER_MODE="observe"))
    for app in (first, second):
        recloser.init_app(app)

    get(first, "/good")

    assert keys_of(state_of(first).registry) == ["GET /good"]
    assert keys_of(state_of(second).registry) == []
    assert state_of(first).registry.mode is Mode.ENFORCE
    assert state_of(second).registry.mode is Mode.OBSERVE


def test_a_given_registry_is_shared(registry: Registry) -> None:
    recloser = Recloser(registry=registry)
    for app in (failing(new_app()), failing(new_app())):
        recloser.init_app(app)
        get(app, "/good")

    assert registry["GET /good"].metrics().calls == 2


def test_an_application_is_set_up_once() -> None:
    app = new_app()
    Recloser(app)

    with pytest.raises(RuntimeError, match="init_app was called twice"):
        Recloser(app)


MISTAKES: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"app": Registry()}, TypeError, "app must be a Flask application, not <Registry"),
    ({"registry": new_app()}, TypeError, "registry must be a Registry, not <Flask"),
    ({"key": "GET /"}, TypeError, "key must be a function, not 'GET /'"),
    ({"exempt": "/health"}, TypeError, "exempt must be an iterable of patterns"),
    ({"exempt": 5}, TypeError, "exempt must be patterns or a function, not 5"),
    ({"mode": "observ"}, ValueError, "mode must be one of enforce, observe, disabled, not 'obs"),
]


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize(
    ("arguments", "kind", "message"), MISTAKES, ids=[each[2][:24] for each in MISTAKES]
)
def test_a_mistake_is_an_error_that_names_it_and_touches_nothing(
    arguments: dict[str, Any], kind: type[Exception], message: str, enabled: bool
) -> None:
    app = new_app()
    before = app.wsgi_app

    with pytest.raises(kind, match=f"^{message}"):
        Recloser(**{"app": app, "enabled": enabled, **arguments})

    assert app.wsgi_app == before
    assert "recloser" not in app.extensions


def test_a_mode_that_is_none_is_told_the_choices() -> None:
    with pytest.raises(
        ValueError, match=r"^RECLOSER_MODE: mode must be one of enforce, .* not 'observ'"
    ):
        Recloser(new_app(RECLOSER_MODE="observ"))


def test_key_function_classifier_and_refusal_of_the_user_win(registry: Registry) -> None:
    def refused(environ: Any, start_response: Any) -> list[bytes]:
        start_response("429 Too Many Requests", [])
        return [b"later"]

    app = failing(new_app())
    Recloser(
        app,
        registry,
        key=lambda environ: "mine",
        classify=lambda status: Outcome.IGNORED,
        on_refuse=refused,
    )
    get(app, "/bad/1")
    assert registry["mine"].metrics().ignored == 1

    open_breaker(registry["mine"])

    assert get(app, "/good").status_code == 429


def test_the_default_exemptions_can_be_added_to(registry: Registry) -> None:
    app = failing(new_app())
    app.add_url_rule("/health", "health", lambda: "well")
    Recloser(app, registry, exempt=[*DEFAULT_EXEMPT, "/good"])

    for path in ("/health", "/good"):
        assert get(app, path).status_code == 200

    assert keys_of(registry) == []


# Configuration


def test_the_configuration_is_read() -> None:
    app = failing(
        new_app(
            RECLOSER_MODE="OBSERVE",
            RECLOSER_EXEMPT=["/good"],
            RECLOSER_EXPOSE_DETAILS="1",
            RECLOSER_MAX_KEYS=7,
            RECLOSER_POLICY={"open_for": 2.0},
            RECLOSER_POLICIES={"GET /bad*": {"OPEN_FOR": 3.0}, "x": Policy(open_for=4.0)},
        )
    )
    Recloser(app)
    registry = state_of(app).registry

    get(app, "/good")

    assert keys_of(registry) == []
    assert registry.mode is Mode.OBSERVE
    waits = [registry[key].policy.open_for for key in ("GET /good", "GET /bad/1", "x")]
    assert waits == [2.0, 3.0, 4.0]


def test_what_is_given_wins_over_the_configuration(registry: Registry) -> None:
    app = failing(new_app(RECLOSER_MODE="observe", RECLOSER_EXEMPT=["/*"], RECLOSER_ENABLED="0"))
    Recloser(app, registry, mode="enforce", exempt=[], enabled=True, expose_details=True)
    open_breaker(registry["GET /good"])

    refusal = get(app, "/good")

    assert refusal.status_code == 503
    assert "GET /good" in refusal.get_data(as_text=True)


@pytest.mark.parametrize("off", [False, 0, "0", "false", "NO", "off"], ids=repr)
def test_the_configuration_can_turn_it_off(off: Any) -> None:
    app = failing(new_app(RECLOSER_ENABLED=off))
    inside = app.wsgi_app
    Recloser(app)

    assert app.wsgi_app == inside
    assert state_of(app).enabled is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RECLOSER_ENABLED", "maybe"),
        ("RECLOSER_MODE", "sometimes"),
        ("RECLOSER_MODE", 7),
        ("RECLOSER_EXEMPT", "/health"),
        ("RECLOSER_EXEMPT", ["health"]),
        ("RECLOSER_EXPOSE_DETAILS", None),
        ("RECLOSER_MAX_KEYS", 0),
        ("RECLOSER_MAX_KEYS", "many"),
        ("RECLOSER_POLICY", {"open_for": -1}),
        ("RECLOSER_POLICY", {"open_four": 1.0}),
        ("RECLOSER_POLICY", 5),
        ("RECLOSER_POLICIES", {"GET /": {"open_for": float("nan")}}),
        ("RECLOSER_POLICIES", ["GET /"]),
        ("RECLOSER_POLICIES", {7: {}}),
    ],
)
def test_a_bad_value_is_an_error_that_begins_with_its_name(name: str, value: Any) -> None:
    app = new_app(**{name: value})

    with pytest.raises(ValueError, match=f"^{name}: "):
        Recloser(app)

    assert "recloser" not in app.extensions


def test_a_misspelt_name_is_an_error_that_suggests_the_right_one() -> None:
    with pytest.raises(
        ValueError, match=r"RECLOSER_EXEMT is unknown: did you mean 'RECLOSER_EXEMPT'\?"
    ):
        Recloser(new_app(RECLOSER_EXEMT=[]))


def test_the_environment_configures_it_as_flask_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_RECLOSER_ENABLED", "true")
    monkeypatch.setenv("FLASK_RECLOSER_POLICY__open_for", "1.5")
    app = new_app()
    app.config.from_prefixed_env()
    Recloser(app)

    assert state_of(app).registry["any"].policy.open_for == 1.5
