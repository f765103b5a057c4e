"""Users of a chat model behind two providers, through one of several clients.

It runs in the environment of the client: `python chat_users.py CLIENT PRIMARY BACKUP COUNT RATE
STREAM`. It prints, for each call, when it began (seconds of the monotonic clock), how long it took,
and who served it ("" for nobody).
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

TIMEOUT = 10.0  # seconds that a user waits for an answer
STALL = 2.0  # seconds that a user waits for the next token of a stream
Ask = Callable[[bool], Awaitable[str]]
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "ping"}]}


async def text_of(answer: Any, stream: bool) -> str:
    """Read a whole answer."""
    if not stream:
        return str(answer.choices[0].message.content)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in answer])


def recloser_client(urls: list[str]) -> Ask:
    """The OpenAI SDK over a failover transport, with all defaults."""
    import httpx2
    import openai

    from recloser import Failover, Provider, Registry
    from recloser_adapters.httpx2 import ANY_PROVIDER, AsyncFailoverTransport, LLMEndpoint

    names = ("primary", "backup")
    providers = [
        Provider(name, LLMEndpoint(url, "k")) for name, url in zip(names, urls, strict=True)
    ]
    transport = AsyncFailoverTransport(httpx2.AsyncHTTPTransport(), Failover(Registry(), providers))
    client = openai.AsyncOpenAI(
        api_key="k",
        base_url=ANY_PROVIDER,
        max_retries=0,
        http_client=httpx2.AsyncClient(transport=transport, timeout=TIMEOUT),
    )
    stalls = httpx2.Timeout(TIMEOUT, read=STALL)

    async def ask(stream: bool) -> str:
        timeout = stalls if stream else TIMEOUT
        answer = await client.chat.completions.create(
            model="m", stream=stream, timeout=timeout, **CHAT
        )
        return await text_of(answer, stream)

    return ask


def router(urls: list[str], **settings: Any) -> Ask:
    """LiteLLM's Router. With `fallbacks` each provider is a model, else both are of one, in order."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    # By name: this environment may not have it.
    litellm: Any = importlib.import_module("litellm")
    litellm.suppress_debug_info = True
    by_fallback = "fallbacks" in settings
    models = [
        {
            "model_name": f"m{number}" if by_fallback else "m0",
            "litellm_params": {
                "model": "openai/m",
                "api_base": url,
                "api_key": "k",
                "order": number + 1,
            },
        }
        for number, url in enumerate(urls)
    ]
    asked = litellm.Router(model_list=models, timeout=TIMEOUT, stream_timeout=STALL, **settings)

    async def ask(stream: bool) -> str:
        return await text_of(await asked.acompletion(model="m0", stream=stream, **CHAT), stream)

    return ask


CLIENTS: dict[str, Callable[[list[str]], Ask]] = {
    "recloser": recloser_client,
    "order": router,
    "order, tuned": lambda urls: router(
        urls, num_retries=1, allowed_fails=1, cooldown_time=30, retry_after=0
    ),
    "fallbacks": lambda urls: router(urls, fallbacks=[{"m0": ["m1"]}]),
}


async def main(client: str, ports: list[str], count: int, rate: float, stream: bool) -> None:
    """Send the load: each call begins when it is due, even if earlier ones are not answered."""
    ask = CLIENTS[client]([f"http://127.0.0.1:{port}/v1" for port in ports])

    async def one() -> tuple[float, float, str]:
        began = time.monotonic()
        try:
            served_by = (await ask(stream)).partition(" ")[0]
        except Exception:
            served_by = ""
        return began, time.monotonic() - began, served_by

    # The first call imports and connects.
    await one()
    print("ready", flush=True)
    began = time.monotonic()
    tasks: list[asyncio.Task[tuple[float, float, str]]] = []
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        tasks.append(asyncio.create_task(one()))
    print(json.dumps(await asyncio.gather(*tasks)), flush=True)


if __name__ == "__main__":
    _, name, primary, backup, calls, per_second, streaming = sys.argv
    asyncio.run(main(name, [primary, backup], int(calls), float(per_second), streaming == "True"))
