"""The OpenAI SDK over a failover transport: 2.x on httpx, 3.x on httpx2."""

from __future__ import annotations

import importlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import openai
import pytest

from recloser import Failover, Provider, Registry
from recloser.testing import ManualClock, no_jitter

LIBRARY = "httpx2" if int(openai.__version__.partition(".")[0]) >= 3 else "httpx"
http: Any = importlib.import_module(LIBRARY)
adapter: Any = importlib.import_module(f"recloser_adapters.{LIBRARY}")

CHAT: dict[str, Any] = {"model": "big", "messages": [{"role": "user", "content": "ping"}]}
Ask = Callable[..., str]


class Providers:
    """Two OpenAI-compatible providers; of the first, `sick` is the answer, if there is one."""

    def __init__(self, clock: ManualClock) -> None:
        self.sick: Any = None
        self.received: list[tuple[str, str, str]] = []
        endpoint = adapter.LLMEndpoint
        self.failover = Failover(
            Registry(clock=clock, random=no_jitter),
            [
                Provider("a", endpoint("https://api.openai.com/v1", "key-a")),
                Provider("b", endpoint("https://b.example/api", "key-b", models={"big": "b-70b"})),
            ],
        )

    def answer(self, request: Any) -> Any:
        asked = json.loads(request.content)
        host = request.url.host
        self.received.append((host, request.headers["authorization"], asked["model"]))
        if host == "api.openai.com" and self.sick is not None:
            return self.sick
        delta = {"role": "assistant", "content": f"pong from {host}"}
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
        if not asked.get("stream"):
            return http.Response(200, json={**answer, "choices": [{**choice, "message": delta}]})
        event = json.dumps({**answer, "choices": [{**choice, "delta": delta}]})
        return http.Response(
            200,
            headers={"content-type": "text/event-stream"},
            content=f"data: {event}\n\ndata: [DONE]\n\n".encode(),
        )


@pytest.fixture
def providers(clock: ManualClock) -> Providers:
    return Providers(clock)


@pytest.fixture(params=["sync", "async"])
def ask(
    request: pytest.FixtureRequest,
    providers: Providers,
    run: Callable[[Awaitable[Any]], Any],
) -> Ask:
    """Ask once, streaming or not; the whole answer."""
    wire = http.MockTransport(providers.answer)

    def ask(*, stream: bool = False, **options: Any) -> str:
        transport = adapter.FailoverTransport(wire, providers.failover, **options)
        with openai.OpenAI(api_key="-", http_client=http.Client(transport=transport)) as client:
            answer: Any = client.chat.completions.create(**CHAT, stream=stream)
            if stream:
                return "".join(chunk.choices[0].delta.content for chunk in answer)
            return str(answer.choices[0].message.content)

    async def aask(*, stream: bool = False, **options: Any) -> str:
        transport = adapter.AsyncFailoverTransport(wire, providers.failover, **options)
        http_client = http.AsyncClient(transport=transport)
        async with openai.AsyncOpenAI(api_key="-", http_client=http_client) as client:
            answer: Any = await client.chat.completions.create(**CHAT, stream=stream)
            if stream:
                return "".join([chunk.choices[0].delta.content async for chunk in answer])
            return str(answer.choices[0].message.content)

    if request.param == "sync":
        return ask
    return lambda **options: run(aask(**options))


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_knows_nothing_of_it_is_served_by_the_next(
    providers: Providers, ask: Ask, stream: bool
) -> None:
    """With the SDK's own base URL, which is the first provider's."""
    assert ask(stream=stream) == "pong from api.openai.com"
    providers.sick = http.Response(503)

    assert ask(stream=stream) == "pong from b.example"
    assert providers.received == [
        ("api.openai.com", "Bearer key-a", "big"),
        ("api.openai.com", "Bearer key-a", "big"),
        ("b.example", "Bearer key-b", "b-70b"),
    ]


def test_an_error_event_before_the_first_token_is_not_seen_by_the_caller(
    providers: Providers, ask: Ask
) -> None:
    providers.sick = http.Response(
        200,
        headers={"content-type": "text/event-stream"},
        stream=http.ByteStream(b'data: {"error": {"code": "server_is_overloaded"}}\n\n'),
    )

    assert ask(stream=True) == "pong from b.example"


def test_when_all_refuse_the_sdk_neither_sleeps_nor_tries_again(
    providers: Providers, ask: Ask, clock: ManualClock
) -> None:
    for key in "ab":
        providers.failover.registry[key].open("test", for_=30.0)
    began = clock()

    with pytest.raises(openai.InternalServerError) as caught:
        ask(on_refuse="response")

    assert caught.value.response.headers["retry-after"] == "30"
    assert providers.received == []
    assert clock() == began
