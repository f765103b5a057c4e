"""An ASGI response is watched until it ends, in each way that ASGI has for it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterable
from typing import Any

import pytest
from tests.support.breaker_state import votes

import recloser.asgi
import recloser.wsgi
from recloser import Registry
from recloser.testing import ManualClock


class OopsError(Exception):
    pass


START = {"type": "http.response.start", "status": 200, "headers": []}
START_WITH_TRAILERS = {**START, "trailers": True}
BODY = {"type": "http.response.body", "body": b"chunk"}
MORE_BODY = {**BODY, "more_body": True}
TRAILERS = {"type": "http.response.trailers", "headers": []}
MORE_TRAILERS = {**TRAILERS, "more_trailers": True}
PATHSEND = {"type": "http.response.pathsend", "path": "/tmp/file"}
ZEROCOPY = {"type": "http.response.zerocopysend", "file": 3}
MORE_ZEROCOPY = {**ZEROCOPY, "more_body": True}
PUSH = {"type": "http.response.push", "path": "/", "headers": []}


def run(registry: Registry, messages: Iterable[Any], *, then: BaseException | None = None) -> None:
    """Let an app send messages, and raise in the end."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)
        if then is not None:
            raise then

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass

    scope = {"type": "http", "method": "GET", "path": "/x", "headers": []}
    guarded = recloser.asgi.BreakerMiddleware(app, registry)
    try:
        asyncio.run(guarded(scope, receive, send))
    except OopsError:
        assert then is not None


@pytest.mark.parametrize(
    "messages",
    [
        [START, BODY],
        [START, MORE_BODY, BODY],
        [START, PATHSEND],
        [START, ZEROCOPY],
        [START, MORE_ZEROCOPY, MORE_BODY, ZEROCOPY],
        [START_WITH_TRAILERS, BODY, TRAILERS],
        [START_WITH_TRAILERS, MORE_BODY, BODY, MORE_TRAILERS, TRAILERS],
        [START_WITH_TRAILERS, PATHSEND, TRAILERS],
        [PUSH, START, BODY],
    ],
)
def test_an_error_after_the_last_message_is_not_judged(
    registry: Registry, messages: list[Any]
) -> None:
    run(registry, messages, then=OopsError("in the background"))

    assert votes(registry["app"].metrics()) == {"successes": 1}


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [PUSH],
        [START],
        [START, MORE_BODY],
        [START, MORE_ZEROCOPY],
        [START_WITH_TRAILERS, BODY],
        [START_WITH_TRAILERS, PATHSEND],
        [START_WITH_TRAILERS, BODY, MORE_TRAILERS],
    ],
)
def test_an_error_before_it_is_a_failure_and_a_return_is_no_vote(
    registry: Registry, messages: list[Any]
) -> None:
    run(registry, messages, then=OopsError("midway"))
    run(registry, messages)

    assert votes(registry["app"].metrics()) == {"failures": 1, "cancelled": 1}


def test_the_error_of_an_app_that_was_told_of_its_clients_leaving_is_no_failure(
    registry: Registry,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "http.disconnect"
        raise OopsError("nobody is there")

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError

    scope = {"type": "http", "method": "POST", "path": "/x", "headers": []}
    with pytest.raises(OopsError):
        asyncio.run(recloser.asgi.BreakerMiddleware(app, registry)(scope, receive, send))

    assert votes(registry["app"].metrics()) == {"cancelled": 1}


def test_a_disconnect_heard_after_the_end_changes_nothing(registry: Registry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(BODY)
        await receive()

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass

    scope = {"type": "http", "method": "GET", "path": "/x", "headers": []}
    asyncio.run(recloser.asgi.BreakerMiddleware(app, registry)(scope, receive, send))

    assert votes(registry["app"].metrics()) == {"successes": 1}


async def receive() -> Any:
    return {"type": "http.request"}


async def send(message: Any) -> None:
    pass


def test_a_long_call_that_nobody_runs_any_more_is_collected(
    registry: Registry, clock: ManualClock
) -> None:
    """Its server's queue leads to the task that waits at it; the table of calls must not lead there."""
    ended: list[str] = []
    begun = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal begun
        begun += 1
        if begun > 1:
            return
        try:
            await receive()
            await receive()
        finally:
            ended.append("collected")

    async def abandon() -> None:
        guarded = recloser.asgi.BreakerMiddleware(app, registry)
        scope = {"type": "http", "method": "GET", "path": "/x", "headers": []}
        queue: asyncio.Queue[Any] = asyncio.Queue()
        queue.put_nowait({"type": "http.request"})
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        task = asyncio.ensure_future(guarded(dict(scope), queue.get, queue.put))
        await asyncio.sleep(0.0)
        del queue, task  # the loop has only weak references to tasks
        clock.advance(registry["app"].slow_threshold + 1.0)
        await guarded(dict(scope), receive, send)  # notices that the first one is overdue
        gc.collect()

        assert ended == ["collected"]

    asyncio.run(abandon())
    registry["app"].acquire().success()
    assert registry["app"].metrics().in_flight == 0


def test_a_long_call_that_begins_to_answer_is_known_to(
    registry: Registry, clock: ManualClock
) -> None:
    breaker = registry["app"]

    async def run() -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            clock.advance(breaker.slow_threshold + 1.0)
            breaker.acquire().cancel()  # notices that it is overdue
            await send(START)
            clock.advance(1.0)
            await send(MORE_BODY)
            (call,) = breaker._calls.overdue.values()
            assert call.answered == clock()
            await send(BODY)

        scope = {"type": "http", "method": "GET", "path": "/x", "headers": []}
        guarded = recloser.asgi.BreakerMiddleware(app, registry)
        await guarded(scope, receive, send)

    asyncio.run(run())
    assert breaker.metrics().slow == 1
