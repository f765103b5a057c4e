"""The client adapters as type checkers see them. Never executed."""

from __future__ import annotations

from typing import Literal, TypeAlias, Unpack, assert_type

import aiohttp
import httpx
import httpx2
import requests
import urllib3
from requests.adapters import HTTPAdapter

import recloser
from recloser import BreakerOpenError, Outcome, Registry
from recloser_adapters import aiohttp as for_aiohttp
from recloser_adapters import botocore as for_botocore
from recloser_adapters import httpx as for_httpx
from recloser_adapters import httpx2 as for_httpx2
from recloser_adapters import requests as for_requests
from recloser_adapters import urllib3 as for_urllib3

registry = Registry()
OwnSettings: TypeAlias = for_httpx.CallSettings[
    httpx.Request, httpx.Response, Literal["raise", "response"]
]


class OwnClient(httpx.Client):
    """A client of the user's own: wrapping must not widen it."""


def by_path(request: httpx.Request) -> str | None:
    return request.url.path or None


def instead(request: httpx.Request, refusal: BreakerOpenError) -> httpx.Response:
    return httpx.Response(200, text=refusal.key)


def verdict(seen: httpx.Response | BaseException) -> Outcome | None:
    return Outcome.IGNORED if isinstance(seen, httpx.ReadTimeout) else None


def report(report: for_httpx.CallReport) -> None:
    assert_type(report.latency, float | None)


def clients() -> None:
    assert_type(for_httpx.wrap_client(OwnClient(), registry), OwnClient)
    assert_type(for_httpx.wrap_client(httpx.AsyncClient(), key="openai"), httpx.AsyncClient)
    assert_type(for_httpx2.wrap_client(httpx2.Client(), on_refuse="response"), httpx2.Client)
    assert_type(for_requests.wrap_session(requests.Session(), registry), requests.Session)
    for_httpx.wrap_client(httpx.Client(), key=for_httpx.by_route, label_by=None, on_refuse="auto")
    for_requests.wrap_session(requests.Session(), key=for_requests.by_credential)
    for_aiohttp.BreakerMiddleware(key=for_aiohttp.by_model, on_refuse="raise")
    for_httpx.wrap_client(
        httpx.Client(),
        registry,
        key=by_path,
        label_by=lambda request: float(request.headers["content-length"]),
        on_refuse=instead,
        classify=verdict,
        sse_errors=True,
        cut_off=True,
        on_end=report,
    )

    for_httpx.wrap_client(httpx.Client(), key=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no key
    for_requests.wrap_session(requests.Session(), classify=verdict)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # of another library
    for_httpx.wrap_client(httpx.Client(), keys="k")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # no such setting
    for_aiohttp.BreakerMiddleware(on_refuse="response")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # not there


def wrapped(**settings: Unpack[OwnSettings]) -> httpx.Client:
    return for_httpx.wrap_client(httpx.Client(), registry, **settings)


def transports() -> None:
    httpx.Client(transport=for_httpx.BreakerTransport(httpx.HTTPTransport(), registry))
    httpx.AsyncClient(transport=for_httpx.AsyncBreakerTransport(httpx.AsyncHTTPTransport()))
    httpx2.Client(transport=for_httpx2.BreakerTransport(httpx2.HTTPTransport(), key="k"))
    session = requests.Session()
    session.mount("https://", for_requests.BreakerAdapter(HTTPAdapter()))


async def session() -> None:
    guard = for_aiohttp.BreakerMiddleware(registry, key=lambda request: request.url.host)
    async with aiohttp.ClientSession(
        middlewares=[guard], trace_configs=[guard.trace_config]
    ) as client:
        assert_type(for_aiohttp.wrap_session(client), aiohttp.ClientSession)


def refused() -> None:
    try:
        httpx.get("https://api.example.org")
    except for_httpx.BreakerOpenTransportError as refusal:
        assert_type(refusal.retry_after, float)
        as_transport_error: httpx.TransportError = refusal
        as_refusal: recloser.BreakerOpenError = refusal
        print(as_transport_error, as_refusal)


def pools_and_aws() -> None:
    assert_type(for_urllib3.wrap_manager(urllib3.PoolManager(), registry), urllib3.PoolManager)
    proxied = for_urllib3.wrap_manager(urllib3.ProxyManager("http://proxy"), on_refuse="response")
    assert_type(proxied, urllib3.ProxyManager)
    pool = urllib3.HTTPSConnectionPool("api.example.org")
    guarded = for_urllib3.wrap_pool(pool, key=for_urllib3.by_route, cut_off=True)
    assert_type(guarded, urllib3.HTTPSConnectionPool)
    for_urllib3.wrap_manager(urllib3.PoolManager(), key=lambda request: request.headers.get("x"))
    client = object()  # those of boto3 have no class until they are made
    assert_type(for_botocore.wrap_client(client, key=for_botocore.by_service), object)
    for_botocore.wrap_session(client, on_end=print, classify=lambda seen: None)
    for_botocore.wrap_client(client, cut_off=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
