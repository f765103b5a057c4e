"""The WSGI middleware in the corners: statuses, refusals on their way out, signal handlers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from tests.support.breaker_state import ended
from tests.support.passing import never, passing

from recloser import Registry, wsgi
from recloser._http.wsgi_watch import WsgiPermit
from recloser.testing import ManualClock
from recloser.wsgi import BreakerMiddleware

OK = "200 OK"


def http(method: str = "GET", /, **more: Any) -> dict[str, Any]:
    return {"REQUEST_METHOD": method, "SCRIPT_NAME": "", "PATH_INFO": "/x", **more}


class Client:
    """Notes how each response was begun, and what was written."""

    def __init__(self) -> None:
        self.begun: list[tuple[Any, ...]] = []
        self.body = b""

    def ask(self, app: Any, environ: dict[str, Any]) -> bytes:
        body = app(environ, self.start_response)
        return self.body + b"".join(body)

    def start_response(self, *arguments: Any) -> Callable[[bytes], object]:
        self.begun.append(arguments)
        return self.write

    def write(self, data: bytes) -> None:
        self.body += data


Passing = passing(BreakerMiddleware, "PATH_INFO")
NotPassing = passing(BreakerMiddleware, "PATH_INFO", passes=False)


# Requests


def test_the_patterns_of_what_is_not_guarded_see_method_and_path(registry: Registry) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response(OK, [])
        return []

    guarded = BreakerMiddleware(app, registry, exempt=["GET /x"])

    Client().ask(guarded, http("GET"))
    assert not [*registry]
    Client().ask(guarded, http("POST"))

    assert registry["app"].metrics().successes == 1


@pytest.mark.parametrize(
    ("more", "same"),
    [({}, True), ({"CONTENT_LENGTH": "5"}, False), ({"HTTP_TRANSFER_ENCODING": "chunked"}, False)],
)
def test_where_there_is_no_body_its_input_is_the_servers_own(
    registry: Registry, more: dict[str, str], same: bool
) -> None:
    seen: list[Any] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        seen.append(environ["wsgi.input"])
        start_response(OK, [])
        return []

    given = object()
    Client().ask(BreakerMiddleware(app, registry), http(**more, **{"wsgi.input": given}))

    assert (seen[0] is given) is same


# Responses


@pytest.mark.parametrize("more", [{}, {"HTTP_UPGRADE": "websocket", "HTTP_SEC_WEBSOCKET_KEY": "x"}])
def test_a_response_is_begun_with_what_the_app_says(
    registry: Registry, more: dict[str, str]
) -> None:
    headers: list[tuple[str, str]] = [("a", "b")]
    errors: list[Any] = []
    writes: list[Any] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        writes.append(start_response(OK, headers))
        try:
            raise OSError
        except OSError:
            errors.append(sys.exc_info())
            writes.append(start_response("500 Oops", headers, errors[0]))
        return []

    client = Client()
    client.ask(BreakerMiddleware(app, registry), http(**more))

    assert client.begun == [(OK, headers), ("500 Oops", headers, errors[0])]
    assert client.begun[0][1] is headers
    assert writes == [client.write, client.write]
    errors.clear()


@pytest.mark.parametrize(("headers", "streams"), [([], True), ([("Content-Length", "2")], False)])
def test_a_body_of_known_length_is_no_stream(
    registry: Registry, headers: list[tuple[str, str]], streams: bool
) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response(OK, headers)
        yield b"a"
        yield b"b"

    assert Client().ask(BreakerMiddleware(app, registry), http()) == b"ab"

    assert (registry["app"]._calls.streams is not None) is streams


def test_what_a_type_of_bodies_needs_is_found_out_once(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[type] = []
    response_class = vars(wsgi)["response_class"]

    def noted(kind: type) -> Any:
        asked.append(kind)
        return response_class(kind)

    class Body(list[bytes]):
        pass

    def app(environ: Any, start_response: Any) -> Body:
        start_response(OK, [])
        return Body([b"a"])

    monkeypatch.setattr(wsgi, "_watch_by_type", {})
    monkeypatch.setattr(wsgi, "response_class", noted)
    guarded = BreakerMiddleware(app, registry)
    for _ in range(3):
        assert Client().ask(guarded, http()) == b"a"

    assert asked == [Body]


@pytest.mark.parametrize(("known", "remembered"), [(255, True), (256, False)])
def test_so_many_types_of_bodies_are_remembered(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, known: int, remembered: bool
) -> None:
    class Body(list[bytes]):
        pass

    def app(environ: Any, start_response: Any) -> Body:
        start_response(OK, [])
        return Body([b"a"])

    types: dict[type, Any] = {type(str(number), (), {}): None for number in range(known)}
    monkeypatch.setattr(wsgi, "_watch_by_type", types)

    assert Client().ask(BreakerMiddleware(app, registry), http()) == b"a"

    assert (Body in types) is remembered


@pytest.mark.parametrize("is_type", [True, False])
def test_a_file_passes_as_it_is_where_its_wrapper_can_be_told(
    registry: Registry, is_type: bool
) -> None:
    """A server may hand out a class, or a function that wraps files."""

    class File(list[bytes]):
        pass

    def wrap(pieces: list[bytes]) -> File:
        return File(pieces)

    def app(environ: Any, start_response: Any) -> Any:
        start_response(OK, [])
        return environ["wsgi.file_wrapper"]([b"a"])

    wrapper: Any = File if is_type else wrap
    client, guarded = Client(), BreakerMiddleware(app, registry)
    environ = http(**{"wsgi.file_wrapper": wrapper})

    assert isinstance(guarded(environ, client.start_response), File) is is_type
    assert client.ask(guarded, http(**{"wsgi.file_wrapper": wrapper})) == b"a"


def strike(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_signal_handler_that_strikes_when_the_app_has_failed_leaves_no_call_in_flight(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []

    def app(environ: Any, start_response: Any) -> Any:
        kept.append(environ[wsgi.PERMIT])
        raise OSError

    monkeypatch.setattr(WsgiPermit, "end_by_error", strike)
    with pytest.raises(KeyboardInterrupt):
        Client().ask(BreakerMiddleware(app, registry), http())
    monkeypatch.undo()

    assert kept[0].ended
    assert ended(registry["app"]) == (0, 0, 0, 1)


def test_nor_does_one_that_strikes_when_the_response_begins(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        kept.append(environ[wsgi.PERMIT])
        start_response(OK, [])
        return []

    monkeypatch.setattr(wsgi, "end_by_status_line", strike)
    with pytest.raises(KeyboardInterrupt):
        Client().ask(BreakerMiddleware(app, registry), http())
    monkeypatch.undo()

    assert kept[0].ended
    assert ended(registry["app"]) == (0, 0, 0, 1)


# Refusals on their way out


@pytest.mark.parametrize("kind", [Passing, NotPassing], ids=["passing", "not passing"])
@pytest.mark.parametrize("origin", [False, True])
def test_only_requests_of_another_origin_are_passed_on_and_only_where_that_is_asked_for(
    registry: Registry, kind: Any, origin: bool
) -> None:
    registry["app"].open()
    guarded, client = kind(never, registry), Client()

    body = client.ask(guarded, http(**({"HTTP_ORIGIN": "https://a.example"} if origin else {})))

    assert client.begun[0][0] == "503 Service Unavailable"
    assert b'"status": 503' in body
    assert guarded.passed == ["/x"] * (origin and kind is Passing)
    assert registry.faults == 0


@pytest.mark.parametrize("answers", [False, True])
@pytest.mark.parametrize("has_started", [False, True])
def test_middleware_that_fails_on_a_refusal_is_a_fault_and_the_refusal_is_sent(
    registry: Registry, has_started: bool, answers: bool
) -> None:
    """With the error, if the response has begun: only the server knows whether it is out."""
    asked: list[str] = []

    class Failing(BreakerMiddleware):
        passes_refusals = True

        def refusal_through(self, environ: Any, answer: Any) -> Any:
            def through(environ: Any, start_response: Any) -> Any:
                if has_started:
                    start_response("418 I'm a teapot", [])
                raise OSError("in between")

            return through

    def on_refuse(environ: Any, start_response: Any) -> list[bytes]:
        asked.append("answer")
        start_response("429 Too Many Requests", [])
        return [b"later"]

    registry["app"].open()
    guarded = Failing(never, registry, on_refuse=cast("Any", on_refuse) if answers else None)
    client = Client()

    body = client.ask(guarded, http(HTTP_ORIGIN="https://a.example"))

    status, _, *failure = client.begun[-1]
    if has_started:
        assert (status, failure[0][0]) == ("503 Service Unavailable", OSError)
    else:
        assert status == ("429 Too Many Requests" if answers else "503 Service Unavailable")
        assert failure == []
    assert asked == ["answer"] * (answers and not has_started)
    assert body == (b"later" if asked else body)
    assert registry.faults == 1


# Streams and sessions


class Pieces:
    """A body that is its own iterator."""

    def __init__(self, steps: list[Callable[[], bytes]]) -> None:
        self._steps = iter(steps)

    def __iter__(self) -> Pieces:
        return self

    def __next__(self) -> bytes:
        return next(self._steps)()


def generated(steps: list[Callable[[], bytes]]) -> Iterator[bytes]:
    for step in steps:
        yield step()


class Again:
    """A body that begins anew with each iteration, as a streaming response of Django does."""

    def __init__(self, steps: list[Callable[[], bytes]]) -> None:
        self._steps = steps

    def __iter__(self) -> Iterator[bytes]:
        return generated(self._steps)


@pytest.mark.parametrize("body", [Pieces, generated, Again])
@pytest.mark.parametrize(("gap", "failures"), [(0.01, 0), (100.0, 1)])
def test_a_stream_that_stalls_after_its_first_piece_is_a_failure(
    registry: Registry, clock: ManualClock, gap: float, failures: int, body: Callable[..., Any]
) -> None:
    gaps = [0.01]

    def piece() -> bytes:
        clock.advance(gaps[0])
        return b"data: x\n\n"

    def app(environ: Any, start_response: Any) -> Any:
        start_response(OK, [("Content-Type", "text/event-stream")])
        return body([piece] * 4)

    guarded = BreakerMiddleware(app, registry)
    for _ in range(60):
        Client().ask(guarded, http())
    gaps[0] = 0.01
    stream = iter(guarded(http(), Client().start_response))
    next(stream)
    gaps[0] = gap
    next(stream)

    assert registry["app"].metrics().failures == failures


def test_the_first_piece_alone_takes_the_latency(registry: Registry, clock: ManualClock) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response(OK, [("Content-Type", "text/event-stream")])
        for latency in (0.01, 0.02, 0.03):
            clock.advance(latency)
            yield b"data: x\n\n"

    Client().ask(BreakerMiddleware(app, registry), http())

    assert registry["app"].metrics().mean == pytest.approx(0.01)


@pytest.mark.parametrize(("status", "failures"), [("500 Oops", 1), ("400 Bad Request", 0)])
def test_only_a_5xx_fails_a_websocket(registry: Registry, status: str, failures: int) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response(status, [])
        return []

    upgrade = {"HTTP_UPGRADE": "websocket", "HTTP_SEC_WEBSOCKET_KEY": "x"}
    Client().ask(BreakerMiddleware(app, registry), http(**upgrade))

    assert registry["app"].metrics().failures == failures
