"""The client libraries under test, with one async interface.

Calls of a sync client block the event loop, which is harmless here. Adapters are imported where
they are used, because a tox environment may have only one client library.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from importlib import import_module
from typing import Any, Protocol

from recloser import Registry

LONG = 10.0  # seconds; for time-outs that should not be reached
SHORT = 0.2  # seconds; for time-outs that should be reached
ENOUGH = 0.6  # seconds; for time-outs that another event must precede, also under load


class Answer(Protocol):
    """A response whose headers have arrived."""

    status: int

    async def read(self) -> bytes:
        """Read the rest of the body."""

    async def piece(self) -> bytes:
        """Read one piece of the body."""

    async def close(self) -> None:
        """Close the body, even if it is not read to its end."""


class Client:
    """A client whose requests are guarded.

    Attributes:
        library: The module of the library.
        is_async: Whether its calls are awaited, so that they can be cancelled.
        wire_error: The errors that it raises for problems on the wire.
        refusal_name: The name of the adapter's error for a refused call.
        answers_refusals: Whether the adapter can make a response for a refused call.
        timeout: Its time-out in seconds.
        client: The library's own object.
    """

    client: Any
    library: str
    refusal_name: str
    is_async = False
    answers_refusals = True

    def __init__(
        self,
        registry: Registry,
        *,
        timeout: float = LONG,
        proxy: str | None = None,
        **settings: Any,
    ) -> None:
        self.timeout = timeout
        self.proxy = proxy
        self.adapter = import_module(f"recloser_adapters.{self.library}")
        self.module = import_module(self.library)
        self.settings = {"registry": registry, **settings}

    @property
    def wire_error(self) -> tuple[type[Exception], ...]:
        """The errors that it raises for problems on the wire."""
        raise NotImplementedError

    @property
    def refusal(self) -> type[Exception]:
        """The error that it raises for a refused call."""
        kind: type[Exception] = getattr(self.adapter, self.refusal_name)
        return kind

    async def open(
        self,
        url: str,
        *,
        method: str = "GET",
        body: object = None,
        headers: Mapping[str, str] | None = None,
        redirects: bool = False,
    ) -> Any:
        """Send a request; return the answer when its headers have arrived."""
        raise NotImplementedError

    async def get(self, url: str, **options: Any) -> tuple[int, bytes]:
        """Send a request and read its answer."""
        answer = await self.open(url, **options)
        try:
            return answer.status, await answer.read()
        finally:
            await answer.close()

    async def aclose(self) -> None:
        """Close the client."""


class _HttpxAnswer:
    def __init__(self, response: Any) -> None:
        self.response = response
        self.status: int = response.status_code
        self._pieces: Iterator[bytes] | None = None

    async def read(self) -> bytes:
        if self._pieces is not None:
            return b"".join(self._pieces)
        return self.read_all()

    async def piece(self) -> bytes:
        if self._pieces is None:
            self._pieces = self.pieces()
        return next(self._pieces, b"")

    def read_all(self) -> bytes:
        data: bytes = self.response.read()
        return data

    def pieces(self) -> Iterator[bytes]:
        pieces: Iterator[bytes] = self.response.iter_raw()
        return pieces

    async def close(self) -> None:
        self.response.close()


class _Httpx(Client):
    library = "httpx"
    refusal_name = "BreakerOpenTransportError"

    def __init__(self, registry: Registry, **settings: Any) -> None:
        super().__init__(registry, **settings)
        self.client = self.make(timeout=self.timeout, proxy=self.proxy, trust_env=False)
        self.adapter.wrap_client(self.client, **self.settings)

    def make(self, **settings: Any) -> Any:
        return self.module.Client(**settings)

    @property
    def wire_error(self) -> tuple[type[Exception], ...]:
        return (self.module.TransportError,)

    async def open(
        self,
        url: str,
        *,
        method: str = "GET",
        body: object = None,
        headers: Mapping[str, str] | None = None,
        redirects: bool = False,
    ) -> Any:
        request = self.client.build_request(method, url, content=body, headers=headers)
        return _HttpxAnswer(self.client.send(request, stream=True, follow_redirects=redirects))

    async def aclose(self) -> None:
        self.client.close()


class _AsyncHttpxAnswer:
    def __init__(self, response: Any) -> None:
        self.response = response
        self.status: int = response.status_code
        self._pieces: AsyncIterator[bytes] | None = None

    async def read(self) -> bytes:
        if self._pieces is not None:
            return b"".join([piece async for piece in self._pieces])
        data: bytes = await self.response.aread()
        return data

    async def piece(self) -> bytes:
        if self._pieces is None:
            self._pieces = self.response.aiter_raw()
        return await anext(self._pieces, b"")

    async def close(self) -> None:
        # trio reports an async generator of httpx that stays open as an error.
        if self._pieces is not None:
            await self._pieces.aclose()  # type: ignore[attr-defined]  # it is a generator
        await self.response.aclose()


class _AsyncHttpx(_Httpx):
    is_async = True

    def make(self, **settings: Any) -> Any:
        return self.module.AsyncClient(**settings)

    async def open(
        self,
        url: str,
        *,
        method: str = "GET",
        body: object = None,
        headers: Mapping[str, str] | None = None,
        redirects: bool = False,
    ) -> Any:
        request = self.client.build_request(method, url, content=body, headers=headers)
        response = await self.client.send(request, stream=True, follow_redirects=redirects)
        return _AsyncHttpxAnswer(response)

    async def aclose(self) -> None:
        await self.client.aclose()


class _Httpx2(_Httpx):
    library = "httpx2"


class _AsyncHttpx2(_AsyncHttpx):
    library = "httpx2"


class _RequestsAnswer(_HttpxAnswer):
    def read_all(self) -> bytes:
        data: bytes = self.response.content
        return data

    def pieces(self) -> Iterator[bytes]:
        pieces: Iterator[bytes] = self.response.iter_content(10)
        return pieces


class _Requests(Client):
    library = "requests"
    refusal_name = "BreakerOpenConnectionError"

    def __init__(self, registry: Registry, **settings: Any) -> None:
        super().__init__(registry, **settings)
        self.client = self.module.Session()
        self.client.trust_env = False
        if self.proxy is not None:
            self.client.proxies = {"http": self.proxy}
        self.adapter.wrap_session(self.client, **self.settings)

    @property
    def wire_error(self) -> tuple[type[Exception], ...]:
        return (self.module.RequestException,)

    async def open(
        self,
        url: str,
        *,
        method: str = "GET",
        body: object = None,
        headers: Mapping[str, str] | None = None,
        redirects: bool = False,
    ) -> Any:
        return _RequestsAnswer(
            self.client.request(
                method,
                url,
                data=body,
                headers=headers,
                stream=True,
                timeout=self.timeout,
                allow_redirects=redirects,
            )
        )

    async def aclose(self) -> None:
        self.client.close()


class _Urllib3Answer(_HttpxAnswer):
    def __init__(self, response: Any) -> None:
        self.response = response
        self.status: int = response.status
        self._pieces: Iterator[bytes] | None = None

    def pieces(self) -> Iterator[bytes]:
        pieces: Iterator[bytes] = self.response.stream(10)
        return pieces


class _Urllib3(Client):
    library = "urllib3"
    refusal_name = "BreakerOpenRetryError"

    def __init__(self, registry: Registry, **settings: Any) -> None:
        super().__init__(registry, **settings)
        self.client = (
            self.module.PoolManager()
            if self.proxy is None
            else self.module.ProxyManager(self.proxy)
        )
        self.adapter.wrap_manager(self.client, **self.settings)

    @property
    def wire_error(self) -> tuple[type[Exception], ...]:
        return (self.module.exceptions.HTTPError,)

    async def open(
        self,
        url: str,
        *,
        method: str = "GET",
        body: object = None,
        headers: Mapping[str, str] | None = None,
        redirects: bool = False,
    ) -> Any:
        return _Urllib3Answer(
            self.client.request(
                method,
                url,
                body=body,
                headers=headers,
                preload_content=False,
                timeout=self.timeout,
                redirect=redirects,
                # Each attempt is a call, and the contract speaks of one.
                retries=self.module.Retry(None, connect=0, read=0, status=0, other=0, redirect=5),
            )
        )

    async def aclose(self) -> None:
        self.client.clear()


class _AiohttpAnswer:
    def __init__(self, response: Any) -> None:
        self.response = response
        self.status: int = response.status

    async def read(self) -> bytes:
        if self.response.content.total_bytes:
            data: bytes = await self.response.content.read()
        else:
            data = await self.response.read()
        return data

    async def piece(self) -> bytes:
        data: bytes = await self.response.content.readany()
        return data

    async def close(self) -> None:
        self.response.close()


class _Aiohttp(Client):
    library = "aiohttp"
    refusal_name = "BreakerOpenConnectionError"
    is_async = True
    answers_refusals = False

    def __init__(self, registry: Registry, **settings: Any) -> None:
        super().__init__(registry, **settings)
        self._session: Any = None

    @property
    def client(self) -> Any:
        # A session needs a running event loop.
        if self._session is None:
            limit = self.module.ClientTimeout(sock_connect=self.timeout, sock_read=self.timeout)
            self._session = self.module.ClientSession(timeout=limit)
            self.adapter.wrap_session(self._session, **self.settings)
        return self._session

    @property
    def wire_error(self) -> tuple[type[Exception], ...]:
        return (self.module.ClientError, TimeoutError)

    async def open(
        self,
        url: str,
        *,
        method: str = "GET",
        body: object = None,
        headers: Mapping[str, str] | None = None,
        redirects: bool = False,
    ) -> Any:
        return _AiohttpAnswer(
            await self.client.request(
                method,
                url,
                data=body,
                headers=headers,
                allow_redirects=redirects,
                proxy=self.proxy,
            )
        )

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


ALL: tuple[type[Client], ...] = (
    _Httpx,
    _AsyncHttpx,
    _Httpx2,
    _AsyncHttpx2,
    _Requests,
    _Urllib3,
    _Aiohttp,
)
HTTPX: tuple[type[Client], ...] = ALL[:4]
HAS_TRIO = (_AsyncHttpx, _AsyncHttpx2)


@contextlib.asynccontextmanager
async def closing(client: Client) -> AsyncIterator[Client]:
    """Close a client at the end, also after an error."""
    try:
        yield client
    finally:
        await client.aclose()
