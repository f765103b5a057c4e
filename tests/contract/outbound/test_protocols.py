"""Nothing altered: what Python sees of a body is the same with and without a breaker."""

from __future__ import annotations

import asyncio
import inspect
import io
import shutil
import weakref
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest
from tests.support.scripted_upstream import Upstream, answer

from recloser import Registry

TEXT = b"a,b\n1,2\n3,4\n"


def with_attribute(body: Any, name: str) -> object:
    """Set an attribute, read it, and delete it again."""
    setattr(body, name, 1)
    value = getattr(body, name)
    delattr(body, name)
    return value, getattr(body, name, "gone")


def copied(raw: Any) -> bytes:
    into = io.BytesIO()
    shutil.copyfileobj(raw, into)
    return into.getvalue()


RAW_USES: dict[str, Callable[[Any], object]] = {
    "next": next,
    "next twice": lambda raw: (next(raw), next(raw)),
    "iter": lambda raw: b"".join(raw),
    "iter is itself": lambda raw: isinstance(iter(raw), type(iter(raw))),
    "readlines": lambda raw: raw.readlines(),
    "readline": lambda raw: raw.readline(),
    "readinto": lambda raw: (raw.readinto(buffer := bytearray(4)), bytes(buffer)),
    "data": lambda raw: raw.data,
    "drain": lambda raw: (raw.drain_conn(), raw.read()),
    "text": lambda raw: io.TextIOWrapper(raw).read(),
    "buffered": lambda raw: io.BufferedReader(raw).readline(),
    "copy": lambda raw: copied(raw),
    "weakref": lambda raw: weakref.ref(raw)() is raw,
    "set, weak": lambda raw: len(weakref.WeakSet([raw])),
    "is a file": lambda raw: isinstance(raw, io.IOBase),
    "with": lambda raw: raw.__enter__().read(),
    "closed": lambda raw: (raw.closed, raw.close(), raw.closed),
    "with closed": lambda raw: (raw.close(), raw.__enter__()),
    "attribute": lambda raw: with_attribute(raw, "mine"),
    "has": lambda raw: [hasattr(raw, name) for name in ("stream", "getvalue", "json", "nothing")],
    "dir": lambda raw: "read_chunked" in dir(raw),
    "vars": lambda raw: "status" in dir(raw),
    "repr": lambda raw: type(raw).__name__ in repr(raw) or "object" in repr(raw),
    "status": lambda raw: (raw.status, raw.headers["content-length"]),
}


def tried(use: Callable[[Any], object], body: Any) -> object:
    try:
        return use(body)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.skipif(find_spec("requests") is None, reason="requests is not installed")
@pytest.mark.parametrize("name", RAW_USES)
def test_each_use_of_the_raw_body_of_requests(name: str, upstream: Upstream) -> None:
    requests = import_module("requests")
    adapter = import_module("recloser_adapters.requests")
    upstream.answers("/", answer(200, TEXT))
    seen = []
    for wrap in (lambda session, registry: session, adapter.wrap_session):
        with wrap(requests.Session(), Registry()) as session:
            session.trust_env = False
            seen.append(tried(RAW_USES[name], session.get(upstream.url, stream=True).raw))

    assert seen[0] == seen[1]


@pytest.mark.skipif(find_spec("requests") is None, reason="requests is not installed")
def test_a_body_of_another_kind_has_no_methods_that_it_has_not() -> None:
    """requests asks whether it has `stream`, and reads it as a file if not."""
    requests = import_module("requests")
    adapter = import_module("recloser_adapters.requests")

    class Files(requests.adapters.BaseAdapter):  # type: ignore[misc, name-defined]  # imported late
        def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
            response = requests.Response()
            response.status_code, response.request, response.url = 200, request, request.url
            response.raw = io.BytesIO(TEXT)
            return response

        def close(self) -> None:
            """Nothing is open."""

    registry = Registry()
    session = requests.Session()
    session.mount("file://", Files())
    adapter.wrap_session(session, registry, key="file")

    assert session.get("file:///a").content == TEXT
    assert not hasattr(session.get("file:///a", stream=True).raw, "stream")
    assert registry["file"].metrics().successes == 1


STREAM_USES: dict[str, Callable[[Any], object]] = {
    "weakref": lambda stream: weakref.ref(stream)() is stream,
    "iterable": lambda stream: (hasattr(stream, "__iter__"), hasattr(stream, "__aiter__")),
    "closes": lambda stream: (hasattr(stream, "close"), hasattr(stream, "aclose")),
    "aclose": lambda stream: inspect.iscoroutinefunction(getattr(stream, "aclose", None)),
    "nothing": lambda stream: stream.nothing,
}


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("name", STREAM_USES)
def test_each_use_of_a_stream_of_httpx(
    library: str, content_type: str, asynchronous: bool, name: str
) -> None:
    lib = pytest.importorskip(library)
    adapter = import_module(f"recloser_adapters.{library}")

    class Stream(lib.AsyncByteStream if asynchronous else lib.SyncByteStream):  # type: ignore[misc]
        def __iter__(self) -> Any:
            yield TEXT

        async def __aiter__(self) -> Any:
            yield TEXT

    class Answering(lib.AsyncBaseTransport, lib.BaseTransport):  # type: ignore[misc, name-defined]
        def handle_request(self, request: Any) -> Any:
            return lib.Response(200, headers={"content-type": content_type}, stream=Stream())

        async def handle_async_request(self, request: Any) -> Any:
            return self.handle_request(request)

    if not asynchronous:
        del Stream.__aiter__
    else:
        del Stream.__iter__
    request = lib.Request("POST", "http://a/")
    if asynchronous:
        guarded = adapter.AsyncBreakerTransport(Answering(), Registry())
        streams = [
            asyncio.run(transport.handle_async_request(request)).stream
            for transport in (Answering(), guarded)
        ]
    else:
        guarded = adapter.BreakerTransport(Answering(), Registry())
        streams = [transport.handle_request(request).stream for transport in (Answering(), guarded)]

    plain, watched = [tried(STREAM_USES[name], stream) for stream in streams]
    if isinstance(plain, str):
        assert "no attribute 'nothing'" in plain
        assert "no attribute 'nothing'" in str(watched)
    else:
        assert plain == watched


class OnlyNext:
    """An async iterator that cannot be iterated itself: `async for` asks only for `__anext__`."""

    def __init__(self) -> None:
        self._left = [TEXT]

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
def test_the_chunks_of_httpx_may_be_an_iterator_with_nothing_else(
    library: str, content_type: str
) -> None:
    lib = pytest.importorskip(library)
    adapter = import_module(f"recloser_adapters.{library}")

    class Stream(lib.AsyncByteStream):  # type: ignore[misc, name-defined]  # imported late
        def __aiter__(self) -> Any:
            return OnlyNext()

    class Answering(lib.AsyncBaseTransport):  # type: ignore[misc, name-defined]  # imported late
        async def handle_async_request(self, request: Any) -> Any:
            return lib.Response(200, headers={"content-type": content_type}, stream=Stream())

    async def ask() -> bytes:
        registry = Registry()
        async with lib.AsyncClient(transport=Answering()) as client:
            adapter.wrap_client(client, registry, key="k")
            response = await client.post("http://a/")
        assert registry["k"].metrics().successes == 1
        return bytes(response.content)

    assert asyncio.run(ask()) == TEXT


CONTENT_USES: dict[str, Callable[[Any], Any]] = {
    "coroutines": lambda content: [
        (name, inspect.iscoroutinefunction(getattr(content, name)))
        for name in dir(content)
        if not name.startswith("_") and callable(getattr(content, name, None))
    ],
    "is a reader": lambda content: isinstance(content, import_module("aiohttp").StreamReader),
    "attribute": lambda content: with_attribute(content, "_mine"),
    "iterators": lambda content: [
        (hasattr(each, "__aiter__"), hasattr(each, "__anext__"))
        for each in (
            content.__aiter__(),
            content.iter_any(),
            content.iter_chunked(4),
            content.iter_chunks(),
        )
    ],
    "state": lambda content: (content.is_eof(), content.at_eof(), content.total_bytes),
}


@pytest.mark.skipif(find_spec("aiohttp") is None, reason="aiohttp is not installed")
@pytest.mark.parametrize("name", CONTENT_USES)
@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
def test_each_use_of_the_content_of_aiohttp(
    name: str, content_type: str, upstream: Upstream
) -> None:
    aiohttp = import_module("aiohttp")
    adapter = import_module("recloser_adapters.aiohttp")
    upstream.answers("/", answer(200, TEXT, {"content-type": content_type}))

    async def use(wrap: Callable[..., Any]) -> object:
        async with aiohttp.ClientSession() as session:
            wrap(session, Registry())
            async with session.post(upstream.url) as response:
                return tried(CONTENT_USES[name], response.content)

    plain = asyncio.run(use(lambda session, registry: session))
    watched = asyncio.run(use(adapter.wrap_session))

    assert plain == watched
