"""Deadlines, on asyncio and on trio. Time is the event loop's, so nothing here waits for long."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio
import pytest

from recloser import Breaker, BreakerOpenError, Registry, State
from recloser.asgi import BreakerMiddleware
from recloser.testing import open_breaker
from recloser_adapters.anyio import DeadlineMiddleware, guard

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]

# A deadline that has passed by the first checkpoint, and one that never will in a test.
AT_ONCE = 1e-9
NEVER = 3600.0


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def breaker(registry: Registry) -> Breaker:
    return registry["payments"]


pytestmark = pytest.mark.anyio


# guard


async def test_a_block_in_time_is_a_success(breaker: Breaker) -> None:
    async with guard(breaker, deadline=NEVER) as permit:
        await anyio.lowlevel.checkpoint()

    assert permit.ended
    assert breaker.metrics().successes == 1


async def test_a_block_that_is_cut_off_raises_and_is_a_failure(breaker: Breaker) -> None:
    with pytest.raises(TimeoutError):
        async with guard(breaker, deadline=AT_ONCE):
            await anyio.sleep_forever()

    metrics = breaker.metrics()
    assert (metrics.failures, metrics.cancelled, metrics.in_flight) == (1, 0, 0)


async def test_blocks_that_are_cut_off_open_the_breaker(breaker: Breaker) -> None:
    for _ in range(20):
        if breaker.state is State.OPEN:
            break
        with pytest.raises(TimeoutError):
            async with guard(breaker, deadline=AT_ONCE):
                await anyio.sleep_forever()

    assert breaker.state is State.OPEN


async def test_a_block_that_is_cancelled_from_outside_is_no_failure(breaker: Breaker) -> None:
    with anyio.CancelScope() as outside:
        async with guard(breaker, deadline=NEVER):
            outside.cancel()
            await anyio.sleep_forever()

    metrics = breaker.metrics()
    assert (metrics.failures, metrics.cancelled, metrics.in_flight) == (0, 1, 0)


async def test_what_a_block_raises_passes_and_is_a_failure(breaker: Breaker) -> None:
    error = ConnectionError("refused by the peer")

    with pytest.raises(ConnectionError) as caught:
        async with guard(breaker, deadline=NEVER):
            raise error

    assert caught.value is error
    assert breaker.metrics().failures == 1


async def test_an_open_breaker_does_not_let_the_block_begin(breaker: Breaker) -> None:
    open_breaker(breaker)

    with pytest.raises(BreakerOpenError):
        async with guard(breaker, deadline=NEVER):
            raise AssertionError("it began")


async def test_the_permit_can_give_another_verdict(breaker: Breaker) -> None:
    async with guard(breaker, deadline=None) as permit:
        permit.throttled(1.0)

    assert breaker.metrics().throttled == 1


@pytest.mark.parametrize("deadline", [0.0, -1.0, float("nan"), float("inf")])
async def test_a_deadline_out_of_range_is_an_error(breaker: Breaker, deadline: float) -> None:
    with pytest.raises(ValueError, match="deadline must be a number of seconds above 0, not"):
        DeadlineMiddleware(answer, deadline=deadline)
    with pytest.raises(ValueError, match="deadline"):
        async with guard(breaker, deadline=deadline):
            raise AssertionError("it began")


@pytest.mark.parametrize("deadline", ["1", True])
async def test_a_deadline_of_another_type_is_an_error(deadline: Any) -> None:
    with pytest.raises(TypeError, match="deadline must be a number of seconds above 0, not"):
        DeadlineMiddleware(answer, deadline=deadline)


# DeadlineMiddleware


async def answer(scope: Any, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"here"})


async def hang(scope: Any, receive: Receive, send: Send) -> None:
    await anyio.sleep_forever()


async def break_off(scope: Any, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"be", "more_body": True})
    await anyio.sleep_forever()


class Exchange:
    """One request, and what came of it."""

    def __init__(self, method: str = "GET", kind: str = "http", path: str = "/") -> None:
        self.scope: dict[str, Any] = {
            "type": kind,
            "method": method,
            "path": path,
            "headers": [],
        }
        self.messages: list[Message] = []

    async def run(self, app: Any) -> Any:
        async def receive() -> Message:
            await anyio.sleep_forever()
            raise AssertionError

        async def send(message: Message) -> None:
            self.messages.append(message)

        return await app(self.scope, receive, send)

    @property
    def status(self) -> int:
        status: int = self.messages[0]["status"]
        return status


async def test_an_answer_in_time_passes_untouched() -> None:
    plain, exchange = Exchange(), Exchange()

    await plain.run(answer)
    await exchange.run(DeadlineMiddleware(answer, deadline=NEVER))

    assert exchange.messages == plain.messages


async def test_a_handler_that_sent_nothing_gets_a_504() -> None:
    exchange = Exchange()

    await exchange.run(DeadlineMiddleware(hang, deadline=AT_ONCE))

    start, body = exchange.messages
    headers = dict(start["headers"])
    assert start["status"] == 504
    assert headers[b"content-type"] == b"application/problem+json"
    assert int(headers[b"content-length"]) == len(body["body"])
    assert not body.get("more_body")


async def test_the_504_to_a_head_request_has_no_body() -> None:
    exchange = Exchange("HEAD")

    await exchange.run(DeadlineMiddleware(hang, deadline=AT_ONCE))

    assert (exchange.status, exchange.messages[1]["body"]) == (504, b"")


async def test_a_response_that_has_begun_breaks_off_and_nothing_is_added() -> None:
    exchange = Exchange()

    with pytest.raises(TimeoutError):
        await exchange.run(DeadlineMiddleware(break_off, deadline=AT_ONCE))

    assert [message["type"] for message in exchange.messages] == [
        "http.response.start",
        "http.response.body",
    ]


@pytest.mark.parametrize("app", [hang, break_off])
async def test_the_breaker_around_it_counts_one_failure(registry: Registry, app: Any) -> None:
    guarded = BreakerMiddleware(
        DeadlineMiddleware(app, deadline=AT_ONCE), registry, key=lambda scope: "it"
    )

    try:
        await Exchange().run(guarded)
    except TimeoutError:
        assert app is break_off

    metrics = registry["it"].metrics()
    assert (metrics.failures, metrics.calls, metrics.in_flight) == (1, 1, 0)


async def test_work_after_the_response_has_all_the_time_it_wants() -> None:
    deadlines: list[float] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        deadlines.append(anyio.current_effective_deadline())
        await answer(scope, receive, send)
        deadlines.append(anyio.current_effective_deadline())

    await Exchange().run(DeadlineMiddleware(app, deadline=NEVER))

    before, after = deadlines
    assert before < math.inf
    assert after == math.inf


@pytest.mark.parametrize("kind", ["websocket", "lifespan", "custom"])
async def test_other_scopes_pass_untouched(kind: str) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> str:
        await anyio.lowlevel.checkpoint()
        return "a value that only the server may judge"

    returned = await Exchange(kind=kind).run(DeadlineMiddleware(app, deadline=AT_ONCE))

    assert returned == "a value that only the server may judge"


async def test_what_the_app_returns_is_returned() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> str:
        return "odd"

    assert await Exchange().run(DeadlineMiddleware(app, deadline=NEVER)) == "odd"


async def test_a_cancelled_request_is_not_answered() -> None:
    exchange = Exchange()

    with anyio.CancelScope() as outside:
        outside.cancel()
        await exchange.run(DeadlineMiddleware(hang, deadline=NEVER))

    assert exchange.messages == []
    assert outside.cancelled_caught


async def test_the_deadline_may_depend_on_the_request() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await (answer if scope["path"] == "/stream" else hang)(scope, receive, send)

    def deadline(scope: MutableMapping[str, Any]) -> float | None:
        return None if scope["path"] == "/stream" else AT_ONCE

    limited = DeadlineMiddleware(app, deadline=deadline)
    stream, page = Exchange(path="/stream"), Exchange(path="/page")
    await stream.run(limited)
    await page.run(limited)

    assert (stream.status, page.status) == (200, 504)


@pytest.mark.parametrize("result", ["raises", -1.0])
async def test_a_faulty_deadline_function_fails_no_request_and_is_logged_once(
    result: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def deadline(scope: MutableMapping[str, Any]) -> float | None:
        if result == "raises":
            raise RuntimeError("cannot say")
        number: float = result
        return number

    limited = DeadlineMiddleware(answer, deadline=deadline)
    exchanges = [Exchange() for _ in range(3)]
    with caplog.at_level(logging.ERROR, "recloser"):
        for exchange in exchanges:
            await exchange.run(limited)

    assert [exchange.status for exchange in exchanges] == [200] * 3
    assert len(caplog.records) == 1


async def test_a_deadline_inside_another_leaves_the_outer_one_its_say() -> None:
    exchange = Exchange()
    inner = DeadlineMiddleware(hang, deadline=NEVER)

    await exchange.run(DeadlineMiddleware(inner, deadline=AT_ONCE))

    assert [message["type"] for message in exchange.messages].count("http.response.start") == 1
    assert exchange.status == 504
