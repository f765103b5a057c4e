"""An exception at any bytecode of ours leaves nothing in flight, nothing set, and is not swallowed."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import suppress
from typing import Any

import pytest
from tests.core.test_interrupted_requests import (
    answer,
    answer_500,
    fail,
    fails,
    fails_midway,
    hear_the_client_leave,
    pieces,
    receive_first,
    request,
    start,
    whole,
    whole_500,
    wsgi_request,
)
from tests.core.test_interrupts import ENDS, called, failing, put_a_limit
from tests.support.bytecodes import on_one_python
from tests.support.interrupts import Scenario, Work, drive
from tests.support.strikes import stop, strike_everywhere
from tests.support.training import record

from recloser import Failover, Permit, Provider, Registry
from recloser.wsgi import BreakerMiddleware as WSGIBreakerMiddleware

# A coroutine that is struck before its first step is never awaited.
pytestmark = [
    on_one_python,
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
]


@pytest.fixture(autouse=True)
def no_log() -> Iterator[None]:
    """Thousands of openings would be logged."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


SCENARIOS: dict[str, Scenario] = {}


def scenario(play: Scenario) -> Scenario:
    SCENARIOS[play.__name__.replace("_", " ").strip()] = play
    return play


# Admission


@scenario
def admit_strict(registry: Registry) -> Work:
    def work() -> None:
        permit = registry["app"].admit_strict(Permit)
        stop()
        if isinstance(permit, Permit):
            permit.cancel()

    return work


@scenario
def acquire(registry: Registry) -> Work:
    return lambda: registry["app"].acquire().cancel()


@scenario
def acquire_with_a_label(registry: Registry) -> Work:
    return lambda: registry["app"].acquire("export", 5).success()


@scenario
def try_acquire_while_limited(registry: Registry) -> Work:
    put_a_limit(registry["app"])
    return lambda: [registry["app"].try_acquire() for _ in range(3)]


@scenario
def acquire_as_a_probe(registry: Registry) -> Work:
    registry["app"].open(for_=0.0)
    return lambda: registry["app"].acquire().success()


@scenario
def try_acquire_while_open(registry: Registry) -> Work:
    registry["app"].open()
    return lambda: registry["app"].try_acquire()


# Ends


def ended_by(end: Callable[[Permit], object], *, slow: bool = False, bad: int = 0) -> Scenario:
    def prepared(registry: Registry) -> Work:
        record(registry["app"], bad, success=False)
        permit = registry["app"].admit_strict(Permit)
        assert isinstance(permit, Permit)
        if slow:
            permit.started -= 100.0
        kept = [permit]
        del permit

        def work() -> None:
            try:
                end(kept[0])
            finally:
                kept.clear()

        return work

    return prepared


for name, end in ENDS.items():
    SCENARIOS[name] = ended_by(end)
    SCENARIOS[f"{name}, slow"] = ended_by(end, slow=True)
SCENARIOS["the failure that opens"] = ended_by(ENDS["failure"], bad=4)


def mark_and_ignore(permit: Permit) -> None:
    permit.mark()
    permit.ignore()


def tell_label_and_size(permit: Permit) -> None:
    permit.label = "export"
    permit.size = 3
    permit.success()


SCENARIOS["mark"] = ended_by(mark_and_ignore)
SCENARIOS["label and size"] = ended_by(tell_label_and_size)


def with_permit(permit: Permit) -> None:
    with permit:
        pass


SCENARIOS["with permit"] = ended_by(with_permit)


@scenario
def the_answers_that_end_a_limit(registry: Registry) -> Work:
    put_a_limit(registry["app"])

    def work() -> None:
        for _ in range(3):
            if (permit := registry["app"].try_acquire()) is not None:
                permit.success()

    return work


@scenario
def a_wait_for_the_caller(registry: Registry) -> Work:
    def work() -> None:
        permit: Any = registry["app"].acquire()
        permit.wait()
        permit.go_on(1.0)
        permit.success()

    return work


@scenario
def a_stream(registry: Registry) -> Work:
    def work() -> None:
        permit = registry["app"].acquire()
        pieces = permit.pieces()
        pieces.asked()
        pieces.arrived()
        permit.success()

    return work


# Whole calls


@scenario
def decorated(registry: Registry) -> Work:
    return registry["app"](lambda: 1)


scenario(called)
scenario(failing)


@scenario
def labelled(registry: Registry) -> Work:
    guarded = registry["app"].labelled_by(lambda size: size)(lambda size: size)
    return lambda: guarded(3)


@scenario
def coroutine_function(registry: Registry) -> Work:
    @registry["app"]
    async def ask() -> int:
        return 1

    return lambda: drive(ask())


@scenario
def generator(registry: Registry) -> Work:
    @registry["app"]
    def items() -> Generator[int, None, None]:
        yield 1
        yield 2

    def work() -> None:
        for _ in items():
            pass

    return work


@scenario
def async_generator(registry: Registry) -> Work:
    @registry["app"]
    async def items() -> AsyncGenerator[int, None]:
        yield 1
        yield 2

    async def main() -> None:
        async for _ in items():
            pass

    return lambda: drive(main())


@scenario
def block(registry: Registry) -> Work:
    def work() -> None:
        with registry["app"]:
            pass

    return work


@scenario
def blocks_that_fail(registry: Registry) -> Work:
    def work() -> None:
        with suppress(OSError), registry["outer"], registry["app"], registry["app"]:
            raise OSError("down")

    return work


@scenario
def async_block(registry: Registry) -> Work:
    async def main() -> None:
        async with registry["app"]:
            pass

    return lambda: drive(main())


@scenario
def with_timeout(registry: Registry) -> Work:
    guarded = registry["app"].with_timeout(argument="timeout")(lambda timeout=1.0: timeout)
    return lambda: guarded()


@scenario
def failover(registry: Registry) -> Work:
    providers = Failover(registry, [Provider("app", 1), Provider("other", 2)])

    def work() -> None:
        for attempt in providers.attempts(repeatable=True):
            with attempt:
                if attempt.key == "app":
                    raise OSError("down")

    return work


# Requests


async def stream_events(scope: Any, receive: Any, send: Any) -> None:
    head = start(200)
    head["headers"] = [(b"content-type", b"text/event-stream")]
    await send(head)
    for more in (True, True, False):
        await send({"type": "http.response.body", "body": b"data: x\n\n", "more_body": more})


APPS = [answer, answer_500, stream_events, receive_first, hear_the_client_leave, fail]
for app in APPS:
    SCENARIOS[f"asgi, {app.__name__}"] = lambda registry, app=app: request(  # type: ignore[misc]
        app, registry, version="2.4"
    )
SCENARIOS["asgi, twice"] = lambda registry: request(answer, registry, version="2.4", around=1)


def reads(environ: Any, start_response: Any) -> Any:
    environ["wsgi.input"].read()
    for _ in environ["wsgi.input"]:
        pass
    return whole(environ, start_response)


class Slow(io.RawIOBase):
    """An input as a server has it: not in memory."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return 0


@scenario
def wsgi_input(registry: Registry) -> Work:
    guarded = WSGIBreakerMiddleware(reads, registry)

    def work() -> None:
        environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/x", "CONTENT_LENGTH": "9"}
        environ["wsgi.input"] = Slow()  # type: ignore[assignment]
        guarded(environ, lambda *_: None)  # type: ignore[arg-type]

    return work


for served in (whole, whole_500, pieces, fails, fails_midway):
    SCENARIOS[f"wsgi, {served.__name__}"] = lambda registry, app=served: wsgi_request(  # type: ignore[misc]
        app, registry, pieces_wanted=9
    )
SCENARIOS["wsgi, the client leaves"] = lambda registry: wsgi_request(
    pieces, registry, pieces_wanted=1
)


# Operators


@scenario
def open_(registry: Registry) -> Work:
    return lambda: registry["app"].open("by hand")


@scenario
def half_open(registry: Registry) -> Work:
    registry["app"].open()
    return lambda: registry["app"].half_open()


@scenario
def reset(registry: Registry) -> Work:
    registry["app"].open()
    return lambda: registry["app"].reset()


@scenario
def recorded(registry: Registry) -> Work:
    record(registry["app"], 4, success=False)
    return lambda: registry["app"].record(0.1, success=False)


@scenario
def inspect(registry: Registry) -> Work:
    breaker = registry["app"]
    return lambda: (breaker.metrics(), breaker.explain(), breaker.refusal(), breaker.retry_after)


@scenario
def mode(registry: Registry) -> Work:
    def work() -> None:
        registry.mode = "enforce"

    return work


@scenario
def get(registry: Registry) -> Work:
    return lambda: registry["new"]


@scenario
def discard(registry: Registry) -> Work:
    registry["new"]
    return lambda: registry.discard(registry["new"])


# What is struck in one scenario is struck in the next one only in the long run, which takes minutes.
LONG = bool(os.environ.get("RECLOSER_LONG"))
_struck: set[object] = set()


@pytest.mark.parametrize("learned", [True, False], ids=["learned", "fresh"])
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_an_exception_at_any_bytecode_leaves_nothing(scenario: Scenario, learned: bool) -> None:
    strike_everywhere(scenario, learned=learned, seen=None if LONG else _struck)


def test_almost_every_bytecode_of_the_critical_functions_is_struck() -> None:
    """So that the test above tests what it says."""
    assert strike_everywhere(SCENARIOS["block"]) >= 100
