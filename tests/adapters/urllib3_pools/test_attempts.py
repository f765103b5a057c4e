"""The urllib3 adapter; what it shares with every client is in `tests/contract/outbound`."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.breaker_state import votes
from tests.support.scripted_upstream import (
    LAST,
    Gate,
    Listening,
    Upstream,
    answer,
    chunk,
    closed_port,
    cut,
    head,
)

from recloser import Breaker, Outcome, Registry
from recloser.testing import ManualClock, open_breaker

urllib3 = pytest.importorskip("urllib3")

from recloser_adapters.urllib3 import (
    BreakerOpenRetryError,
    CallReport,
    nothing_sent,
    wrap_manager,
    wrap_pool,
)

Retry: Any = urllib3.Retry
MaxRetryError: Any = urllib3.exceptions.MaxRetryError


@pytest.fixture
def breaker(registry: Registry, upstream: Upstream) -> Breaker:
    return registry[upstream.host]


@pytest.fixture
def http(registry: Registry) -> Iterator[Any]:
    with urllib3.PoolManager() as manager:
        yield wrap_manager(manager, registry)


# Attempts


def test_each_retry_is_a_call(http: Any, upstream: Upstream, breaker: Breaker) -> None:
    upstream.answers("/", answer(503))
    upstream.answers("/", cut)
    upstream.answers("/", answer(200, b"at last"))

    response = http.request("GET", upstream.url, retries=Retry(5, status_forcelist=[503]))

    assert response.data == b"at last"
    assert votes(breaker.metrics()) == {"successes": 1, "failures": 2}


def test_a_breaker_that_opens_ends_the_retries(
    http: Any, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", answer(503))

    with pytest.raises(BreakerOpenRetryError) as refused:
        http.request("GET", upstream.url, retries=Retry(50, status_forcelist=[503]))

    assert upstream.count("/") == breaker.metrics().failures < 10
    assert refused.value.key == upstream.host


def test_the_sleep_between_retries_belongs_to_no_call(
    http: Any, upstream: Upstream, breaker: Breaker
) -> None:
    in_flight: list[int] = []

    class Watched(Retry):  # type: ignore[misc]  # imported late
        def sleep(self, response: Any = None) -> None:
            in_flight.append(breaker.metrics().in_flight)

    upstream.answers("/", answer(503))
    upstream.answers("/", cut)
    upstream.answers("/", answer(200))

    http.request("GET", upstream.url, retries=Watched(5, status_forcelist=[503]))

    assert in_flight == [0, 0]


def test_a_request_without_retries_raises_what_it_raised_before(
    http: Any, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", cut)

    with pytest.raises(urllib3.exceptions.ProtocolError):
        http.request("GET", upstream.url, retries=False)

    assert votes(breaker.metrics()) == {"failures": 1}


def test_a_host_that_cannot_be_reached_counts_once_for_each_attempt(
    http: Any, registry: Registry
) -> None:
    with closed_port() as port, pytest.raises(MaxRetryError) as raised:
        http.request("GET", f"http://127.0.0.1:{port}/", retries=2)

    assert type(raised.value) is MaxRetryError
    assert votes(registry[f"127.0.0.1:{port}"].metrics()) == {"failures": 3}


def test_a_pool_of_its_own_follows_redirects(registry: Registry, upstream: Upstream) -> None:
    upstream.answers("/old", answer(302, headers={"location": "/new"}))
    upstream.answers("/new", answer(200, b"here"))
    pool = wrap_pool(urllib3.HTTPConnectionPool("127.0.0.1", upstream.port), registry)

    assert pool.request("GET", "/old").data == b"here"

    assert votes(registry[upstream.host].metrics()) == {"successes": 2}


def test_a_request_in_the_body_of_another_is_another_call(
    registry: Registry, upstream: Upstream
) -> None:
    upstream.answers("/from", answer(200, b"copied"))
    upstream.answers("/to", answer(201))
    pool = wrap_pool(urllib3.HTTPConnectionPool("127.0.0.1", upstream.port, maxsize=2), registry)

    def copied() -> Iterator[bytes]:
        yield pool.request("GET", "/from").data

    pool.request("PUT", "/to", body=copied(), chunked=True)

    assert [seen.body for seen in upstream.seen] == [b"", b"copied"]
    assert votes(registry[upstream.host].metrics()) == {"successes": 2}


# Bodies that urllib3 reads at once, which is its default


def test_a_body_that_is_read_at_once_is_the_response_of_before(
    http: Any, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", answer(200, b'{"a": 1}', {"content-type": "application/json"}))

    response = http.request("GET", upstream.url)

    assert type(response) is urllib3.HTTPResponse
    assert (response.data, response.data, response.json()) == (b'{"a": 1}', b'{"a": 1}', {"a": 1})
    assert votes(breaker.metrics()) == {"successes": 1}


def test_its_latency_is_the_time_to_the_headers(
    registry: Registry, upstream: Upstream, clock: ManualClock
) -> None:
    arrived = Gate()
    upstream.answers("/", head(), arrived, lambda wire: clock.advance(5.0), chunk(b"so"), LAST)
    reports: list[CallReport] = []
    http = wrap_manager(
        urllib3.PoolManager(),
        registry,
        classify=lambda seen: arrived.open(),  # it is asked when the headers have arrived
        on_end=reports.append,
    )

    assert http.request("GET", upstream.url).data == b"so"

    assert [(report.outcome, report.latency, report.duration) for report in reports] == [
        (Outcome.SUCCESS, 0.0, 5.0)
    ]


def test_a_body_that_breaks_off_is_a_failure_and_is_asked_for_again(
    http: Any, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", head(), chunk(b"half"), cut)
    upstream.answers("/", answer(200, b"whole"))

    assert http.request("GET", upstream.url).data == b"whole"

    assert votes(breaker.metrics()) == {"successes": 1, "failures": 1}


def test_a_body_that_does_not_decode_says_nothing(
    http: Any, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", answer(200, b"no gzip at all", {"content-encoding": "gzip"}))

    with pytest.raises(urllib3.exceptions.DecodeError):
        http.request("GET", upstream.url)

    assert votes(breaker.metrics()) == {"ignored": 1}


@pytest.mark.parametrize("preloads", [True, False])
def test_a_connection_is_used_again(http: Any, upstream: Upstream, preloads: bool) -> None:
    upstream.answers("/", answer(200, b"x"))

    for _ in range(3):
        response = http.request("GET", upstream.url, preload_content=preloads)
        assert response.data == b"x"

    assert upstream.connections == 1


def test_an_answer_without_a_body_ends_the_call(
    http: Any, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", head(204, {"connection": "keep-alive"}))

    assert http.request("HEAD", upstream.url).data == b""
    assert http.request("GET", upstream.url).status == 204

    assert votes(breaker.metrics()) == {"successes": 2}


# Our own trouble


def test_a_pool_that_is_full_or_closed_says_nothing(
    registry: Registry, upstream: Upstream, breaker: Breaker
) -> None:
    gate = Gate()
    upstream.answers("/", head(), gate, LAST)
    pool = urllib3.HTTPConnectionPool("127.0.0.1", upstream.port, maxsize=1, block=True)
    wrap_pool(pool, registry)

    held = pool.urlopen("GET", "/", preload_content=False)
    with pytest.raises(urllib3.exceptions.EmptyPoolError):
        pool.urlopen("GET", "/", pool_timeout=0.01)
    gate.open()
    held.read()
    pool.close()
    with pytest.raises(urllib3.exceptions.ClosedPoolError):
        pool.urlopen("GET", "/")

    assert votes(breaker.metrics()) == {"successes": 1, "ignored": 2}


def test_a_url_of_another_host_is_our_own_mistake(registry: Registry, upstream: Upstream) -> None:
    pool = wrap_pool(urllib3.HTTPConnectionPool("127.0.0.1", upstream.port), registry, key="k")

    with pytest.raises(urllib3.exceptions.HostChangedError):
        pool.urlopen("GET", "http://elsewhere.invalid/")

    assert votes(registry["k"].metrics()) == {"ignored": 1}


# Proxies and TLS


def test_a_tunnel_that_a_proxy_does_not_open_counts_for_the_host_behind_it(
    registry: Registry, upstream: Upstream
) -> None:
    """A proxy says by that that it cannot reach the host. No request was sent."""
    upstream.answers("far.invalid:443", answer(502))
    http = wrap_manager(urllib3.ProxyManager(upstream.url), registry)

    with pytest.raises(MaxRetryError) as raised:
        http.request("GET", "https://far.invalid/", retries=2)

    assert isinstance(raised.value.reason, urllib3.exceptions.ProxyError)
    assert nothing_sent(raised.value)
    assert [(each.key, votes(each.metrics())) for each in registry] == [
        ("far.invalid", {"failures": 3})
    ]


class NoTLS(Listening):
    """Answers at once, and in plain text."""

    def serve(self, wire: socket.socket) -> None:
        with wire:
            wire.sendall(answer(400))
            wire.recv(1 << 16)


def test_a_server_that_speaks_no_tls_fails(registry: Registry) -> None:
    http = wrap_manager(urllib3.PoolManager(), registry)

    with NoTLS() as server, pytest.raises(MaxRetryError) as raised:
        http.request("GET", f"https://{server.host}/", retries=0)

    assert isinstance(raised.value.reason, urllib3.exceptions.SSLError)
    assert votes(registry[server.host].metrics()) == {"failures": 1}


# Refusals


def test_a_refusal_is_what_callers_of_urllib3_handle(
    http: Any, upstream: Upstream, breaker: Breaker
) -> None:
    open_breaker(breaker)

    with pytest.raises(MaxRetryError) as refused:
        http.request("GET", f"{upstream.url}/asked")

    assert nothing_sent(refused.value)
    assert refused.value.url == f"{upstream.url}/asked"
    assert refused.value.pool is None
    assert upstream.connections == 0


@pytest.mark.parametrize("preloads", [True, False])
def test_a_response_of_a_refusal_reads_like_any_other(
    registry: Registry, upstream: Upstream, breaker: Breaker, preloads: bool
) -> None:
    http = wrap_manager(urllib3.PoolManager(), registry, on_refuse="response")
    open_breaker(breaker)

    response = http.request("GET", upstream.url, preload_content=preloads, retries=3)

    assert response.status == 503
    assert response.json()["breaker"] == upstream.host
    assert upstream.connections == 0


# What is guarded


def test_pools_that_a_manager_has_already_are_guarded(
    registry: Registry, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", answer(500))
    http = urllib3.PoolManager()
    http.request("GET", upstream.url)

    wrap_manager(http, registry).request("GET", upstream.url)

    assert upstream.connections == 1
    assert votes(breaker.metrics()) == {"failures": 1}


def test_a_guarded_pool_is_still_what_it_was(registry: Registry) -> None:
    class Own(urllib3.HTTPSConnectionPool):  # type: ignore[misc, name-defined]  # imported late
        """A pool of the user's."""

    pool = wrap_pool(Own("api.example.org"), registry)

    assert isinstance(pool, Own)
    plain = Own("api.example.org")
    assert repr(pool).partition(" at ")[0] == repr(plain).partition(" at ")[0]
    assert (pool.scheme, pool.port) == ("https", None)
    assert wrap_pool(pool, registry).__class__ is pool.__class__


def test_a_pool_whose_answers_come_from_elsewhere_still_ends_its_calls(
    registry: Registry,
) -> None:
    """Such as one of a test, which has no `_make_request`."""

    class Canned(urllib3.HTTPConnectionPool):  # type: ignore[misc, name-defined]  # imported late
        def urlopen(self, *args: Any, **options: Any) -> Any:
            return urllib3.HTTPResponse(b"canned", status=502)

    pool = wrap_pool(Canned("canned"), registry)

    assert pool.urlopen("GET", "/").status == 502
    assert votes(registry["canned"].metrics()) == {"failures": 1}


@pytest.mark.parametrize(
    ("guard", "what", "hint"),
    [
        (wrap_manager, urllib3.HTTPConnectionPool("a"), "use wrap_pool"),
        (wrap_pool, urllib3.PoolManager(), "use wrap_manager"),
    ],
)
def test_the_other_function_is_named(guard: Any, what: Any, hint: str) -> None:
    with pytest.raises(TypeError, match=hint):
        guard(what)
