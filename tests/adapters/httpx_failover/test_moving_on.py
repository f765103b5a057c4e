"""When a request goes on to another provider, and with which body."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from tests.support.breaker_state import votes
from tests.support.httpx_failover_client import World
from tests.support.outage import ASKED_BY_ALL

from recloser import Fate, Registry
from recloser.testing import open_breaker

# When another is tried


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_an_idempotent_request_goes_on_after_a_failure(world: World, method: str) -> None:
    world.answers["a"] = world.status(503)

    assert world.request(method).status_code == 200
    assert world.counts == {"a": 1, "b": 1}
    assert world.registry["a"].metrics().failures == 1
    assert world.in_flight() == 0


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_another_request_is_sent_once_and_its_answer_is_the_answer(
    world: World, method: str
) -> None:
    world.answers["a"] = world.status(503)

    response = world.request(method, content=b"once")

    assert (response.status_code, response.text) == (503, "answer 503")
    assert world.counts == {"a": 1}
    assert world.fates() == [("a", Fate.FAILED)]


@pytest.mark.parametrize("error", ["ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"])
def test_any_request_goes_on_where_nothing_was_sent(world: World, error: str) -> None:
    world.answers["a"] = world.raising(error)

    assert world.request("POST", content=b"body").text == "b"
    assert world.received["b"][0].content == b"body"
    assert world.fates() == [("a", Fate.UNREACHABLE), ("b", Fate.SERVED)]


def test_a_full_pool_of_our_own_is_not_the_providers_fault(world: World) -> None:
    world.answers["a"] = world.raising("PoolTimeout")

    world.request("GET")

    assert world.registry["a"].metrics().failures == 0
    assert world.registry["a"].metrics().ignored == 1


@pytest.mark.parametrize("error", ["ReadError", "ReadTimeout", "RemoteProtocolError", "WriteError"])
def test_what_may_have_been_sent_is_repeated_only_if_declared_safe(
    world: World, error: str
) -> None:
    world.answers["a"] = world.raising(error)
    with pytest.raises(getattr(world.lib, error)):
        world.request("POST", content=b"once")
    assert world.counts == {"a": 1}

    # Such a key holds at the service that has seen it, and not at another one.
    with pytest.raises(getattr(world.lib, error)):
        world.request("POST", headers={"Idempotency-Key": "k"}, content=b"x")
    extensions = {world.adapter.REPEATABLE: True}
    assert world.request("POST", extensions=extensions, content=b"x").text == "b"
    extensions = {world.adapter.REPEATABLE: False}
    with pytest.raises(getattr(world.lib, error)):
        world.request("GET", extensions=extensions)


def test_a_record_tells_what_was_on_our_side_of_the_wire(world: World) -> None:
    world.answers = {"a": world.raising("PoolTimeout"), "b": world.raising("PoolTimeout")}

    with pytest.raises(world.lib.PoolTimeout):
        world.request("POST")

    assert world.fates() == [("a", Fate.UNREACHABLE), ("b", Fate.UNREACHABLE)]


def test_a_rule_of_ones_own_says_what_may_be_repeated(world: World) -> None:
    world.answers["a"] = world.status(500)
    world.options["repeatable"] = lambda request: b"safe" in request.url.raw_path or None

    assert world.request("POST", "http://failover/safe").status_code == 200
    assert world.request("POST", "http://failover/x").status_code == 500
    assert world.request("GET", "http://failover/x").status_code == 200


def test_a_fault_in_that_rule_means_no(world: World) -> None:
    world.answers["a"] = world.status(500)
    world.options["repeatable"] = lambda request: 1 / 0

    assert world.request("GET").status_code == 500
    assert world.registry.faults == 1


def test_of_thousands_of_requests_none_is_sent_twice(world: World) -> None:
    """Whatever goes wrong, and however often; what was never sent may be tried again."""
    chance = Random(7)
    received: Counter[str] = Counter()
    wire = world.lib

    def answer(request: Any) -> Any:
        drawn = chance.random()
        if drawn < 0.05:
            raise wire.ConnectError("not sent")
        received[request.headers["x-id"]] += 1
        if drawn < 0.10:
            raise wire.ReadError("sent")
        return wire.Response(503 if drawn < 0.15 else 200)

    world.answers = {"a": answer, "b": answer}
    transport = world.transport()
    requests = [
        wire.Request("POST", "http://failover/x", headers={"x-id": str(number)}, content=b"x")
        for number in range(2500)
    ]
    if world.asynchronous:

        async def send_all() -> None:
            for request in requests:
                with suppress(wire.TransportError):
                    await transport.handle_async_request(request)

        world.run(send_all())
    else:
        for request in requests:
            with suppress(wire.TransportError):
                transport.handle_request(request)

    assert max(received.values()) == 1
    assert len(received) > 1000


def test_a_wrong_request_is_not_tried_elsewhere(world: World) -> None:
    world.answers["a"] = world.status(404)

    assert world.request("GET").status_code == 404
    assert world.counts == {"a": 1}
    assert world.registry["a"].metrics().failures == 0


def test_the_last_bad_answer_is_the_answer(world: World) -> None:
    world.answers = {"a": world.status(500), "b": world.status(502)}

    response = world.request("GET")

    assert (response.status_code, response.text) == (502, "answer 502")
    assert world.fates() == [("a", Fate.FAILED), ("b", Fate.FAILED)]
    assert world.deliveries[-1].served_by is None
    assert [leg.error for leg in world.deliveries[-1].legs] == ["HTTP 500", "HTTP 502"]
    assert world.in_flight() == 0


def test_a_throttled_provider_is_left_alone_until_then_and_not_blamed(world: World) -> None:
    world.answers["a"] = world.status(429, retry_after="2")

    for _ in range(10):
        assert world.request("GET").text == "b"
    world.clock.advance(1.9)
    assert world.request("GET").text == "b"

    assert world.counts["a"] == 1
    assert world.registry["a"].metrics().failures == 0
    del world.answers["a"]
    world.clock.advance(0.2)
    assert world.request("GET").text == "a"


def test_used_up_money_opens_for_long(world: World) -> None:
    body = b'{"error": {"code": "insufficient_quota"}}'
    world.answers["a"] = world.events(body, code=429, kind="application/json")

    for _ in range(10):
        assert world.request("GET").text == "b"

    # One answer is enough, where another provider can serve.
    assert world.counts == {"a": 1, "b": 10}
    assert world.registry["a"].asked_pause == world.registry["a"].policy.quota_open_for


def test_a_provider_alone_is_asked_until_its_breaker_opens(world: World) -> None:
    world.answers["a"] = world.status(429, retry_after="30")
    world.options["on_refuse"] = "response"
    open_breaker(world.registry["b"])

    for _ in range(ASKED_BY_ALL):
        assert world.request("GET").status_code == 429
    assert world.request("GET").status_code == 503

    assert world.counts == {"a": ASKED_BY_ALL}
    assert world.registry["a"].retry_after == 30.0


# Bodies


def once(world: World) -> Any:
    def pieces() -> Iterator[bytes]:
        yield b"one "
        yield b"two"

    async def apieces() -> AsyncIterator[bytes]:
        for piece in pieces():
            yield piece

    return apieces() if world.asynchronous else pieces()


def test_a_body_that_cannot_be_sent_twice_contradicts_a_declaration(world: World) -> None:
    with pytest.raises(ValueError, match="can be sent only once"):
        world.request("POST", content=once(world), extensions={world.adapter.REPEATABLE: True})

    assert not world.counts
    assert world.in_flight() == 0


def test_a_body_that_cannot_be_sent_twice_is_sent_once(world: World) -> None:
    world.answers["a"] = world.status(503)

    assert world.request("PUT", content=once(world)).status_code == 503
    assert world.counts == {"a": 1}


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_body_that_nobody_has_read_goes_on_whole(world: World, method: str) -> None:
    open_breaker(world.registry["a"])

    world.request(method, content=once(world))

    assert world.received["b"][0].content == b"one two"


@pytest.mark.parametrize(
    ("status", "counted", "asked"),
    [(404, "ignored", {"a": 1}), (503, "failures", {"a": 1, "b": 1})],
)
def test_an_error_for_a_status_moves_on_and_counts_by_that_status(
    world: World, status: int, counted: str, asked: dict[str, int]
) -> None:
    def refuse(request: Any) -> Any:
        return world.lib.Response(status, request=request).raise_for_status()

    world.answers["a"] = refuse
    if asked == {"a": 1}:
        with pytest.raises(world.lib.HTTPStatusError):
            world.request("GET")
    else:
        assert world.request("GET").text == "b"

    assert world.counts == asked
    assert votes(world.registry["a"].metrics()) == {counted: 1}
    assert world.fates()[0] == ("a", Fate.IGNORED if status == 404 else Fate.FAILED)


@pytest.mark.parametrize("form", ["raise", "response"])
def test_a_refusal_by_a_breaker_of_the_wrapped_transport_goes_on(world: World, form: str) -> None:
    """Nothing was sent, whether the refusal is an error or, as for SDKs, an answer of 503."""
    within = Registry()
    open_breaker(within["a.example m"])
    kind = "AsyncBreakerTransport" if world.asynchronous else "BreakerTransport"
    transport = world.transport()
    transport.wrapped = getattr(world.adapter, kind)(transport.wrapped, within, on_refuse=form)
    world.transport = lambda: transport  # type: ignore[method-assign]

    url = "http://failover/v1/chat/completions"
    assert world.request("POST", url, json={"model": "m"}).text == "b"

    assert world.counts == {"b": 1}
    assert world.fates() == [("a", Fate.UNREACHABLE), ("b", Fate.SERVED)]
    assert votes(world.registry["a"].metrics()) == {"ignored": 1}
