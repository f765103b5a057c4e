"""The settings of a guarded channel, its keys, and what explains a call."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("grpc")

from recloser import LONG_POLL, Policy, Registry
from recloser_adapters.grpc import (
    BreakerInterceptor,
    BreakerOpenAioRpcError,
    CallInfo,
    aio_interceptors,
    by_method,
    by_service,
    by_target,
)
from recloser_adapters.grpc._calls import usual_label

CALL = CallInfo("orders:50051", "/shop.Orders/Get")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (by_service, "orders:50051 shop.Orders"),
        (by_method, "orders:50051 /shop.Orders/Get"),
        (by_target, "orders:50051"),
    ],
)
def test_ready_made_keys(key: Any, expected: str) -> None:
    assert key(CALL) == expected


@pytest.mark.parametrize(
    ("method", "requests", "responses", "label"),
    [
        ("Get", False, False, "Get"),
        ("Upload", True, False, "Upload"),
        ("List", False, True, "List"),
        ("Chat", True, True, LONG_POLL),
        ("WatchOrders", False, True, LONG_POLL),
        ("Watch", False, False, "Watch"),
    ],
)
def test_a_call_is_explained_by_its_method(
    method: str, requests: bool, responses: bool, label: str
) -> None:
    call = CallInfo("t", f"/s/{method}", requests, responses)

    assert usual_label(call) == label


@pytest.mark.parametrize("make", [BreakerInterceptor, aio_interceptors])
@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((Registry(),), {}, "target comes first"),
        ((7,), {}, "target must be a str"),
        (("",), {}, "target must not be empty"),
        (("t", Policy()), {}, r"write Registry\(policy\)"),
        (("t",), {"kye": "x"}, "unexpected keyword argument 'kye'"),
        (("t",), {"key": 7}, "key must be a str or a callable"),
        (("t",), {"key": ""}, "key must not be empty"),
        (("t",), {"label_by": 7}, "label_by must be a callable"),
        (("t",), {"cut_off": 1}, "cut_off must be True or False"),
    ],
)
def test_a_mistake_is_told_at_once(make: Any, arguments: Any, settings: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make(*arguments, **settings)


def test_the_refusal_of_an_asynchronous_call_shows_itself() -> None:
    error = BreakerOpenAioRpcError("orders", retry_after=2.5)

    assert "breaker 'orders' is open, retry in 2.5 s" in repr(error)
    assert str(error) == error.details()
    assert error.args[0] == "orders"
