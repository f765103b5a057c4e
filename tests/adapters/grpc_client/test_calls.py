"""What the calls of a channel tell their breaker; the same for both kinds of clients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

grpc: Any = pytest.importorskip("grpc")

from tests.support.breaker_state import is_closed, votes
from tests.support.grpc_shop import SERVICE, AioClient, Client, Shop
from tests.support.training import learned
from tests.support.waiting import until

from recloser import Breaker, BreakerOpenError, Outcome, Policy, Registry, State
from recloser.testing import ManualClock
from recloser_adapters.grpc import BreakerOpenAioRpcError, BreakerOpenRpcError, by_method

REFUSALS = (BreakerOpenRpcError, BreakerOpenAioRpcError)
FAILURES = ["UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN", "DATA_LOSS"]
ANSWERS = ["NOT_FOUND", "INVALID_ARGUMENT", "PERMISSION_DENIED", "FAILED_PRECONDITION", "ABORTED"]


def ends_with(breaker: Breaker, **counts: int) -> None:
    """A call ends on the thread of gRPC, maybe after its caller has the answer."""
    until(lambda: votes(breaker.metrics()) == counts, f"{counts}")


def test_good_calls_of_each_kind_are_successes(client: Client, breaker: Breaker) -> None:
    assert client.get(b"ok") == b"ok"
    assert client.watch(b"a\nb") == [b"a", b"b"]
    assert client.put([b"a", b"b"]) == b"a\nb"
    assert client.chat([b"a", b"b"]) == [b"a", b"b"]

    ends_with(breaker, successes=4)
    assert client.registry.faults == 0


@pytest.mark.parametrize("code", FAILURES)
def test_these_codes_are_failures(client: Client, breaker: Breaker, code: str) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        client.get(f"fail {code}".encode())

    assert raised.value.code() is grpc.StatusCode[code]
    ends_with(breaker, failures=1)


@pytest.mark.parametrize("code", ANSWERS)
def test_with_these_codes_the_server_has_answered(
    client: Client, breaker: Breaker, code: str
) -> None:
    with pytest.raises(grpc.RpcError):
        client.get(f"fail {code}".encode())

    ends_with(breaker, ignored=1)


def test_a_server_that_fails_is_refused_and_the_error_is_one_of_grpc(
    client: Client, breaker: Breaker, shop: Shop
) -> None:
    for _ in range(30):
        with pytest.raises(grpc.RpcError):
            client.get(b"fail UNAVAILABLE")
        if breaker.state is State.OPEN:
            break
    sent = len(shop.seen)

    with pytest.raises(grpc.RpcError) as refused:
        client.get(b"ok")

    assert isinstance(refused.value, BreakerOpenError)
    assert isinstance(refused.value, REFUSALS)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert breaker.key in (refused.value.details() or "")
    assert "gRPC UNAVAILABLE" in str(breaker.explain())
    assert len(shop.seen) == sent


@pytest.mark.parametrize("call", ["watch", "put", "chat"])
def test_streams_are_refused_too(client: Client, breaker: Breaker, call: str) -> None:
    breaker.open("by hand")
    argument: Any = b"ok" if call == "watch" else [b"ok"]

    with pytest.raises(REFUSALS):
        getattr(client, call)(argument)


def test_a_server_that_cannot_be_reached_is_a_failure(
    shop: Shop, client: Client, breaker: Breaker
) -> None:
    client.get(b"ok")
    shop.stop()

    with pytest.raises(grpc.RpcError):
        client.get(b"ok")

    ends_with(breaker, successes=1, failures=1)


def test_a_call_that_is_given_up_has_no_vote(client: Client, breaker: Breaker) -> None:
    client.give_up(b"hang")

    ends_with(breaker, cancelled=1)


def test_a_deadline_that_passes_is_a_failure(client: Client, breaker: Breaker) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        client.get(b"hang", timeout=0.2)

    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    ends_with(breaker, failures=1)


def test_a_deadline_that_has_passed_before_the_call_says_nothing(
    client: Client, breaker: Breaker
) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        client.get(b"ok", timeout=-1.0)

    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    ends_with(breaker, ignored=1)


def test_a_deadline_in_which_usual_calls_are_not_answered_says_nothing(
    client: Client, breaker: Breaker, clock: ManualClock
) -> None:
    learned(breaker, clock)  # 0.1 s is normal, and on this clock no time passes
    before = breaker.metrics()

    with pytest.raises(grpc.RpcError):
        client.get(b"hang", timeout=0.05)

    until(lambda: breaker.metrics().cancelled == 1, "the call has ended")
    assert breaker.metrics().failures == before.failures


def test_a_request_iterator_that_raises_is_our_own_fault(client: Client, breaker: Breaker) -> None:
    def requests() -> Iterator[bytes]:
        yield b"ok"
        raise ValueError("mine")

    with pytest.raises(BaseException):  # noqa: B017, PT011  # in grpc.aio it is a cancellation
        client.put(requests())

    until(lambda: breaker.metrics().in_flight == 0, "the call has ended")
    assert breaker.metrics().failures == 0


def test_a_message_that_is_too_large_asks_for_no_pause(client: Client, breaker: Breaker) -> None:
    for _ in range(8):
        with pytest.raises(grpc.RpcError) as raised:
            client.get(b"x" * (5 << 20))
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    ends_with(breaker, ignored=8)
    assert is_closed(breaker)


# Pauses


def test_a_server_that_asks_for_a_pause_gets_it(
    client: Client, breaker: Breaker, shop: Shop, clock: ManualClock
) -> None:
    shop.trailers = (("grpc-retry-pushback-ms", "7000"),)
    for _ in range(30):
        if breaker.state is not State.CLOSED:
            break
        with pytest.raises(grpc.RpcError):
            client.get(b"fail RESOURCE_EXHAUSTED")

    with pytest.raises(REFUSALS):
        client.get(b"ok")

    assert breaker.metrics().failures == 0
    assert 6.0 <= breaker.retry_after <= 9.0


# Streams


def test_the_latency_of_a_stream_is_that_of_its_first_message(
    client: Client, breaker: Breaker, shop: Shop
) -> None:
    assert len(client.watch(b"take 0.2\nwait\ntake 50", then=shop.gate.set)) == 3

    ends_with(breaker, successes=1)
    assert breaker.metrics().mean == pytest.approx(0.2)


def test_a_stream_that_breaks_is_a_failure(client: Client, breaker: Breaker) -> None:
    with pytest.raises(grpc.RpcError):
        client.watch(b"a\nb\nfail INTERNAL")

    ends_with(breaker, failures=1)


def test_a_stream_that_is_left_after_a_message_was_answered(
    client: Client, breaker: Breaker
) -> None:
    assert client.watch(b"a\nhang", messages=1) == [b"a"]

    ends_with(breaker, successes=1)


def test_requests_that_take_long_to_make_are_no_latency(
    client: Client, breaker: Breaker, clock: ManualClock
) -> None:
    def requests() -> Iterator[bytes]:
        yield b"a"
        clock.advance(40.0)
        yield b"take 0.3"

    client.put(requests())

    ends_with(breaker, successes=1)
    assert breaker.metrics().mean == pytest.approx(0.3)


@pytest.mark.parametrize("method", ["Watch", "Chat"])
def test_streams_that_wait_for_events_are_not_slow(
    client: Client, breaker: Breaker, clock: ManualClock, method: str
) -> None:
    learned(breaker, clock)
    for _ in range(60):
        if method == "Watch":
            client.watch(b"take 30", method="Watch")
        else:
            client.chat([b"take 30"])

    until(lambda: breaker.metrics().successes == 160, "all have ended")
    assert is_closed(breaker)
    assert breaker.metrics().slow == 0


def test_methods_that_take_differently_long_are_explained(
    client: Client, breaker: Breaker, clock: ManualClock
) -> None:
    """One method takes twenty times as long as the other: neither is slow, nor opens the breaker."""
    for _ in range(60):
        client.get(b"take 0.1")
        client.put([b"take 2.0"])

    until(lambda: breaker.metrics().in_flight == 0, "all have ended")
    assert is_closed(breaker)


# Settings


def test_a_key_by_method_keeps_a_sick_method_from_the_others(
    shop: Shop, registry: Registry, kind: Any
) -> None:
    client = kind(shop.target, registry, key=by_method)
    registry[f"{shop.target} /{SERVICE}/Get"].open("by hand")

    assert client.watch(b"ok") == [b"ok"]
    with pytest.raises(REFUSALS):
        client.get(b"ok")
    client.close()


def test_a_key_of_none_leaves_a_call_unguarded(shop: Shop, registry: Registry, kind: Any) -> None:
    client = kind(shop.target, registry, key=lambda call: None)

    assert client.get(b"ok") == b"ok"
    assert client.watch(b"ok") == [b"ok"]
    assert len(registry) == 0
    client.close()


def test_a_key_function_that_fails_is_a_fault_and_refuses_nothing(
    shop: Shop, registry: Registry, kind: Any
) -> None:
    client = kind(shop.target, registry, key=lambda call: call.nothing)

    assert client.get(b"ok") == b"ok"
    assert registry.faults == 1
    assert registry[f"{shop.target} {SERVICE}"].metrics().calls == 1
    client.close()


def test_what_the_policy_says_of_an_error_comes_first(
    shop: Shop, clock: ManualClock, kind: Any
) -> None:
    def missing_is_failure(error: BaseException) -> Outcome | None:
        code = error.code() if isinstance(error, grpc.RpcError) else None
        return Outcome.FAILURE if code is grpc.StatusCode.NOT_FOUND else None

    registry = Registry(Policy(classify_error=missing_is_failure), clock=clock)
    client = kind(shop.target, registry)

    with pytest.raises(grpc.RpcError):
        client.get(b"fail NOT_FOUND")

    ends_with(registry[f"{shop.target} {SERVICE}"], failures=1)
    client.close()


def test_a_hopeless_call_is_cut_off_if_that_is_asked_for(shop: Shop, kind: Any) -> None:
    registry = Registry(Policy(slow_ceiling=1.0))
    client = kind(shop.target, registry, cut_off=True)
    breaker = registry[f"{shop.target} {SERVICE}"]
    for _ in range(100):
        breaker.record(0.01, success=True)

    with pytest.raises(grpc.RpcError) as raised:
        client.get(b"hang", timeout=None)

    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    until(lambda: breaker.metrics().failures == 1, "the call has ended")
    client.close()


def test_a_closed_channel_of_asyncio_is_our_own_fault(shop: Shop, registry: Registry) -> None:
    client = AioClient(shop.target, registry)
    client.run(client.channel.close)

    with pytest.raises(grpc.aio.UsageError):
        client.get(b"ok")

    ends_with(registry[f"{shop.target} {SERVICE}"], ignored=1)
    client.close()
