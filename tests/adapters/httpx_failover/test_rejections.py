"""A provider that rejects the credentials or the model: who is asked then, and what is told."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from tests.support.breaker_state import votes
from tests.support.httpx_failover_client import World

from recloser import Fate

CHAT = {"model": "m", "messages": []}


@pytest.fixture
def models(world: World) -> World:
    endpoint = world.adapter.LLMEndpoint
    world.targets = {key: endpoint(f"https://{key}.example/v1", f"key-of-{key}") for key in "ab"}
    return world


def ask(world: World, path: str = "chat/completions", **body: Any) -> Any:
    return world.request("POST", f"http://failover/{path}", json={**CHAT, **body})


@pytest.mark.parametrize("status", [401, 402, 403, 404, 410])
def test_another_is_asked_and_the_provider_is_not_blamed(models: World, status: int) -> None:
    models.answers["a"] = models.status(status)

    assert ask(models).text == "b"
    assert models.fates() == [("a", Fate.REJECTED), ("b", Fate.SERVED)]
    told = f"'a' rejected the credentials or the model (HTTP {status})"
    assert told in str(models.deliveries[-1])
    assert "failures" not in votes(models.registry["a m"].metrics())


def test_even_a_request_that_acts_goes_on_because_nothing_was_done(models: World) -> None:
    models.answers["a"] = models.status(401)

    assert ask(models, "responses", tools=[{"type": "mcp"}]).text == "b"
    assert models.counts == {"a": 1, "b": 1}


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"code": "model_not_found"}}',
        b'{"error": {"status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}}',
        b'{"error": {"message": "Your credit balance is too low to access the API."}}',
    ],
    ids=["no model", "no key", "no credit"],
)
def test_what_is_rejected_by_its_code_under_400(models: World, body: bytes) -> None:
    models.answers["a"] = models.events(body, code=400, kind="application/json")

    assert ask(models).text == "b"


@pytest.mark.parametrize("status", [400, 409, 413, 422])
def test_what_is_wrong_with_the_request_is_said_at_once(models: World, status: int) -> None:
    models.answers["a"] = models.status(status)

    assert ask(models).status_code == status
    assert models.counts == {"a": 1}


@pytest.mark.parametrize("path", ["files/file-1", "models/m", "batches/batch-1"])
def test_what_does_not_exist_is_not_looked_for_elsewhere(models: World, path: str) -> None:
    models.answers["a"] = models.status(404)

    assert models.request("GET", f"http://failover/{path}").status_code == 404
    assert models.counts == {"a": 1}


def test_who_rejects_the_credentials_is_asked_last_for_a_while(models: World) -> None:
    transport_of_all_calls(models)
    models.answers["a"] = models.status(401)

    for _ in range(20):
        assert ask(models).text == "b"
    assert models.counts["a"] == 1

    models.clock.advance(5.1)
    del models.answers["a"]
    assert ask(models).text == "a"


def test_who_lacks_one_model_serves_the_others(models: World) -> None:
    transport_of_all_calls(models)
    models.answers["a"] = models.status(404)
    assert ask(models).text == "b"
    del models.answers["a"]

    assert ask(models).text == "b"
    assert ask(models, model="other").text == "a"


def transport_of_all_calls(world: World) -> None:
    """Use one transport, and so one memory, for all calls of a test."""
    transport = world.transport()
    transport.close = lambda: None

    async def aclose() -> None:
        pass

    transport.aclose = aclose
    world.transport = lambda: transport  # type: ignore[method-assign]


@pytest.mark.parametrize("other", [500, 503, 429])
def test_a_rejection_never_hides_a_better_answer(models: World, other: int) -> None:
    models.answers = {"a": models.status(other), "b": models.status(401)}

    response = ask(models)

    assert (response.status_code, response.text) == (other, f"answer {other}")
    assert response.extensions[models.adapter.PROVIDER] == "a"
    assert models.in_flight() == 0


def test_nor_an_error(models: World) -> None:
    models.answers = {"a": models.raising("ReadTimeout"), "b": models.status(403)}

    with pytest.raises(models.lib.ReadTimeout):
        ask(models)


def test_of_rejections_the_first_is_the_answer(models: World) -> None:
    models.answers = {"a": models.status(401), "b": models.status(404)}

    assert ask(models).status_code == 401
    assert models.fates() == [("a", Fate.REJECTED), ("b", Fate.REJECTED)]


def test_a_rejection_is_logged_once(models: World, caplog: pytest.LogCaptureFixture) -> None:
    transport_of_all_calls(models)
    models.answers["a"] = models.status(401)
    with caplog.at_level(logging.WARNING, "recloser"):
        for _ in range(3):
            ask(models)
            models.clock.advance(1000.0)

    (record,) = caplog.records
    assert record.getMessage().startswith("provider 'a' rejected the credentials (HTTP 401)")
    assert "key-of" not in record.getMessage()


def test_base_urls_are_replicas_with_the_callers_own_credentials(world: World) -> None:
    world.answers["a"] = world.status(401)

    assert world.request("GET").status_code == 401
    assert world.counts == {"a": 1}


def test_what_the_user_forbids_to_repeat_stays_where_it_is(models: World) -> None:
    models.answers["a"] = models.status(401)

    extensions = {models.adapter.REPEATABLE: False}
    response = models.request(
        "POST", "http://failover/chat/completions", json=CHAT, extensions=extensions
    )

    assert response.status_code == 401
    assert models.counts == {"a": 1}


def test_a_body_that_is_used_up_stays_where_it_is(models: World) -> None:
    models.answers["a"] = models.status(401)

    response = models.request("POST", "http://failover/files", files={"file": ("a", b"x")})

    assert response.status_code == 401
    assert models.counts == {"a": 1}


def test_a_stream_that_failed_before_a_rejection_is_not_given_to_the_caller(models: World) -> None:
    models.answers["a"] = models.events(b'data: {"error": {"code": 503}}\n\n')
    models.answers["b"] = models.status(401)

    assert ask(models, stream=True).status_code == 401
    assert models.in_flight() == 0


@pytest.mark.parametrize(("first", "second", "got"), [(422, 200, 422), (500, 401, 500)])
def test_an_error_is_unread_as_if_there_were_no_failover(
    models: World, first: int, second: int, got: int
) -> None:
    """What has been read before leaves nothing to `iter_raw`, and no time to `elapsed`."""
    kind = "application/json"
    models.answers["a"] = models.events(b'{"err', b'or": 1}', code=first, kind=kind)
    models.answers["b"] = models.events(b"{}", code=second, kind=kind)
    raw: list[bytes] = []

    def read_raw(response: Any) -> None:
        assert not response.is_closed
        assert not response.is_stream_consumed
        if not models.asynchronous:
            raw.extend(response.iter_raw())
            response._content = b"".join(raw)

    response = models.request(
        "POST", "http://failover/chat/completions", at_headers=read_raw, json=CHAT
    )

    assert response.status_code == got
    assert response.content == b'{"error": 1}'
    assert response.elapsed.total_seconds() >= 0.0
    assert models.in_flight() == 0
