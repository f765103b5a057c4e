"""The body of a WSGI request: its client's time and faults are no fault of the handler."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.contract.test_what_libraries_see import seen
from tests.support.breaker_state import votes

from recloser import Policy, Registry, State
from recloser._http.wsgi_input import InputPermit
from recloser.testing import ManualClock
from recloser.wsgi import BreakerMiddleware, permit_of

Handler = Callable[[Any], object]


class Upload:
    """An input such as gunicorn's: it reads, and it is its own iterator.

    Attributes:
        on_read: What happens at each read.
    """

    color = "red"

    def __init__(
        self, on_read: Callable[[], object] = lambda: None, data: bytes = b"a\nb\n"
    ) -> None:
        self.on_read = on_read
        self._data = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        self.on_read()
        return self._data.read(size)

    def readline(self, size: int = -1) -> bytes:
        self.on_read()
        return self._data.readline(size)

    def readlines(self, hint: int = -1) -> list[bytes]:
        self.on_read()
        return self._data.readlines(hint)

    def __iter__(self) -> Upload:
        return self

    def __next__(self) -> bytes:
        if line := self.readline():
            return line
        raise StopIteration


class LinesOnly(Upload):
    def __iter__(self) -> Iterator[bytes]:  # type: ignore[override]
        self.on_read()
        yield from self._data


def failing(error: BaseException) -> Callable[[], object]:
    def fail() -> object:
        raise error

    return fail


class App:
    """An app that does something with the input of each request."""

    def __init__(self, registry: Registry, handler: Handler) -> None:
        self.breaker = registry["app"]
        self.handler = handler
        self.status = "200 OK"
        self._guarded: Any = BreakerMiddleware(self._app, registry)

    def _app(self, environ: Any, start_response: Any) -> list[bytes]:
        try:
            self.handler(environ)
        except ArithmeticError:
            start_response("500 Internal Server Error", [])
            return [b"sorry"]
        start_response(self.status, [])
        return [b"ok"]

    def post(self, stream: object, **environ: Any) -> Any:
        base = {"REQUEST_METHOD": "POST", "PATH_INFO": "/", "CONTENT_LENGTH": "4"}
        return self._guarded({**base, "wsgi.input": stream, **environ}, lambda *said: None)


WAYS: list[Handler] = [
    lambda environ: environ["wsgi.input"].read(),
    lambda environ: environ["wsgi.input"].read(4),
    lambda environ: environ["wsgi.input"].readline(),
    lambda environ: environ["wsgi.input"].readlines(),
    lambda environ: [*environ["wsgi.input"]],
    lambda environ: next(iter(environ["wsgi.input"])),
]
WAY_NAMES = ["read", "read some", "readline", "readlines", "iterate", "next"]


@pytest.mark.parametrize("read", WAYS, ids=WAY_NAMES)
@pytest.mark.parametrize("kind", [Upload, LinesOnly])
@pytest.mark.parametrize("error", [OSError("reset"), ValueError("bad chunk"), EOFError()], ids=repr)
def test_what_the_input_raises_is_not_the_handlers_fault(
    registry: Registry, read: Handler, kind: Any, error: Exception
) -> None:
    app = App(registry, read)

    for _ in range(20):
        with pytest.raises(type(error)) as raised:
            app.post(kind(failing(error)))
        assert raised.value is error

    assert app.breaker.state is State.CLOSED
    assert votes(app.breaker.metrics()) == {"ignored": 20}


def test_a_chunked_upload_without_a_length_is_the_clients_too(registry: Registry) -> None:
    app = App(registry, WAYS[0])
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "HTTP_TRANSFER_ENCODING": "chunked",
        "wsgi.input": Upload(failing(OSError("bad chunk"))),
    }

    for _ in range(20):
        with pytest.raises(OSError, match="bad chunk"):
            app._guarded(environ, lambda *said: None)

    assert votes(app.breaker.metrics()) == {"ignored": 20}


def test_a_500_that_a_framework_makes_of_it_does_not_count_either(registry: Registry) -> None:
    app = App(registry, WAYS[0])

    for _ in range(20):
        assert app.post(Upload(failing(ArithmeticError("bad chunk")))) == [b"sorry"]

    assert votes(app.breaker.metrics()) == {"ignored": 20}


def test_another_error_of_the_handler_counts_as_before(registry: Registry) -> None:
    def handler(environ: Any) -> None:
        environ["wsgi.input"].read()
        raise OSError("the database is down")

    app = App(registry, handler)

    with pytest.raises(OSError, match="database"):
        app.post(Upload())

    assert votes(app.breaker.metrics()) == {"failures": 1}


def test_to_read_wrongly_is_the_handlers_mistake(registry: Registry) -> None:
    app = App(registry, lambda environ: environ["wsgi.input"].read("all"))

    with pytest.raises(TypeError):
        app.post(Upload())

    assert votes(app.breaker.metrics()) == {"failures": 1}


@pytest.mark.parametrize("read", WAYS, ids=WAY_NAMES)
def test_the_time_of_the_client_is_not_the_handlers(
    registry: Registry, clock: ManualClock, read: Handler
) -> None:
    app = App(registry, read)

    for _ in range(20):
        app.post(Upload(lambda: clock.advance(90.0)))

    assert votes(app.breaker.metrics()) == {"successes": 20}
    assert app.breaker.metrics().mean == pytest.approx(0.0, abs=0.001)


@pytest.mark.parametrize("policy", [Policy(slow_ceiling=2.0)])
def test_a_call_that_waits_for_its_client_is_not_overdue(
    registry: Registry, clock: ManualClock, policy: Policy
) -> None:
    app = App(registry, WAYS[0])
    depth = 0

    def wait() -> None:
        nonlocal depth
        depth += 1
        clock.advance(1.0)
        if depth < 20:
            app.post(Upload(wait))  # as on another thread

    app.post(Upload(wait))

    assert votes(app.breaker.metrics()) == {"successes": 20}
    assert app.breaker.state is State.CLOSED


@pytest.mark.parametrize(
    "make",
    [Upload, LinesOnly, lambda: io.BufferedReader(io.BytesIO(b"a\nb\n"))],
    ids=["iterator", "iterable", "file"],
)
def test_libraries_see_the_input_of_the_server(registry: Registry, make: Any) -> None:
    found: list[Any] = []

    def look(environ: Any) -> None:
        stream = environ["wsgi.input"]
        found.append([seen(stream), seen(stream.read), dir(stream), isinstance(stream, io.IOBase)])
        found[-1].append(hasattr(stream, "readinto"))

    app = App(registry, look)
    look({"wsgi.input": make()})
    app.post(make())

    assert found[0] == found[1]


def test_its_attributes_are_those_of_the_servers(registry: Registry) -> None:
    stream = Upload()

    def use(environ: Any) -> None:
        watched = environ["wsgi.input"]
        assert watched.color == "red"
        assert not hasattr(watched, "colour")
        watched.size = 3
        assert stream.size == 3  # type: ignore[attr-defined]
        del watched.size
        assert not hasattr(stream, "size")

    App(registry, use).post(stream)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda stream: io.BufferedReader(stream),
        lambda stream: io.BufferedReader(stream, 2),
    ],
    ids=["buffered", "small buffer"],
)
def test_it_can_be_wrapped_by_the_standard_library(registry: Registry, wrap: Any) -> None:
    lines: list[bytes] = []
    reader, writer = os.pipe()
    os.write(writer, b"one\ntwo\n")
    os.close(writer)
    with open(reader, "rb", buffering=0) as stream:

        def read(environ: Any) -> None:
            wrapped = wrap(environ["wsgi.input"])
            lines.extend(wrapped)
            wrapped.detach()

        App(registry, read).post(stream)

    assert lines == [b"one\n", b"two\n"]


def test_werkzeug_reads_it(registry: Registry) -> None:
    wrappers = pytest.importorskip("werkzeug.wrappers")
    sent: list[bytes] = []
    app = App(registry, lambda environ: sent.append(wrappers.Request(environ).get_data()))

    app.post(Upload())

    assert sent == [b"a\nb\n"]


@pytest.mark.parametrize("length", ["", "0", None])
def test_a_request_without_a_body_keeps_its_input(registry: Registry, length: str | None) -> None:
    stream, found = Upload(), list[Any]()
    app = App(registry, lambda environ: found.append(environ["wsgi.input"]))

    app.post(stream, CONTENT_LENGTH=length)
    app.post(stream, CONTENT_LENGTH=length, HTTP_TRANSFER_ENCODING="chunked")

    assert found[0] is stream
    assert found[1] is not stream


def test_an_app_may_replace_it_and_read_it_after_the_end(registry: Registry) -> None:
    kept: list[Any] = []

    def replace(environ: Any) -> None:
        kept.append(environ["wsgi.input"])
        environ["wsgi.input"] = io.BytesIO(b"other")
        permit_of(environ).success()

    App(registry, replace).post(Upload())

    assert kept[0].read() == b"a\nb\n"


def test_a_clock_that_fails_breaks_no_read(clock: ManualClock) -> None:
    for reading in range(2, 5):
        readings = iter(range(100))

        def clock_of(reading: int = reading, readings: Iterator[int] = readings) -> float:
            if next(readings) + 1 == reading:
                raise OSError
            return clock()

        app = App(Registry(clock=clock_of), WAYS[0])
        assert app.post(Upload()) == [b"ok"]
        assert app.breaker.metrics().in_flight == 0


# A body that ends before its announced length


MISTAKEN: list[tuple[str, Callable[[Any], bytes]]] = [
    ("all", lambda stream: stream.read()),
    ("as announced", lambda stream: stream.read(99)),
    ("until nothing comes", lambda stream: b"".join(iter(lambda: stream.read(2), b""))),
    ("a line", lambda stream: b"".join(iter(lambda: stream.readline(), b""))),
    ("lines", lambda stream: b"".join(stream.readlines())),
    ("few lines", lambda stream: b"".join(stream.readlines(99))),
    ("iterate", lambda stream: b"".join(stream)),
]


def understanding(read: Callable[[Any], bytes]) -> Handler:
    """A handler that takes a body for whole, and fails because it is not."""

    def handler(environ: Any) -> None:
        raise KeyError(read(environ["wsgi.input"]))

    return handler


@pytest.mark.parametrize("read", [read for _, read in MISTAKEN], ids=[name for name, _ in MISTAKEN])
@pytest.mark.parametrize("kind", [Upload, LinesOnly])
def test_a_body_that_ends_before_its_length_is_not_the_handlers_fault(
    registry: Registry, read: Any, kind: Any
) -> None:
    app = App(registry, understanding(read))

    for data in [b"", b"a", b"a\nb", b"a\nb\n"]:
        with pytest.raises(KeyError) as raised:
            app.post(kind(data=data), CONTENT_LENGTH="99")
        assert raised.value.args == (data,)

    assert votes(app.breaker.metrics()) == {"ignored": 4}


@pytest.mark.parametrize("read", [read for _, read in MISTAKEN], ids=[name for name, _ in MISTAKEN])
@pytest.mark.parametrize("kind", [Upload, LinesOnly])
def test_a_handler_that_fails_on_a_whole_body_fails(
    registry: Registry, read: Any, kind: Any
) -> None:
    app = App(registry, understanding(read))

    for data in [b"a", b"a\nb", b"a\nb\n"]:
        with pytest.raises(KeyError):
            app.post(kind(data=data), CONTENT_LENGTH=str(len(data)))

    assert votes(app.breaker.metrics()) == {"failures": 3}


@pytest.mark.parametrize(
    "read",
    [
        lambda stream: stream.read(2),
        lambda stream: stream.read(0),
        lambda stream: stream.readline(),
        lambda stream: stream.readline(2),
        lambda stream: stream.readlines(2),
        lambda stream: next(iter(stream)),
    ],
    ids=["two bytes", "none", "a line", "part of a line", "few lines", "next"],
)
def test_a_handler_that_fails_before_it_has_read_all_fails(registry: Registry, read: Any) -> None:
    app = App(registry, understanding(read))

    with pytest.raises(KeyError):
        app.post(Upload(data=b"a\nb\n"), CONTENT_LENGTH="99")

    assert votes(app.breaker.metrics()) == {"failures": 1}


def test_reads_of_a_file_are_counted_in_each_way(registry: Registry) -> None:
    """By the methods that only files have: peeking takes nothing, and less may come than was asked."""

    def handler(environ: Any) -> None:
        stream = environ["wsgi.input"]
        assert stream.peek(1)[:1] == b"a"
        assert stream.read1(1) == b"a"
        assert stream.readinto(bytearray(9)) == 3
        raise KeyError

    app = App(registry, handler)

    for length in ("4", "5"):
        with pytest.raises(KeyError):
            app.post(io.BufferedReader(io.BytesIO(b"a\nb\n")), CONTENT_LENGTH=length)
    assert votes(app.breaker.metrics()) == {"failures": 2}

    def to_the_end(environ: Any) -> None:
        while environ["wsgi.input"].readinto(bytearray(3)):
            pass
        raise KeyError

    app.handler = to_the_end
    with pytest.raises(KeyError):
        app.post(io.BufferedReader(io.BytesIO(b"a\nb\n")), CONTENT_LENGTH="5")
    assert votes(app.breaker.metrics()) == {"failures": 2, "ignored": 1}


@pytest.mark.parametrize("length", ["-1", "3x", " 3", "+3", "1_0", "\u0663", "9" * 5000])
def test_a_length_that_is_no_number_is_the_clients_fault(registry: Registry, length: str) -> None:
    app = App(registry, lambda environ: [][int(environ["CONTENT_LENGTH"])])

    for stream in (Upload(), io.BytesIO()):
        with pytest.raises((ValueError, IndexError)):
            app.post(stream, CONTENT_LENGTH=length)

    assert votes(app.breaker.metrics()) == {"ignored": 2}


def test_a_cut_body_changes_nothing_for_a_handler_that_copes(registry: Registry) -> None:
    app = App(registry, WAYS[0])

    assert app.post(Upload(), CONTENT_LENGTH="99") == [b"ok"]

    assert votes(app.breaker.metrics()) == {"successes": 1}
    assert registry.faults == 0


def reading(length: str) -> InputPermit:
    permit = InputPermit()
    permit.length, permit.received, permit.ran_out = length, 0, False
    return permit


@pytest.mark.parametrize(
    ("name", "asked", "received"), [("peek", 3, 0), ("read", 0, 0), ("read", 3, 3), ("read", -1, 3)]
)
def test_what_was_only_looked_at_is_not_received(name: str, asked: int, received: int) -> None:
    permit = reading("5")

    permit.note_read(name, asked, b"abc")

    assert permit.received == received


def test_of_a_body_without_a_length_nothing_is_counted() -> None:
    permit = reading("")

    permit.note_read("read", 3, b"")

    assert (permit.received, permit.ran_out) == (0, False)
    assert not permit.client_failed


@pytest.mark.parametrize("name", ["read", "readall", "readlines"])
@pytest.mark.parametrize(("got", "ran_out"), [(b"abc", True), (b"abcde", True)])
def test_a_read_of_all_shows_the_end(name: str, got: bytes, ran_out: bool) -> None:
    permit = reading("5")

    permit.note_read(name, None, got)

    assert permit.ran_out is ran_out
    assert permit.client_failed is (len(got) < 5)
