"""Nothing is held back, and a call ends with the end of its body."""

from __future__ import annotations

import gc

import pytest
from tests.support import asgi_client, wsgi_client
from tests.support.breaker_state import votes
from tests.support.frontends import Asgi, Frontend, Wsgi
from tests.support.scripted_handler import OopsError, Script

from recloser import State
from recloser.testing import ManualClock

pytestmark = pytest.mark.anyio

THREE = (b"one", b"two", b"three")


async def test_a_stream_arrives_whole(frontend: Frontend, script: Script) -> None:
    script.chunks = THREE

    answer = await frontend.call()

    assert answer.body == b"onetwothree"
    assert votes(frontend.breaker.metrics()) == {"successes": 1}


async def test_an_asgi_chunk_is_sent_when_the_app_sends_it(asgi: Asgi, script: Script) -> None:
    script.chunks = THREE
    seen: list[int] = []
    exchange = asgi_client.Exchange()
    exchange.on_message = lambda: seen.append(asgi.breaker.metrics().in_flight)

    await exchange.run(asgi.app)

    # Start, three chunks, and the empty last one. Under way until the last one is handed on.
    assert seen == [1, 1, 1, 1, 0]
    bodies = [message.get("body", b"") for message in exchange.messages[1:]]
    assert bodies == [*THREE, b""]


async def test_a_wsgi_chunk_is_handed_on_when_it_is_there(wsgi: Wsgi, script: Script) -> None:
    script.chunks = THREE
    script.between = 1.0
    seen: list[tuple[int, float]] = []
    exchange = wsgi_client.Exchange()
    began = wsgi.clock()
    exchange.on_chunk = lambda: seen.append(
        (wsgi.breaker.metrics().in_flight, wsgi.clock() - began)
    )

    exchange.run(wsgi.app)

    assert seen == [(1, 0.0), (1, 1.0), (1, 2.0)]
    assert votes(wsgi.breaker.metrics()) == {"successes": 1}


async def test_latency_is_taken_at_the_start_of_a_stream(http: Frontend, script: Script) -> None:
    script.chunks = THREE
    script.takes = 0.25
    script.between = 100.0

    await http.call()

    assert http.breaker.metrics().mean == pytest.approx(0.25)


async def test_a_stream_that_breaks_is_one_failure(http: Frontend, script: Script) -> None:
    script.raises_midway = OopsError("halfway")

    answer = await http.call()

    assert answer.status == 200
    assert answer.body == b"ok"
    assert answer.error is not None
    assert votes(http.breaker.metrics()) == {"failures": 1}


async def test_streams_that_break_open_it(http: Frontend, script: Script) -> None:
    script.raises_midway = OopsError("halfway")

    for _ in range(10):
        await http.call()

    assert http.breaker.state is State.OPEN


async def test_a_5xx_stream_that_breaks_is_one_failure(http: Frontend, script: Script) -> None:
    script.status = 500
    script.raises_midway = OopsError("halfway")

    await http.call()

    assert votes(http.breaker.metrics()) == {"failures": 1}


async def test_a_wsgi_client_that_leaves_is_no_vote(wsgi: Wsgi, script: Script) -> None:
    script.chunks = THREE

    wsgi.run(leaves_after=1)

    assert votes(wsgi.breaker.metrics()) == {"cancelled": 1}


async def test_a_wsgi_body_that_is_dropped_returns_its_permit(
    forgetful: Wsgi, script: Script
) -> None:
    script.chunks = THREE
    exchange = wsgi_client.Exchange(leaves_after=1, closes=False)

    exchange.run(forgetful.app)
    gc.collect()

    # The exchange, and with it the environ, is still alive.
    assert exchange.environ
    assert votes(forgetful.breaker.metrics()) == {"cancelled": 1}


async def test_a_wsgi_body_that_is_never_asked_for_returns_its_permit(
    wsgi: Wsgi, script: Script
) -> None:
    script.chunks = THREE

    wsgi.run(leaves_after=0)

    assert votes(wsgi.breaker.metrics()) == {"cancelled": 1}


async def test_a_failure_that_was_told_stays_one_when_the_client_leaves(
    wsgi: Wsgi, script: Script
) -> None:
    script.status = 500
    script.chunks = (b"a",) * 10

    wsgi.run(leaves_after=1)

    assert votes(wsgi.breaker.metrics()) == {"failures": 1}


async def test_a_failure_whose_body_nobody_reads_is_one(forgetful: Wsgi, script: Script) -> None:
    script.status = 500
    script.chunks = (b"a",) * 10
    exchange = wsgi_client.Exchange(leaves_after=0, closes=False)

    exchange.run(forgetful.app)
    del exchange
    gc.collect()

    assert votes(forgetful.breaker.metrics()) == {"failures": 1}


async def test_a_client_that_leaves_an_overdue_stream_alone_is_still_no_failure(
    wsgi: Wsgi, script: Script, clock: ManualClock
) -> None:
    script.chunks = THREE
    script.between = 1.0

    for _ in range(50):
        wsgi.run(leaves_after=1)

    assert wsgi.breaker.state is State.CLOSED
