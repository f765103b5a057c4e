"""Each SDK of the table in docs/how-to/llm-providers.md: a refusal is at once, once, and named.

Each SDK is guarded by the lines of the table. An SDK that is not installed is skipped.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Callable
from typing import Any

import pytest

from recloser import BreakerOpenError, Registry

KEY = "provider"
NOWHERE = "http://127.0.0.1:9"
ASKED: list[dict[str, str]] = [{"role": "user", "content": "ping"}]


def wrapped(library: str, registry: Registry, client: Any = None, **settings: Any) -> Any:
    """A guarded client of a library, or the given one."""
    adapter = importlib.import_module(f"recloser_adapters.{library}")
    if library == "requests":
        session = importlib.import_module("requests").Session()
        return adapter.wrap_session(session, registry, key=KEY, **settings)
    made = client if client is not None else importlib.import_module(library).Client()
    return adapter.wrap_client(made, registry, key=KEY, **settings)


def openai(sdk: Any, registry: Registry, **settings: Any) -> Callable[[], object]:
    """`OpenAI(http_client=...)`."""
    http_client = wrapped("httpx2", registry, sdk.DefaultHttpxClient(), **settings)
    client = sdk.OpenAI(api_key="k", base_url=NOWHERE, http_client=http_client)
    return lambda: client.chat.completions.create(model="m", messages=ASKED)


def openai_responses(sdk: Any, registry: Registry, **settings: Any) -> Callable[[], object]:
    """The same, by another route."""
    http_client = wrapped("httpx2", registry, sdk.DefaultHttpxClient(), **settings)
    client = sdk.OpenAI(api_key="k", base_url=NOWHERE, http_client=http_client)
    return lambda: client.responses.create(model="m", input="ping", stream=True)


def azure(sdk: Any, registry: Registry, **settings: Any) -> Callable[[], object]:
    """`AzureOpenAI(http_client=...)`."""
    http_client = wrapped("httpx2", registry, sdk.DefaultHttpxClient(), **settings)
    client = sdk.AzureOpenAI(
        api_key="k", azure_endpoint=NOWHERE, api_version="2024-10-21", http_client=http_client
    )
    return lambda: client.chat.completions.create(model="m", messages=ASKED)


def anthropic(sdk: Any, registry: Registry, **settings: Any) -> Callable[[], object]:
    """`Anthropic(http_client=...)`."""
    http_client = wrapped("httpx2", registry, sdk.DefaultHttpxClient(), **settings)
    client = sdk.Anthropic(api_key="k", base_url=NOWHERE, http_client=http_client)
    return lambda: client.messages.create(model="m", max_tokens=5, messages=ASKED)


def groq(sdk: Any, registry: Registry, **settings: Any) -> Callable[[], object]:
    """`Groq(http_client=...)`."""
    http_client = wrapped("httpx", registry, sdk.DefaultHttpxClient(), **settings)
    client = sdk.Groq(api_key="k", base_url=NOWHERE, http_client=http_client)
    return lambda: client.chat.completions.create(model="m", messages=ASKED)


def together(sdk: Any, registry: Registry, **settings: Any) -> Callable[[], object]:
    """`Together(http_client=...)`."""
    http_client = wrapped("httpx", registry, sdk.DefaultHttpxClient(), **settings)
    client = sdk.Together(api_key="k", base_url=NOWHERE, http_client=http_client)
    return lambda: client.chat.completions.create(model="m", messages=ASKED)


def langchain_openai(sdk: Any, registry: Registry, **settings: Any) -> Callable[[], object]:
    """`ChatOpenAI(http_client=...)`."""
    http_client = wrapped("httpx2", registry, **settings)
    model = sdk.ChatOpenAI(model="m", api_key="k", base_url=NOWHERE, http_client=http_client)
    return lambda: model.invoke("ping")


def cohere(sdk: Any, registry: Registry, **settings: Any) -> Callable[[], object]:
    """`ClientV2(httpx_client=...)`."""
    client = sdk.ClientV2(
        "k", base_url=NOWHERE, httpx_client=wrapped("httpx", registry, **settings)
    )
    return lambda: client.chat(model="m", messages=ASKED)


def mistralai(sdk: Any, registry: Registry, **settings: Any) -> Callable[[], object]:
    """`Mistral(client=...)`."""
    kind = importlib.import_module("mistralai.client").Mistral
    client = kind(api_key="k", server_url=NOWHERE, client=wrapped("httpx2", registry, **settings))
    return lambda: client.chat.complete(model="m", messages=ASKED)


def genai(sdk: Any, registry: Registry, **settings: Any) -> Callable[[], object]:
    """`genai.Client(http_options=...)`."""
    options = sdk.types.HttpOptions(
        base_url=NOWHERE, httpx_client=wrapped("httpx2", registry, **settings)
    )
    client = sdk.Client(api_key="k", http_options=options)
    return lambda: client.models.generate_content(model="m", contents="ping")


def ollama(sdk: Any, registry: Registry, **settings: Any) -> Callable[[], object]:
    """Its client is private."""
    client = sdk.Client(host=NOWHERE)
    wrapped("httpx", registry, client._client, **settings)
    return lambda: client.chat(model="m", messages=ASKED)


def huggingface_hub(sdk: Any, registry: Registry, **settings: Any) -> Callable[[], object]:
    """A factory for all its clients."""
    sdk.set_client_factory(lambda: wrapped("httpx2", registry, **settings))
    client = sdk.InferenceClient(base_url=NOWHERE, api_key="k")
    return lambda: client.chat_completion(ASKED)


def supabase(sdk: Any, registry: Registry, **settings: Any) -> Callable[[], object]:
    """`create_client(options=...)`."""
    options = sdk.ClientOptions(httpx_client=wrapped("httpx", registry, **settings))
    client = sdk.create_client(NOWHERE, "k", options=options)
    return lambda: client.table("t").select("*").execute()


def stripe(sdk: Any, registry: Registry, **settings: Any) -> Callable[[], object]:
    """`RequestsClient(session=...)`."""
    http_client = sdk.RequestsClient(session=wrapped("requests", registry, **settings))
    client = sdk.StripeClient("sk", http_client=http_client, base_addresses={"api": NOWHERE})
    return lambda: client.v1.payment_intents.create({"amount": 1, "currency": "eur"})


def twilio(sdk: Any, registry: Registry, **settings: Any) -> Callable[[], object]:
    """`TwilioHttpClient` with another session."""
    http_client = importlib.import_module("twilio.http.http_client").TwilioHttpClient()
    http_client.session = wrapped("requests", registry, **settings)
    client = importlib.import_module("twilio.rest").Client("AC1", "t", http_client=http_client)
    return lambda: client.messages.create(to="+1", from_="+2", body="ping")


ROWS: list[tuple[str, Callable[..., Callable[[], object]]]] = [
    ("openai", openai),
    ("openai", openai_responses),
    ("openai", azure),
    ("anthropic", anthropic),
    ("groq", groq),
    ("together", together),
    ("langchain_openai", langchain_openai),
    ("cohere", cohere),
    ("mistralai", mistralai),
    ("google.genai", genai),
    ("ollama", ollama),
    ("huggingface_hub", huggingface_hub),
    ("supabase", supabase),
    ("stripe", stripe),
    ("twilio", twilio),
]


# Once in a process, the client of Hugging Face asks the hub something else first.
REQUESTS = {"huggingface_hub": 2}


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The SDK's sleeps, in seconds."""
    taken: list[float] = []

    async def asleep(seconds: float) -> None:
        taken.append(seconds)

    monkeypatch.setattr(time, "sleep", taken.append)
    monkeypatch.setattr(asyncio, "sleep", asleep)
    return taken


@pytest.mark.parametrize("asked", [None, "response"], ids=["default", "response"])
@pytest.mark.parametrize(("name", "guarded"), ROWS, ids=[row[1].__name__ for row in ROWS])
def test_a_refusal_returns_at_once_and_names_the_breaker(
    name: str,
    guarded: Callable[..., Callable[[], object]],
    asked: str | None,
    registry: Registry,
    sleeps: list[float],
) -> None:
    sdk = pytest.importorskip(name)
    if name == "twilio" and asked == "response":
        pytest.skip("it shows nothing of a response but its status")
    call = guarded(sdk, registry, **({} if asked is None else {"on_refuse": asked}))
    registry[KEY].open("test", for_=3000.0)

    with pytest.raises(Exception, match=f"breaker {KEY!r} is open"):
        call()

    assert sleeps == []
    assert 1 <= registry[KEY].metrics().refused <= REQUESTS.get(name, 1)


@pytest.mark.parametrize("name", ["cohere", "ollama", "supabase"])
def test_other_clients_raise_our_own_error(name: str, registry: Registry) -> None:
    sdk = pytest.importorskip(name)
    call = dict(ROWS)[name](sdk, registry)
    registry[KEY].open("test", for_=3000.0)

    with pytest.raises(BreakerOpenError):
        call()


@pytest.mark.parametrize(
    ("library", "name", "wrong"),
    [
        ("httpx", "openai", "DefaultHttpxClient"),
        ("httpx", "anthropic", "DefaultHttpxClient"),
        ("httpx2", "groq", "DefaultHttpxClient"),
    ],
)
def test_a_client_of_the_other_library_is_told_its_adapter(
    library: str, name: str, wrong: str, registry: Registry
) -> None:
    other = {"httpx": "httpx2", "httpx2": "httpx"}[library]
    client = getattr(pytest.importorskip(name), wrong)()

    with pytest.raises(TypeError, match=rf"import recloser_adapters\.{other} for it"):
        wrapped(library, registry, client)


@pytest.mark.parametrize("name", ["OpenAI", "AsyncOpenAI"])
def test_an_sdk_that_is_given_for_its_client_is_told_what_to_write(
    name: str, registry: Registry
) -> None:
    sdk = pytest.importorskip("openai")

    with pytest.raises(TypeError, match=r"wrap it with recloser_adapters\.httpx2"):
        wrapped("httpx", registry, getattr(sdk, name)(api_key="k"))
