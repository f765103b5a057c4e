"""Admission of outbound calls, without a client: whose call it is, and what is known of it."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from tests.support import plain_requests
from tests.support.breaker_state import votes
from tests.support.plain_requests import KEYS, PlainRequest, plain_calls

from recloser import LONG_POLL, UNGUARDED, Injected, LoosePermit, Outcome, Registry
from recloser.testing import ManualClock, chaos

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.permit import CallReport, ScopedPermit, WatchingPermit
from recloser_adapters._outbound.scopes import scopes_of

CHAT = "http://h/v1/chat/completions"


def asking(model: str = "m", url: str = CHAT, key: str = "", **fields: Any) -> PlainRequest:
    """A request to a model."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return PlainRequest(url, "POST", headers, json.dumps({"model": model, **fields}).encode())


def get(url: str = "http://h/orders") -> PlainRequest:
    return PlainRequest(url, "GET")


def admitted(calls: Any, request: PlainRequest) -> Any:
    """The permit of a call that nobody refuses."""
    permit = calls.admit(request, WatchingPermit)
    assert isinstance(permit, LoosePermit | ScopedPermit)
    return permit


def key_of(calls: Any, request: PlainRequest) -> str:
    permit = admitted(calls, request)
    permit.success()
    key: str = permit.breaker.key
    return key


def ask_all(calls: Any, request: PlainRequest) -> None:
    """So many calls are asked to wait that their scope refuses."""
    for _ in range(4):
        calls.scoped(admitted(calls, request), request).end(Outcome.THROTTLED, retry_after=50.0)


def test_only_who_says_that_it_can_inject_faults_is_given_one(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others would take it for a call that nobody guards, and make it."""
    monkeypatch.setenv("RECLOSER_CHAOS", "1")
    calls = plain_calls(registry)

    with chaos(registry, "h", fail=1.0):
        assert not isinstance(calls.admit(get(), WatchingPermit), Injected)
        calls.injects = True
        assert isinstance(calls.admit(get(), WatchingPermit), Injected)


# Keys


@pytest.mark.parametrize(
    ("key", "request_", "expected"),
    [
        (KEYS.by_model, asking(), "h m"),
        (KEYS.by_model, get(), "h"),
        (KEYS.by_model, get(CHAT), "h"),
        (KEYS.by_model, PlainRequest(CHAT), "h chat"),
        (KEYS.by_model, asking("gemini", "http://h/v1/models/g:generateContent"), "h g"),
        (KEYS.by_model, PlainRequest("http://h/bot1/getUpdates"), "h"),
        (plain_requests.by_host, asking(), "h"),
        (KEYS.by_route, asking(), "h chat"),
        (KEYS.by_route, get("http://h/v1/orders/7"), "h /v1/orders"),
        (KEYS.by_route, get("http://h/"), "h"),
        ("mine", asking(), "mine"),
        ("mine", get("http:///orders"), "mine"),
        (lambda request: request.url[:4], get(), "http"),
    ],
)
def test_the_key_is_that_of_the_setting(
    registry: Registry, key: Any, request_: PlainRequest, expected: str
) -> None:
    for _ in range(2):
        assert key_of(plain_calls(registry, key=key), request_) == expected
    assert registry.faults == 0
    assert [breaker.key for breaker in registry] == [expected]


@pytest.mark.parametrize("closely", [True, False])
@pytest.mark.parametrize("junk", ["", 7, ZeroDivisionError(), None])
def test_a_key_that_is_none_leaves_the_host_or_no_breaker(
    registry: Registry, junk: Any, closely: bool
) -> None:
    def key(request: PlainRequest) -> Any:
        if isinstance(junk, Exception):
            raise junk
        return junk

    calls = plain_calls(registry, key=key, on_end=(lambda _: None) if closely else None)

    if junk is None:
        assert calls.admit(get(), WatchingPermit) is UNGUARDED
        assert (len(registry), registry.faults) == (0, 0)
        return
    assert key_of(calls, get()) == "h"
    assert registry.faults == 1


@pytest.mark.parametrize(
    "key", [plain_requests.by_host, KEYS.by_model, KEYS.by_route, KEYS.by_credential]
)
@pytest.mark.parametrize("request_", [get("http:///orders"), asking(url="http:///v1/responses")])
def test_a_request_without_a_host_is_left_to_its_client(
    registry: Registry, key: Any, request_: PlainRequest
) -> None:
    assert plain_calls(registry, key=key).admit(request_, WatchingPermit) is UNGUARDED
    assert (len(registry), registry.faults) == (0, 0)


def test_a_ready_made_key_has_a_bounded_number_of_parts(registry: Registry) -> None:
    calls = plain_calls(registry, key=KEYS.by_route)
    keys = {
        key_of(calls, get(f"http://h/route{chr(97 + n % 26) * (n // 26 + 1)}")) for n in range(150)
    }

    assert len(keys) == 129
    assert "h" in keys


def test_a_ready_made_key_of_another_library_is_a_fault(registry: Registry) -> None:
    """It cannot read these requests."""
    from recloser_adapters._outbound.keys import Keys
    from recloser_adapters._outbound.request_reader import RequestReader

    def wrong(*_: object) -> Any:
        raise AttributeError

    other: Any = Keys("other", RequestReader(wrong, wrong, wrong, wrong, wrong, wrong))

    assert key_of(plain_calls(registry, key=other.by_route), get()) == "h"
    assert registry.faults == 1


def test_a_fault_of_our_own_admits_the_call(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = plain_calls(registry)
    monkeypatch.setattr(calls, "_tail", lambda request: 1 / 0)

    assert calls.admit(asking(), WatchingPermit) is UNGUARDED
    assert registry.faults == 1


def test_a_body_that_cannot_be_read_is_no_call_to_a_model(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KEYS, "llm_call", lambda request: 1 / 0)

    assert key_of(plain_calls(registry), asking()) == "h"
    assert registry.faults == 1


# What is looked at more closely


@pytest.mark.parametrize(
    ("request_", "settings", "closely"),
    [
        (get(), {}, False),
        (PlainRequest("http://h/orders"), {}, False),
        (get(CHAT), {}, False),
        (PlainRequest("http://h/orders?timeout=0"), {}, False),
        (get("http://h/orders?page=2"), {}, False),
        (asking(), {}, True),
        (get("http://h/events?timeout=30"), {}, True),
        (asking(url="http://h/v1/models/g:predict"), {}, True),
        (get(), {"on_end": lambda _: None}, True),
    ],
)
def test_only_a_call_of_which_more_is_known_has_a_permit_with_a_scope(
    registry: Registry, request_: PlainRequest, settings: dict[str, Any], closely: bool
) -> None:
    permit = admitted(plain_calls(registry, **settings), request_)

    assert type(permit) is (ScopedPermit if closely else WatchingPermit)
    permit.success()
    assert votes(registry[permit.breaker.key].metrics()) == {"successes": 1}


def test_a_permit_with_a_scope_knows_whether_a_model_is_asked_and_how_long_the_request_is(
    registry: Registry,
) -> None:
    chat, order = asking(), get()
    for settings, request, llm, size in (
        ({}, chat, True, len(chat.body)),
        ({"label_by": None}, chat, True, 0),
        ({"on_end": lambda _: None}, order, False, 0),
        ({"on_end": lambda _: None}, chat, True, len(chat.body)),
    ):
        permit = admitted(plain_calls(registry, **settings), request)
        assert (permit.llm, permit.request_bytes) == (llm, size)
        permit.success()


def test_a_report_reaches_the_user(registry: Registry, clock: ManualClock) -> None:
    reports: list[CallReport] = []
    permit = admitted(plain_calls(registry, on_end=reports.append), get())
    clock.advance(0.5)
    permit.end(Outcome.FAILURE)

    assert reports == [CallReport("h", Outcome.FAILURE, None, 0.5)]


# What explains a call


def explained(calls: Any, request: PlainRequest) -> tuple[str, float | None]:
    permit = admitted(calls, request)
    inner = getattr(permit, "_permit", permit)
    found = inner.label, inner.size
    permit.success()
    return found


@pytest.mark.parametrize(
    ("request_", "settings", "label"),
    [
        (asking(), {}, "chat"),
        (asking(stream=True), {}, "stream"),
        (asking(), {"key": "mine"}, "m chat"),
        (asking(), {"key": KEYS.by_route}, "m chat"),
        (asking(url="http://h/v1/embeddings"), {"key": "mine"}, "m embeddings"),
        (PlainRequest(CHAT), {"key": "mine"}, "chat"),
        (asking(), {"label_by": None}, ""),
        (get("http://h/events?timeout=30"), {}, LONG_POLL),
        (PlainRequest("http://h/events?timeout=30"), {}, LONG_POLL),
        (PlainRequest("http://h/bot/getUpdates"), {}, LONG_POLL),
        (get("http://h/bot/getUpdates"), {}, ""),
        (get("http://h/bot/getUpdates"), {"on_end": lambda _: None}, ""),
        (get("http://h/events?timeout=30"), {"label_by": None}, ""),
        (PlainRequest("http://h/orders"), {"on_end": lambda _: None}, ""),
        (get(), {}, ""),
        (get(), {"label_by": lambda request: request.method}, "GET"),
        (asking(), {"label_by": lambda request: request.method}, "POST"),
        (asking(), {"label_by": lambda request: None}, ""),
        (get("http://h/events?timeout=30"), {"label_by": lambda request: None}, ""),
    ],
)
def test_a_label_explains_the_latency_of_a_call(
    registry: Registry, request_: PlainRequest, settings: dict[str, Any], label: str
) -> None:
    assert explained(plain_calls(registry, **settings), request_)[0] == label
    assert registry.faults == 0


def test_a_size_explains_it_too(registry: Registry) -> None:
    body = asking(text="x" * 1_000)
    body.body += b" " * (1_024 - len(body.body) % 1_024)
    assert len(body.body) == 2_048

    assert explained(plain_calls(registry), body)[1] == pytest.approx(45.0, rel=0.5)
    assert explained(plain_calls(registry, label_by=None), body) == ("", None)
    sized = plain_calls(registry, label_by=lambda request: 32.0)
    assert explained(sized, get()) == ("", 32.0)


def test_a_label_function_that_fails_is_a_fault(registry: Registry) -> None:
    calls = plain_calls(registry, label_by=lambda request: 1 / 0)

    assert explained(calls, asking()) == ("", None)
    assert registry.faults == 1


# Copies


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_copy_in_the_same_process_has_the_same_breakers_and_scopes(copied: Any) -> None:
    registry = Registry()

    other = copied(plain_calls(registry))

    assert other.registry is registry
    admitted(other, get()).success()
    assert votes(registry["h"].metrics()) == {"successes": 1}
    ask_all(other, get("http://h/search"))
    assert [*scopes_of(registry).waits] == ["h /search"]


def test_a_copy_takes_no_breakers_along() -> None:
    calls = plain_calls(Registry())
    before = len(pickle.dumps(calls))
    for number in range(50):
        admitted(calls, get(f"http://host-{number}/")).success()

    assert len(pickle.dumps(calls)) == before
