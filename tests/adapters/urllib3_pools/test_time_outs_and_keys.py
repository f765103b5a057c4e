"""What the urllib3 adapter reads of a request, its keys, and the time-outs that it lowers."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.breaker_state import votes
from tests.support.scripted_upstream import LAST, Gate, Upstream, head

from recloser import Policy, Registry
from recloser.testing import ManualClock

urllib3 = pytest.importorskip("urllib3")

from recloser_adapters.urllib3 import PoolRequest, by_host, by_route, nothing_sent, wrap_manager

Timeout: Any = urllib3.Timeout
MaxRetryError: Any = urllib3.exceptions.MaxRetryError


# Time-outs that are lowered


@pytest.fixture
def impatient(clock: ManualClock) -> Registry:
    """Before anything is learned, an answer is hopeless after the ceiling."""
    return Registry(Policy(slow_ceiling=0.1), clock=clock)


@pytest.mark.parametrize(
    ("retries", "error"), [(None, MaxRetryError), (False, urllib3.exceptions.ReadTimeoutError)]
)
def test_what_was_cut_off_is_not_sent_again(
    impatient: Registry, upstream: Upstream, retries: Any, error: Any
) -> None:
    upstream.answers("/", Gate())
    http = wrap_manager(urllib3.PoolManager(retries=retries), impatient, cut_off=True)

    with pytest.raises(error):
        http.request("GET", upstream.url, retries=retries)

    assert len(upstream.seen) == 1
    assert votes(impatient[upstream.host].metrics()) == {"failures": 1}


@pytest.mark.parametrize("own", [0.05, Timeout(read=0.05), Timeout(total=0.05)])
def test_a_time_out_of_the_callers_is_retried_as_before(
    impatient: Registry, upstream: Upstream, own: Any
) -> None:
    upstream.answers("/", Gate())
    http = wrap_manager(urllib3.PoolManager(), impatient, cut_off=True)

    with pytest.raises(MaxRetryError):
        http.request("GET", upstream.url, timeout=own, retries=1)

    assert len(upstream.seen) == 2


@pytest.mark.parametrize(
    ("of_pool", "own", "restored"),
    [
        (None, None, None),
        (Timeout(read=4.0), None, 4.0),
        (None, 5.0, 5.0),
        (None, Timeout(connect=1.0, read=4.0), 4.0),
        (None, Timeout(total=3.0, read=4.0), 3.0),
    ],
)
def test_the_time_out_of_a_body_is_the_callers_again(
    upstream: Upstream, clock: ManualClock, of_pool: Any, own: Any, restored: float | None
) -> None:
    gate = Gate()
    upstream.answers("/", head(200), gate, LAST)
    registry = Registry(Policy(slow_ceiling=2.0), clock=clock)
    settings = {} if of_pool is None else {"timeout": of_pool}
    http = wrap_manager(urllib3.PoolManager(**settings), registry, cut_off=True)
    asked = {} if own is None else {"timeout": own}

    response = http.request("GET", upstream.url, preload_content=False, **asked)

    assert response._original_response.fp.raw._sock.gettimeout() == restored
    gate.open()
    assert response.read() == b""


# Keys


@pytest.mark.parametrize(
    ("scheme", "host", "port", "target", "key"),
    [
        ("http", "api.example.org", None, "/v1?q=1", "api.example.org"),
        ("http", "API.example.org", 80, "/", "api.example.org"),
        ("https", "api.example.org", 443, "/", "api.example.org"),
        ("https", "api.example.org", 80, "/", "api.example.org:80"),
        ("https", "[::1]", 8443, "/?q=http://x:1/", "[::1]:8443"),
        ("http", "proxy", 3128, "http://user:se@cret@Far.example:80/a?b", "far.example"),
        ("http", "proxy", 3128, "http://far.example:8080/a", "far.example:8080"),
    ],
)
def test_the_key_by_host_is_the_host_and_a_port_that_is_unusual(
    scheme: str, host: str, port: int | None, target: str, key: str
) -> None:
    kind = urllib3.HTTPSConnectionPool if scheme == "https" else urllib3.HTTPConnectionPool

    assert by_host(PoolRequest(kind(host, port), "GET", target, None, {})) == key


def test_a_request_is_read_as_a_whole() -> None:
    pool = urllib3.HTTPSConnectionPool("api.example.org")
    request = PoolRequest(pool, "POST", "/v1/charges?key=secret", "text", {"X-Own": "yes"})

    assert request.url == "https://api.example.org/v1/charges?key=secret"
    assert request.headers["x-own"] == "yes"
    assert repr(request) == "<PoolRequest POST https://api.example.org/v1/charges>"
    assert by_route(request) == "api.example.org /v1/charges"
    through_proxy = PoolRequest(pool, "GET", "http://far.example/v1/charges/7", None, {})
    assert by_route(through_proxy) == "far.example /v1/charges"


@pytest.mark.parametrize(
    ("error", "unsent"),
    [
        (urllib3.exceptions.NewConnectionError(None, "m"), True),
        (urllib3.exceptions.EmptyPoolError(None, "m"), True),
        (MaxRetryError(None, "/", urllib3.exceptions.ConnectTimeoutError()), True),
        (MaxRetryError(None, "/", urllib3.exceptions.ReadTimeoutError(None, "/", "m")), False),
        (urllib3.exceptions.ProtocolError("m"), False),
        (ValueError(), False),
    ],
)
def test_it_is_known_which_errors_prove_that_nothing_was_sent(error: Any, unsent: bool) -> None:
    assert nothing_sent(error) is unsent
