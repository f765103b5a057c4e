"""Tests of httpx and httpx2, in addition to the contract of all clients.

`tests/adapters/test_httpx.py` and `test_httpx2.py` run this class with their library.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from tests.support.breaker_state import votes
from tests.support.outage import ASKED_BY_ALL
from tests.support.scripted_upstream import Upstream, answer, closed_port, head

from recloser import Breaker, Outcome, Policy, Registry, State
from recloser.testing import open_breaker
from recloser_adapters._httpx.transports import is_plain

NAMES = ("connect", "read", "write", "pool")


class HttpxPromises:
    """Derive from this class, and set `library`."""

    library: ClassVar[str]

    @pytest.fixture
    def lib(self) -> Any:
        return importlib.import_module(self.library)

    @pytest.fixture
    def adapter(self) -> Any:
        return importlib.import_module(f"recloser_adapters.{self.library}")

    @pytest.mark.parametrize(
        ("own", "lowered"),
        [
            ({"connect": 5.0, "read": 1.0, "write": None, "pool": 9.0}, (2.0, 1.0, 2.0, 9.0)),
            (None, (2.0, 2.0, 2.0, None)),
            ("junk", (2.0, 2.0, 2.0, None)),
        ],
    )
    def test_time_outs_are_lowered_until_the_headers_have_arrived(
        self, lib: Any, adapter: Any, own: Any, lowered: tuple[float | None, ...]
    ) -> None:
        seen: list[Any] = []

        def respond(request: Any) -> Any:
            timeouts = request.extensions["timeout"]
            seen.append((timeouts, [timeouts.get(name) for name in NAMES]))
            return lib.Response(200)

        registry = Registry(Policy(slow_ceiling=2.0))
        guard = adapter.BreakerTransport(lib.MockTransport(respond), registry, cut_off=True)
        extensions = {"other": 1} if own is None else {"other": 1, "timeout": own}
        request = lib.Request("GET", "http://a.example/", extensions=extensions)
        before = request.extensions

        guard.handle_request(request)

        # The transport reads the time-outs of the body from the dict that it was given.
        [(dict_given, values)] = seen
        assert tuple(values) == lowered
        assert dict_given == (own if isinstance(own, dict) else {})
        assert request.extensions is before
        assert before == extensions

    @pytest.mark.parametrize("mode", ["observe", "enforce"])
    def test_where_nothing_is_cut_off_a_request_is_sent_as_it_is(
        self, lib: Any, adapter: Any, mode: str
    ) -> None:
        own = {"read": 100.0}
        seen: list[Any] = []

        def respond(request: Any) -> Any:
            seen.append(request.extensions["timeout"])
            return lib.Response(200)

        registry = Registry(Policy(slow_ceiling=2.0), mode=mode)
        inner = lib.MockTransport(respond)
        guard = adapter.BreakerTransport(inner, registry, cut_off=mode == "observe")

        guard.handle_request(lib.Request("GET", "http://a.example/", extensions={"timeout": own}))

        assert seen == [own]

    def test_the_wrapped_transport_is_entered_and_left_with_ours(
        self, lib: Any, adapter: Any
    ) -> None:
        told: list[str] = []

        class Telling(lib.BaseTransport):  # type: ignore[misc]  # by name only
            def __enter__(self) -> Any:
                told.append("entered")
                return self

            def __exit__(self, *error: object) -> None:
                told.append("left")

            def close(self) -> None:
                told.append("closed")

        with lib.Client(transport=adapter.BreakerTransport(Telling())):
            assert told == ["entered"]
        assert told == ["entered", "left"]
        adapter.BreakerTransport(Telling()).close()
        assert told == ["entered", "left", "closed"]

    @pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
    def test_closing_a_body_closes_the_one_within(
        self, lib: Any, adapter: Any, content_type: str
    ) -> None:
        told: list[str] = []

        class Telling(lib.SyncByteStream, lib.AsyncByteStream):  # type: ignore[misc]  # by name only
            def __iter__(self) -> Iterator[bytes]:
                yield b"data: 1\n\n"

            def close(self) -> None:
                told.append("closed")

            async def aclose(self) -> None:
                told.append("closed async")

        def respond(request: Any) -> Any:
            return lib.Response(200, headers={"content-type": content_type}, stream=Telling())

        async def arespond(request: Any) -> Any:
            return respond(request)

        async def close_async() -> None:
            transport = adapter.AsyncBreakerTransport(lib.MockTransport(arespond))
            async with (
                lib.AsyncClient(transport=transport) as client,
                client.stream("GET", "http://x/"),
            ):
                pass

        transport = adapter.BreakerTransport(_Raw(lib, respond))
        with lib.Client(transport=transport) as client, client.stream("GET", "http://x/"):
            pass
        asyncio.run(close_async())

        assert told == ["closed", "closed async"]

    def test_a_response_made_in_memory_ends_at_once(
        self, lib: Any, adapter: Any, registry: Registry
    ) -> None:
        def respond(request: Any) -> Any:
            headers = {"content-type": "text/event-stream"} if request.url.path == "/sse" else {}
            return lib.Response(200, content=b"data: 1\n\n", headers=headers)

        transport = adapter.BreakerTransport(lib.MockTransport(respond), registry, key="k")
        with lib.Client(transport=transport) as client, client.stream("GET", "http://x/"):
            assert registry["k"].metrics().successes == 1
        with lib.Client(transport=transport) as client, client.stream("GET", "http://x/sse"):
            assert registry["k"].metrics().successes == 2

    @pytest.mark.parametrize(
        ("error", "counted"),
        [
            ("PoolTimeout", "ignored"),
            ("UnsupportedProtocol", "ignored"),
            ("LocalProtocolError", "ignored"),
            ("ConnectError", "failures"),
            ("ConnectTimeout", "failures"),
            ("ReadTimeout", "failures"),
            ("ReadError", "failures"),
            ("WriteTimeout", "failures"),
            ("WriteError", "failures"),
            ("CloseError", "failures"),
            ("RemoteProtocolError", "failures"),
            ("ProxyError", "failures"),
        ],
    )
    def test_each_error_of_a_transport_has_its_meaning(
        self, lib: Any, adapter: Any, registry: Registry, error: str, counted: str
    ) -> None:
        raised = getattr(lib, error)("as happens")

        def respond(request: Any) -> Any:
            raise raised

        transport = adapter.BreakerTransport(lib.MockTransport(respond), registry, key="k")
        with lib.Client(transport=transport) as client, pytest.raises(type(raised)) as seen:
            client.get("http://x/")

        assert seen.value is raised
        assert getattr(registry["k"].metrics(), counted) == 1

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
        self,
        lib: Any,
        adapter: Any,
        registry: Registry,
        status: int,
        counted: str,
        outcome: Outcome,
        reported: bool,
    ) -> None:
        reports: list[Any] = []

        def respond(request: Any) -> Any:
            return lib.Response(status, request=request).raise_for_status()

        on_end = reports.append if reported else None
        transport = adapter.BreakerTransport(_Raw(lib, respond), registry, key="k", on_end=on_end)
        with lib.Client(transport=transport) as client, pytest.raises(lib.HTTPStatusError):
            client.get("http://x/")

        assert votes(registry["k"].metrics()) == {counted: 1}
        assert [report.outcome for report in reports] == [outcome] * reported

    def test_an_error_for_a_throttled_call_is_obeyed(
        self, lib: Any, adapter: Any, registry: Registry
    ) -> None:
        def respond(request: Any) -> Any:
            headers = {"retry-after": "30"}
            return lib.Response(429, headers=headers, request=request).raise_for_status()

        transport = adapter.BreakerTransport(_Raw(lib, respond), registry, key="k")
        with lib.Client(transport=transport) as client:
            for _ in range(ASKED_BY_ALL):
                assert registry["k"].state is State.CLOSED
                with pytest.raises(lib.HTTPStatusError):
                    client.get("http://x/")
                assert registry["k"].asked_pause == pytest.approx(30.0)

        assert registry["k"].state is State.OPEN
        assert registry["k"].retry_after == pytest.approx(30.0)

    def test_an_error_for_a_refusal_within_is_not_counted_by_a_guard_around(
        self, lib: Any, adapter: Any, registry: Registry
    ) -> None:
        inner = adapter.BreakerTransport(
            lib.HTTPTransport(), registry, key="inner", on_refuse="response"
        )

        def respond(request: Any) -> Any:
            response = inner.handle_request(request)
            response.request = request
            return response.raise_for_status()

        outer = adapter.BreakerTransport(_Raw(lib, respond), registry, key="outer")
        open_breaker(registry["inner"])
        with lib.Client(transport=outer) as client, pytest.raises(lib.HTTPStatusError):
            client.get("http://x/")

        assert votes(registry["outer"].metrics()) == {"ignored": 1}

    def test_the_answer_to_an_unguarded_call_is_passed_on_untouched(
        self, lib: Any, adapter: Any
    ) -> None:
        response = lib.Response(200, stream=lib.ByteStream(b"x"))
        stream = response.stream
        transport = adapter.BreakerTransport(
            _Raw(lib, lambda request: response), key=lambda request: None
        )

        assert transport.handle_request(lib.Request("GET", "http://x/")) is response
        assert response.stream is stream

    @pytest.mark.parametrize(("body", "counted"), [(b"fixed", "failures"), (None, "ignored")])
    def test_a_strange_error_is_the_transports_unless_the_body_runs_code(
        self, lib: Any, adapter: Any, registry: Registry, body: bytes | None, counted: str
    ) -> None:
        def respond(request: Any) -> Any:
            raise LookupError("from who knows where")

        transport = adapter.BreakerTransport(_Raw(lib, respond), registry, key="k")
        with lib.Client(transport=transport) as client, pytest.raises(LookupError):
            client.post("http://x/", content=body if body is not None else iter([b"made"]))

        assert getattr(registry["k"].metrics(), counted) == 1

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
    def test_what_ends_the_program_is_no_vote(
        self, lib: Any, adapter: Any, registry: Registry, error: type[BaseException]
    ) -> None:
        def respond(request: Any) -> Any:
            raise error

        transport = adapter.BreakerTransport(_Raw(lib, respond), registry, key="k")
        with lib.Client(transport=transport) as client, pytest.raises(error):
            client.get("http://x/")

        assert registry["k"].metrics().cancelled == 1
        assert registry["k"].metrics().in_flight == 0

    def test_a_header_that_cannot_be_sent_is_the_callers_own_fault(
        self, lib: Any, adapter: Any, registry: Registry, upstream: Upstream
    ) -> None:
        with (
            adapter.wrap_client(lib.Client(trust_env=False), registry) as client,
            pytest.raises(lib.LocalProtocolError),
        ):
            client.get(upstream.url, headers={"x": "a\nb"})

        assert registry[upstream.host].metrics().ignored == 1

    def test_a_connection_tried_again_by_the_transport_is_one_call(
        self, lib: Any, adapter: Any, registry: Registry
    ) -> None:
        transport = adapter.BreakerTransport(lib.HTTPTransport(retries=1), registry, key="k")
        with (
            closed_port() as port,
            lib.Client(transport=transport) as client,
            pytest.raises(lib.ConnectError),
        ):
            client.get(f"http://127.0.0.1:{port}/")

        assert registry["k"].metrics().failures == 1

    def test_each_request_of_an_authentication_is_a_call(
        self, lib: Any, adapter: Any, registry: Registry, upstream: Upstream
    ) -> None:
        challenge = {"www-authenticate": 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'}
        upstream.answers("/", answer(401, headers=challenge))
        upstream.answers("/", answer(200, b"in"))

        with adapter.wrap_client(lib.Client(trust_env=False), registry) as client:
            assert client.get(upstream.url, auth=lib.DigestAuth("u", "p")).content == b"in"

        metrics = registry[upstream.host].metrics()
        assert (metrics.ignored, metrics.successes) == (1, 1)

    def test_a_protocol_that_takes_over_ends_the_call(
        self, lib: Any, adapter: Any, registry: Registry, upstream: Upstream
    ) -> None:
        upgrade = {"connection": "upgrade", "upgrade": "websocket"}
        upstream.answers("/", head(101, upgrade))

        with (
            adapter.wrap_client(lib.Client(trust_env=False), registry) as client,
            client.stream("GET", upstream.url, headers=upgrade) as response,
        ):
            assert response.status_code == 101
            assert registry[upstream.host].metrics().successes == 1

    def test_a_refusal_within_is_not_counted_by_a_guard_around(
        self, lib: Any, adapter: Any, registry: Registry
    ) -> None:
        inner = adapter.BreakerTransport(
            lib.HTTPTransport(), registry, key="inner", on_refuse="response"
        )
        outer = adapter.BreakerTransport(inner, registry, key="outer")
        open_breaker(registry["inner"])

        with lib.Client(transport=outer) as client:
            assert client.get("http://x/").status_code == 503

        assert registry["outer"].metrics().ignored == 1
        assert registry["outer"].metrics().failures == 0

    @pytest.mark.parametrize(
        ("url", "key"),
        [
            ("http://api.example.org/v1?q=1", "api.example.org"),
            ("https://api.example.org:443/", "api.example.org"),
            ("https://api.example.org:8443/", "api.example.org:8443"),
            ("https://user:secret@API.example.org/", "api.example.org"),
            ("http://[::1]:8080/", "[::1]:8080"),
            ("https://bücher.example/", "xn--bcher-kva.example"),
            ("http://[::1]/", "[::1]"),
            ("/nowhere", ""),
        ],
    )
    def test_the_key_by_host_is_the_host_and_a_port_that_is_unusual(
        self, lib: Any, adapter: Any, url: str, key: str
    ) -> None:
        assert adapter.by_host(lib.Request("GET", url)) == key

    def test_the_key_by_host_can_do_without_what_is_private(self, adapter: Any) -> None:
        public = SimpleNamespace(url=SimpleNamespace(host="::1", port=8080))

        assert adapter.by_host(public) == "[::1]:8080"

    @pytest.mark.parametrize("name", ["Content-Type", "content-type", "CONTENT-TYPE"])
    def test_an_event_stream_is_known_by_its_type(self, lib: Any, name: str) -> None:
        streams = [
            lib.Headers([("date", "x"), (name, value)])
            for value in ("text/event-stream", "Text/Event-Stream; charset=utf-8")
        ]
        others = [lib.Headers([(name, "application/json")]), lib.Headers([("date", "x")])]

        assert [is_plain(headers) for headers in streams] == [False, False]
        assert [is_plain(headers) for headers in others] == [True, True]
        # For speed a private attribute is read. Without it, the public method is used.
        assert [is_plain(dict(headers)) for headers in streams] == [False, False]

    def test_latency_is_reported_for_the_provider_by_name(
        self, lib: Any, adapter: Any, registry: Registry, upstream: Upstream
    ) -> None:
        upstream.answers("/", answer(200))
        reports: list[Any] = []

        with adapter.wrap_client(
            lib.Client(trust_env=False), registry, key="openai", on_end=reports.append
        ) as client:
            client.get(upstream.url)

        assert [(each.key, each.outcome) for each in reports] == [("openai", Outcome.SUCCESS)]
        assert isinstance(registry["openai"], Breaker)


def _Raw(lib: Any, respond: Any) -> Any:  # noqa: N802  # a class, made late
    """A transport that does not read the request first. MockTransport reads it."""

    class Raw(lib.BaseTransport):  # type: ignore[misc]  # by name only
        def handle_request(self, request: Any) -> Any:
            return respond(request)

    return Raw()
