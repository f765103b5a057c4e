"""What is peculiar to synchronous channels: futures, dropped calls, the call that a stream is."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

grpc: Any = pytest.importorskip("grpc")

from tests.support.breaker_state import votes
from tests.support.grpc_shop import LATE, SERVICE, Shop, SyncClient
from tests.support.waiting import until

from recloser import Breaker, Registry
from recloser_adapters.grpc import BreakerInterceptor, BreakerOpenRpcError

GET, LIST = f"/{SERVICE}/Get", f"/{SERVICE}/List"


@pytest.fixture
def client(shop: Shop, registry: Registry) -> Iterator[SyncClient]:
    client = SyncClient(shop.target, registry)
    yield client
    client.close()


def ends_with(breaker: Breaker, **counts: int) -> None:
    until(lambda: votes(breaker.metrics()) == counts, f"{counts}")


def test_a_future_ends_with_its_answer(client: SyncClient, breaker: Breaker, shop: Shop) -> None:
    future = client.channel.unary_unary(GET).future(b"wait")
    assert breaker.metrics().in_flight == 1
    shop.gate.set()

    assert future.result(LATE) == b"wait"
    ends_with(breaker, successes=1)


def test_a_future_that_fails_is_a_failure(client: SyncClient, breaker: Breaker) -> None:
    future = client.channel.unary_unary(GET).future(b"fail UNAVAILABLE")

    assert isinstance(future.exception(LATE), grpc.RpcError)
    ends_with(breaker, failures=1)


def test_a_future_that_is_refused_is_an_ended_call(client: SyncClient, breaker: Breaker) -> None:
    breaker.open("by hand")

    future = client.channel.unary_unary(GET).future(b"ok")

    assert future.done()
    assert future.code() is grpc.StatusCode.UNAVAILABLE
    assert isinstance(future.exception(), BreakerOpenRpcError)
    called: list[Any] = []
    future.add_done_callback(called.append)
    assert called == [future]
    with pytest.raises(BreakerOpenRpcError):
        future.result()


def test_a_call_that_is_dropped_has_no_vote(client: SyncClient, breaker: Breaker) -> None:
    future = client.channel.unary_unary(GET).future(b"hang")
    assert breaker.metrics().in_flight == 1

    del future
    gc.collect()

    ends_with(breaker, cancelled=1)


def test_a_stream_that_is_dropped_after_a_message_was_answered(
    client: SyncClient, breaker: Breaker
) -> None:
    call: Any = client.channel.unary_stream(LIST)(b"ok\nhang")
    next(call)

    del call
    gc.collect()

    ends_with(breaker, successes=1)


def test_a_message_that_cannot_be_serialized_is_our_own_fault(
    client: SyncClient, breaker: Breaker
) -> None:
    def fails(message: object) -> bytes:
        raise ValueError(f"no bytes for {message!r}")

    get = client.channel.unary_unary(GET, request_serializer=fails)

    with pytest.raises(grpc.RpcError):
        get(b"")
    with pytest.raises(grpc.RpcError):
        get.future(b"").result()
    with pytest.raises(grpc.RpcError):
        list(client.channel.unary_stream(LIST, request_serializer=fails)(b""))

    ends_with(breaker, ignored=3)


@pytest.mark.parametrize("metadata", [("x-user", "a\nb"), ("x-user", "\u20ac"), ("Bad Key", "a")])
def test_metadata_that_cannot_be_sent_is_our_own_fault(
    client: SyncClient, breaker: Breaker, metadata: tuple[str, str]
) -> None:
    wrong = (grpc.RpcError, ValueError)  # grpcio 1.62 raises the second one
    with pytest.raises(wrong):
        client.channel.unary_unary(GET)(b"", metadata=[metadata])
    with pytest.raises(wrong):
        list(client.channel.unary_stream(LIST)(b"", metadata=[metadata]))

    ends_with(breaker, ignored=2)


def test_a_closed_channel_is_our_own_fault(client: SyncClient, breaker: Breaker) -> None:
    client.close()

    with pytest.raises(ValueError, match="closed channel"):
        client.get(b"ok")

    ends_with(breaker, ignored=1)


def test_a_stream_is_still_a_call_of_grpc(client: SyncClient, shop: Shop) -> None:
    shop.trailers = (("why", "because"),)
    call: Any = client.channel.unary_stream(LIST)(b"ok\nfail NOT_FOUND", timeout=LATE)

    assert isinstance(call, grpc.Call)
    assert isinstance(call, grpc.Future)
    assert call.next() == b"ok"
    assert 0.0 < call.time_remaining() <= LATE
    with pytest.raises(grpc.RpcError):
        next(call)
    assert call.code() is grpc.StatusCode.NOT_FOUND
    assert call.details() == "as you say: NOT_FOUND"
    assert dict(call.trailing_metadata()) == {"why": "because"}
    assert dict(call.initial_metadata()) == {}
    assert call.done()
    assert not call.running()
    assert not call.is_active()
    assert not call.cancelled()
    assert not call.cancel()
    assert not call.add_callback(lambda: None)
    assert isinstance(call.exception(), grpc.RpcError)
    assert call.traceback() is not None
    assert "NOT_FOUND" in call.debug_error_string()
    with pytest.raises(grpc.RpcError):
        call.result()


def test_a_stream_that_nobody_reads_ends_with_its_deadline(
    client: SyncClient, breaker: Breaker
) -> None:
    call: Any = client.channel.unary_stream(LIST)(b"hang", timeout=0.2)

    ends_with(breaker, failures=1)
    del call


def test_a_channel_that_reads_streams_without_a_thread(
    shop: Shop, registry: Registry, breaker: Breaker
) -> None:
    option = (grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1)
    bare = grpc.insecure_channel(shop.target, options=[option])
    channel: Any = grpc.intercept_channel(bare, BreakerInterceptor(shop.target, registry))
    method = channel.unary_stream(LIST)

    assert list(method(b"a\nb")) == [b"a", b"b"]
    with pytest.raises(grpc.RpcError):
        list(method(b"a\nfail INTERNAL"))
    call = method(b"a\nhang")
    next(call)
    call.cancel()

    assert votes(breaker.metrics()) == {"successes": 2, "failures": 1}
    bare.close()


def test_with_call_gives_the_metadata(client: SyncClient) -> None:
    answer, call = client.channel.unary_unary(GET).with_call(b"ok", timeout=LATE)

    assert answer == b"ok"
    assert call.code() is grpc.StatusCode.OK


def test_the_refusal_can_be_pickled() -> None:
    error = BreakerOpenRpcError("orders", retry_after=2.5)

    copy = pickle.loads(pickle.dumps(error))

    assert (copy.key, copy.retry_after, copy.code()) == ("orders", 2.5, grpc.StatusCode.UNAVAILABLE)


def test_an_interceptor_below_that_raises_is_our_own_trouble(
    shop: Shop, registry: Registry, breaker: Breaker
) -> None:
    class Broken(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc]  # grpc is Any here
        def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            raise LookupError("no token")

    bare = grpc.insecure_channel(shop.target)
    channel = grpc.intercept_channel(bare, BreakerInterceptor(shop.target, registry), Broken())

    with pytest.raises(LookupError):
        channel.unary_unary(GET)(b"ok")
    with pytest.raises(LookupError):
        channel.unary_unary(GET).future(b"ok").result()

    ends_with(breaker, ignored=2)
    bare.close()
