"""A signal handler that raises: wherever it strikes, the call ends and the caller is told.

Python runs a signal handler where a Python function begins or goes on, after a call of a function
written in C, and where a loop jumps back. A profile function is called at the first two, and raises
there in place of the handler: in turn at each such place in our code.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from tests.support.training import record

import recloser
from recloser import Breaker, LoosePermit, Outcome, Permit, Refused, Registry
from recloser.asgi import BreakerMiddleware
from recloser.testing import no_jitter
from recloser.wsgi import BreakerMiddleware as WSGIBreakerMiddleware

OURS = str(Path(recloser.__file__).parent)
# Calls that become single steps once code has run a few times: no handler runs after them.
STEPS = (isinstance, len)
# A clock that stands still. It is written in C, as the system's is: a handler may run after it.
CLOCK = (1000.0).conjugate


class Interrupt(BaseException):
    """What the signal handler raises."""


class Strike:
    """Counts the places where a handler may run, and raises at one of them.

    Args:
        place: Its number, from 0.

    Attributes:
        struck: Where it raised; empty if there are fewer places.
    """

    def __init__(self, place: int) -> None:
        self._left = place
        self.struck = ""

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if event not in ("call", "c_return") or argument in STEPS:
            return
        code = frame.f_code
        # What a finalizer raises reaches nobody.
        if not code.co_filename.startswith(OURS) or code.co_name == "__del__":
            return
        self._left -= 1
        if self._left == -1:
            where = Path(code.co_filename).relative_to(OURS)
            self.struck = f"{where}:{frame.f_lineno} {code.co_name}, {event} {argument}"
            raise Interrupt(self.struck)

    @contextmanager
    def awaited(self) -> Iterator[None]:
        before = sys.getprofile()
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(before)


Work = Callable[[], object]
Scenario = Callable[[Registry], Work]


def storm(scenario: Scenario, *, learned: bool) -> int:
    """Play a scenario again and again, struck at each place in turn; the number of places."""
    for place in range(1_000):
        registry = Registry(clock=CLOCK, random=no_jitter)
        if learned:
            record(registry["app"], 100, success=True)
            registry["app"].acquire().success()
        work, strike = scenario(registry), Strike(place)
        told = False
        try:
            with strike.awaited():
                work()
        except Interrupt:
            told = True
        if not strike.struck:
            return place
        assert told, f"swallowed: {strike.struck}"
        in_flight = {each.key: each.metrics().in_flight for each in registry}
        assert not any(in_flight.values()), f"leaked {in_flight}: {strike.struck}"
        assert_it_still_decides(registry["app"], strike.struck)
    raise AssertionError("it has no end")


def assert_it_still_decides(breaker: Breaker, struck: str) -> None:
    breaker.reset()
    failures = breaker.metrics().failures
    record(breaker, 10, success=False)
    assert isinstance(breaker.admit_strict(Permit), Refused), struck
    assert breaker.metrics().failures == failures + 10, struck


# Admission


def admit(registry: Registry) -> Work:
    breaker, kept = registry["app"], []

    def work() -> None:
        # Kept until it is ended below, outside of what is struck.
        kept.append(breaker.admit(LoosePermit))

    return ending_after(work, kept)


def admit_strict(registry: Registry) -> Work:
    breaker, kept = registry["app"], []

    def work() -> None:
        kept.append(breaker.admit_strict(Permit))

    return ending_after(work, kept)


def ending_after(work: Work, kept: list[Any]) -> Work:
    """End what was admitted: an interrupt after that is the caller's."""

    def both() -> None:
        work()
        sys.setprofile(None)
        for admission in kept:
            if isinstance(admission, Permit):
                admission.cancel()

    return both


def to_an_open_breaker(admission: Scenario) -> Scenario:
    def opened(registry: Registry) -> Work:
        registry["app"].open()
        return admission(registry)

    return opened


def as_a_probe(admission: Scenario) -> Scenario:
    def due(registry: Registry) -> Work:
        registry["app"].open(for_=0.0)
        return admission(registry)

    return due


ADMISSIONS = {
    "admit": admit,
    "admit_strict": admit_strict,
    "admit as a probe": as_a_probe(admit),
    "admit_strict as a probe": as_a_probe(admit_strict),
    "admit while open": to_an_open_breaker(admit),
    "admit_strict while open": to_an_open_breaker(admit_strict),
}


@pytest.mark.parametrize("learned", [True, False], ids=["learned", "fresh"])
@pytest.mark.parametrize("scenario", ADMISSIONS.values(), ids=ADMISSIONS.keys())
def test_an_interrupted_admission_admits_nothing(scenario: Scenario, learned: bool) -> None:
    assert storm(scenario, learned=learned) >= 2


# The end of a call

ENDS: dict[str, Callable[[Permit], object]] = {
    "success": lambda permit: permit.success(),
    "failure": lambda permit: permit.failure("HTTP 503", retry_after=3.0),
    "throttled": lambda permit: permit.throttled(3.0),
    "ignore": lambda permit: permit.ignore(),
    "cancel": lambda permit: permit.cancel(),
    "end": lambda permit: permit.end(Outcome.FAILURE, error="HTTP 503"),
    "end by an error": lambda permit: permit.end_by_error(OSError("down")),
}


@pytest.mark.parametrize("slow", [False, True], ids=["in time", "slow"])
@pytest.mark.parametrize("learned", [True, False], ids=["learned", "fresh"])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_an_interrupted_end_is_one_or_can_be_told_again(
    end: Callable[[Permit], object], learned: bool, slow: bool
) -> None:
    def scenario(registry: Registry) -> Work:
        permit = registry["app"].admit_strict(Permit)
        assert isinstance(permit, Permit)
        if slow:
            permit.started -= 100.0

        def work() -> None:
            try:
                end(permit)
            except Interrupt as error:
                sys.setprofile(None)
                permit.end_by_error(error)
                raise

        return work

    assert storm(scenario, learned=learned) >= 2


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_after_an_interrupted_end_a_permit_may_be_lost(end: Callable[[Permit], object]) -> None:
    def scenario(registry: Registry) -> Work:
        kept = [registry["app"].acquire()]

        def work() -> None:
            try:
                end(kept[0])
            finally:
                sys.setprofile(None)
                kept.clear()

        return work

    assert storm(scenario, learned=True) >= 2


# Whole calls


def decorated(registry: Registry) -> Work:
    return registry["app"](lambda: 1)


def called(registry: Registry) -> Work:
    return lambda: registry["app"].call(lambda: 1)


def failing(registry: Registry) -> Work:
    @registry["app"]
    def fail() -> None:
        raise OSError("down")

    def work() -> None:
        with suppress(OSError):
            fail()

    return work


@pytest.mark.parametrize("learned", [True, False], ids=["learned", "fresh"])
@pytest.mark.parametrize("scenario", [decorated, called, failing])
def test_an_interrupted_call_is_in_flight_no_longer(scenario: Scenario, learned: bool) -> None:
    assert storm(scenario, learned=learned) >= 5


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
