"""recloser.hints: a mistake is told where it is made, and the sentence says what to write instead."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from recloser import Breaker, Failover, Mode, Policy, Provider, Registry, asgi, hints, wsgi
from recloser._environment import strictest

# Mistakes are what type checkers refuse, so they must not see these.
_asgi: Any = asgi.BreakerMiddleware
_wsgi: Any = wsgi.BreakerMiddleware
_policy: Any = Policy
_registry: Any = Registry
_breaker: Any = Breaker
_failover: Any = Failover
_provider: Any = Provider


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    pass


def wsgi_app(environ: Any, start_response: Any) -> list[bytes]:
    return []


def _guard_a_coroutine() -> object:
    coroutine: Any = coroutine_function()
    try:
        return BREAKER(coroutine)
    finally:
        coroutine.close()  # nobody awaits it


async def coroutine_function(*args: Any) -> None:
    pass


class AsgiApp:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        pass


class WsgiApp:
    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        return []


class AppPerScope:
    """ASGI: the class is the app, as `HTTPEndpoint` of Starlette."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        pass

    def __await__(self) -> Any:
        yield


class AppPerEnviron:
    """WSGI: the class is the app, as in PEP 3333."""

    def __init__(self, environ: Any, start_response: Any) -> None:
        pass

    def __iter__(self) -> Any:
        yield b""


class AsyncListener:
    async def on_transition(self, transition: Any) -> None:
        pass


REGISTRY = Registry()
BREAKER = REGISTRY["payments"]
PROVIDERS = [Provider("a", 1)]

ASYNC = "must be a plain function, not the async"
MISTAKES: list[tuple[Callable[[], Any], str, str]] = [
    # Names of settings
    (
        lambda: _policy(max_open=1),
        "Policy has no setting 'max_open'",
        "did you mean 'max_open_for'?",
    ),
    (lambda: _policy(**{"open-for": 1}), "no setting 'open-for'", "did you mean 'open_for'?"),
    (lambda: _policy(xyz=1), "no setting 'xyz'", "help(Policy) lists all settings"),
    (lambda: _policy(max_keys=1), "no setting 'max_keys'", "write Registry(max_keys=...)"),
    (lambda: _policy(5), "Policy takes 0 positional arguments, not 1", "write name=value"),
    (lambda: _registry(polices={}), "Registry has no setting", "did you mean 'policies'?"),
    (lambda: _registry(open_for=1), "no setting", "write Registry(Policy(open_for=...))"),
    (lambda: _registry(opn_for=1), "no setting", "write Registry(Policy(open_for=...))"),
    (lambda: _breaker("k", polcy=1), "Breaker has no setting", "did you mean 'policy'?"),
    (lambda: _breaker(), "Breaker needs key", "write Breaker(key)"),
    (lambda: _asgi(asgi_app, keys=1), "BreakerMiddleware has no setting", "did you mean 'key'?"),
    (lambda: _asgi(asgi_app, policy=1), "no setting", "write Registry(policy=...)"),
    (lambda: _asgi(asgi_app, slow_floor=1), "no setting", "write Registry(Policy(slow_floor=...))"),
    (lambda: _asgi(registry=REGISTRY), "needs app", "write BreakerMiddleware(app)"),
    (lambda: _wsgi(wsgi_app, cut_off=True), "no setting 'cut_off'", "the settings are app, class"),
    (lambda: _failover(REGISTRY, PROVIDERS, ordr="x"), "Failover has no", "did you mean 'order'?"),
    (lambda: _failover(PROVIDERS), "needs providers", "write Failover(registry, providers)"),
    (lambda: _provider("a"), "Provider needs target", "write Provider(key, target)"),
    (lambda: _provider("a", 1, wieght=1), "Provider has no setting", "did you mean 'weight'?"),
    (lambda: BREAKER.with_timeout(caps=1), "with_timeout() has no", "did you mean 'cap'?"),  # type: ignore[call-arg]  # the mistake
    # Words
    (lambda: Mode("observ"), "mode must be one of enforce", "did you mean 'observe'?"),
    (lambda: _failover(REGISTRY, PROVIDERS, order="wieghted"), "order", "mean 'weighted'?"),
    (lambda: _failover(REGISTRY, PROVIDERS).call(len, prefer="A"), "prefer must", "mean 'a'?"),
    # Values of the wrong kind
    (lambda: _registry({"open_for": 1}), "policy must be a Policy", "write Policy(**settings)"),
    (lambda: _registry(Policy), "policy must be a Policy", "write Policy(...), with parentheses"),
    (lambda: _registry("payments"), "policy must be a Policy", "write registry[key]"),
    (lambda: _registry(policies={"a": {}}), "must map str to Policy", "write Policy(**settings)"),
    (lambda: _breaker("k", REGISTRY), "policy must be a Policy", "write registry[key]"),
    (lambda: _breaker(wsgi_app), "key must be a str", "such as @Breaker('payments')"),
    (lambda: _breaker(Policy()), "key must be a str", "write the key first"),
    (lambda: _guard_a_coroutine(), "guards a function", "without parentheses"),
    (lambda: BREAKER(AsgiApp), "a breaker guards a function", "guard its methods"),
    (lambda: BREAKER.labelled_by(coroutine_function), "known " + ASYNC, "write def"),  # type: ignore[arg-type]  # the mistake
    (lambda: _registry(clock=coroutine_function), "clock " + ASYNC, "write def, not async def"),
    (lambda: REGISTRY.subscribe(AsyncListener()), "on_transition " + ASYNC, "write def"),  # type: ignore[arg-type]  # the mistake
    (lambda: setattr(REGISTRY, "trace", coroutine_function), "trace " + ASYNC, "write def"),
    # Registries, apps and hooks of middlewares
    (lambda: _asgi(asgi_app, Policy()), "registry must be a Registry", "write Registry(policy)"),
    (lambda: _asgi(asgi_app, {"a": 1}), "must be a Registry", "write Registry(Policy(...))"),
    (lambda: _asgi(asgi_app, BREAKER), "must be a Registry", "write the registry itself"),
    (lambda: _asgi(REGISTRY, asgi_app), "app must be an ASGI app", "write the app first"),
    (lambda: _asgi(AsgiApp), "an ASGI app, not the class AsgiApp", "write AsgiApp(...)"),
    (lambda: _asgi(wsgi_app), "not the WSGI app", "use BreakerMiddleware of recloser.wsgi"),
    (lambda: _asgi(WsgiApp()), "not the WSGI app", "use BreakerMiddleware of recloser.wsgi"),
    (lambda: _asgi(asgi_app, on_refuse=wsgi_app), "on_refuse must be an ASGI app", "recloser.wsgi"),
    (lambda: _asgi(asgi_app, key=coroutine_function), "key " + ASYNC, "write def, not async def"),
    (lambda: _asgi(asgi_app, key=BREAKER), "key must be a function", "such as breaker.key"),
    (lambda: _wsgi(WsgiApp), "a WSGI app, not the class WsgiApp", "write WsgiApp(...)"),
    (lambda: _wsgi(asgi_app), "not the ASGI app", "use BreakerMiddleware of recloser.asgi"),
    (lambda: _wsgi(AsgiApp()), "not the ASGI app", "use BreakerMiddleware of recloser.asgi"),
    (lambda: _wsgi(coroutine_function), "must be a WSGI app, not the async", "write def"),
    (lambda: _wsgi(wsgi_app, on_refuse=asgi_app), "on_refuse must be a WSGI app", "recloser.asgi"),
    # Failovers
    (
        lambda: _failover(REGISTRY, Provider("a", 1)),
        "providers must be several",
        "write [provider]",
    ),
    (lambda: _failover(REGISTRY, {"a": 1}), "must be a list, not dict", "[Provider(key, target)"),
    (
        lambda: _failover(REGISTRY, ["http://x"]),
        "contain Provider objects",
        "[Provider(key, target)",
    ),
    (lambda: _failover(Policy(), PROVIDERS), "must be a Registry", "write Registry(policy)"),
    (
        lambda: _failover(REGISTRY, PROVIDERS, on_delivery=coroutine_function),
        "on_delivery " + ASYNC,
        "write def, not async def",
    ),
]


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize(
    ("make", "names", "says"), MISTAKES, ids=[str(place) for place in range(len(MISTAKES))]
)
def test_a_mistake_is_told_in_one_sentence_that_says_what_to_write(
    make: Callable[[], Any], names: str, says: str
) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        make()

    said = str(caught.value)
    assert names in said
    assert says in said
    assert "\n" not in said


def _decorated(app: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(app)
    def wrapper(*args: Any) -> Any:
        return app(*args)

    return wrapper


def _signed_like_another(scope: Any, receive: Any, send: Any) -> Any:
    return None


setattr(_signed_like_another, "__wrapped__", wsgi_app)  # noqa: B010 - a decorator that adapts does so


@pytest.mark.parametrize(
    ("middleware", "app"),
    [
        (_asgi, asgi_app),
        (_asgi, AsgiApp()),
        (_asgi, AsgiApp().__call__),
        (_asgi, AppPerScope),
        (_asgi, functools.partial(asgi_app)),
        (_asgi, functools.partial(coroutine_function, 1)),
        (_asgi, _decorated(asgi_app)),
        (_asgi, _signed_like_another),
        (_asgi, lambda *args: None),
        (_wsgi, wsgi_app),
        (_wsgi, WsgiApp()),
        (_wsgi, WsgiApp().__call__),
        (_wsgi, AppPerEnviron),
        (_wsgi, _decorated(wsgi_app)),
        (_wsgi, lambda environ, start_response, more=None: []),
        (_wsgi, dict),  # a class that makes something to iterate over
    ],
    ids=str,
)
def test_what_may_be_an_app_is_let_through(middleware: Any, app: Any) -> None:
    assert middleware(app).registry is not None


def test_a_builtin_whose_signature_is_not_known_is_let_through() -> None:
    hints.check_app("app", "ASGI", print)


def test_the_signature_and_the_documentation_stay_as_they_are() -> None:
    parameters = inspect.signature(Registry).parameters

    assert list(parameters)[:2] == ["policy", "policies"]
    assert parameters["max_keys"].default == 1000
    assert "open_for" in inspect.signature(Policy).parameters
    assert BREAKER.with_timeout.__doc__ is not None


def test_arguments_that_python_passes_by_name_are_passed() -> None:
    assert Breaker(key="k").key == "k"
    assert asgi.BreakerMiddleware(app=asgi_app).app is asgi_app
    assert Provider(target=1, key="a").target == 1


@pytest.mark.parametrize("name", ["RECLOSER_MDOE", "RECLOSER_MODES", "RECLOSER_ENABLE"])
def test_a_name_in_the_environment_that_is_nearly_ours_is_an_error(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "observe")

    with pytest.raises(ValueError, match=rf"{name}, which means nothing: did you mean 'RECLOSER_"):
        Registry()


def test_other_names_in_the_environment_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RECLOSER_PORT", "RECLOSER_SERVICE_HOST", "RECLOSER_LONG", "MY_RECLOSER_MDOE"):
        monkeypatch.setenv(name, "1")

    assert strictest() is Mode.ENFORCE


def test_a_name_is_found_whatever_its_case_and_its_hyphens() -> None:
    assert hints.meant("Max-Keys", ["max_keys"]) == ": did you mean 'max_keys'?"
    assert hints.meant("nothing", ["max_keys"]) == ""


def test_a_closed_form_names_what_is_there_if_nothing_is_close() -> None:
    error = hints.no_setting("", "quux", ["b", "a"])

    assert str(error) == "unexpected keyword argument 'quux': the settings are a, b"
