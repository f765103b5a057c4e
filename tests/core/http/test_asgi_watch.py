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


# A server that does not send the head before the client has taken the answer before


@pytest.mark.parametrize("version", ["2.3", "2.4"])
@pytest.mark.parametrize("others", [0, 10], ids=["alone", "with others"])
@pytest.mark.parametrize(
    "messages", [[START, BODY], [START, MORE_BODY, BODY]], ids=["whole", "parts"]
)
def test_a_client_that_does_not_take_the_head_makes_no_handler_slow(
    registry: Registry,
    clock: ManualClock,
    run: Any,
    version: str,
    others: int,
    messages: list[Any],
) -> None:
    """Several requests on one connection, whose answers the client reads slowly."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    guarded: Any = recloser.asgi.BreakerMiddleware(app, registry)

    async def request(seconds: float) -> None:
        async def send(message: Any) -> None:
            if message["type"] == START["type"]:
                await asyncio.sleep(seconds)

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/x",
            "headers": [],
            "asgi": {"spec_version": version},
        }
        await guarded(scope, None, send)

    async def attack() -> None:
        for _ in range(50):
            await request(0.01)
        for _ in range(10):
            held = [asyncio.create_task(request(30.0)) for _ in range(1 + others)]
            for _ in range(others):
                await request(0.01)
                await asyncio.sleep(0.5)
            await asyncio.gather(*held)

    run(attack())

    metrics = registry["app"].metrics()
    assert metrics.slow <= 2  # until there is a suspicion, nothing is measured
    assert metrics.generation == 0
    assert (metrics.refused, metrics.in_flight, registry.faults) == (0, 0, 0)


def test_a_handler_that_is_slow_between_head_and_body_is_slow(
    registry: Registry, clock: ManualClock, run: Any
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({**START, "headers": [(b"content-length", b"5")]})
        await asyncio.sleep(scope["seconds"])
        await send(BODY)

    guarded: Any = recloser.asgi.BreakerMiddleware(app, registry)

    async def request(seconds: float) -> None:
        async def send(message: Any) -> None:
            await asyncio.sleep(0)

        await guarded({"type": "http", "path": "/x", "seconds": seconds}, None, send)

    async def served() -> None:
        for seconds in [0.01] * 50 + [30.0] * 4:
            await request(seconds)

    run(served())

    assert registry["app"].metrics().slow == 4


class OddMessage(dict[str, Any]):
    """A message that a server may take, and we cannot read."""

    def __getitem__(self, key: str) -> Any:
        raise OopsError


def test_a_message_that_cannot_be_read_is_a_fault_of_ours_and_passes(registry: Registry) -> None:
    odd, sent = OddMessage(START), list[Any]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(odd)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    asyncio.run(recloser.asgi.BreakerMiddleware(app, registry)(scope, send, send))  # type: ignore[arg-type]

    assert sent == [odd]
    assert registry.faults == 1


def test_what_is_received_after_the_request_is_not_taken_for_a_client_that_leaves(
    registry: Registry,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(3):
            await receive()
        await send(START)
        await send(BODY)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        pass

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    asyncio.run(recloser.asgi.BreakerMiddleware(app, registry)(scope, receive, send))

    assert votes(registry["app"].metrics()) == {"successes": 1}


class OddSend:
    """A server's function that is unlike others."""

    def __getattr__(self, name: str) -> Any:
        raise OopsError(name)

    async def __call__(self, message: Any) -> None:
        raise OSError("gone")


def test_a_server_that_cannot_be_looked_at_is_a_fault_of_ours(registry: Registry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    with pytest.raises(OSError, match="gone"):
        asyncio.run(recloser.asgi.BreakerMiddleware(app, registry)(scope, receive, OddSend()))

    assert registry.faults >= 1
    assert registry["app"].metrics().in_flight == 0
