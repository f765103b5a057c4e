"""`cut_off=True`: a handler that has sent nothing in time is cancelled, and its client gets a 504."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from math import nan
from typing import Any

import pytest
from tests.support.breaker_state import votes

from recloser import Breaker, Mode, Outcome, Policy, Registry
from recloser.asgi import BreakerMiddleware, permit_of
from recloser.testing import ManualClock

Run = Callable[[Awaitable[Any]], Any]
Message = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[Any]]

LIMIT = 2.0  # seconds


@pytest.fixture
def policy() -> Policy:
    return Policy(slow_ceiling=LIMIT)


@pytest.fixture
def breaker(registry: Registry) -> Breaker:
    return registry["app"]


START = {"type": "http.response.start", "status": 200, "headers": []}
BODY = {"type": "http.response.body", "body": b"ok"}


async def answer(send: Any) -> None:
    await send(dict(START))
    await send(dict(BODY))


def slow(takes: float) -> App:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(takes)
        await answer(send)

    return app


async def request(app: Any, method: str = "GET", upload: float = 0.0) -> list[Message]:
    """What the server is told to send; the client takes `upload` seconds to send its request."""
    scope = {"type": "http", "method": method, "path": "/", "headers": []}
    sent: list[Message] = []
    received = 0

    async def receive() -> Message:
        nonlocal received
        received += 1
        if received > 1:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(upload)
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


def test_the_client_of_a_handler_that_hangs_gets_a_504(
    registry: Registry, breaker: Breaker, clock: ManualClock, run: Run
) -> None:
    began = clock()

    start, body = run(request(BreakerMiddleware(slow(100.0), registry, cut_off=True)))

    assert clock() - began == pytest.approx(LIMIT)
    headers = dict(start["headers"])
    assert (start["type"], start["status"]) == (START["type"], 504)
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"content-length"] == str(len(body["body"])).encode()
    assert b"retry-after" not in headers
    assert json.loads(body["body"])["status"] == 504
    assert votes(breaker.metrics()) == {"failures": 1}


def test_it_is_a_failure_whatever_a_504_means_and_the_reason_says_why(
    registry: Registry, breaker: Breaker, run: Run
) -> None:
    app = BreakerMiddleware(
        slow(100.0), registry, cut_off=True, classify=lambda status: Outcome.SUCCESS
    )

    for _ in range(30):
        run(request(app))

    assert votes(breaker.metrics())["refused"] > 0
    assert "failed, the last one: HopelessError" in str(breaker.refusal().reason)


def test_nobody_keeps_a_504(registry: Registry, run: Run) -> None:
    start, _ = run(request(BreakerMiddleware(slow(9.0), registry, cut_off=True)))

    assert (b"cache-control", b"no-store") in start["headers"]


def test_a_head_request_gets_no_body(registry: Registry, run: Run) -> None:
    app = BreakerMiddleware(slow(100.0), registry, cut_off=True)

    assert run(request(app, "HEAD"))[1]["body"] == b""


def test_a_handler_that_answers_in_time_is_not_disturbed(
    registry: Registry, breaker: Breaker, run: Run
) -> None:
    app = BreakerMiddleware(slow(1.9), registry, cut_off=True)

    assert run(request(app)) == [START, BODY]
    assert votes(breaker.metrics()) == {"successes": 1}


def test_it_is_off_by_default(registry: Registry, run: Run) -> None:
    assert run(request(BreakerMiddleware(slow(100.0), registry))) == [START, BODY]


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.DISABLED])
@pytest.mark.parametrize("of_registry", [True, False])
def test_only_a_breaker_that_enforces_cuts_off(
    registry: Registry, run: Run, mode: Mode, of_registry: bool
) -> None:
    if of_registry:
        registry.mode = mode
    app = BreakerMiddleware(slow(100.0), registry, cut_off=True, mode=None if of_registry else mode)

    assert run(request(app)) == [START, BODY]


def test_what_is_exempt_is_not_cut_off(registry: Registry, run: Run) -> None:
    app = BreakerMiddleware(slow(100.0), registry, cut_off=True, exempt=["/"])

    assert run(request(app)) == [START, BODY]


def test_a_response_that_has_begun_is_not_cut_off(
    registry: Registry, breaker: Breaker, run: Run
) -> None:
    async def streaming(scope: Any, receive: Any, send: Any) -> None:
        await send(dict(START))
        await asyncio.sleep(100.0)
        await send(dict(BODY))

    assert run(request(BreakerMiddleware(streaming, registry, cut_off=True))) == [START, BODY]
    assert votes(breaker.metrics()) == {"successes": 1}


def test_a_handler_that_has_ended_its_call_itself_is_not_cut_off(
    registry: Registry, run: Run
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        permit_of(scope).success()
        await asyncio.sleep(100.0)
        await answer(send)

    assert run(request(BreakerMiddleware(app, registry, cut_off=True))) == [START, BODY]


# Waiting for the client


def uploading(takes: float) -> App:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        listening = asyncio.ensure_future(receive())  # for the client's leaving, as Starlette does
        try:
            await asyncio.sleep(takes)
        finally:
            listening.cancel()
        await answer(send)

    return app


@pytest.mark.parametrize("upload", [0.5, 1.9, 2.1, 100.0])
def test_the_time_of_the_client_does_not_count(
    registry: Registry, clock: ManualClock, run: Run, upload: float
) -> None:
    fine = BreakerMiddleware(uploading(1.9), registry, cut_off=True)
    hangs = BreakerMiddleware(uploading(100.0), registry, cut_off=True)

    assert run(request(fine, "POST", upload)) == [START, BODY]
    began = clock()
    assert run(request(hangs, "POST", upload))[0]["status"] == 504
    assert clock() - began == pytest.approx(upload + LIMIT, abs=LIMIT / 8)


# What a handler does when it is cut off


def test_what_it_sends_afterwards_goes_nowhere(registry: Registry, run: Run) -> None:
    async def stubborn(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.sleep(100.0)
        finally:
            await answer(send)

    async def deaf(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.sleep(100.0)
        except asyncio.CancelledError:
            await answer(send)

    for app in (stubborn, deaf):
        sent = run(request(BreakerMiddleware(app, registry, cut_off=True)))
        assert [message.get("status") for message in sent] == [504, None]


def test_it_can_clean_up(registry: Registry, run: Run) -> None:
    steps: list[str] = []

    @asynccontextmanager
    async def transaction() -> AsyncIterator[None]:
        try:
            yield
        except BaseException:
            await asyncio.sleep(1.0)
            steps.append("rolled back")
            raise
        steps.append("committed")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with transaction():
            await asyncio.sleep(100.0)
        await answer(send)

    sent = run(request(BreakerMiddleware(app, registry, cut_off=True)))

    assert sent[0]["status"] == 504
    assert steps == ["rolled back"]


def test_an_error_while_it_cleans_up_is_the_servers(
    registry: Registry, breaker: Breaker, run: Run
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.sleep(100.0)
        finally:
            raise LookupError

    with pytest.raises(LookupError):
        run(request(BreakerMiddleware(app, registry, cut_off=True)))

    assert votes(breaker.metrics()) == {"failures": 1}


def test_a_server_that_cancels_the_request_is_obeyed(
    registry: Registry, breaker: Breaker, run: Run
) -> None:
    async def leaving() -> None:
        app = BreakerMiddleware(slow(100.0), registry, cut_off=True)
        task = asyncio.ensure_future(request(app))
        await asyncio.sleep(1.0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    run(leaving())

    assert votes(breaker.metrics()) == {"cancelled": 1}


# Around it


def test_two_middlewares_count_it_each(registry: Registry, run: Run) -> None:
    outer_registry = Registry(clock=registry.clock)
    inner = BreakerMiddleware(slow(100.0), registry, cut_off=True)

    sent = run(request(BreakerMiddleware(inner, outer_registry, cut_off=True)))

    assert sent[0]["status"] == 504
    assert votes(registry["app"].metrics()) == {"failures": 1}
    assert votes(outer_registry["app"].metrics()) == {"failures": 1}


def test_what_the_app_returns_reaches_the_server(registry: Registry, run: Run) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> Any:
        return "no app returns something"

    async def call() -> Any:
        guarded: Any = BreakerMiddleware(app, registry, cut_off=True)
        return await guarded({"type": "http", "method": "GET", "path": "/"}, None, None)

    assert run(call()) == "no app returns something"


def test_a_websocket_is_not_cut_off(registry: Registry, run: Run) -> None:
    sent: list[Message] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(100.0)
        await send({"type": "websocket.accept"})

    async def connect() -> None:
        async def send(message: Message) -> None:
            sent.append(message)

        scope = {"type": "websocket", "path": "/"}
        await BreakerMiddleware(app, registry, cut_off=True)(scope, asyncio.sleep, send)  # type: ignore[arg-type]

    run(connect())

    assert sent == [{"type": "websocket.accept"}]


def test_without_asyncio_nothing_is_cut_off_and_the_fault_is_counted(registry: Registry) -> None:
    sent: list[Message] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send)

    async def send(message: Message) -> None:
        sent.append(message)

    call: Any = BreakerMiddleware(app, registry, cut_off=True)(
        {"type": "http", "method": "GET", "path": "/"},
        send,  # type: ignore[arg-type]
        send,
    )
    with pytest.raises(StopIteration):
        call.send(None)

    assert sent == [START, BODY]
    assert registry.faults == 1


@pytest.mark.parametrize("broken", [OSError, nan])
def test_a_clock_that_fails_cuts_nothing_off(clock: ManualClock, run: Run, broken: Any) -> None:
    readings = iter(range(100))

    def failing() -> float:
        if next(readings) == 0:
            return clock()
        if broken is OSError:
            raise OSError
        return nan

    registry = Registry(Policy(slow_ceiling=LIMIT), clock=failing)

    assert run(request(BreakerMiddleware(slow(100.0), registry, cut_off=True))) == [START, BODY]


@pytest.mark.parametrize("cut_off", [None, 1, "yes", 2.0])
def test_a_setting_of_another_type_is_named(cut_off: Any) -> None:
    with pytest.raises(TypeError, match=r"^cut_off must be True or False, not "):
        BreakerMiddleware(slow(0.0), cut_off=cut_off)
