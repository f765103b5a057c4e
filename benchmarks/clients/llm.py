"""How each LLM SDK is guarded. Lines that end with `# guard` are what a user has to add."""

from __future__ import annotations

from typing import Any

from benchmarks.clients.client import KEY, Call, Client, awaited
from recloser import Registry

_ASK: Any = [{"role": "user", "content": "x"}]


def _openai(url: str, registry: Registry) -> Call:
    import openai

    from recloser_adapters.httpx2 import wrap_client  # guard

    http = wrap_client(openai.DefaultHttpxClient(), registry, key=KEY)  # guard
    client = openai.OpenAI(api_key="k", base_url=f"{url}/v1", http_client=http)  # guard
    return lambda: client.chat.completions.create(model="m", messages=_ASK)


def _openai_async(url: str, registry: Registry) -> Call:
    import openai

    from recloser_adapters.httpx2 import wrap_client  # guard

    http = wrap_client(openai.DefaultAsyncHttpxClient(), registry, key=KEY)  # guard
    client = openai.AsyncOpenAI(api_key="k", base_url=f"{url}/v1", http_client=http)  # guard
    return awaited(lambda: client.chat.completions.create(model="m", messages=_ASK))


def _openai_stream(url: str, registry: Registry) -> Call:
    import openai

    from recloser_adapters.httpx2 import wrap_client  # guard

    http = wrap_client(openai.DefaultHttpxClient(), registry, key=KEY)  # guard
    client = openai.OpenAI(api_key="k", base_url=f"{url}/v1", http_client=http)  # guard
    return lambda: list(client.chat.completions.create(model="m", messages=_ASK, stream=True))


def _openai_responses(url: str, registry: Registry) -> Call:
    import openai

    from recloser_adapters.httpx2 import wrap_client  # guard

    http = wrap_client(openai.DefaultHttpxClient(), registry, key=KEY)  # guard
    client = openai.OpenAI(api_key="k", base_url=f"{url}/v1", http_client=http)  # guard
    return lambda: client.responses.create(model="m", input="x")


def _azure(url: str, registry: Registry) -> Call:
    import openai

    from recloser_adapters.httpx2 import wrap_client  # guard

    http = wrap_client(openai.DefaultHttpxClient(), registry, key=KEY)  # guard
    client = openai.AzureOpenAI(
        api_key="k",
        azure_endpoint=url,
        api_version="2024-10-21",
        http_client=http,  # guard
    )
    return lambda: client.chat.completions.create(model="m", messages=_ASK)


def _anthropic(url: str, registry: Registry) -> Call:
    import anthropic

    from recloser_adapters.httpx2 import wrap_client  # guard

    http = wrap_client(anthropic.DefaultHttpxClient(), registry, key=KEY)  # guard
    client = anthropic.Anthropic(api_key="k", base_url=url, http_client=http)  # guard
    return lambda: client.messages.create(model="m", max_tokens=9, messages=_ASK)


def _genai(url: str, registry: Registry) -> Call:
    import httpx2
    from google import genai
    from google.genai import types

    from recloser_adapters.httpx2 import wrap_client  # guard

    http = wrap_client(httpx2.Client(), registry, key=KEY)  # guard
    options = types.HttpOptions(base_url=url, httpx_client=http)  # guard
    client = genai.Client(api_key="k", http_options=options)
    return lambda: client.models.generate_content(model="m", contents="x")


def _mistral(url: str, registry: Registry) -> Call:
    import httpx2
    from mistralai.client import Mistral

    from recloser_adapters.httpx2 import wrap_client  # guard

    http = wrap_client(httpx2.Client(), registry, key=KEY)  # guard
    client = Mistral(api_key="k", server_url=url, client=http)  # guard
    return lambda: client.chat.complete(model="m", messages=_ASK)


def _cohere(url: str, registry: Registry) -> Call:
    import cohere
    import httpx

    from recloser_adapters.httpx import wrap_client  # guard

    http = wrap_client(httpx.Client(), registry, key=KEY)  # guard
    client = cohere.ClientV2("k", base_url=url, httpx_client=http)  # guard
    return lambda: client.chat(model="m", messages=_ASK)


def _ollama(url: str, registry: Registry) -> Call:
    import httpx
    import ollama

    from recloser_adapters.httpx import BreakerTransport  # guard

    transport = BreakerTransport(httpx.HTTPTransport(), registry, key=KEY)  # guard
    client = ollama.Client(host=url, transport=transport)  # guard
    return lambda: client.chat(model="m", messages=_ASK)


def _groq(url: str, registry: Registry) -> Call:
    import groq

    from recloser_adapters.httpx import wrap_client  # guard

    http = wrap_client(groq.DefaultHttpxClient(), registry, key=KEY)  # guard
    client = groq.Groq(api_key="k", base_url=url, http_client=http)  # guard
    return lambda: client.chat.completions.create(model="m", messages=_ASK)


def _huggingface(url: str, registry: Registry) -> Call:
    import httpx2
    import huggingface_hub

    from recloser_adapters.httpx2 import wrap_client  # guard

    def key(request: httpx2.Request) -> str | None:  # guard
        # It asks the hub about the model as well, with the same client.
        return None if request.url.host == "huggingface.co" else KEY  # guard

    def guarded() -> Any:  # guard
        return wrap_client(httpx2.Client(), registry, key=key)  # guard

    huggingface_hub.set_client_factory(guarded)  # guard
    client = huggingface_hub.InferenceClient(base_url=f"{url}/v1", api_key="k")
    return lambda: client.chat_completion(_ASK, model="m")


def _litellm(url: str, registry: Registry) -> Call:
    import litellm
    import openai

    from recloser_adapters.httpx2 import wrap_client  # guard

    http = wrap_client(openai.DefaultHttpxClient(), registry, key=KEY)  # guard
    client = openai.OpenAI(api_key="k", base_url=f"{url}/v1", http_client=http)  # guard
    return lambda: litellm.completion(model="openai/m", messages=_ASK, client=client)  # guard


def _langchain_openai(url: str, registry: Registry) -> Call:
    import openai
    from langchain_openai import ChatOpenAI

    from recloser_adapters.httpx2 import wrap_client  # guard

    http = wrap_client(openai.DefaultHttpxClient(), registry, key=KEY)  # guard
    model = ChatOpenAI(model="m", api_key="k", base_url=f"{url}/v1", http_client=http)  # guard
    return lambda: model.invoke("x")


def _langchain_anthropic(url: str, registry: Registry) -> Call:
    import anthropic
    from langchain_anthropic import ChatAnthropic

    from recloser_adapters.httpx2 import wrap_client  # guard

    model: Any = ChatAnthropic(model_name="m", api_key="k", base_url=url)
    http = wrap_client(anthropic.DefaultHttpxClient(), registry, key=KEY)  # guard
    # It has no argument for a client. `_client` is a cached property, so it can be set.
    model._client = anthropic.Anthropic(api_key="k", base_url=url, http_client=http)  # guard
    return lambda: model.invoke("x")


def _pydantic_ai(url: str, registry: Registry) -> Call:
    import httpx2
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    from recloser_adapters.httpx2 import wrap_client  # guard

    http = wrap_client(httpx2.AsyncClient(), registry, key=KEY)  # guard
    provider = OpenAIProvider(base_url=f"{url}/v1", api_key="k", http_client=http)  # guard
    agent = Agent(OpenAIChatModel("m", provider=provider))
    return awaited(lambda: agent.run("x"))


def _instructor(url: str, registry: Registry) -> Call:
    import instructor
    import openai

    from recloser_adapters.httpx2 import wrap_client  # guard

    http = wrap_client(openai.DefaultHttpxClient(), registry, key=KEY)  # guard
    plain = openai.OpenAI(api_key="k", base_url=f"{url}/v1", http_client=http)  # guard
    client = instructor.from_openai(plain)
    return lambda: client.create(model="m", messages=_ASK, response_model=None)


def _llama_index(url: str, registry: Registry) -> Call:
    import openai
    from llama_index.llms.openai import OpenAI

    from recloser_adapters.httpx2 import wrap_client  # guard

    http = wrap_client(openai.DefaultHttpxClient(), registry, key=KEY)  # guard
    llm = OpenAI(
        model="gpt-4o",
        api_key="k",
        api_base=f"{url}/v1",
        # It repeats all errors, beside the retries of the SDK below it.
        max_retries=0,  # guard
        http_client=http,  # guard
    )
    return lambda: llm.complete("x")


def _openai_agents(url: str, registry: Registry) -> Call:
    import agents
    import openai

    from recloser_adapters.httpx2 import wrap_client  # guard

    http = wrap_client(openai.DefaultAsyncHttpxClient(), registry, key=KEY)  # guard
    client = openai.AsyncOpenAI(api_key="k", base_url=f"{url}/v1", http_client=http)  # guard
    agents.set_tracing_disabled(True)
    model = agents.OpenAIChatCompletionsModel(model="m", openai_client=client)
    agent: Any = agents.Agent(name="x", model=model)
    return awaited(lambda: agents.Runner.run(agent, "x"))


CLIENTS = (
    Client("openai", "openai", _openai),
    Client("openai, async", "openai", _openai_async),
    Client("openai, streaming", "openai", _openai_stream),
    Client("openai, responses", "openai", _openai_responses),
    Client("openai, Azure", "openai", _azure),
    Client("anthropic", "anthropic", _anthropic),
    Client("google-genai", "google-genai", _genai),
    Client("mistralai", "mistralai", _mistral),
    Client("cohere", "cohere", _cohere),
    Client("ollama", "ollama", _ollama),
    Client("groq", "groq", _groq),
    Client("huggingface_hub", "huggingface-hub", _huggingface),
    Client("litellm", "litellm", _litellm, beside=("openai",)),
    Client("langchain-openai", "langchain-openai", _langchain_openai),
    Client("langchain-anthropic", "langchain-anthropic", _langchain_anthropic),
    Client("pydantic-ai", "pydantic-ai-slim", _pydantic_ai, beside=("openai",)),
    Client("instructor", "instructor", _instructor, beside=("openai",)),
    Client("llama-index", "llama-index-llms-openai", _llama_index),
    Client("openai-agents", "openai-agents", _openai_agents),
)
