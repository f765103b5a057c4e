"""A real server and its client, for Tornado apps."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

DEADLINE = 30.0  # seconds after which a test that hangs fails


class Client:
    """The client of one server.

    Attributes:
        port: The port of the server.
    """

    def __init__(self, port: int) -> None:
        # Not above: this file is read where Tornado is not installed, too.
        from tornado.httpclient import AsyncHTTPClient

        self.port = port
        self._http = AsyncHTTPClient(force_instance=True)

    async def ask(self, method: str, path: str, **options: Any) -> Any:
        """Send a request, and return the answer whatever its status is."""
        return await self._http.fetch(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            raise_error=False,
            follow_redirects=False,
            allow_nonstandard_methods=True,
            **options,
        )

    def close(self) -> None:
        self._http.close()


Play = Callable[[Client], Awaitable[Any]]


@pytest.fixture
def serve() -> Callable[..., Any]:
    """Serve an app on a socket while a coroutine function plays its client; return its result."""

    from tornado.httpserver import HTTPServer
    from tornado.testing import bind_unused_port
    from tornado.web import Application

    def serve(app: Application, play: Play) -> Any:
        async def main() -> Any:
            server = HTTPServer(app)
            socket, port = bind_unused_port()
            server.add_socket(socket)
            client = Client(port)
            try:
                async with asyncio.timeout(DEADLINE):
                    return await play(client)
            finally:
                client.close()
                server.stop()
                await server.close_all_connections()

        return asyncio.run(main())

    return serve


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Tornado logs each error of a handler, and these tests are about errors."""
    loggers = [
        logging.getLogger(f"tornado.{name}") for name in ("access", "application", "general")
    ]
    for logger in loggers:
        logger.disabled = True
    yield
    for logger in loggers:
        logger.disabled = False
