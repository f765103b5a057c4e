"""An LLM route with three providers: tokens are streamed; failover happens before the first one.

Run it:  pip install '.[httpx]' starlette uvicorn
         python examples/llm_failover.py               # a demonstration of a few seconds
         python examples/llm_failover.py serve 8000    # the app and its fake providers, to play with
Try it:  curl -N localhost:8000/chat -d 'a question'
         curl -X PUT localhost:8000/providers/north/hang      # or overload, rate_limit, cut, ok
         curl -N -i localhost:8000/chat -d 'a question'       # x-served-by: south
         curl localhost:8000/breakers                         # why

The app is the upper half of this file. The providers below it are fakes on local sockets. Their
modes can be set.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from recloser import BreakerOpenError, Delivery, Failover, Policy, Provider, Registry
from recloser_adapters.httpx import ANY_PROVIDER, PROVIDER, AsyncFailoverTransport, LLMEndpoint

NAMES = ("north", "south", "west")


def chat_app(base_urls: dict[str, str], log: deque[Delivery]) -> Starlette:
    """Return the application: one route, one client, three providers in order of preference."""
    # A first token after more than five seconds is a failure, for any baseline.
    registry = Registry(Policy(slow_ceiling=5.0))
    providers = [
        Provider("north", LLMEndpoint(base_urls["north"], "key-north")),
        Provider("south", LLMEndpoint(base_urls["south"], "key-south", models={"big": "s-70b"})),
        Provider("west", LLMEndpoint(base_urls["west"], "key-west", key_header="api-key")),
    ]
    failover = Failover(registry, providers, time_budget=10.0, on_delivery=log.append)
    client = httpx.AsyncClient(
        transport=AsyncFailoverTransport(httpx.AsyncHTTPTransport(), failover),
        base_url=ANY_PROVIDER,
    )

    async def chat(request: Request) -> Response:
        question = (await request.body()).decode()
        message = {"role": "user", "content": question}
        upstream = client.build_request(
            "POST",
            "/chat/completions",
            json={"model": "big", "stream": True, "messages": [message]},
        )
        try:
            # Returns when a provider has sent its first token. Until then another may be tried.
            response = await client.send(upstream, stream=True)
        except BreakerOpenError as refusal:
            wait = max(1, round(refusal.retry_after))
            return PlainTextResponse("later\n", 503, {"retry-after": str(wait)})
        except httpx.TransportError as error:
            return PlainTextResponse(f"{type(error).__name__}\n", 502)
        served_by = response.extensions[PROVIDER]
        if response.status_code != 200:
            await response.aclose()
            return PlainTextResponse(f"{served_by} says {response.status_code}\n", 502)
        return StreamingResponse(
            tokens(response), media_type="text/plain", headers={"x-served-by": served_by}
        )

    async def breakers(request: Request) -> Response:
        return JSONResponse({each.key: each.explain() for each in registry.breakers()})

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None, None]:
        async with client:
            yield

    routes = [Route("/chat", chat, methods=["POST"]), Route("/breakers", breakers)]
    return Starlette(routes=routes, lifespan=lifespan)


async def tokens(response: httpx.Response) -> AsyncIterator[str]:
    """Yield the text of an OpenAI stream. Closing the stream early also ends the call."""
    async with contextlib.aclosing(response):
        async for line in response.aiter_lines():
            data = line.removeprefix("data: ")
            if data == "[DONE]":
                break
            if data:
                yield json.loads(data)["choices"][0]["delta"]["content"]


class FakeProvider:
    """Speaks the needed part of the OpenAI protocol; `mode` is its fault, or "ok"."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.mode = "ok"
        self.received = 0
        self.app = Starlette(routes=[Route("/v1/chat/completions", self.answer, methods=["POST"])])

    async def answer(self, request: Request) -> Response:
        self.received += 1
        model = (await request.json())["model"]
        if self.mode == "hang":
            await asyncio.sleep(60)
        if self.mode == "overload":
            return JSONResponse({"error": {"code": "server_is_overloaded"}}, 503)
        if self.mode == "rate_limit":
            return JSONResponse({"error": {"code": "slow_down"}}, 429, {"retry-after": "1"})
        return StreamingResponse(self.events(model), media_type="text/event-stream")

    async def events(self, model: str) -> AsyncIterator[str]:
        if self.mode == "cut":
            raise ConnectionResetError("cut before the first token")
        for word in f"{self.name} ({model}) says hello".split(" "):
            yield "data: " + json.dumps({"choices": [{"delta": {"content": f"{word} "}}]}) + "\n\n"
            if self.mode == "cut_late":
                raise ConnectionResetError("cut after the first token")
        yield "data: [DONE]\n\n"


@contextlib.asynccontextmanager
async def served(app: Starlette, port: int = 0) -> AsyncGenerator[str, None]:
    """Serve an app on a local socket, and yield its base URL."""
    # asyncio turns Nagle's algorithm off only if the protocol is given. It costs 40 ms per chunk.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    config = uvicorn.Config(app, log_level="critical", access_log=False)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve([listener]))
    try:
        # A client that connects before the server is ready waits in the listener's queue.
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        await task
        listener.close()


@contextlib.asynccontextmanager
async def everything(
    port: int, log: deque[Delivery]
) -> AsyncGenerator[tuple[str, list[FakeProvider]], None]:
    """Serve the app and its three providers on local sockets."""
    fakes = [FakeProvider(name) for name in NAMES]
    async with contextlib.AsyncExitStack() as stack:
        urls = {
            fake.name: await stack.enter_async_context(served(fake.app)) + "/v1" for fake in fakes
        }
        app = chat_app(urls, log)
        modes = {fake.name: fake for fake in fakes}

        async def set_mode(request: Request) -> Response:
            modes[request.path_params["name"]].mode = request.path_params["mode"]
            return PlainTextResponse("done\n")

        app.routes.append(Route("/providers/{name}/{mode}", set_mode, methods=["PUT"]))
        yield await stack.enter_async_context(served(app, port)), fakes


async def ask(client: httpx.AsyncClient, times: int) -> None:
    """Send some questions, and print the results."""
    answers: Counter[str] = Counter()
    waits: list[float] = []
    for _ in range(times):
        began = time.perf_counter()
        answers[await answer(client)] += 1
        waits.append((time.perf_counter() - began) * 1000)
    waits.sort()
    said = ", ".join(f"{count} x {text!r}" for text, count in answers.items())
    print(f"    {said}; median {waits[len(waits) // 2]:.1f} ms, slowest {waits[-1]:.1f} ms")


async def answer(client: httpx.AsyncClient) -> str:
    try:
        response = await client.post("/chat", content="hello?")
    except httpx.RemoteProtocolError:
        return "an answer that breaks off"
    return response.text.strip()


async def recover(client: httpx.AsyncClient, name: str) -> None:
    """Send questions until a provider serves again."""
    began = time.perf_counter()
    asked = served_by_it = 0
    while served_by_it < 20 and asked < 2000:
        asked += 1
        served_by_it += (await answer(client)).startswith(name)
        await asyncio.sleep(0.01)
    waited = time.perf_counter() - began
    print(f"    {name} is well again, and served {served_by_it} of {asked} calls in {waited:.1f} s")


async def demonstrate() -> None:
    log: deque[Delivery] = deque(maxlen=1)
    async with everything(0, log) as (url, fakes), httpx.AsyncClient(base_url=url) as client:

        async def scene(title: str, times: int, **modes: str) -> None:
            for fake in fakes:
                fake.mode = modes.get(fake.name, "ok")
            print(title)
            await ask(client, times)
            print(f"    the last one {log[-1]}")
            for fake in fakes:
                fake.mode = "ok"

        await scene("All are well.", 60)
        await scene("north hangs: a few calls wait a moment, none is lost.", 100, north="hang")
        await recover(client, "north")
        await scene("north breaks streams off before the first token.", 20, north="cut")
        await recover(client, "north")
        await scene("It breaks one off after the first token: too late.", 1, north="cut_late")
        await scene("It says 429, Retry-After 1: it is left alone.", 20, north="rate_limit")
        await scene("It still waits, and south is overloaded.", 20, south="overload")
        await scene("All are overloaded.", 20, **dict.fromkeys(NAMES, "overload"))
        print({fake.name: fake.received for fake in fakes})


async def serve(port: int) -> None:
    async with everything(port, deque(maxlen=1)) as (url, _):
        print(f"listening on {url}")
        await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        if sys.argv[1:2] == ["serve"]:
            asyncio.run(serve(int(sys.argv[2]) if len(sys.argv) > 2 else 8000))
        else:
            asyncio.run(demonstrate())
