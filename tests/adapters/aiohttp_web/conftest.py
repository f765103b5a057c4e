"""A real server and its client, for aiohttp.web apps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

DEADLINE = 30.0  # seconds after which a test that hangs fails
HOST = "127.0.0.1"

Play = Callable[[Any], Awaitable[Any]]


class Client:
    """The client session of one server: `client.get("/path")`.

    Attributes:
        host: The address of the server.
        port: Its port.
    """

    def __init__(self, session: Any, port: int) -> None:
        self._session = session
        self.host = HOST
        self.port = port

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


@pytest.fixture
def serve() -> Callable[..., Any]:
    """Serve an app on a socket while a coroutine function plays its client; return its result."""

    # Not above: this file is read where aiohttp is not installed, too.
    from aiohttp import ClientSession, web

    def serve(app: web.Application, play: Play, **options: Any) -> Any:
        async def main() -> Any:
            runner = web.AppRunner(app, shutdown_timeout=1.0, **options)
            await runner.setup()
            await web.TCPSite(runner, HOST, 0).start()
            port = runner.addresses[0][1]
            try:
                async with (
                    asyncio.timeout(DEADLINE),
                    ClientSession(f"http://{HOST}:{port}") as session,
                ):
                    return await play(Client(session, port))
            finally:
                await runner.cleanup()

        return asyncio.run(main())

    return serve
