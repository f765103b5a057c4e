"""A WSGI response is watched until it ends, in each way that WSGI has for it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.breaker_state import votes

import recloser.wsgi
from recloser import Breaker, Outcome, Policy, Registry
from recloser._http import wsgi_watch
from recloser._http.gate import Gate
from recloser._http.wsgi_watch import (
    ResponseBody,
    SizedResponseBody,
    WatchedBody,
    WsgiPermit,
    end_by_status_line,
)
from recloser.testing import ManualClock


class OopsError(Exception):
    pass


def serve(app: Any, **environ: Any) -> list[bytes]:
    written: list[bytes] = []
    body = app(environ, lambda status, headers, exc_info=None: written.append)
    try:
        written += body
    finally:
        getattr(body, "close", lambda: None)()
    return written


def test_an_app_that_writes_ends_with_its_return(registry: Registry, clock: ManualClock) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        write(b"one")
        clock.advance(0.5)
        write(b"two")
        return []

    written = serve(recloser.wsgi.BreakerMiddleware(app, registry))

    assert written == [b"one", b"two"]
    metrics = registry["app"].metrics()
    assert votes(metrics) == {"successes": 1}
    assert metrics.mean == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("method", "status"),
    [("DELETE", "204 No Content"), ("GET", "304 Not Modified"), ("HEAD", "200 OK")],
)
def test_a_response_that_can_have_no_body_is_slow_if_it_comes_late(
    registry: Registry, clock: ManualClock, method: str, status: str
) -> None:
    took = [0.01] * 40 + [1.0] * 4

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        clock.advance(took.pop(0))
        start_response(status, [])
        return iter([])

    guarded = recloser.wsgi.BreakerMiddleware(app, registry)
    while took:
        serve(guarded, REQUEST_METHOD=method, PATH_INFO="/")

    assert registry["app"].metrics().slow == 4


def test_a_file_ends_with_its_headers(registry: Registry, clock: ManualClock) -> None:
    class FileWrapper:
        def __iter__(self) -> Any:
            assert votes(registry["app"].metrics()) == {"successes": 1}
            clock.advance(100.0)
            return iter([b"file"])

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"]()

    guarded = recloser.wsgi.BreakerMiddleware(app, registry)

    assert serve(guarded, **{"wsgi.file_wrapper": FileWrapper}) == [b"file"]
    assert votes(registry["app"].metrics()) == {"successes": 1}


def test_empty_chunks_do_not_start_a_wsgi_response(registry: Registry, clock: ManualClock) -> None:
    """A server holds the headers back until there is something to send with them."""

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b""
        clock.advance(0.5)
        yield b"first"
        clock.advance(100.0)
        yield b"second"

    serve(recloser.wsgi.BreakerMiddleware(app, registry))

    assert registry["app"].metrics().mean == pytest.approx(0.5)


def test_a_status_that_is_none_is_no_vote(registry: Registry) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("fine", [])
        return [b""]

    serve(recloser.wsgi.BreakerMiddleware(app, registry))

    assert votes(registry["app"].metrics()) == {"cancelled": 1}


class Once:
    """An answer that is an iterator, as Werkzeug's are, and fails after its last piece."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = iter(pieces)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._pieces)
        except StopIteration:
            raise OopsError from None


@pytest.mark.parametrize(
    ("status", "headers", "pieces", "expected"),
    [
        ("200 OK", [("Content-Length", "3")], [b"one"], {"successes": 1}),
        ("200 OK", [("content-type", "x"), ("CONTENT-LENGTH", "3")], [b"one"], {"successes": 1}),
        ("503 Oops", [("Content-Length", "3")], [b"one"], {"failures": 1}),
        ("404 No", [("Content-Length", "3")], [b"", b"one"], {"ignored": 1}),
        # More was announced, or nothing, or nothing that is a number.
        ("200 OK", [("Content-Length", "4")], [b"one"], {"in_flight": 1}),
        ("200 OK", [("Content-Length", "6")], [b"one", b"two"], {"in_flight": 1}),
        ("200 OK", [("Content-Length", "3 bytes")], [b"one"], {"in_flight": 1}),
        ("200 OK", [], [b"one"], {"in_flight": 1}),
    ],
)
def test_an_answer_has_ended_with_the_piece_that_is_all_of_it(
    registry: Registry, status: str, headers: Any, pieces: list[bytes], expected: dict[str, int]
) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response(status, headers)
        return Once(*pieces)

    body: Any = recloser.wsgi.BreakerMiddleware(app, registry)({}, lambda *_: lambda _: None)
    for piece in pieces:
        assert next(body) == piece
    assert votes(registry["app"].metrics()) == expected

    with pytest.raises(OopsError):  # it reaches the server, but is no part of the answer
        next(body)
    assert votes(registry["app"].metrics()) == (
        {"failures": 1} if "in_flight" in expected else expected
    )


def test_closing_a_body_early_ends_its_call_at_once(registry: Registry) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b"one"
        yield b"two"

    guarded: Any = recloser.wsgi.BreakerMiddleware(app, registry)
    body = guarded({}, lambda status, headers: None)
    assert next(iter(body)) == b"one"
    body.close()

    assert votes(registry["app"].metrics()) == {"cancelled": 1}
    del body


def test_a_status_that_the_server_did_not_take_does_not_count(registry: Registry) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b"one"
        try:
            try:
                raise OopsError("midway")
            except OopsError:
                start_response("500 Oops", [], sys.exc_info())
        except OopsError:
            yield b"never mind"

    def start_response(status: str, headers: Any, exc_info: Any = None) -> None:
        if exc_info:
            raise exc_info[1]

    guarded: Any = recloser.wsgi.BreakerMiddleware(app, registry)

    assert [*guarded({}, start_response)] == [b"one", b"never mind"]
    assert votes(registry["app"].metrics()) == {"successes": 1}


def test_a_body_that_cannot_be_iterated_is_a_failure(registry: Registry) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])

    guarded: Any = recloser.wsgi.BreakerMiddleware(app, registry)
    with pytest.raises(TypeError, match="NoneType"):
        serve(guarded)

    assert votes(registry["app"].metrics()) == {"failures": 1}


# A watched body


@pytest.fixture
def breaker(registry: Registry) -> Breaker:
    return registry["k"]


def permit_for(breaker: Breaker) -> WsgiPermit:
    admission = breaker.admit_strict(WsgiPermit)
    assert isinstance(admission, WsgiPermit)
    return admission


class ClosingBody:
    """Has a `close()`, and notes that it was called."""

    def __init__(self, *pieces: Any) -> None:
        self.pieces = pieces
        self.closed = 0

    def __iter__(self) -> Iterator[Any]:
        for piece in self.pieces:
            if isinstance(piece, BaseException):
                raise piece
            yield piece

    def close(self) -> None:
        self.closed += 1


def test_a_body_passes_on_every_piece_and_then_succeeds(breaker: Breaker) -> None:
    pieces = [b"one", b"", b"two"]
    body = WatchedBody(pieces, permit_for(breaker))

    passed = [*body]

    assert all(ours is theirs for ours, theirs in zip(passed, pieces, strict=True))
    assert votes(breaker.metrics()) == {"successes": 1}


def test_a_call_goes_on_until_its_body_has_ended(breaker: Breaker) -> None:
    pieces = iter(WatchedBody([b"one"], permit_for(breaker)))

    assert next(pieces) == b"one"
    assert votes(breaker.metrics()) == {"in_flight": 1}
    assert next(pieces, None) is None

    assert votes(breaker.metrics()) == {"successes": 1}


def test_an_iterable_begins_anew_each_time_as_it_would_alone(breaker: Breaker) -> None:
    """Middleware outside may measure a body first, or look at its first piece."""
    body = WatchedBody([b"one", b"two"], permit_for(breaker))

    pieces = iter(body)
    assert [next(pieces), *pieces] == [b"one", b"two"]
    assert [*body] == [b"one", b"two"]

    assert votes(breaker.metrics()) == {"successes": 1}


@pytest.mark.parametrize("wrap", [lambda body: body, iter], ids=["iterable", "iterator"])
def test_who_peeks_gets_what_there_is_without_us(breaker: Breaker, wrap: Any) -> None:
    def peek(body: Any) -> list[bytes]:
        """As careful middleware does: only an iterator goes on after its first piece."""
        if isinstance(body, Iterator):
            return [next(body), *body]
        pieces = iter(body)
        return [next(pieces), *pieces]

    def peek_carelessly(body: Any) -> list[bytes]:
        return [next(iter(body)), *body]

    for each in (peek, peek_carelessly):
        alone = each(wrap([b"Hello ", b"World!"]))

        assert each(WatchedBody(wrap([b"Hello ", b"World!"]), permit_for(breaker))) == alone


def test_an_iterator_goes_on_where_it_was_as_it_would_alone(breaker: Breaker) -> None:
    body = WatchedBody(iter([b"one", b"two"]), permit_for(breaker))

    assert iter(body) is body
    assert next(iter(body)) == b"one"
    assert next(iter(body)) == b"two"
    assert [*body, *body] == []

    assert votes(breaker.metrics()) == {"successes": 1}


def test_the_apps_own_body_is_not_begun_before_the_server_asks(breaker: Breaker) -> None:
    begun: list[str] = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            begun.append("iter")
            return iter([b"one"])

    body = WatchedBody(Body(), permit_for(breaker))
    assert begun == []

    assert [*body] == [b"one"]
    assert begun == ["iter"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OopsError("midway"), {"failures": 1}),
        (KeyboardInterrupt(), {"cancelled": 1}),
        (GeneratorExit(), {"cancelled": 1}),
        (LookupError("mine"), {"ignored": 1}),
    ],
)
def test_what_a_body_raises_passes_and_ends_its_call_once(
    clock: ManualClock, error: BaseException, expected: dict[str, int]
) -> None:
    breaker = Breaker("k", Policy(ignore_errors=(LookupError,)), clock=clock)
    body = WatchedBody(ClosingBody(b"one", error), permit_for(breaker))
    pieces = iter(body)
    assert next(pieces) == b"one"

    with pytest.raises(type(error)) as caught:
        next(pieces)
    body.close()

    assert caught.value is error
    assert votes(breaker.metrics()) == expected


def test_an_error_that_names_a_status_is_the_handlers_own_failure(breaker: Breaker) -> None:
    class NotFoundError(Exception):
        status_code = 404

    body = WatchedBody(ClosingBody(NotFoundError()), permit_for(breaker))

    with pytest.raises(NotFoundError):
        next(iter(body))

    assert votes(breaker.metrics()) == {"failures": 1}


@pytest.mark.parametrize("pieces_taken", [0, 1])
def test_a_body_closed_before_its_end_means_that_the_client_has_left(
    breaker: Breaker, pieces_taken: int
) -> None:
    inner = ClosingBody(b"one", b"two")
    body = WatchedBody(inner, permit_for(breaker))
    pieces = iter(body)
    for _ in range(pieces_taken):
        next(pieces)

    body.close()

    assert votes(breaker.metrics()) == {"cancelled": 1}
    assert inner.closed == 1


def test_a_body_closed_after_its_end_is_a_success_still(breaker: Breaker) -> None:
    inner = ClosingBody(b"one")
    body = WatchedBody(inner, permit_for(breaker))
    assert [*body] == [b"one"]

    body.close()
    body.close()

    assert votes(breaker.metrics()) == {"successes": 1}
    # What is wrapped decides what a second close means.
    assert inner.closed == 2


def test_a_body_without_close_can_be_closed(breaker: Breaker) -> None:
    body = WatchedBody([b"one"], permit_for(breaker))

    body.close()

    assert votes(breaker.metrics()) == {"cancelled": 1}


def test_an_error_in_close_passes_and_does_not_change_the_outcome(breaker: Breaker) -> None:
    class Body(ClosingBody):
        def close(self) -> None:
            raise OopsError("in close")

    body = WatchedBody(Body(b"one"), permit_for(breaker))
    assert [*body] == [b"one"]

    with pytest.raises(OopsError, match="in close"):
        body.close()

    assert votes(breaker.metrics()) == {"successes": 1}


def test_a_dropped_body_is_cancelled_though_its_permit_lives_on(breaker: Breaker) -> None:
    permit = permit_for(breaker)
    body = WatchedBody(iter([b"one"]), permit)
    next(iter(body))

    del body
    gc.collect()

    assert permit.ended
    assert votes(breaker.metrics()) == {"cancelled": 1}


@pytest.mark.parametrize(("marked", "latency"), [(False, 1.5), (True, 0.25)])
def test_the_latency_is_taken_at_the_first_piece_that_is_not_empty(
    breaker: Breaker, clock: ManualClock, marked: bool, latency: float
) -> None:
    def pieces() -> Iterator[bytes]:
        clock.advance(1.0)
        yield b""
        clock.advance(0.25)
        yield b"first"
        clock.advance(100.0)
        yield b"second"

    permit = permit_for(breaker)
    clock.advance(0.25)
    if marked:
        permit.mark()

    assert [*WatchedBody(pieces(), permit, marked=marked)] == [b"", b"first", b"second"]

    assert breaker.metrics().mean == pytest.approx(latency)


# The body of a response


def gate_of(registry: Registry, **options: Any) -> Gate:
    usual: dict[str, Any] = {"key": None, "exempt": (), "classify": None, "mode": None}
    return Gate(
        registry,
        **{**usual, **options},
        method="REQUEST_METHOD",
        path="PATH_INFO",
        root="",
    )


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["200 OK"], {"successes": 1}),
        (["304 Not Modified"], {"successes": 1}),
        (["404 Not Found"], {"ignored": 1}),
        (["500 Oops"], {"failures": 1}),
        (["503"], {"failures": 1}),
        # The app broke the protocol.
        ([], {"cancelled": 1}),
        (["fine"], {"cancelled": 1}),
        ([""], {"cancelled": 1}),
        ([None], {"cancelled": 1}),
        ([b"200 OK"], {"successes": 1}),
        ([[]], {"cancelled": 1}),
    ],
)
def test_the_status_decides_at_the_end_of_the_body(
    registry: Registry, breaker: Breaker, statuses: Any, expected: dict[str, int]
) -> None:
    body = ResponseBody([b"one"], permit_for(breaker), gate_of(registry), {}, statuses)

    assert [*body] == [b"one"]

    assert votes(breaker.metrics()) == expected
    assert registry.faults == 0


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["500 Oops"], {"failures": 1}),
        (["200 OK"], {"cancelled": 1}),
        (["404 Not Found"], {"cancelled": 1}),
        ([], {"cancelled": 1}),
        ([None], {"cancelled": 1}),
    ],
)
@pytest.mark.parametrize("how", ["close", "drop"])
def test_a_failure_that_was_told_before_the_client_left_stays_one(
    registry: Registry, breaker: Breaker, statuses: Any, expected: dict[str, int], how: str
) -> None:
    body = ResponseBody([b"one"], permit_for(breaker), gate_of(registry), {}, statuses)
    next(iter(body))

    if how == "close":
        body.close()
    del body
    gc.collect()

    assert votes(breaker.metrics()) == expected


def test_a_status_set_while_the_body_runs_counts(registry: Registry, breaker: Breaker) -> None:
    said: list[Any] = []

    def pieces() -> Iterator[bytes]:
        said.append("500 Oops")
        yield b"one"

    assert [*ResponseBody(pieces(), permit_for(breaker), gate_of(registry), {}, said)] == [b"one"]

    assert votes(breaker.metrics()) == {"failures": 1}


def test_the_users_rule_judges_every_status(registry: Registry, breaker: Breaker) -> None:
    asked: list[int] = []

    def classify(status: int) -> Outcome:
        asked.append(status)
        return Outcome.THROTTLED

    gate = gate_of(registry, classify=classify)

    for status in ("200 OK", "500 Oops"):
        end_by_status_line(gate, {}, permit_for(breaker), [status])

    assert asked == [200, 500]
    assert votes(breaker.metrics()) == {"throttled": 2}


@pytest.mark.parametrize("last", [OopsError("midway"), b"two"])
def test_a_response_is_judged_once_however_often_it_ends(
    registry: Registry, breaker: Breaker, last: bytes | BaseException
) -> None:
    asked: list[int] = []

    def classify(status: int) -> Outcome:
        asked.append(status)
        return Outcome.of_status(status)

    gate = gate_of(registry, classify=classify)
    inner = ClosingBody(b"one", last)
    body = ResponseBody(inner, permit_for(breaker), gate, {}, ["500 Oops"])

    try:
        passed = [*body, *body]
    except OopsError:
        passed = []
    body.close()
    body.close()
    del body
    gc.collect()

    assert votes(breaker.metrics()) == {"failures": 1}
    # An error in the body decides without the status.
    assert asked == ([500] if passed else [])


def test_a_sized_body_tells_its_length_and_others_have_none(
    registry: Registry, breaker: Breaker
) -> None:
    body = SizedResponseBody([b"a", b"b"], permit_for(breaker), gate_of(registry), {}, ["200 OK"])
    plain = ResponseBody([b"a"], permit_for(breaker), gate_of(registry), {}, ["200 OK"])

    assert len(body) == 2
    assert not hasattr(plain, "__len__")
    assert [*body, *plain] == [b"a", b"b", b"a"]


def test_status_lines_that_apps_make_up_are_remembered_within_bounds(
    registry: Registry, breaker: Breaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wsgi_watch, "_codes", {})
    gate = gate_of(registry)

    for number in range(1000):
        end_by_status_line(gate, {}, permit_for(breaker), [f"200 Number {number}"])

    assert votes(breaker.metrics()) == {"successes": 1000}
    assert len(wsgi_watch._codes) <= 256


def test_a_permit_ended_by_the_handler_is_not_ended_again(
    registry: Registry, breaker: Breaker
) -> None:
    permit = permit_for(breaker)
    body = ResponseBody([b"one"], permit, gate_of(registry), {}, ["200 OK"])
    permit.failure("stale data served")

    assert [*body] == [b"one"]

    assert votes(breaker.metrics()) == {"failures": 1}


def test_a_body_that_is_a_mapping_or_has_bytes_keeps_them(registry: Registry) -> None:
    """As the responses of Django do, which are bodies."""

    class Response(dict[str, str]):
        def __bytes__(self) -> bytes:
            return b"all"

        def __iter__(self) -> Iterator[bytes]:  # type: ignore[override]
            return iter([b"all"])

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return Response()

    guarded: Any = recloser.wsgi.BreakerMiddleware(app, registry)
    body = guarded({}, lambda *said: None)

    assert bytes(body) == b"all"
    body["X"] = "1"
    assert body["X"] == "1"
    assert "X" in body
    del body["X"]
    assert not body
    assert b"".join(body) == b"all"
    assert registry["app"].metrics().successes == 1
