"""The floors of `benchmarks/speed` keep the promises that they list: otherwise they prove nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from contextvars import copy_context
from math import inf
from typing import Any

import pytest

pytest.importorskip("benchmarks.speed")

from benchmarks.speed.floors import App, AsgiFloor, Key, Message, WithFloor, WsgiFloor

SCOPE = {"type": "http", "method": "GET", "path": "/items/1"}
ENVIRON = {"REQUEST_METHOD": "GET", "PATH_INFO": "/items/1"}


def route(scope: Message) -> str:
    return f"{scope['method']} {scope['path'].rpartition('/')[0]}"


class Served:
    """Runs requests through the ASGI floor around an app."""

    def __init__(self, app: App, open_for: float = -inf) -> None:
        self.floor = AsgiFloor(app, route, open_for)
        self.sent: list[Message] = []
        self.incoming: list[Message] = [{"type": "http.request", "body": b""}]

    async def _receive(self) -> Message:
        return self.incoming.pop(0)

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    def request(self, **changes: Any) -> Key:
        asyncio.run(self.floor({**SCOPE, **changes}, self._receive, self._send))
        return next(iter(self.floor.keys.values()))

    @property
    def key(self) -> Key:
        return self.floor.keys["GET /items"]


def answering(status: int) -> App:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})

    return app


@pytest.mark.parametrize(("status", "good", "failed"), [(200, 1, 0), (404, 1, 0), (500, 0, 1)])
def test_the_asgi_floor_judges_by_the_status_at_the_end(
    status: int, good: int, failed: int
) -> None:
    served = Served(answering(status))
    key = served.request()
    assert len(served.sent) == 3
    assert (len(key.latencies), key.failed, key.cancelled, key.calls) == (good, failed, 0, {})


def test_the_asgi_floor_has_a_key_for_each_route_and_remembers_paths() -> None:
    served = Served(answering(200))
    for path in ("/items/1", "/items/2", "/orders/1", "/items/1"):
        served.incoming = [{"type": "http.request"}]
        served.request(path=path)
    assert {name: len(key.latencies) for name, key in served.floor.keys.items()} == {
        "GET /items": 3,
        "GET /orders": 1,
    }


def test_the_asgi_floor_shows_a_call_that_hangs_but_not_one_that_waits_for_its_client() -> None:
    seen: dict[str, list[float]] = {}

    async def app(scope: Message, receive: Any, send: Any) -> None:
        seen["before"] = [*served.key.calls.values()]
        await receive()
        seen["after"] = [*served.key.calls.values()]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        seen["answering"] = [*served.key.calls.values()]
        await send({"type": "http.response.body"})

    class Slow(Served):
        async def _receive(self) -> Message:
            seen["waiting"] = [*self.key.calls.values()]
            await asyncio.sleep(0)
            return {"type": "http.request"}

    served = Slow(app)
    served.request()
    assert seen["waiting"] == seen["answering"] == [inf]
    assert seen["before"][0] < seen["after"][0] < inf


def test_the_asgi_floor_counts_an_error_as_failed_and_a_client_that_leaves_as_cancelled() -> None:
    async def broken(scope: Message, receive: Any, send: Any) -> None:
        raise KeyError(scope["path"])

    async def patient(scope: Message, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "http.disconnect"

    served = Served(broken)
    with pytest.raises(KeyError):
        served.request()
    assert (served.key.failed, served.key.cancelled, served.key.calls) == (1, 0, {})
    served = Served(patient)
    served.incoming = [{"type": "http.disconnect"}]
    key = served.request()
    assert (key.failed, key.cancelled, key.calls) == (0, 1, {})


def test_the_asgi_floor_refuses_with_a_retry_after() -> None:
    served = Served(answering(200), open_for=60.0)
    key = served.request()
    start, body = served.sent
    assert start["status"] == 503
    assert dict(start["headers"])[b"retry-after"] == b"60"
    assert int(dict(start["headers"])[b"content-length"]) == len(body["body"])
    assert (key.refused, key.calls) == (1, {})


def wsgi(body: Callable[[], Any], status: str = "200 OK", open_for: float = -inf) -> WsgiFloor:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response(status, [])
        return body()

    return WsgiFloor(app, lambda environ: "route", open_for)


def pieces() -> Generator[bytes]:
    yield b""
    yield b"a"
    yield b"b"


@pytest.mark.parametrize("body", [lambda: [b"", b"a", b"b"], pieces])
@pytest.mark.parametrize(("status", "good"), [("200 OK", 1), ("502 Bad Gateway", 0)])
def test_the_wsgi_floor_judges_by_the_status_at_the_end(
    body: Callable[[], Any], status: str, good: int
) -> None:
    floor = wsgi(body, status)
    assert [*floor(dict(ENVIRON), lambda *args: None)] == [b"", b"a", b"b"]
    key = floor.keys["route"]
    assert (len(key.latencies), key.failed, key.cancelled, key.calls) == (good, 1 - good, 0, {})


def test_the_wsgi_floor_counts_a_body_that_is_closed_early_as_cancelled_and_closes_it() -> None:
    body = pieces()
    floor = wsgi(lambda: body)
    watched: Any = floor(dict(ENVIRON), lambda *args: None)
    key = floor.keys["route"]
    assert next(iter(key.calls.values())) < inf
    steps = iter(watched)
    assert [next(steps), next(steps)] == [b"", b"a"]
    assert [*key.calls.values()] == [inf]
    watched.close()
    assert (key.cancelled, key.calls, [*body]) == (1, {}, [])


def test_the_wsgi_floor_refuses_with_a_retry_after() -> None:
    said: list[Any] = []
    floor = wsgi(pieces, open_for=60.0)
    assert floor(dict(ENVIRON), lambda *args: said.extend(args))
    assert said[0].startswith("503")
    assert dict(said[1])["retry-after"] == "60"
    assert floor.keys["route"].refused == 1


def test_the_floor_of_blocks_ends_each_block_with_its_own_permit() -> None:
    floor = WithFloor()

    def block() -> Generator[object]:
        with floor as outer, floor as inner:
            yield outer
            yield inner

    def ended_elsewhere(generator: Generator[object]) -> None:
        thread = threading.Thread(target=copy_context().run, args=[generator.close])
        thread.start()
        thread.join()

    one, other = block(), block()
    permits = {next(one), next(other), next(one)}
    assert len(permits) == 3
    ended_elsewhere(one)
    assert len(floor.blocks) == 1
    assert next(other) not in permits
    with pytest.raises(KeyError):
        other.throw(KeyError())
    assert (floor.blocks, floor.key.cancelled, floor.key.failed) == ({}, 2, 2)


def test_the_floor_of_blocks_refuses() -> None:
    floor = WithFloor(open_for=60.0)
    with pytest.raises(ConnectionRefusedError), floor:
        pytest.fail("the block ran")
    assert floor.key.refused == 1
