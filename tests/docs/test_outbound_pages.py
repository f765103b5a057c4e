"""The pages about calls to others: their code runs and does what they say."""

from __future__ import annotations

import asyncio
import re
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.documented import Checks, headings, pages, run

from recloser import BreakerOpenError
from recloser.testing import open_breaker

pytest.importorskip("httpx")
pytest.importorskip("requests")

NEEDS_OPENAI = {"OpenAI, Anthropic and other LLM APIs"}


def check_function(names: dict[str, Any]) -> None:
    breaker = names["breakers"]["payments"]

    assert names["charge"](5) == "charged 5"
    open_breaker(breaker)
    with pytest.raises(BreakerOpenError, match="payments"):
        names["charge"](5)


def check_client(names: dict[str, Any]) -> None:
    import httpx

    with names["client"] as client:
        open_breaker(names["breakers"]["api.example"])
        with pytest.raises(httpx.TransportError, match=re.escape("api.example")):
            client.get("http://api.example/")


def check_labels(names: dict[str, Any]) -> None:
    breaker = names["breakers"]["llm"]

    assert names["ask"]("really") == "really? Yes."
    assert names["permit"].ended
    assert breaker.metrics().successes == 3
    assert len(breaker._circuit.explained._levels) == 3


def check_cutting_off(names: dict[str, Any]) -> None:
    httpx = names["httpx"]
    timeouts: list[Any] = []

    def answer(request: Any) -> Any:
        timeouts.append(request.extensions["timeout"]["read"])
        return httpx.Response(200, content=b"all of it")

    names["client"]._transport.wrapped = httpx.MockTransport(answer)
    with names["client"] as client:
        client.get("http://api.example/", timeout=None)
        client.get("http://api.example/", timeout=3.0)

        def get(url: str, timeout: float) -> Any:
            return client.get(url, timeout=timeout)

        names["httpx"] = SimpleNamespace(get=get)
        assert names["report"]("july") == b"all of it"
    assert asyncio.run(names["search"]("breakers")) == "all about breakers"
    assert timeouts[1:] == [3.0, 30.0]
    assert timeouts[0] == names["breakers"]["api.example"].policy.slow_ceiling


def check_failover(names: dict[str, Any]) -> None:
    assert names["answer"] == "https://a.example says yes"


def check_openai(names: dict[str, Any]) -> None:
    openai = names["openai"]
    breaker = names["breakers"]["api.openai.com gpt-4o"]
    open_breaker(breaker)

    with names["client"] as client, pytest.raises(openai.InternalServerError) as refused:
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "?"}])

    assert refused.value.status_code == 503
    assert breaker.metrics().refused == 1


def check_llm_client(names: dict[str, Any]) -> None:
    httpx = names["httpx"]
    sent: list[Any] = []

    def answer(request: Any) -> Any:
        sent.append(request)
        return httpx.Response(503 if request.url.host == "api.openai.com" else 200)

    names["transport"].wrapped = httpx.MockTransport(answer)

    assert names["client"].post("/chat/completions", json={"model": "big"}).status_code == 200
    assert str(sent[1].url) == "https://api.groq.com/openai/v1/chat/completions"
    assert sent[1].headers["authorization"] == "Bearer gsk-2"
    assert sent[1].content == b'{"model": "llama-3.3-70b"}'


def check_payment_client(names: dict[str, Any]) -> None:
    import requests

    open_breaker(names["breakers"]["api.stripe.example /v1/charges"])

    with names["session"] as session, pytest.raises(requests.RequestException, match="/v1/charges"):
        session.post("http://api.stripe.example/v1/charges", timeout=5)


def check_queued_charge(names: dict[str, Any]) -> None:
    assert names["charge"]("order-1") == "order-1 is paid"
    open_breaker(names["breakers"]["charges"])
    assert names["charge"]("order-2").startswith("order-2 will be paid in about ")
    assert names["later"] == ["order-2"]


def check_two_hosts(names: dict[str, Any]) -> None:
    asked: list[str] = []

    def post(attempt: Any, path: str) -> str:
        asked.append(f"{attempt.key} {path}")
        if attempt.key == "east":
            raise ConnectionResetError
        return "paid"

    names["post"] = post

    assert names["charge"]("1") == "paid"
    with pytest.raises(ConnectionResetError):
        names["refund"]("1")
    assert asked == ["east /charges/1", "west /charges/1", "east /refunds/1"]


CHECKS: Checks = {
    ("docs/how-to/functions.md", "Any function"): check_function,
    ("docs/how-to/http-clients.md", "httpx, requests, aiohttp"): check_client,
    ("docs/how-to/labels.md", "Calls that are known to take longer"): check_labels,
    ("docs/how-to/cut-off.md", "Cutting off what hangs"): check_cutting_off,
    ("docs/how-to/failover.md", "Several providers"): check_failover,
    ("docs/how-to/llm-providers.md", "OpenAI, Anthropic and other LLM APIs"): check_openai,
    ("docs/how-to/llm-providers.md", "Several providers"): check_llm_client,
    ("docs/how-to/payments.md", "Payments"): check_payment_client,
    ("docs/how-to/payments.md", "A refused charge was never sent"): check_queued_charge,
    ("docs/how-to/payments.md", "Two hosts"): check_two_hosts,
}


@pytest.mark.parametrize(("page", "heading"), CHECKS)
def test_the_code_under_this_heading_does_what_the_page_says(
    page: str, heading: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if heading in NEEDS_OPENAI:
        pytest.importorskip("openai", minversion="3")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    run(CHECKS, page, heading)


@pytest.mark.parametrize("page", pages(CHECKS))
def test_every_heading_with_code_has_its_check(page: str) -> None:
    assert headings(page) == [heading for name, heading in CHECKS if name == page]
