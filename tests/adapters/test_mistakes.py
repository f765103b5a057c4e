"""What the adapters say of mistakes: each is told at construction, and says what to write instead."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from typing import Any

import pytest

from recloser import Failover, Policy, Provider, Registry

ASYNC = "must be a plain function, not the async"
REGISTRY = Registry()


async def coroutine_function(*args: Any) -> None:
    pass


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    pass


def wsgi_app(environ: Any, start_response: Any) -> list[bytes]:
    return []


def failover(target: object = "https://a.example") -> Failover[Any]:
    return Failover(Registry(), [Provider("a", target)])


def told(make: Callable[[], Any]) -> str:
    """The sentence of the error that something raises."""
    with pytest.raises((TypeError, ValueError, AttributeError)) as caught:
        make()
    said = str(caught.value)
    assert "\n" not in said
    return said


@pytest.mark.parametrize("name", ["httpx", "httpx2"])
def test_a_client_and_a_transport_of_httpx_are_not_mixed_up(name: str) -> None:
    library: Any = pytest.importorskip(name)
    ours: Any = importlib.import_module(f"recloser_adapters.{name}")
    sync, not_sync = library.HTTPTransport(), library.AsyncHTTPTransport()
    guarded = ours.BreakerTransport(sync)

    for make, part in [
        (lambda: ours.BreakerTransport(library.Client()), "write wrap_client(client)"),
        (lambda: ours.AsyncBreakerTransport(library.AsyncClient()), "write wrap_client(client)"),
        (lambda: ours.wrap_client(sync), "write BreakerTransport(transport)"),
        (lambda: ours.wrap_client(guarded), "write BreakerTransport(transport)"),
        (lambda: ours.BreakerTransport(not_sync), "write an Async class around it"),
        (lambda: ours.AsyncBreakerTransport(sync), "write a class without Async around it"),
        (lambda: ours.FailoverTransport(not_sync, failover()), "write an Async class around it"),
        (lambda: ours.BreakerTransport(library.HTTPTransport), "write HTTPTransport(), with paren"),
        (lambda: ours.wrap_client(library.Client), "write Client(), with parentheses"),
        (lambda: ours.BreakerTransport(REGISTRY), "comes first, and the registry after it"),
        (lambda: ours.wrap_client(REGISTRY, library.Client()), "comes first"),
        (lambda: ours.BreakerTransport(), "needs transport: write BreakerTransport(transport)"),
        (lambda: ours.FailoverTransport(failover(), sync), "the transport comes first"),
        (lambda: ours.FailoverTransport(sync, REGISTRY), "write Failover(registry, providers)"),
        (
            lambda: ours.FailoverTransport(sync, failover(library.Client())),
            "write Provider('a', 'https://...')",
        ),
        (
            lambda: ours.FailoverTransport(
                sync, Failover(REGISTRY, [Provider("a", "https://a.example")], hedge=0.05)
            ),
            "write failover.acall(send, repeatable=True)",
        ),
        (
            lambda: ours.FailoverTransport(sync, failover(), repeatable=True),
            "write repeatable=lambda request: True",
        ),
        (
            lambda: ours.FailoverTransport(sync, failover(), repeatable=coroutine_function),
            f"repeatable {ASYNC}",
        ),
        (
            lambda: library.Client(transport=ours.AsyncBreakerTransport(not_sync)).get(
                "http://127.0.0.1:9"
            ),
            f"is no transport of an {name}.Client: write BreakerTransport",
        ),
        (
            lambda: asyncio.run(
                library.AsyncClient(transport=guarded).get("http://127.0.0.1:9"),
            ),
            f"is no transport of an {name}.AsyncClient: write AsyncBreakerTransport",
        ),
    ]:
        assert part in told(make)


@pytest.mark.parametrize("name", ["httpx", "httpx2"])
def test_a_guarded_transport_is_of_one_kind_as_far_as_others_can_see(name: str) -> None:
    library: Any = pytest.importorskip(name)
    ours: Any = importlib.import_module(f"recloser_adapters.{name}")

    guarded = ours.BreakerTransport(library.HTTPTransport())

    assert hasattr(guarded, "handle_request")
    assert not hasattr(guarded, "handle_async_request")
    assert not hasattr(guarded, "nothing")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"keys": "x"}, "'keys': did you mean 'key'?"),
        ({"on_refuse": "rais"}, "did you mean 'raise'?"),
        ({"verdict": "lm"}, "did you mean 'llm'?"),
        ({"open_for": 1.0}, "write Registry(Policy(open_for=...))"),
        ({"key": Registry()["x"]}, "write the key, such as breaker.key"),
        *(
            ({name: coroutine_function}, f"{name} {ASYNC}")
            for name in ("key", "label_by", "on_refuse", "classify", "verdict", "on_end")
        ),
    ],
    ids=str,
)
def test_the_settings_of_every_client_are_told_alike(settings: dict[str, Any], said: str) -> None:
    httpx: Any = pytest.importorskip("httpx")
    from recloser_adapters.httpx import wrap_client

    assert said in told(lambda: wrap_client(httpx.Client(), **settings))


def test_a_session_of_requests_is_one() -> None:
    requests: Any = pytest.importorskip("requests")
    ours: Any = importlib.import_module("recloser_adapters.requests")
    adapters: Any = requests.adapters

    for make, part in [
        (lambda: ours.wrap_session(requests.Session), "write Session(...), with parentheses"),
        (lambda: ours.wrap_session(adapters.HTTPAdapter()), "write BreakerAdapter(adapter)"),
        (lambda: ours.wrap_session(REGISTRY), "the session comes first"),
        (lambda: ours.BreakerAdapter(requests.Session()), "write wrap_session(session)"),
        (lambda: ours.BreakerAdapter(REGISTRY), "the adapter comes first"),
        (lambda: ours.BreakerAdapter(adapters.HTTPAdapter), "write HTTPAdapter(...), with paren"),
        (lambda: ours.BreakerAdapter(), "needs adapter: write BreakerAdapter(adapter)"),
        (lambda: ours.wrap_session(requests.Session(), keys=1), "did you mean 'key'?"),
        (lambda: ours.wrap_session(requests.Session(), Policy()), "write Registry(policy)"),
    ]:
        assert part in told(make)


def test_a_session_of_aiohttp_is_one() -> None:
    aiohttp: Any = pytest.importorskip("aiohttp")
    ours: Any = importlib.import_module("recloser_adapters.aiohttp")

    for make, part in [
        (lambda: ours.wrap_session(aiohttp.ClientSession), "write ClientSession(...)"),
        (lambda: ours.wrap_session(REGISTRY), "the session comes first"),
        (lambda: ours.BreakerMiddleware(keys=1), "did you mean 'key'?"),
        (lambda: ours.BreakerMiddleware(Policy()), "write Registry(policy)"),
    ]:
        assert part in told(make)


def test_an_app_of_starlette_is_an_asgi_app() -> None:
    applications: Any = pytest.importorskip("starlette.applications")
    ours: Any = importlib.import_module("recloser_adapters.starlette")
    app = applications.Starlette()

    for make, part in [
        (lambda: ours.BreakerMiddleware(wsgi_app), "use BreakerMiddleware of recloser.wsgi"),
        (lambda: ours.BreakerMiddleware(applications.Starlette), "write Starlette(...)"),
        (lambda: ours.BreakerMiddleware(app, rutes=[]), "did you mean 'routes'?"),
        (lambda: ours.BreakerMiddleware(REGISTRY, app), "write the app first"),
        (lambda: ours.protect(coroutine_function), "write protect(registry, key)"),
        (lambda: ours.protect(coroutine_function, "k"), "must be a Registry"),
        (lambda: ours.dependency("payments"), "write Registry()"),
        (lambda: ours.dependency(REGISTRY, REGISTRY), "key must be a str"),
        (lambda: ours.keyed(coroutine_function), "write @keyed('payments')"),
        (lambda: ours.exempt("/health"), "mark an endpoint, not '/health'"),
    ]:
        assert part in told(make)


def test_an_app_of_flask_is_one() -> None:
    flask: Any = pytest.importorskip("flask")
    ours: Any = importlib.import_module("recloser_adapters.flask")

    def configured(**config: Any) -> Any:
        app = flask.Flask("x")
        app.config.update(config)
        return ours.Recloser(app)

    for make, part in [
        (lambda: ours.Recloser(flask.Flask), "write Flask(...), with parentheses"),
        (lambda: ours.Recloser(flask.Flask("x").wsgi_app), "write Recloser(app), not"),
        (lambda: ours.Recloser(REGISTRY), "write Recloser(app, registry)"),
        (lambda: ours.Recloser(flask.Flask("x"), Policy()), "write Registry(policy)"),
        (lambda: ours.Recloser(excempt=[]), "did you mean 'exempt'?"),
        (lambda: ours.Recloser(policy=Policy()), "write Registry(policy=...)"),
        (lambda: ours.Recloser(flask.Flask("x"), on_refuse=asgi_app), "recloser.asgi"),
        (lambda: ours.Recloser().protect(wsgi_app), "write protect(key) above the function"),
        (lambda: ours.protect(wsgi_app), "write protect(registry, key)"),
        (lambda: configured(RECLOSER_POLICY={"max_open": 1}), "did you mean 'max_open_for'?"),
        (lambda: configured(RECLOSER_POLICIS={}), "did you mean 'RECLOSER_POLICIES'?"),
        (lambda: configured(RECLOSER_MODE="observ"), "did you mean 'observe'?"),
    ]:
        assert part in told(make)


def test_an_app_of_werkzeug_is_a_wsgi_app() -> None:
    pytest.importorskip("werkzeug")
    ours: Any = importlib.import_module("recloser_adapters.werkzeug")

    assert "use BreakerMiddleware of recloser.asgi" in told(
        lambda: ours.BreakerMiddleware(asgi_app)
    )
    assert "did you mean 'url_map'?" in told(lambda: ours.BreakerMiddleware(wsgi_app, urlmap=1))


def test_what_needs_no_library_says_so_too() -> None:
    from recloser_adapters import dashboard, health

    ours: Any = dashboard
    assert "write Registry(policy)" in told(lambda: ours.Dashboard(Policy()))
    assert "did you mean 'operators'?" in told(lambda: ours.Dashboard(REGISTRY, operator=[]))
    assert "write def, not async def" in told(lambda: ours.Dashboard(REGISTRY, coroutine_function))
    check: Any = health.readiness
    assert "write Registry(policy)" in told(lambda: check(Policy(), ["k"]))


# What makes a guard, by module: its name, a setting that is misspelt, and the one that is meant.
MISSPELT = [
    ("quart", "BreakerMiddleware", "exmpt", "exempt"),
    ("litestar", "BreakerMiddleware", "exmpt", "exempt"),
    ("litestar", "BreakerPlugin", "exmpt", "exempt"),
    ("falcon", "BreakerMiddleware", "exmpt", "exempt"),
    ("falcon", "AsgiBreakerMiddleware", "exmpt", "exempt"),
    ("blacksheep", "BreakerMiddleware", "exmpt", "exempt"),
    ("connexion", "BreakerMiddleware", "exmpt", "exempt"),
    ("bottle", "BreakerMiddleware", "exmpt", "exempt"),
    ("pyramid", "set_breakers", "exmpt", "exempt"),
    ("aiohttp_web", "BreakerMiddleware", "exmpt", "exempt"),
    ("tornado", "guard", "exmpt", "exempt"),
    ("graphql", "GraphQLMiddleware", "operation", "operations"),
    ("graphql", "WsgiGraphQLMiddleware", "operation", "operations"),
]


@pytest.mark.filterwarnings("ignore:jsonschema")  # Connexion uses what it warns of
@pytest.mark.parametrize(("module", "name", "given", "meant"), MISSPELT)
def test_a_misspelt_setting_of_each_adapter_is_told_what_is_meant(
    module: str, name: str, given: str, meant: str
) -> None:
    try:
        adapter: Any = importlib.import_module(f"recloser_adapters.{module}")
    except ModuleNotFoundError as missing:
        pytest.skip(f"{missing.name} is not installed")

    said = told(lambda: getattr(adapter, name)(object(), REGISTRY, **{given: ()}))

    assert f"did you mean {meant!r}?" in said


def _langchain() -> tuple[Any, ...]:
    return (importlib.import_module("langchain_core.runnables").RunnableLambda(len), REGISTRY)


def _pydantic_ai() -> tuple[Any, ...]:
    return (importlib.import_module("pydantic_ai.models.test").TestModel(), REGISTRY)


# Those whose settings are keyword arguments of a TypedDict, and arguments that they take.
OPEN: list[tuple[str, str, Callable[[], tuple[Any, ...]], str, str]] = [
    ("grpc", "BreakerInterceptor", lambda: ("host:1", REGISTRY), "keys", "key"),
    ("grpc", "aio_interceptors", lambda: ("host:1", REGISTRY), "keys", "key"),
    ("langchain", "guard", _langchain, "cutoff", "cut_off"),
    ("pydantic_ai", "GuardedModel", _pydantic_ai, "cutoff", "cut_off"),
    ("botocore", "wrap_client", lambda: (object(), REGISTRY), "on_ends", "on_end"),
    ("botocore", "wrap_session", lambda: (object(), REGISTRY), "on_ends", "on_end"),
]


@pytest.mark.parametrize(("module", "name", "arguments", "given", "meant"), OPEN)
def test_a_misspelt_setting_of_a_client_is_told_what_is_meant(
    module: str, name: str, arguments: Callable[[], tuple[Any, ...]], given: str, meant: str
) -> None:
    try:
        adapter: Any = importlib.import_module(f"recloser_adapters.{module}")
        values = arguments()
    except ModuleNotFoundError as missing:
        pytest.skip(f"{missing.name} is not installed")

    said = told(lambda: getattr(adapter, name)(*values, **{given: ()}))

    assert f"did you mean {meant!r}?" in said
