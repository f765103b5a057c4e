"""A page made from four services at once: an unhealthy service costs its part, not the page.

Run it:  pip install '.[aiohttp]'
         python examples/fanout_aiohttp.py               # a demonstration of a few seconds
         python examples/fanout_aiohttp.py serve 8000    # the page and its fake services
Try it:  curl localhost:8000/page
         curl -X PUT localhost:8000/services/reviews/hang     # or fail, ok
         curl localhost:8000/page                             # without reviews
         curl localhost:8000/breakers                         # why

Each service has its own breaker, keyed by host. The page waits at most 0.4 s for each part. While a
breaker is open, the page does not wait for that service.

The page is the upper half of this file. The services below it are fakes on local sockets. Their
modes can be set.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator

import aiohttp
from aiohttp import web

from recloser import BreakerOpenError, Registry
from recloser_adapters.aiohttp import wrap_session

NAMES = ("profile", "orders", "reviews", "ads")
PATIENCE = aiohttp.ClientTimeout(total=0.4)


def page_app(base_urls: dict[str, str]) -> web.Application:
    """Return the application: one page of four parts."""
    registry = Registry()

    async def part(session: aiohttp.ClientSession, name: str) -> str:
        """Return one part of the page, or the reason why it is missing."""
        try:
            async with session.get(f"{base_urls[name]}/part", timeout=PATIENCE) as response:
                response.raise_for_status()
                return await response.text()
        except BreakerOpenError:
            return "left out"
        except (TimeoutError, aiohttp.ClientError) as error:
            return f"missing: {type(error).__name__}"

    async def page(request: web.Request) -> web.Response:
        session = request.app[SESSION]
        parts = await asyncio.gather(*(part(session, name) for name in NAMES))
        return web.json_response(dict(zip(NAMES, parts, strict=True)))

    async def breakers(request: web.Request) -> web.Response:
        return web.json_response({each.key: each.explain() for each in registry.breakers()})

    async def with_session(app: web.Application) -> AsyncGenerator[None, None]:
        async with wrap_session(aiohttp.ClientSession(), registry) as session:
            app[SESSION] = session
            yield

    app = web.Application()
    app.add_routes([web.get("/page", page), web.get("/breakers", breakers)])
    app.cleanup_ctx.append(with_session)
    return app


SESSION = web.AppKey("session", aiohttp.ClientSession)


class FakeService:
    """Answers at once, unless `mode` is "hang" or "fail"."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.mode = "ok"
        self.received = 0
        self.app = web.Application()
        self.app.add_routes([web.get("/part", self.answer)])

    async def answer(self, request: web.Request) -> web.Response:
        self.received += 1
        if self.mode == "hang":
            await asyncio.sleep(60)
        if self.mode == "fail":
            raise web.HTTPInternalServerError
        return web.Response(text=f"the {self.name}")


@contextlib.asynccontextmanager
async def served(app: web.Application, port: int = 0) -> AsyncGenerator[str, None]:
    """Serve an app on a local socket, and yield its base URL."""
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def everything(port: int) -> AsyncGenerator[tuple[str, dict[str, FakeService]], None]:
    """Serve the page and its four services on local sockets."""
    fakes = {name: FakeService(name) for name in NAMES}
    async with contextlib.AsyncExitStack() as stack:
        urls = {
            name: await stack.enter_async_context(served(fake.app)) for name, fake in fakes.items()
        }
        app = page_app(urls)

        async def set_mode(request: web.Request) -> web.Response:
            fakes[request.match_info["name"]].mode = request.match_info["mode"]
            return web.Response(text="done\n")

        app.add_routes([web.put("/services/{name}/{mode}", set_mode)])
        yield await stack.enter_async_context(served(app, port)), fakes


async def demonstrate() -> None:
    async with everything(0) as (url, fakes), aiohttp.ClientSession(url) as client:

        async def scene(title: str, times: int, **modes: str) -> None:
            for name, fake in fakes.items():
                fake.mode = modes.get(name, "ok")
            print(title)
            pages: Counter[str] = Counter()
            waits: list[float] = []
            for _ in range(times):
                began = time.perf_counter()
                async with client.get("/page") as response:
                    parts: dict[str, str] = await response.json()
                waits.append((time.perf_counter() - began) * 1000)
                absent = [f"{name} {text}" for name, text in parts.items() if text[:4] != "the "]
                pages[", ".join(absent) or "complete"] += 1
            waits.sort()
            for page, count in pages.items():
                print(f"    {count} x {page}")
            print(f"    median {waits[times // 2]:.1f} ms, slowest {waits[-1]:.1f} ms")

        await scene("All are well.", 60)
        await scene(
            "reviews hang: five pages wait for them, the others do not.", 60, reviews="hang"
        )
        await scene("ads fail, too.", 60, reviews="hang", ads="fail")
        await asyncio.sleep(2.0)
        await scene("All are well again.", 60)
        print({name: fake.received for name, fake in fakes.items()})


async def serve(port: int) -> None:
    async with everything(port) as (url, _):
        print(f"listening on {url}")
        await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        if sys.argv[1:2] == ["serve"]:
            asyncio.run(serve(int(sys.argv[2]) if len(sys.argv) > 2 else 8000))
        else:
            asyncio.run(demonstrate())
