"""The aiohttp adapter; what it shares with every client is in `tests/contract/outbound`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import anyio
import anyio.lowlevel
import pytest
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, web
from tests.support.breaker_state import votes
from tests.support.scripted_upstream import (
    LAST,
    Gate,
    Upstream,
    answer,
    chunk,
    hang_up,
    head,
    unreachable,
)

from recloser import Breaker, Outcome, Registry
from recloser_adapters.aiohttp import BreakerMiddleware, CallReport, by_host, wrap_session

pytestmark = pytest.mark.anyio

SHORT = 0.5  # seconds; within some of them a connection must be made, on a loaded machine too


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def breaker(registry: Registry, upstream: Upstream) -> Breaker:
    return registry[upstream.host]


@pytest.fixture
async def session(registry: Registry) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield wrap_session(session, registry)


async def full_pool(upstream: Upstream, middleware: BreakerMiddleware, **settings: Any) -> None:
    """One call holds the only connection, and another waits for it in vain."""
    upstream.answers("/", head(), Gate(), LAST)
    timeout = aiohttp.ClientTimeout(connect=SHORT)
    async with (
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1),
            timeout=timeout,
            middlewares=[middleware],
            **settings,
        ) as session,
        session.get(upstream.url),
    ):
        with pytest.raises(TimeoutError):
            await session.get(upstream.url)


async def test_waiting_in_vain_for_the_sessions_pool_is_our_own_trouble(
    upstream: Upstream, registry: Registry, breaker: Breaker
) -> None:
    middleware = BreakerMiddleware(registry)

    await full_pool(upstream, middleware, trace_configs=[middleware.trace_config])

    assert (breaker.metrics().ignored, breaker.metrics().failures) == (1, 0)


async def test_without_the_trace_it_cannot_be_told_from_the_host(
    upstream: Upstream, registry: Registry, breaker: Breaker
) -> None:
    await full_pool(upstream, BreakerMiddleware(registry))

    assert (breaker.metrics().ignored, breaker.metrics().failures) == (0, 1)


async def test_with_the_trace_a_host_that_does_not_connect_is_a_failure(
    registry: Registry,
) -> None:
    timeout = aiohttp.ClientTimeout(connect=SHORT)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        wrap_session(session, registry)
        with unreachable() as port, pytest.raises(TimeoutError):
            await session.get(f"http://127.0.0.1:{port}/")

    assert registry[f"127.0.0.1:{port}"].metrics().failures == 1


async def test_waiting_for_the_pool_with_success_is_a_success(
    upstream: Upstream, registry: Registry, breaker: Breaker
) -> None:
    gate = Gate()
    upstream.answers("/", head(), gate, LAST)
    upstream.answers("/", answer(200))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        wrap_session(session, registry)
        first = await session.get(upstream.url)
        gate.open()
        await first.read()
        async with session.get(upstream.url) as second:
            await second.read()

    assert breaker.metrics().successes == 2


async def test_a_host_that_hangs_after_the_wait_for_the_pool_is_a_failure(
    upstream: Upstream, registry: Registry, breaker: Breaker
) -> None:
    gate = Gate()
    upstream.answers("/", head(), gate, LAST)
    upstream.answers("/", Gate())
    timeout = aiohttp.ClientTimeout(sock_read=SHORT)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=1), timeout=timeout
    ) as session:
        wrap_session(session, registry)
        async with anyio.create_task_group() as group, session.get(upstream.url) as first:
            group.start_soon(hang, session, upstream.url)
            while breaker.metrics().in_flight < 2:
                await anyio.lowlevel.checkpoint()
            gate.open()
            await first.read()

    assert (breaker.metrics().successes, breaker.metrics().failures) == (1, 1)


async def hang(session: aiohttp.ClientSession, url: str) -> None:
    """A request that is not answered in time."""
    with pytest.raises(TimeoutError):
        await session.get(url)


@pytest.mark.parametrize("steps", [[], [head(), chunk(b"x")]], ids=["headers", "body"])
async def test_the_time_limit_of_the_whole_is_a_failure(
    upstream: Upstream, registry: Registry, breaker: Breaker, steps: list[bytes]
) -> None:
    upstream.answers("/", *steps, Gate(), answer(200))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SHORT)) as session:
        wrap_session(session, registry)
        with pytest.raises(TimeoutError):
            async with session.get(upstream.url) as response:
                await response.read()

    assert breaker.metrics().failures == 1
    assert breaker.metrics().cancelled == 0


async def test_a_second_attempt_after_a_dead_connection_is_a_call_of_its_own(
    session: aiohttp.ClientSession, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", answer(200, b"kept alive"))
    upstream.answers("/", hang_up)
    upstream.answers("/", answer(200, b"at last"))

    async with session.get(upstream.url) as response:
        await response.read()
    async with session.get(upstream.url) as response:
        assert await response.read() == b"at last"

    assert upstream.count("/") == 3
    assert (breaker.metrics().successes, breaker.metrics().failures) == (2, 1)


BODY = b"line one\nline two\n" * 500
Read = Callable[[aiohttp.StreamReader], Awaitable[bytes]]


async def _read(content: aiohttp.StreamReader) -> bytes:
    return await content.read()


async def _read_pieces(content: aiohttp.StreamReader) -> bytes:
    data = b""
    while piece := await content.read(1000):
        data += piece
    return data


async def _read_any(content: aiohttp.StreamReader) -> bytes:
    data = b""
    while piece := await content.readany():
        data += piece
    return data


async def _read_exactly(content: aiohttp.StreamReader) -> bytes:
    data = await content.readexactly(len(BODY))
    await content.wait_eof()  # the last chunk, which is empty, may come later
    return data


async def _read_lines(content: aiohttp.StreamReader) -> bytes:
    return b"".join([line async for line in content])


async def _read_until(content: aiohttp.StreamReader) -> bytes:
    data = b""
    while piece := await content.readuntil(b"two\n"):
        data += piece
    return data


async def _read_chunks(content: aiohttp.StreamReader) -> bytes:
    data = b""
    while (piece := await content.readchunk()) != (b"", False):
        data += piece[0]
    return data


async def _iter_chunked(content: aiohttp.StreamReader) -> bytes:
    return b"".join([piece async for piece in content.iter_chunked(1000)])


async def _iter_any(content: aiohttp.StreamReader) -> bytes:
    return b"".join([piece async for piece in content.iter_any()])


async def _iter_chunks(content: aiohttp.StreamReader) -> bytes:
    return b"".join([piece async for piece, _ in content.iter_chunks()])


async def _wait_and_read(content: aiohttp.StreamReader) -> bytes:
    await content.wait_eof()
    return content.read_nowait()


READS: list[Read] = [
    _read,
    _read_pieces,
    _read_any,
    _read_exactly,
    _read_lines,
    _read_until,
    _read_chunks,
    _iter_chunked,
    _iter_any,
    _iter_chunks,
    _wait_and_read,
]


@pytest.mark.parametrize("read", READS)
async def test_a_body_ends_the_call_however_it_is_read(
    session: aiohttp.ClientSession, upstream: Upstream, breaker: Breaker, read: Read
) -> None:
    gate = Gate()
    upstream.answers("/", head(), chunk(BODY[:4000]), gate, chunk(BODY[4000:]), LAST)

    async with session.get(upstream.url) as response:
        assert breaker.metrics().in_flight == 1
        gate.open()
        assert await read(response.content) == BODY
        assert breaker.metrics().in_flight == 0

    assert breaker.metrics().successes == 1


@pytest.mark.parametrize("read", READS[:-1])
async def test_a_body_that_is_cut_is_a_failure_however_it_is_read(
    session: aiohttp.ClientSession, upstream: Upstream, breaker: Breaker, read: Read
) -> None:
    gate = Gate()
    upstream.answers("/", head(), chunk(b"only this"), gate, hang_up)

    async with session.get(upstream.url) as response:
        gate.open()
        with pytest.raises(aiohttp.ClientPayloadError):
            await read(response.content)

    assert breaker.metrics().failures == 1


async def test_a_cut_that_nobody_reads_is_a_failure_when_it_is_closed(
    session: aiohttp.ClientSession, upstream: Upstream, breaker: Breaker
) -> None:
    gate = Gate()
    upstream.answers("/", head(), chunk(b"only this"), gate, hang_up)

    async with session.get(upstream.url) as response:
        gate.open()
        # exception() is what closing asks for, so it must not be asked here.
        while response.content._exception is None:
            await anyio.lowlevel.checkpoint()

    assert breaker.metrics().failures == 1


async def test_a_line_that_is_too_long_is_the_readers_own_trouble(
    session: aiohttp.ClientSession, upstream: Upstream, breaker: Breaker
) -> None:
    gate = Gate()
    upstream.answers("/", head(), chunk(b"x" * 1_000_000), gate, LAST)

    async with session.get(upstream.url) as response:
        with pytest.raises(Exception, match=r"(?i)too (big|long)|Got more"):
            await response.content.readline()
        gate.open()

    assert breaker.metrics().ignored == 1
    assert breaker.metrics().failures == 0


async def test_a_guarded_body_still_is_a_stream_reader(
    session: aiohttp.ClientSession, upstream: Upstream
) -> None:
    gate = Gate()
    upstream.answers("/", head(), chunk(b"x"), gate, LAST)

    async with session.get(upstream.url) as response:
        assert isinstance(response.content, aiohttp.StreamReader)
        assert response.content.is_eof() is False
        assert response.content.exception() is None
        gate.open()
        assert await response.text() == "x"
        assert response.content.total_bytes == 1
        assert response.content.at_eof() is True


async def test_a_websocket_is_a_call_until_it_is_established(
    registry: Registry,
) -> None:
    async def talk(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    app = web.Application()
    app.router.add_get("/", talk)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    async with aiohttp.ClientSession() as session:
        wrap_session(session, registry, key="ws")
        async with session.ws_connect(f"http://{host}:{port}/") as socket:
            assert registry["ws"].metrics().successes == 1
            await socket.send_str("echo")
            assert (await socket.receive()).data == "echo"
    await runner.cleanup()

    assert registry["ws"].metrics().in_flight == 0


async def test_an_error_of_another_middleware_is_no_vote(
    upstream: Upstream, registry: Registry, breaker: Breaker
) -> None:
    async def broken(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        raise LookupError("a bug of the user's")

    async with aiohttp.ClientSession(middlewares=[BreakerMiddleware(registry), broken]) as session:
        with pytest.raises(LookupError):
            await session.get(upstream.url)

    assert breaker.metrics().ignored == 1


@pytest.mark.parametrize("reported", [False, True])
@pytest.mark.parametrize(
    ("status", "counted", "outcome"),
    [
        (404, "ignored", Outcome.IGNORED),
        (429, "throttled", Outcome.THROTTLED),
        (503, "failures", Outcome.FAILURE),
    ],
)
async def test_an_error_for_a_status_counts_by_that_status_and_is_reported_so(
    upstream: Upstream,
    registry: Registry,
    breaker: Breaker,
    status: int,
    counted: str,
    outcome: Outcome,
    reported: bool,
) -> None:
    upstream.answers("/", answer(status))
    reports: list[CallReport] = []

    async def raising(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        response = await handler(request)
        response.raise_for_status()
        return response

    guard = BreakerMiddleware(registry, on_end=reports.append if reported else None)
    async with aiohttp.ClientSession(middlewares=[guard, raising]) as session:
        with pytest.raises(aiohttp.ClientResponseError):
            await session.get(upstream.url)

    assert votes(breaker.metrics()) == {counted: 1}
    assert [report.outcome for report in reports] == [outcome] * reported


async def test_an_answer_that_cannot_be_parsed_is_a_failure(
    session: aiohttp.ClientSession, upstream: Upstream, breaker: Breaker
) -> None:
    """aiohttp raises it with a status of its own, 400."""
    upstream.answers("/", b"no HTTP at all\r\n\r\n", hang_up)

    with pytest.raises(aiohttp.ClientResponseError) as raised:
        await session.get(upstream.url)

    assert raised.value.status == 400
    assert votes(breaker.metrics()) == {"failures": 1}


async def test_middlewares_of_a_request_leave_ours_out(
    session: aiohttp.ClientSession, upstream: Upstream, registry: Registry
) -> None:
    upstream.answers("/", answer(500))

    async with session.get(upstream.url, middlewares=[]) as response:
        assert response.status == 500

    assert len(registry) == 0


@pytest.mark.parametrize("status", [407, 502])
async def test_a_proxy_that_refuses_the_tunnel_counts_by_its_status(
    session: aiohttp.ClientSession, upstream: Upstream, registry: Registry, status: int
) -> None:
    upstream.answers("far.invalid:443", answer(status))

    with pytest.raises(aiohttp.ClientHttpProxyError):
        await session.get("https://far.invalid/", proxy=upstream.url)

    metrics = registry["far.invalid"].metrics()
    assert (metrics.ignored, metrics.failures) == ((1, 0) if status == 407 else (0, 1))


def test_a_refusal_cannot_be_a_response_here() -> None:
    with pytest.raises(ValueError, match="on_refuse"):
        BreakerMiddleware(on_refuse="response")  # type: ignore[arg-type]  # the point


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://api.example.org/v1?q=1", "api.example.org"),
        ("https://api.example.org:443/", "api.example.org"),
        ("https://api.example.org:8443/", "api.example.org:8443"),
        ("https://user:secret@API.example.org/", "api.example.org"),
        ("http://[::1]:8080/", "[::1]:8080"),
        ("https://bücher.example/", "xn--bcher-kva.example"),
    ],
)
async def test_the_key_by_host_is_the_host_and_a_port_that_is_unusual(url: str, key: str) -> None:
    seen: list[str] = []

    async def telling(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        seen.append(by_host(request))
        raise LookupError

    async with aiohttp.ClientSession(middlewares=[telling]) as session:
        with pytest.raises(LookupError):
            await session.get(url)

    assert seen == [key]
