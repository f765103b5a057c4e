"""Admission of outbound calls, without a client: whose calls a wait refuses."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support import plain_requests
from tests.support.breaker_state import votes
from tests.support.plain_requests import KEYS, PlainRequest, plain_calls

from recloser import UNGUARDED, Mode, Refused, Registry
from recloser.testing import ManualClock, open_breaker

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.permit import ScopedPermit, WatchingPermit
from recloser_adapters._outbound.scopes import scopes_of

from .test_admission import admitted, ask_all, asking, get, key_of


@pytest.mark.parametrize(
    ("request_", "others", "scope"),
    [
        (asking("a", key="sk-1"), [asking("b", key="sk-1"), asking("a", key="sk-2")], "h a"),
        (get("http://h/search?q=1"), [get("http://h/pay"), get("http://x/search")], "h /search"),
    ],
)
def test_a_wait_refuses_the_calls_of_its_scope_only(
    registry: Registry, request_: PlainRequest, others: list[PlainRequest], scope: str
) -> None:
    calls = plain_calls(registry)
    ask_all(calls, request_)

    refusal = calls.admit(request_, WatchingPermit)
    assert isinstance(refusal, Refused)
    assert refusal.breaker.key.startswith(scope)
    for other in others:
        permit = admitted(calls, other)
        assert type(permit) is (WatchingPermit if other.method == "GET" else ScopedPermit)
        permit.success()
    assert registry["h"].metrics().refused == 0


@pytest.mark.parametrize(
    ("key", "request_", "scope"),
    [
        (KEYS.by_model, asking("a"), "h a"),  # the scope is the key
        (KEYS.by_route, asking("a"), "h chat a"),
        (KEYS.by_route, get("http://h/search"), "h /search"),
        (plain_requests.by_host, asking("a"), "h a"),
        ("mine", get("http://h/search"), "mine /search"),
        ("mine", get("http://h/"), "mine"),
    ],
)
def test_a_scope_is_named_by_key_and_model_or_route(
    registry: Registry, key: Any, request_: PlainRequest, scope: str
) -> None:
    calls = plain_calls(registry, key=key)
    ask_all(calls, request_)

    refusal = calls.admit(request_, WatchingPermit)
    assert isinstance(refusal, Refused)
    assert refusal.breaker.key == scope


def test_a_credential_is_named_once(registry: Registry) -> None:
    calls, request = plain_calls(registry, key=KEYS.by_credential), asking("a", key="sk-1")
    ask_all(calls, request)

    refusal = calls.admit(request, WatchingPermit)
    assert isinstance(refusal, Refused)
    key = key_of(calls, asking("b", key="sk-1"))
    assert refusal.breaker.key == f"{key} a"
    assert key.count("credential") == 1


def test_a_key_that_observes_refuses_nothing_for_its_scopes(registry: Registry) -> None:
    calls = plain_calls(registry)
    ask_all(calls, asking(key="sk-1"))
    registry["h m"].mode = Mode.OBSERVE

    admitted(calls, asking(key="sk-1")).success()


def test_after_a_wait_calls_that_are_served_outweigh_it(
    registry: Registry, clock: ManualClock
) -> None:
    calls, request = plain_calls(registry), get("http://h/search")
    ask_all(calls, request)
    clock.advance(50.0)
    for _ in range(8):
        permit = admitted(calls, request)
        assert isinstance(permit, ScopedPermit)
        assert not permit.llm
        permit.success()

    assert scopes_of(registry).waits == {}
    assert type(admitted(calls, request)) is WatchingPermit


def test_a_scope_that_is_refused_by_its_key_has_not_been_served(
    registry: Registry, clock: ManualClock
) -> None:
    calls, request = plain_calls(registry), get("http://h/search")
    ask_all(calls, request)
    clock.advance(50.0)
    open_breaker(registry["h"])

    refusal = calls.admit(request, WatchingPermit)

    assert isinstance(refusal, Refused)
    assert refusal.breaker is registry["h"]
    assert votes(registry["h /search"].metrics()) == {"throttled": 4, "ignored": 1}
    assert scopes_of(registry).waits["h /search"].owed == 8


def test_scopes_whose_time_is_over_are_forgotten(registry: Registry, clock: ManualClock) -> None:
    calls = plain_calls(registry)
    ask_all(calls, get("http://h/search"))
    clock.advance(120.0)

    admitted(calls, get("http://h/pay")).success()

    assert scopes_of(registry).waits == {}


def test_a_permit_gets_a_scope_once_it_needs_one(registry: Registry) -> None:
    calls, request = plain_calls(registry), get("http://h/search")
    permit = admitted(calls, request)

    assert calls.scoped(permit, None) is permit
    scoped = calls.scoped(permit, request)
    assert isinstance(scoped, ScopedPermit)
    assert not scoped.llm
    assert calls.scoped(scoped, request) is scoped
    scoped.success()


def test_a_label_is_known_to_a_breaker_that_refuses_or_does_not_guard(registry: Registry) -> None:
    calls = plain_calls(registry)
    registry["h m"].mode = Mode.DISABLED
    assert calls.admit(asking(), WatchingPermit) is UNGUARDED
    open_breaker(registry["h n"])

    refusal = calls.admit(asking("n"), WatchingPermit)

    assert isinstance(refusal, Refused)
    assert refusal.breaker is registry["h n"]
