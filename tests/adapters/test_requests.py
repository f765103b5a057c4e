"""The requests adapter; what it shares with every client is in `tests/contract/outbound`."""

from __future__ import annotations

import copy
import gzip
import io
import pickle
import shutil
from collections.abc import Callable, Iterator, Mapping
from math import inf
from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.auth import HTTPDigestAuth
from tests.support.breaker_state import votes
from tests.support.scripted_upstream import LAST, Gate, Upstream, answer, chunk, head

from recloser import Breaker, Outcome, Policy, Registry
from recloser.testing import open_breaker
from recloser_adapters._urllib3.cut_off import lower_timeout
from recloser_adapters.requests import BreakerAdapter, CallReport, by_host, wrap_session

# As requests itself gets at it: urllib3 is its dependency, not ours.
Retry: Any = type(HTTPAdapter(max_retries=1).max_retries)
Timeout: Any = vars(requests.adapters)["TimeoutSauce"]


@pytest.fixture
def breaker(registry: Registry, upstream: Upstream) -> Breaker:
    return registry[upstream.host]


@pytest.fixture
def session(registry: Registry) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield wrap_session(session, registry)


def retrying(registry: Registry, **settings: Any) -> requests.Session:
    """A session whose adapters retry within urllib3."""
    session = requests.Session()
    session.trust_env = False
    retry = Retry(total=2, backoff_factor=0, allowed_methods=None, **settings)
    session.mount("http://", HTTPAdapter(max_retries=retry))
    return wrap_session(session, registry)


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))]
)
@pytest.mark.parametrize(
    "settings",
    [{}, {"key": "k", "on_refuse": "response"}, {"key": by_host, "classify": isinstance}],
)
def test_a_session_that_can_be_copied_and_pickled_still_can(
    registry: Registry, upstream: Upstream, again: Callable[[Any], Any], settings: Any
) -> None:
    registry = Registry()
    session = wrap_session(requests.Session(), registry, **settings)

    with again(session) as other:
        other.trust_env = False
        other.get(upstream.url)

    key = settings["key"] if settings.get("key") == "k" else upstream.host
    assert registry[key].metrics().calls == 1


def test_retries_within_the_adapter_are_one_call(
    registry: Registry, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", answer(503))
    upstream.answers("/", answer(503))
    upstream.answers("/", answer(200, b"at last"))

    with retrying(registry, status_forcelist=[503]) as session:
        assert session.get(upstream.url).content == b"at last"

    assert upstream.count("/") == 3
    assert (breaker.metrics().successes, breaker.metrics().failures) == (1, 0)


@pytest.mark.parametrize(
    ("status", "counted"), [(503, "failures"), (429, "throttled"), (404, "ignored")]
)
def test_retries_that_were_in_vain_count_by_their_status(
    registry: Registry, upstream: Upstream, breaker: Breaker, status: int, counted: str
) -> None:
    upstream.answers("/", answer(status))

    with (
        retrying(registry, status_forcelist=[status]) as session,
        pytest.raises(requests.exceptions.RetryError),
    ):
        session.get(upstream.url)

    assert upstream.count("/") == 3
    assert getattr(breaker.metrics(), counted) == 1
    assert breaker.metrics().calls == 1


def test_a_pool_that_is_closed_is_our_own_trouble(
    session: requests.Session, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", answer(200))
    session.get(upstream.url)
    adapter: Any = session.get_adapter(upstream.url)
    pools = adapter.poolmanager.pools
    for key in pools.keys():  # noqa: SIM118  # it cannot be iterated over
        pools[key].close()

    with pytest.raises(requests.ConnectionError):
        session.get(upstream.url)

    assert breaker.metrics().ignored == 1
    assert breaker.metrics().failures == 0


def test_each_request_of_an_authentication_is_a_call(
    session: requests.Session, upstream: Upstream, breaker: Breaker
) -> None:
    challenge = {"www-authenticate": 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'}
    upstream.answers("/", answer(401, headers=challenge))
    upstream.answers("/", answer(200, b"in"))

    assert session.get(upstream.url, auth=HTTPDigestAuth("u", "p")).content == b"in"

    assert (breaker.metrics().ignored, breaker.metrics().successes) == (1, 1)


def test_a_body_that_does_not_decode_says_nothing(
    session: requests.Session, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", answer(200, b"no gzip at all", {"content-encoding": "gzip"}))

    with pytest.raises(requests.exceptions.ContentDecodingError):
        session.get(upstream.url)

    assert breaker.metrics().ignored == 1


BODY = b"line one\nline two\n" * 500


def _read(raw: Any) -> bytes:
    data: bytes = raw.read()
    return data


def _read_pieces(raw: Any) -> bytes:
    return b"".join(iter(lambda: raw.read(1000), b""))


def _read_into(raw: Any) -> bytes:
    return io.BufferedReader(raw).read()


def _copy(raw: Any) -> bytes:
    target = io.BytesIO()
    shutil.copyfileobj(raw, target)
    return target.getvalue()


def _iterate(raw: Any) -> bytes:
    return b"".join(raw)


def _read_lines(raw: Any) -> bytes:
    return b"".join(iter(raw.readline, b""))


def _stream(raw: Any) -> bytes:
    return b"".join(raw.stream(1000))


@pytest.mark.parametrize(
    "read", [_read, _read_pieces, _read_into, _copy, _iterate, _read_lines, _stream]
)
def test_a_raw_body_ends_the_call_however_it_is_read(
    session: requests.Session, upstream: Upstream, breaker: Breaker, read: Callable[[Any], bytes]
) -> None:
    gate = Gate()
    upstream.answers("/", head(200, {"content-length": str(len(BODY))}), gate, BODY)

    response = session.get(upstream.url, stream=True)
    assert breaker.metrics().in_flight == 1
    gate.open()

    assert read(response.raw) == BODY
    assert (breaker.metrics().in_flight, breaker.metrics().successes) == (0, 1)
    response.close()


@pytest.mark.parametrize("read", [_read, _read_pieces, _read_lines, _stream])
def test_a_raw_body_that_is_cut_is_a_failure_however_it_is_read(
    session: requests.Session, upstream: Upstream, breaker: Breaker, read: Callable[[Any], bytes]
) -> None:
    def end(wire: Any) -> None:
        wire.shutdown(2)

    upstream.answers("/", head(200, {"content-length": str(len(BODY))}), b"only this", end)

    response = session.get(upstream.url, stream=True)
    with pytest.raises(Exception, match=r"[Ii]ncomplete|[Cc]onnection"):
        read(response.raw)
    response.close()

    assert breaker.metrics().failures == 1


def test_a_raw_response_still_is_what_it_was(session: requests.Session, upstream: Upstream) -> None:
    upstream.answers("/", head(200, {"x-seen": "yes"}), chunk(b"x"), LAST)
    plain = requests.get(upstream.url, stream=True, timeout=10)

    response = session.get(upstream.url, stream=True)

    assert isinstance(response.raw, type(plain.raw))
    assert response.raw.status == 200
    assert response.raw.headers["x-seen"] == "yes"
    response.raw.decode_content = True
    assert response.raw.decode_content is True
    with response.raw as raw:
        assert raw.read(1) == b"x"
    response.close()
    plain.close()


def test_closing_a_body_closes_its_connection(
    session: requests.Session, upstream: Upstream
) -> None:
    upstream.answers("/", head(), chunk(b"x"), Gate(), LAST)

    response = session.get(upstream.url, stream=True)
    raw: Any = response.raw
    response.close()

    assert raw.closed


def test_closing_a_raw_body_ends_the_call(
    session: requests.Session, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", head(), chunk(b"x"), Gate(), LAST)

    response = session.get(upstream.url, stream=True)
    response.raw.close()

    assert (breaker.metrics().in_flight, breaker.metrics().successes) == (0, 1)
    response.close()


def test_a_body_read_to_its_end_gives_its_connection_back(
    session: requests.Session, upstream: Upstream
) -> None:
    upstream.answers("/", answer(200, b"x"))

    for _ in range(3):
        session.get(upstream.url)

    assert upstream.connections == 1


def test_a_guarded_adapter_passes_everything_on() -> None:
    seen: list[Any] = []

    class Telling(BaseAdapter):
        size = 7

        def send(
            self,
            request: requests.PreparedRequest,
            stream: bool = False,
            timeout: Any = None,
            verify: Any = True,
            cert: Any = None,
            proxies: Mapping[str, str] | None = None,
        ) -> requests.Response:
            seen.append((stream, timeout, verify, cert, proxies))
            response = requests.Response()
            response.status_code = 500
            return response

        def close(self) -> None:
            seen.append("closed")

    adapter = BreakerAdapter(Telling(), Registry(), key="k")
    request = requests.Request("GET", "http://x/").prepare()
    adapter.send(request, True, (1, 2), "ca", "cert", {"http": "p"})
    adapter.close()

    assert seen == [(True, (1, 2), "ca", "cert", {"http": "p"}), "closed"]
    assert adapter.size == 7
    with pytest.raises(AttributeError):
        _ = adapter.no_such_thing


def test_a_refusal_within_is_not_counted_by_a_guard_around(registry: Registry) -> None:
    inner = BreakerAdapter(HTTPAdapter(), registry, key="inner", on_refuse="response")
    outer = BreakerAdapter(inner, registry, key="outer")
    open_breaker(registry["inner"])

    response = outer.send(requests.Request("GET", "http://x/").prepare())

    assert response.status_code == 503
    assert response.json()["breaker"] == "inner"
    assert registry["outer"].metrics().ignored == 1


class _Raising(BaseAdapter):
    """An adapter that raises for the status of its answer."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status

    def send(self, *arguments: Any, **options: Any) -> requests.Response:
        response = requests.Response()
        response.status_code = self.status
        response.raise_for_status()
        return response

    def close(self) -> None:
        pass


@pytest.mark.parametrize("reported", [False, True])
@pytest.mark.parametrize(
    ("status", "counted", "outcome"),
    [
        (404, "ignored", Outcome.IGNORED),
        (429, "throttled", Outcome.THROTTLED),
        (503, "failures", Outcome.FAILURE),
    ],
)
def test_an_error_for_a_status_counts_by_that_status_and_is_reported_so(
    registry: Registry, status: int, counted: str, outcome: Outcome, reported: bool
) -> None:
    reports: list[CallReport] = []
    on_end = reports.append if reported else None
    adapter = BreakerAdapter(_Raising(status), registry, key="k", on_end=on_end)

    with pytest.raises(requests.HTTPError):
        adapter.send(requests.Request("GET", "http://x/").prepare())

    assert votes(registry["k"].metrics()) == {counted: 1}
    assert [report.outcome for report in reports] == [outcome] * reported


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://api.example.org/v1?q=1", "api.example.org"),
        ("http://api.example.org:80", "api.example.org"),
        ("https://api.example.org:443/", "api.example.org"),
        ("https://api.example.org:80/", "api.example.org:80"),
        ("https://api.example.org:8443/?q=http://x:1/", "api.example.org:8443"),
        ("https://user:se@cret@API.example.org/", "api.example.org"),
        ("http://[::1]:8080/", "[::1]:8080"),
        ("https://bücher.example/", "xn--bcher-kva.example"),
        ("http://api.example.org?q=a@b", "api.example.org"),
    ],
)
def test_the_key_by_host_is_the_host_and_a_port_that_is_unusual(url: str, key: str) -> None:
    assert by_host(requests.Request("GET", url).prepare()) == key


def test_a_compressed_body_reads_as_without_us(
    session: requests.Session, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/", answer(200, gzip.compress(BODY), {"content-encoding": "gzip"}))

    assert session.get(upstream.url).content == BODY

    assert breaker.metrics().successes == 1


# Time-outs that are lowered


@pytest.mark.parametrize(
    ("own", "lowered"),
    [
        (None, 2.0),
        (5, 2.0),
        (1.5, 1.5),
        ((5.0, 1.0), (2.0, 1.0)),
        ((None, None), (2.0, 2.0)),
        ((1.0, 1.5), (1.0, 1.5)),
        ("soon", "soon"),
        ((1.0, 2.0, 3.0), (1.0, 2.0, 3.0)),
    ],
)
def test_each_part_of_a_time_out_is_lowered_and_none_is_raised(own: Any, lowered: Any) -> None:
    assert lower_timeout(own, 2.0) == lowered
    assert lower_timeout(own, inf) is own


def test_a_time_out_of_urllib3_is_lowered_as_a_whole() -> None:
    own = Timeout(connect=1.0, read=5.0)

    lowered = lower_timeout(own, 2.0)

    assert (lowered.total, lowered.connect_timeout) == (2.0, 1.0)
    assert lower_timeout(Timeout(total=1.0), 2.0).total == 1.0
    assert (own.total, own.connect_timeout, own.read_timeout) == (None, 1.0, 5.0)


@pytest.mark.parametrize(
    ("own", "restored"),
    [
        (None, None),
        (5.0, 5.0),
        ((1.0, 3.0), 3.0),
        (Timeout(connect=1.0, read=4.0), 4.0),
        (Timeout(total=3.0, read=4.0), 3.0),
        (Timeout(), None),
    ],
)
def test_the_time_out_of_a_body_is_the_callers_again(
    upstream: Upstream, own: Any, restored: float | None
) -> None:
    gate = Gate()
    upstream.answers("/", head(200), gate, LAST)
    session = wrap_session(requests.Session(), Registry(Policy(slow_ceiling=2.0)), cut_off=True)
    session.trust_env = False

    with session, session.get(f"{upstream.url}/", stream=True, timeout=own) as response:
        raw: Any = response.raw
        assert raw._original_response.fp.raw._sock.gettimeout() == restored
        gate.open()
        assert response.content == b""
