"""A fault in what a user gave us never breaks a request; only a decision refuses."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.breaker_state import votes
from tests.support.frontends import AsyncFrontend, Frontend
from tests.support.scripted_handler import OopsError, Script

from recloser import State

pytestmark = pytest.mark.anyio


def raising(*args: object) -> Any:
    raise OopsError("a fault of the user's")


class Liar:
    """Compares equal to everything and hashes to nothing."""

    __hash__ = None  # type: ignore[assignment]  # that is the point

    def __eq__(self, other: object) -> bool:
        raise OopsError


@pytest.mark.parametrize(
    "key",
    [raising, *(lambda request, junk=junk: junk for junk in (42, b"app", [], Liar(), object()))],
    ids=["raising", "int", "bytes", "list", "liar", "object"],
)
async def test_a_bad_key_function_leaves_requests_alone(
    http: Frontend, script: Script, key: Any
) -> None:
    http.configure(key=key)
    script.raises = None

    for _ in range(3):
        assert (await http.call()).ok

    assert script.calls == 3
    assert http.registry.faults == 3


async def test_no_key_means_unguarded(http: Frontend, script: Script) -> None:
    http.configure(key=lambda request: None)
    script.status = 500

    for _ in range(20):
        assert (await http.call()).status == 500

    assert http.registry.breakers() == []
    assert http.registry.faults == 0


async def test_the_key_of_requests_without_a_route_never_opens(
    http: Frontend, script: Script
) -> None:
    http.configure(key=lambda request: "<unmatched>")
    script.status = 500

    for _ in range(50):
        assert (await http.call()).status == 500

    assert http.registry["<unmatched>"].state is State.CLOSED


async def test_a_bad_exempt_function_leaves_requests_alone(http: Frontend, script: Script) -> None:
    http.configure(exempt=raising)
    script.status = 500

    for _ in range(20):
        assert (await http.call()).status == 500

    assert http.registry.faults == 20


@pytest.mark.parametrize(
    "classify",
    [raising, lambda status: None, lambda status: "failure"],
    ids=["raises", "None", "str"],
)
async def test_a_bad_classifier_is_replaced_by_the_default(
    http: Frontend, script: Script, classify: Any
) -> None:
    http.configure(classify=classify)
    script.status = 500

    answer = await http.call()

    assert answer.status == 500
    assert votes(http.breaker.metrics()) == {"failures": 1}
    assert http.registry.faults == 1


async def test_an_on_refuse_that_raises_is_replaced_by_the_default(http: Frontend) -> None:
    http.configure(on_refuse=raising)
    http.breaker.open()

    answer = await http.call()

    assert answer.status == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.error is None
    assert http.registry.faults == 1


async def test_an_on_refuse_that_raises_late_is_replaced_too(wsgi: Frontend) -> None:
    def late(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b""
        raise OopsError

    wsgi.configure(on_refuse=late)
    wsgi.breaker.open()

    answer = await wsgi.call()

    assert answer.status == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert b'"status": 503' in answer.body


async def test_an_on_refuse_that_sends_nothing_is_replaced_too(asgi: Frontend) -> None:
    async def silent(scope: Any, receive: Any, send: Any) -> None:
        return

    asgi.configure(on_refuse=silent)
    asgi.breaker.open()

    assert (await asgi.call()).headers["content-type"] == "application/problem+json"


async def test_an_on_refuse_that_breaks_off_is_seen_by_the_server(
    around_messages: Frontend,
) -> None:
    async def breaking(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": []})
        raise OopsError

    around_messages.configure(on_refuse=breaking)
    around_messages.breaker.open()

    answer = await around_messages.call()

    assert any(isinstance(error, OopsError) for error in answer.errors)
    assert answer.status == 503
    assert answer.body == b""


async def test_on_refuse_answers_and_knows_why(http: Frontend, script: Script) -> None:
    told = []

    async def asgi_answer(scope: Any, receive: Any, send: Any) -> None:
        told.append(scope["recloser.refusal"])
        await send({"type": "http.response.start", "status": 418, "headers": []})
        await send({"type": "http.response.body", "body": b"later"})

    def wsgi_answer(environ: Any, start_response: Any) -> Any:
        told.append(environ["recloser.refusal"])
        start_response("418 Later", [("Content-Type", "text/plain")])
        return [b"later"]

    is_asgi = isinstance(http, AsyncFrontend)
    http.configure(on_refuse=asgi_answer if is_asgi else wsgi_answer)
    http.breaker.open("down", for_=9.0)

    answer = await http.call()

    assert (answer.status, answer.body) == (418, b"later")
    assert script.calls == 0
    assert told[0].key == http.key
    assert told[0].retry_after == pytest.approx(9.0)
    assert http.registry.faults == 0


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("key", "app", TypeError),
        ("classify", 500, TypeError),
        ("on_refuse", "later", TypeError),
        ("exempt", "/static/*", TypeError),
        ("exempt", [7], TypeError),
        ("exempt", None, TypeError),
        ("exempt", ["static/*"], ValueError),
        ("exempt", ["GET static"], ValueError),
        ("mode", "lenient", ValueError),
        ("registry", {}, TypeError),
    ],
)
async def test_a_mistake_in_the_set_up_is_an_error_at_once(
    option: str, value: object, error: type[Exception]
) -> None:
    import recloser.asgi
    import recloser.wsgi

    for module in (recloser.asgi, recloser.wsgi):
        make: Any = module.BreakerMiddleware
        with pytest.raises(error, match=option):
            make(lambda *args: None, **{option: value})


async def never() -> None:
    pass


class Never:
    async def __call__(self, request: object) -> None:
        pass


@pytest.mark.parametrize("option", ["key", "exempt", "classify"])
@pytest.mark.parametrize("function", [never, Never()])
async def test_an_async_function_where_nobody_awaits_it_is_an_error_at_once(
    option: str, function: object
) -> None:
    import recloser.asgi
    import recloser.wsgi

    for module in (recloser.asgi, recloser.wsgi):
        make: Any = module.BreakerMiddleware
        with pytest.raises(TypeError, match=f"{option} must be a plain function, not the async"):
            make(lambda *args: None, **{option: function})


async def test_an_app_that_is_none_is_an_error_at_once() -> None:
    import recloser.asgi
    import recloser.wsgi

    for module in (recloser.asgi, recloser.wsgi):
        make: Any = module.BreakerMiddleware
        with pytest.raises(TypeError, match=r"app must be an? [AW]SGI app, not None"):
            make(None)
