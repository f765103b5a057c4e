"""A client that is slow to send its request is not a slow handler, nor a hanging one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import pytest
from tests.support.breaker_state import is_limited, votes

import recloser.asgi
from recloser import Breaker, Policy, Registry, State
from recloser.testing import ManualClock

Run = Callable[[Awaitable[Any]], Any]
Message = MutableMapping[str, Any]

UPLOAD = 10.0  # seconds that a client takes for its body


class Uploads:
    """An app that reads its request, and clients that send theirs piece by piece.

    Attributes:
        work: What the app does once it has the whole request.
        answers_early: Whether it answers before it has the request.
    """

    def __init__(self, registry: Registry) -> None:
        self.breaker: Breaker = registry["app"]
        self.work: Callable[[], Awaitable[Any]] = lambda: asyncio.sleep(0)
        self.answers_early = False
        self._app = recloser.asgi.BreakerMiddleware(self._handler, registry)

    async def _handler(self, scope: Any, receive: Any, send: Any) -> None:
        if self.answers_early:
            reading = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            await self._answer(send)
            await reading
            return
        while (message := await receive()).get("more_body"):
            pass
        if message["type"] == "http.disconnect":
            return
        listening = asyncio.ensure_future(receive())  # for the client's leaving, as Starlette does
        await self.work()
        listening.cancel()
        await self._answer(send)

    @staticmethod
    async def _answer(send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    async def client(
        self, pieces: int = 2, took: float = UPLOAD, leaves: bool = False
    ) -> list[Any]:
        """Send a request within some seconds, and return what was answered."""
        scope = {"type": "http", "method": "POST", "path": "/upload", "headers": []}
        sent = 0
        answered: list[Message] = []

        async def receive() -> Message:
            nonlocal sent
            sent += 1
            if sent <= pieces:
                await asyncio.sleep(took / pieces)
                if leaves and sent == pieces:
                    return {"type": "http.disconnect"}
                return {"type": "http.request", "body": b"x", "more_body": sent < pieces}
            await asyncio.get_running_loop().create_future()
            raise AssertionError

        async def send(message: Message) -> None:
            answered.append(message)

        await self._app(scope, receive, send)
        return answered


@pytest.fixture
def policy() -> Policy:
    return Policy(slow_ceiling=2.0)


@pytest.fixture
def uploads(registry: Registry) -> Uploads:
    return Uploads(registry)


def test_the_time_of_the_client_is_not_the_handlers(uploads: Uploads, run: Run) -> None:
    uploads.work = lambda: asyncio.sleep(0.25)

    for _ in range(20):
        run(uploads.client())

    metrics = uploads.breaker.metrics()
    assert votes(metrics) == {"successes": 20}
    assert metrics.mean == pytest.approx(0.25)


def test_uploads_under_way_refuse_nobody(uploads: Uploads, run: Run) -> None:
    async def all_at_once() -> tuple[int, list[list[Any]]]:
        slow = [asyncio.ensure_future(uploads.client()) for _ in range(50)]
        await asyncio.sleep(UPLOAD * 0.9)
        between = [await uploads.client(pieces=1, took=0.0) for _ in range(20)]
        in_flight = uploads.breaker.metrics().in_flight
        await asyncio.gather(*slow)
        return in_flight, between

    in_flight, between = run(all_at_once())

    assert in_flight == 50
    assert {answer[0]["status"] for answer in between} == {200}
    assert votes(uploads.breaker.metrics()) == {"successes": 70}


def test_a_handler_that_hangs_with_its_request_in_hand_is_overdue(
    uploads: Uploads, run: Run
) -> None:
    uploads.work = lambda: asyncio.sleep(100.0)

    async def all_at_once() -> list[Any]:
        hanging = [asyncio.ensure_future(uploads.client()) for _ in range(8)]
        await asyncio.sleep(UPLOAD + 2.1)
        answer = await uploads.client()
        await asyncio.gather(*hanging)
        return answer

    assert run(all_at_once())[0]["status"] == 503


def test_a_client_that_leaves_while_it_sends_has_no_say(uploads: Uploads, run: Run) -> None:
    for _ in range(20):
        run(uploads.client(leaves=True))

    assert votes(uploads.breaker.metrics()) == {"cancelled": 20}
    assert uploads.breaker.state is State.CLOSED


def test_who_leaves_while_it_sends_has_not_waited_for_an_answer(
    uploads: Uploads, run: Run, clock: ManualClock
) -> None:
    async def steps() -> None:
        clock.advance(0.01)

    uploads.work = steps
    for _ in range(60):
        run(uploads.client(pieces=1, took=0.0))
    for _ in range(20):
        run(uploads.client(pieces=1, took=0.02, leaves=True))

    assert uploads.breaker.state is State.CLOSED


def test_an_answer_before_the_whole_request_counts(uploads: Uploads, run: Run) -> None:
    uploads.answers_early = True

    for _ in range(3):
        run(uploads.client())

    assert votes(uploads.breaker.metrics()) == {"successes": 3}


def test_an_upload_from_before_an_outage_has_no_vote_in_it(uploads: Uploads, run: Run) -> None:
    async def outage() -> None:
        uploading = asyncio.ensure_future(uploads.client())
        await asyncio.sleep(1.0)
        uploads.breaker.open(for_=0.5)
        await asyncio.sleep(1.0)
        uploads.breaker.half_open()
        assert uploads.breaker.metrics().in_flight == 1
        await uploading

    run(outage())

    assert uploads.breaker.state is State.HALF_OPEN
    assert votes(uploads.breaker.metrics()) == {"successes": 1}


def test_half_open_lets_no_more_uploads_through_than_other_requests(
    uploads: Uploads, clock: ManualClock, run: Run
) -> None:
    uploads.breaker.open(for_=1.0)
    clock.advance(1.0)

    async def all_at_once() -> list[list[Any]]:
        return await asyncio.gather(*(uploads.client(took=0.5) for _ in range(200)))

    statuses = [answer[0]["status"] for answer in run(all_at_once())]

    assert statuses.count(200) == 1


def test_a_probe_whose_client_is_slow_loses_its_place_but_not_its_vote(
    uploads: Uploads, policy: Policy, clock: ManualClock, run: Run
) -> None:
    uploads.breaker.open(for_=1.0)
    clock.advance(1.0)

    async def probes() -> list[Any]:
        uploading = asyncio.ensure_future(uploads.client())
        await asyncio.sleep(policy.slow_ceiling + 0.1)
        other = await uploads.client(pieces=1, took=0.0)
        await uploading
        return other

    assert run(probes())[0]["status"] == 200
    assert votes(uploads.breaker.metrics()) == {"successes": 2}


def test_a_probe_that_waits_for_its_client_gives_way_at_once(uploads: Uploads, run: Run) -> None:
    """However its client sends: nothing at all, or a piece now and then."""
    uploads.breaker.open(for_=1.0)

    async def probes() -> list[int]:
        await asyncio.sleep(1.0)
        dripping = [asyncio.ensure_future(uploads.client(pieces=100, took=50.0))]
        dripping.append(asyncio.ensure_future(uploads.client(took=50.0)))
        statuses: list[int] = []
        for _ in range(100):
            await asyncio.sleep(0.1)
            statuses.append((await uploads.client(pieces=1, took=0.0))[0]["status"])
        await asyncio.gather(*dripping)
        return statuses

    statuses = run(probes())

    assert statuses.count(503) <= 1
    assert uploads.breaker.state is State.CLOSED


def test_a_hanging_callee_gets_few_uploads_however_many_are_sent(
    uploads: Uploads, run: Run
) -> None:
    working = most = 0

    async def hang() -> None:
        nonlocal working, most
        working += 1
        most = max(most, working)
        await asyncio.sleep(30.0)

    uploads.work = hang
    uploads.breaker.open(for_=1.0)

    async def flood() -> None:
        await asyncio.sleep(1.0)
        sent: list[Any] = []
        for _ in range(600):
            sent.append(asyncio.ensure_future(uploads.client(took=5.0)))
            await asyncio.sleep(0.01)
        await asyncio.gather(*sent)

    run(flood())

    assert 1 <= most <= 15


def test_who_finishes_its_upload_last_and_who_first_hang_alike(uploads: Uploads, run: Run) -> None:
    uploads.work = lambda: asyncio.sleep(100.0)

    async def all_at_once() -> list[Any]:
        hanging = [asyncio.ensure_future(uploads.client(took=10.0 - n / 10)) for n in range(20)]
        await asyncio.sleep(10.0 + 2.1)
        answer = await uploads.client()
        await asyncio.gather(*hanging)
        return answer

    assert run(all_at_once())[0]["status"] == 503


def test_who_listens_for_the_clients_leaving_from_the_start_hides_no_hanging(
    registry: Registry, run: Run
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        listening = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        await receive()
        await asyncio.sleep(100.0)
        listening.cancel()

    guarded = recloser.asgi.BreakerMiddleware(app, registry)

    async def client() -> None:
        pieces = iter([1000.0, 1.0])  # seconds until each

        async def receive() -> Message:
            await asyncio.sleep(next(pieces))
            return {"type": "http.request", "body": b"", "more_body": False}

        scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
        await guarded(scope, receive, lambda message: asyncio.sleep(0))

    async def all_at_once() -> None:
        hanging = [asyncio.ensure_future(client()) for _ in range(10)]
        await asyncio.sleep(5.0)
        await client()
        assert is_limited(registry["app"])
        await asyncio.sleep(8 * 2.0 + 0.1)
        await client()
        assert registry["app"].state is State.OPEN
        await asyncio.gather(*hanging)

    run(all_at_once())


def test_pieces_that_come_fast_add_up(uploads: Uploads, run: Run) -> None:
    for _ in range(3):
        run(uploads.client(pieces=20_000))

    assert uploads.breaker.metrics().mean < 0.1


@pytest.mark.parametrize("reading", range(2, 6))
def test_a_clock_that_fails_does_not_break_an_upload(
    clock: ManualClock, run: Run, reading: int
) -> None:
    readings = iter(range(100))

    def failing() -> float:
        if next(readings) + 1 == reading:
            raise OSError
        return clock()

    uploads = Uploads(Registry(clock=failing))

    assert run(uploads.client())[0]["status"] == 200
    assert uploads.breaker.metrics().in_flight == 0
