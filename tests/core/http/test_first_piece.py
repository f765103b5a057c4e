"""A response begins with its first piece; but waiting for an event is not slowness."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest
from tests.support.stream_server import NEVER, Request, StreamServer

from recloser import Registry, State
from recloser._http.first_piece import end_stream, is_piece, kind_of_stream, length_of

ENDLESS = 1_000_000


def served(
    scenario: Callable[[StreamServer], Coroutine[Any, Any, list[Request]]], one_key: bool
) -> bool:
    """Whether no request of a scenario was refused."""

    async def run() -> bool:
        requests = await scenario(StreamServer(one_key=one_key))
        well = all(request.status != 503 for request in requests)
        tasks = [request.task for request in requests]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return well

    return asyncio.run(run())


# Subscriptions


async def nothing_is_ever_pushed(server: StreamServer) -> list[Request]:
    server.handlers = {
        "GET /events": server.stream(lambda: NEVER),
        "POST /say": server.document(lambda: 0.002),
    }
    requests = [await server.ask("GET /events", 0.01) for _ in range(8)]
    requests += [await server.ask("POST /say", 0.5) for _ in range(300)]
    return [*requests, await server.ask("GET /events", 0.1)]


async def the_first_event_comes_late(server: StreamServer) -> list[Request]:
    server.handlers = {"GET /events": server.stream(lambda: 90.0, lambda: 1.0)}
    return [await server.ask("GET /events", 3.0) for _ in range(120)]


async def clients_look_in_and_leave(server: StreamServer) -> list[Request]:
    server.handlers = {"GET /events": server.stream(lambda: NEVER)}
    requests: list[Request] = []
    for _ in range(60):
        requests.append(await server.ask("GET /events", 15.0))
        if len(requests) > 3:
            requests[-3].task.cancel()
    return requests


async def a_quiet_night_after_a_busy_day(server: StreamServer) -> list[Request]:
    random = Random(1)
    night = False

    def gap() -> float:
        return NEVER if night else random.expovariate(3.0)

    server.handlers = {
        "GET /room": server.stream(gap, gap, pieces=ENDLESS),
        "POST /say": server.document(lambda: 0.002),
    }
    requests: list[Request] = []
    for number in range(600):
        requests.append(await server.ask("GET /room", 0.5))
        requests.append(await server.ask("POST /say", 0.01))
        if number > 20:
            requests[2 * (number - 20)].task.cancel()
        if number == 400:
            night = True
    return requests


async def rooms_that_the_server_closes_now_and_then(server: StreamServer) -> list[Request]:
    random = Random(2)
    night = False

    def gap() -> float:
        return 30.0 if night else random.expovariate(3.0)

    server.handlers = {"GET /room": server.stream(gap, gap, pieces=40)}
    requests = [await server.ask("GET /room", 0.5) for _ in range(300)]
    night = True
    return [*requests, *[await server.ask("GET /room", 2.0) for _ in range(100)]]


async def a_market_that_closes_at_once(server: StreamServer) -> list[Request]:
    closed = False
    server.handlers = {
        "GET /prices": server.stream(
            lambda: NEVER if closed else 0.001, lambda: 1.0, pieces=ENDLESS
        )
    }
    requests: list[Request] = []
    for number in range(300):
        requests.append(await server.ask("GET /prices", 0.5))
        if number > 20:
            requests[number - 20].task.cancel()
        if number == 200:
            closed = True
    return requests


async def answers_beside_it_at_another_path(server: StreamServer) -> list[Request]:
    server.handlers = {
        "GET /events": server.stream(lambda: NEVER),
        "GET /chat": server.stream(lambda: 0.3),
    }
    requests = [await server.ask("GET /chat", 2.0) for _ in range(60)]
    requests += [await server.ask("GET /events", 0.0) for _ in range(8)]
    return [*requests, *[await server.ask("GET /chat", 2.0) for _ in range(30)]]


@pytest.mark.parametrize("one_key", [False, True])
@pytest.mark.parametrize(
    "scenario",
    [
        nothing_is_ever_pushed,
        the_first_event_comes_late,
        clients_look_in_and_leave,
        a_quiet_night_after_a_busy_day,
        rooms_that_the_server_closes_now_and_then,
        a_market_that_closes_at_once,
        answers_beside_it_at_another_path,
    ],
    ids=lambda scenario: scenario.__name__,
)
def test_subscriptions_are_never_refused_for_waiting(scenario: Any, one_key: bool) -> None:
    assert served(scenario, one_key)


def test_long_polls_are_not_either() -> None:
    async def polls(server: StreamServer) -> list[Request]:
        random = Random(3)
        server.handlers = {
            "GET /poll": server.document(lambda: random.uniform(0.0, 60.0)),
            "GET /empty": server.document(lambda: 30.0, 204),
        }
        requests = [
            await server.ask(f"GET /{random.choice(('poll', 'empty'))}", 1.5) for _ in range(300)
        ]
        await server.advance(100.0)
        return requests

    assert served(polls, one_key=False)


# Answers


@pytest.mark.parametrize(
    ("route", "content_type"),
    [
        ("GET /chat", b"text/event-stream; charset=utf-8"),
        ("POST /chat", b"text/event-stream"),
        ("POST /chat", b"application/x-ndjson"),
    ],
)
@pytest.mark.parametrize("piece", [b"data: x\n\n", b""])
def test_streams_that_used_to_begin_at_once_and_do_not_are_refused(
    route: str, content_type: bytes, piece: bytes
) -> None:
    """Empty pieces are none."""

    async def run() -> tuple[int, State]:
        server = StreamServer()
        random = Random(4)

        def answer(**how: Any) -> None:
            server.handlers = {route: server.stream(content_type=content_type, **how)}

        answer(first=lambda: random.lognormvariate(-1.0, 0.3))
        requests = [await server.ask(route, 0.2) for _ in range(100)]
        await server.advance(5.0)
        if piece:
            answer(first=lambda: NEVER)
        else:
            answer(first=lambda: 0.01, between=lambda: 0.2, pieces=ENDLESS, piece=piece)
        hanging = [await server.ask(route, 0.05) for _ in range(60)]
        statuses = [request.status for request in hanging]
        for request in (*requests, *hanging):
            request.task.cancel()
        await server.advance(0.0)
        assert server.registry[route].metrics().in_flight == 0

        answer(first=lambda: random.lognormvariate(-1.0, 0.3))
        for _ in range(300):
            await server.ask(route, 0.2)
        return statuses.index(503), server.registry[route].state

    first_refused, in_the_end = asyncio.run(run())

    assert first_refused < 30
    assert in_the_end is State.CLOSED


def test_answers_that_stall_after_their_first_piece_are_refused() -> None:
    async def run() -> int:
        server = StreamServer()
        random = Random(5)
        server.handlers = {"POST /chat": server.stream(lambda: random.lognormvariate(-1.0, 0.3))}
        requests = [await server.ask("POST /chat", 0.3) for _ in range(100)]
        await server.advance(5.0)
        server.handlers = {"POST /chat": server.stream(lambda: 0.3, lambda: NEVER)}
        stalled = [await server.ask("POST /chat", 0.5) for _ in range(60)]
        statuses = [request.status for request in stalled]
        for request in (*requests, *stalled):
            request.task.cancel()
        await server.advance(0.0)
        assert server.registry["POST /chat"].metrics().in_flight == 0
        return statuses.index(503)

    assert asyncio.run(run()) < 20


def test_a_client_that_takes_its_time_does_not_stall_a_stream() -> None:
    """From the moment at which it has taken a piece, the next one is awaited."""

    async def run() -> State:
        server = StreamServer()
        server.handlers = {"POST /chat": server.stream(lambda: 0.1)}
        for _ in range(100):
            await server.ask("POST /chat", 0.5)
        slow = [await server.ask("POST /chat", 0.0) for _ in range(20)]
        for request in slow:
            request.takes = 60.0
            request.sleep = server.sleep
        for _ in range(200):
            await server.ask("POST /chat", 0.5)
        for request in slow:
            request.task.cancel()
        return server.registry["POST /chat"].state

    assert asyncio.run(run()) is State.CLOSED


def test_comments_that_keep_a_connection_alive_are_no_pieces() -> None:
    async def run() -> float:
        server = StreamServer()
        server.handlers = {
            "POST /chat": server.stream(lambda: 0.1, lambda: 1.0, pieces=2, piece=b": wait\n\n")
        }
        for _ in range(40):
            await server.ask("POST /chat", 3.0)
        return server.registry["POST /chat"].metrics().mean

    # No piece ever comes; the answer begins with its end.
    assert asyncio.run(run()) == pytest.approx(2.1)


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ([(b"content-type", b"text/event-stream; charset=utf-8")], "GET  text/event-stream"),
        ([("Content-Type", "Text/Plain")], "GET  text/plain"),
        ([], "GET  "),
        ([(b"Content-Length", b"3"), (b"content-type", b"text/plain")], ""),
        (None, "GET  "),
        (3, ""),
        ([(None, None)], ""),
    ],
)
def test_a_kind_is_method_and_content_type(headers: Any, kind: str) -> None:
    assert kind_of_stream("GET", headers, "") == kind


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("GET  text/plain", b"x", True),
        ("GET  text/plain", b"", False),
        ("GET  text/plain", b": x", True),
        ("GET  text/event-stream", b": ping\n\n", False),
        ("GET  text/event-stream", b": ping\n\ndata: x\n\n", True),
        ("GET  text/event-stream", None, True),
    ],
)
def test_a_piece_has_content(kind: str, body: Any, expected: bool) -> None:
    assert is_piece(kind, body) is expected


class Rejected:
    """Headers that a server would reject."""

    def __iter__(self) -> Any:
        raise OSError


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (None, None),
        ([], None),
        ([("X", "1")], None),
        ([("X", "y"), ("Content-Length", "7")], 7),
        ([("CONTENT-LENGTH", "0"), ("X", "y")], 0),
        ([(b"x", b"y"), (b"content-length", b"7")], 7),
        ([(b"Content-Length", b"7")], 7),
        ([("Content-Length", "seven")], sys.maxsize),
        (Rejected(), sys.maxsize),
        ([("too", "many", "parts")], sys.maxsize),
    ],
)
def test_the_length_of_a_response_is_known_by_its_headers(
    headers: Any, expected: int | None
) -> None:
    assert length_of(headers) == expected


def test_of_a_response_of_known_length_nothing_is_learned_of_streams(registry: Registry) -> None:
    permit = registry["k"].acquire()

    end_stream(permit, "", True, ended=True)
    assert registry["k"]._calls.streams is None
    end_stream(permit, "GET text/plain", True, ended=True)
    assert registry["k"]._calls.streams is not None
