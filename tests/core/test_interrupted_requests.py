"""A signal handler that raises during a request: the request is in flight no longer."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest
from tests.support.bytecodes import not_measured
from tests.support.interrupts import Work, storm

from recloser import Registry
from recloser.asgi import BreakerMiddleware
from recloser.wsgi import BreakerMiddleware as WSGIBreakerMiddleware

pytestmark = not_measured

# ASGI


class Done:
    """What can be awaited, and is done at once."""

    def __init__(self, value: object = None) -> None:
        self.value = value

    def __await__(self) -> Generator[None, None, object]:
        yield from ()
        return self.value  # what `await` gives


App = Callable[[Any, Any, Any], Any]


def start(status: int) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": []}


BODY = {"type": "http.response.body", "body": b"chunk"}


async def answer(scope: Any, receive: Any, send: Any) -> None:
    await send(start(200))
    await send(BODY)


async def answer_500(scope: Any, receive: Any, send: Any) -> None:
    await send(start(500))
    await send(BODY)


async def stream(scope: Any, receive: Any, send: Any) -> None:
    await send(start(200))
    await send({**BODY, "more_body": True})
    await send(BODY)


async def receive_first(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await answer(scope, receive, send)


async def hear_the_client_leave(scope: Any, receive: Any, send: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def fail(scope: Any, receive: Any, send: Any) -> None:
    raise OSError("down")


def key_of(key: str) -> Callable[[Any], str]:
    return lambda scope: key


def request(app: App, registry: Registry, *, version: str, around: int = 0) -> Work:
    """One request, as a server makes it: what it raises reaches the server."""
    guarded: Any = BreakerMiddleware(app, registry)
    for number in range(around):
        guarded = BreakerMiddleware(guarded, registry, key=key_of(f"{number}"))
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "more_body": True},
        {"type": "http.request"},
    ]

    def receive() -> Done:
        return Done(messages.pop(0) if messages else {"type": "http.disconnect"})

    def send(message: Any) -> Done:
        return Done()

    def work() -> None:
        scope = {"type": "http", "method": "GET", "path": "/x", "headers": []}
        scope["asgi"] = {"spec_version": version}  # type: ignore[assignment]  # as servers do
        coroutine = guarded(scope, receive, send)
        try:
            coroutine.send(None)
        except (StopIteration, OSError):
            pass
        finally:
            coroutine.close()

    return work


# An interrupt between the making of a coroutine and its first step leaves it for nobody to await.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("learned", [True, False], ids=["learned", "fresh"])
@pytest.mark.parametrize("version", ["2.3", "2.4"])
@pytest.mark.parametrize("around", [0, 1])
@pytest.mark.parametrize(
    "app", [answer, answer_500, stream, receive_first, hear_the_client_leave, fail]
)
def test_an_interrupted_asgi_request_is_in_flight_no_longer(
    app: App, around: int, version: str, learned: bool
) -> None:
    def scenario(registry: Registry) -> Work:
        return request(app, registry, version=version, around=around)

    assert storm(scenario, learned=learned) >= 8


# WSGI


def whole(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [])
    return [b"x"]


def whole_500(environ: Any, start_response: Any) -> Any:
    start_response("500 Internal Server Error", [])
    return [b"x"]


def pieces(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [])
    yield b"x"
    yield b"y"


def fails(environ: Any, start_response: Any) -> Any:
    raise OSError("down")


def fails_midway(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [])
    yield b"x"
    raise OSError("down")


def wsgi_request(app: Any, registry: Registry, *, pieces_wanted: int) -> Work:
    guarded: Any = WSGIBreakerMiddleware(app, registry)

    def work() -> None:
        body: Any = ()
        try:
            body = guarded({"REQUEST_METHOD": "GET", "PATH_INFO": "/x"}, lambda *_: None)
            for number, _ in enumerate(body, 1):
                if number == pieces_wanted:
                    break
        except OSError:
            pass
        finally:
            getattr(body, "close", lambda: None)()

    return work


@pytest.mark.parametrize("learned", [True, False], ids=["learned", "fresh"])
@pytest.mark.parametrize("pieces_wanted", [1, 9], ids=["the client leaves", "to the end"])
@pytest.mark.parametrize("app", [whole, whole_500, pieces, fails, fails_midway])
def test_an_interrupted_wsgi_request_is_in_flight_no_longer(
    app: Any, pieces_wanted: int, learned: bool
) -> None:
    def scenario(registry: Registry) -> Work:
        return wsgi_request(app, registry, pieces_wanted=pieces_wanted)

    assert storm(scenario, learned=learned) >= 5
