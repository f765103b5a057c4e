"""With us is as without us, for legal and illegal WSGI apps and for servers in any mood."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recloser import Registry, State, wsgi
from recloser.testing import ManualClock
from recloser.wsgi import PERMIT, BreakerMiddleware

Transcript = list[tuple[str, Any]]


class OwnError(Exception):
    pass


class HardExit(BaseException):
    pass


class Body:
    """A body of an app's own, with or without length and `close()`; notes what is asked of it."""

    def __init__(self, chunks: list[Any], log: Transcript) -> None:
        self.chunks = chunks
        self.log = log

    def __iter__(self) -> Iterator[Any]:
        self.log.append(("iter", None))
        for chunk in self.chunks:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk


class SizedBody(Body):
    def __len__(self) -> int:
        self.log.append(("len", None))
        return len(self.chunks)


class ClosableBody(Body):
    def close(self) -> None:
        self.log.append(("close", None))


class FragileBody(Body):
    def close(self) -> None:
        self.log.append(("close", None))
        raise OwnError("in close")


class Iterating(Body):
    """Its own iterator."""

    def __iter__(self) -> Iterator[Any]:
        self.log.append(("iter", None))
        self._rest = super().__iter__()
        return self

    def __next__(self) -> Any:
        self.log.append(("next", None))
        return next(self._rest)


class FileWrapper:
    """What a server hands out as `wsgi.file_wrapper`."""

    def __init__(self, chunks: list[Any], log: Transcript) -> None:
        self.chunks = [chunk for chunk in chunks if isinstance(chunk, bytes)]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.chunks)


BODIES: dict[str, Callable[[list[Any], Transcript], Any]] = {
    "list": lambda chunks, log: chunks,
    "tuple": lambda chunks, log: tuple(chunks),
    "generator": lambda chunks, log: (chunk for chunk in chunks),
    "plain": Body,
    "sized": SizedBody,
    "closable": ClosableBody,
    "fragile": FragileBody,
    "iterating": Iterating,
    "file": FileWrapper,
    "bytes": lambda chunks, log: b"bytes",
    "str": lambda chunks, log: "str",
    "None": lambda chunks, log: None,
    "int": lambda chunks, log: 3,
}
chunks = st.lists(
    st.one_of(
        st.sampled_from([b"", b"chunk", "text", None, OwnError("midway"), GeneratorExit()]),
        st.binary(max_size=3),
    ),
    max_size=4,
)
starts = st.lists(
    st.tuples(
        st.sampled_from(["200 OK", "404 Not Found", "500 Oops", "no status", "", None, 200]),
        st.sampled_from(["plain", "by name", "with error"]),
    ),
    max_size=3,
)


def play(
    wrap: Callable[[Any], Any],
    starts: list[tuple[Any, str]],
    late: bool,
    writes: list[bytes],
    body: str,
    chunks: list[Any],
    error: BaseException | None,
    stops_after: int,
    closes: int,
) -> Transcript:
    log: Transcript = []

    def start_response(status: Any, headers: Any, exc_info: Any = None) -> Any:
        log.append(("start", (status, headers, exc_info and repr(exc_info[1]))))
        if exc_info and ("chunk", b"chunk") in log:
            raise exc_info[1]
        return write

    def write(data: bytes) -> None:
        log.append(("write", data))

    def begin(start_response: Any) -> None:
        for status, how in starts:
            if how == "plain":
                given = start_response(status, [])
            elif how == "by name":
                given = start_response(status=status, headers=[])
            else:
                try:
                    raise OwnError("caught")
                except OwnError:
                    given = start_response(status, [], sys.exc_info())
            log.append(("given", given is write))
            for data in writes:
                given(data)

    def app(environ: Any, start_response: Any) -> Any:
        if not late:
            begin(start_response)
        if error is not None:
            raise error
        made = BODIES[body](chunks, log)
        if not late:
            return made
        return started_late(made, start_response)

    def started_late(made: Iterable[Any], start_response: Any) -> Iterator[Any]:
        begin(start_response)
        yield from made

    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/x",
        "wsgi.file_wrapper": FileWrapper,
    }
    before = dict(environ)
    serve(wrap(app), environ, start_response, log, stops_after, closes)
    environ.pop(PERMIT, None)
    assert environ == before
    return log


def serve(
    app: Any,
    environ: dict[str, Any],
    start_response: Any,
    log: Transcript,
    stops_after: int,
    closes: int,
) -> None:
    result: Any = None
    try:
        result = app(environ, start_response)
        log.append(("has a length", hasattr(result, "__len__")))
        if hasattr(result, "__len__"):
            log.append(("length", len(result)))
        log.append(("is a file", isinstance(result, FileWrapper)))
        if stops_after:
            for index, chunk in enumerate(result):
                log.append(("chunk", chunk))
                if index + 1 == stops_after:
                    break
    except BaseException as error:
        log.append(("raised", (type(error), str(error))))
    for _ in range(closes):
        try:
            if hasattr(result, "close"):
                result.close()
        except BaseException as error:
            log.append(("close raised", (type(error), str(error))))


@settings(max_examples=800)
@given(
    starts=starts,
    late=st.booleans(),
    writes=st.lists(st.binary(max_size=2), max_size=2),
    body=st.sampled_from(sorted(BODIES)),
    chunks=chunks,
    error=st.sampled_from([None, None, None, OwnError("before"), HardExit("before")]),
    stops_after=st.integers(0, 5),
    closes=st.integers(0, 2),
)
@example([("200 OK", "plain")], False, [], "sized", [b"one"], None, 5, 1)
@example([("200 OK", "plain")], False, [], "fragile", [b"one"], None, 5, 1)
@example([("200 OK", "plain"), ("500 Oops", "with error")], True, [], "list", [b"x"], None, 5, 1)
def test_a_wsgi_app_cannot_tell_and_neither_can_its_server(
    starts: list[tuple[Any, str]],
    late: bool,
    writes: list[bytes],
    body: str,
    chunks: list[Any],
    error: BaseException | None,
    stops_after: int,
    closes: int,
) -> None:
    registry = Registry(clock=ManualClock(start=1.0))
    case = (starts, late, writes, body, chunks, error, stops_after, closes)

    bare = play(lambda app: app, *case)
    ours = play(lambda app: BreakerMiddleware(app, registry), *case)

    assert ours == bare
    metrics = registry["app"].metrics()
    verdicts = metrics.successes + metrics.failures + metrics.ignored + metrics.cancelled
    assert (metrics.calls, verdicts, metrics.in_flight) == (1, 1, 0)


@pytest.mark.parametrize(
    ("body", "same"), [("list", True), ("tuple", True), ("file", True), ("plain", False)]
)
def test_a_body_that_is_whole_passes_as_it_is(body: str, same: bool) -> None:
    made = BODIES[body]([b"chunk"], [])

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return made

    environ = {"wsgi.file_wrapper": FileWrapper}
    result = BreakerMiddleware(app)(environ, lambda *args: lambda data: None)

    assert (result is made) is same


@pytest.mark.parametrize(
    ("statuses", "counted"),
    [(["200 OK", "500 Oops"], "failures"), (["500 Oops", "200 OK"], "successes")],
)
def test_the_last_status_before_the_body_decides(statuses: list[str], counted: str) -> None:
    registry = Registry()

    def app(environ: Any, start_response: Any) -> Any:
        start_response(statuses[0], [])
        try:
            raise OwnError
        except OwnError:
            start_response(statuses[1], [], sys.exc_info())
        yield b"chunk"

    assert [*BreakerMiddleware(app, registry)({}, lambda *args: None)] == [b"chunk"]  # type: ignore[arg-type]  # a server that takes no write()

    assert getattr(registry["app"].metrics(), counted) == 1


def test_a_status_that_came_too_late_does_not_count() -> None:
    registry = Registry()
    started: list[str] = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        if started and exc_info:
            raise exc_info[1]
        started.append(status)

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b"chunk"
        try:
            raise OwnError("midway")
        except OwnError:
            start_response("404 Not Found", [], sys.exc_info())

    body = BreakerMiddleware(app, registry)({}, start_response)
    with pytest.raises(OwnError):
        list(body)

    assert registry["app"].metrics().failures == 1


def test_a_dropped_generator_returns_its_permit_without_the_garbage_collector() -> None:
    registry = Registry()

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b"one"
        yield b"two"

    gc.disable()
    try:
        environ: dict[str, Any] = {}
        body = BreakerMiddleware(app, registry)(environ, lambda *args: None)  # type: ignore[arg-type]  # a server that takes no write()
        assert next(iter(body)) == b"one"
        del body

        assert registry["app"].metrics().in_flight == 0
        assert environ
    finally:
        gc.enable()


def test_body_types_that_apps_make_up_are_remembered_within_bounds(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wsgi, "_watch_by_type", {})
    kinds: list[type] = []
    for number in range(500):
        kinds.append(type(f"Sized{number}", (list,), {}))
        kinds.append(type(f"Endless{number}", (), {"__iter__": lambda self: iter([b"a"])}))

    for kind in [*kinds, *kinds[:4], *kinds[-4:]]:

        def app(environ: Any, start_response: Any, kind: type = kind) -> Any:
            start_response("200 OK", [])
            return kind()

        watched = BreakerMiddleware(app, registry)
        environ = {"PATH_INFO": "/", "REQUEST_METHOD": "GET"}
        body: Any = watched(environ, lambda *args: cast("Any", None))
        assert hasattr(body, "__len__") is issubclass(kind, list)

    assert len(wsgi._watch_by_type) <= 256


# WebSockets


def open_websocket(app: Any, **environ: Any) -> list[bytes]:
    upgrade = {"HTTP_UPGRADE": "WebSocket", "HTTP_SEC_WEBSOCKET_KEY": "x", **environ}
    request = {"REQUEST_METHOD": "GET", "PATH_INFO": "/ws", **upgrade}
    return [*app(request, lambda status, headers, exc_info=None: lambda data: None)]


def test_a_websocket_is_neither_slow_nor_in_flight(registry: Registry, clock: ManualClock) -> None:
    """However many chats there are, other calls of the key are judged as if there were none."""
    sessions: list[int] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        if "HTTP_UPGRADE" in environ:
            sessions.append(registry["app"].metrics().in_flight)
            clock.advance(900.0)
        start_response("200 OK", [])
        return []

    guarded = BreakerMiddleware(app, registry)
    for _ in range(60):
        open_websocket(guarded)

    metrics = registry["app"].metrics()
    assert sessions == [0] * 60
    assert (metrics.state, metrics.successes, metrics.slow) == (State.CLOSED, 0, 0)


def test_a_websocket_holds_no_place_of_a_probe(registry: Registry, clock: ManualClock) -> None:
    registry["app"].open(for_=1.0)
    clock.advance(1.1)
    inside: list[int] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        if len(inside) < 5:
            inside.append(1)
            open_websocket(guarded)  # while this one lasts
        return []

    guarded: Any = BreakerMiddleware(app, registry)
    open_websocket(guarded)

    assert len(inside) == 5
    assert registry["app"].metrics().refused == 0


def test_a_websocket_is_refused_while_the_breaker_is_open(registry: Registry) -> None:
    registry["app"].open(for_=10.0)
    guarded = BreakerMiddleware(lambda *args: pytest.fail("called"), registry)

    (body,) = open_websocket(guarded)

    assert b'"status": 503' in body


def test_only_a_websocket_that_fails_at_once_is_a_failure(
    registry: Registry, clock: ManualClock
) -> None:
    lasts = 0.0

    def app(environ: Any, start_response: Any) -> list[bytes]:
        clock.advance(lasts)
        start_response("500 Oops", [])
        return []

    guarded = BreakerMiddleware(app, registry)
    open_websocket(guarded)
    lasts = 3600.0
    open_websocket(guarded)

    assert registry["app"].metrics().failures == 1


def test_an_upgrade_to_something_else_is_a_call_like_others(registry: Registry) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return []

    guarded = BreakerMiddleware(app, registry)
    open_websocket(guarded, HTTP_UPGRADE="h2c")

    assert registry["app"].metrics().successes == 1


# The server's write()


def writing_app(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])(environ["data"])
    return []


def write_of(error: Exception) -> Any:
    def write(data: object) -> None:
        if not isinstance(data, bytes):
            raise TypeError("not bytes")
        raise error

    return lambda *said: write


@pytest.mark.parametrize("error", [OSError("left"), RuntimeError("closed")], ids=repr)
def test_a_client_that_leaves_while_the_app_writes_is_not_the_apps_fault(
    registry: Registry, error: Exception
) -> None:
    guarded: Any = BreakerMiddleware(writing_app, registry)

    for _ in range(20):
        with pytest.raises(type(error)) as raised:
            guarded({"data": b"x"}, write_of(error))
        assert raised.value is error

    assert registry["app"].metrics().ignored == 20
    assert registry["app"].metrics().failures == 0


def test_to_write_wrongly_is_the_apps_mistake(registry: Registry) -> None:
    with pytest.raises(TypeError):
        BreakerMiddleware(writing_app, registry)({"data": "x"}, write_of(OSError()))

    assert registry["app"].metrics().failures == 1


# Refusals


def refused_by(app: Any, registry: Registry) -> tuple[list[str], bytes]:
    """The status lines and the body of an answer to a request that is refused."""
    registry["app"].open()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/x",
        "HTTP_ORIGIN": "https://a.example",
    }
    statuses: list[str] = []

    def start_response(
        status: str, headers: Any, exc_info: Any = None
    ) -> Callable[[bytes], object]:
        statuses.append(status)
        return lambda data: None

    return statuses, b"".join(app(environ, start_response))


@pytest.mark.parametrize("fails", [False, True])
def test_the_body_of_a_refusal_is_closed(registry: Registry, fails: bool) -> None:
    """As a server would do it: it may hold a file or a connection."""
    log: Transcript = []

    def refuse(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("429 Too Many Requests", [])
        return ClosableBody([b"later", OwnError("in the body")] if fails else [b"later"], log)

    guarded = BreakerMiddleware(
        lambda *request: pytest.fail("called"), registry, on_refuse=cast("Any", refuse)
    )

    statuses, body = refused_by(guarded, registry)

    assert log == [("iter", None), ("close", None)]
    if fails:
        assert statuses[-1] == "503 Service Unavailable"
    else:
        assert (statuses, body) == (["429 Too Many Requests"], b"later")


def test_a_subclass_that_fails_to_pass_a_refusal_on_is_a_fault_and_the_refusal_is_sent(
    registry: Registry,
) -> None:
    class Broken(BreakerMiddleware):
        passes_refusals = True

        def refusal_through(self, environ: Any, answer: Any) -> Any:
            raise OwnError

    guarded = Broken(lambda *request: pytest.fail("called"), registry)

    statuses, body = refused_by(guarded, registry)

    assert statuses == ["503 Service Unavailable"]
    assert body
    assert registry.faults == 1
