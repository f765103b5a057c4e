"""Failover transports: one httpx or httpx2 client, sync or async, in front of several base URLs."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from random import Random
from typing import Any

import pytest
from tests.support.training import teach

from recloser import BreakerOpenError, Delivery, Failover, Fate, Provider, Registry, State
from recloser.testing import ManualClock, open_breaker

LIBRARIES = [name for name in ("httpx", "httpx2") if find_spec(name)]
HANG = b"hang"
Run = Callable[[Awaitable[Any]], Any]


class World:
    """A client over fake providers, and what each of them got."""

    def __init__(
        self, library: str, *, asynchronous: bool, registry: Registry, clock: ManualClock, run: Run
    ) -> None:
        self.lib: Any = importlib.import_module(library)
        self.adapter: Any = importlib.import_module(f"recloser_adapters.{library}")
        self.asynchronous = asynchronous
        self.registry = registry
        self.clock = clock
        self.run = run
        self.targets: dict[str, Any] = {"a": "https://a.example/api", "b": "https://b.example"}
        self.answers: dict[str, Callable[[Any], Any]] = {}
        self.received: dict[str, list[Any]] = {}
        self.counts: Counter[str] = Counter()
        self.deliveries: list[Delivery] = []
        self.rules: dict[str, Any] = {}
        self.options: dict[str, Any] = {}

    def transport(self) -> Any:
        failover = Failover(
            self.registry,
            [Provider(key, target) for key, target in self.targets.items()],
            on_delivery=self.deliveries.append,
            **self.rules,
        )
        name = "AsyncFailoverTransport" if self.asynchronous else "FailoverTransport"
        kind = getattr(self.adapter, name)
        return kind(self.lib.MockTransport(self._handler()), failover, **self.options)

    def _handler(self) -> Callable[[Any], Any]:
        def received(request: Any) -> Any:
            host = request.url.host.partition(".")[0]
            self.counts[host] += 1
            self.received.setdefault(host, []).append(request)
            return self.answers.get(host, lambda request: self.lib.Response(200, text=host))

        def handle(request: Any) -> Any:
            return received(request)(request)

        async def ahandle(request: Any) -> Any:
            answer = received(request)(request)
            return await answer if hasattr(answer, "__await__") else answer

        return ahandle if self.asynchronous else handle

    def request(
        self,
        method: str,
        url: str = "http://failover/x",
        at_headers: Callable[[Any], object] = lambda response: None,
        **options: Any,
    ) -> Any:
        """Send a request, and read the answer to its end; `at_headers` sees it before."""
        transport = self.transport()
        if not self.asynchronous:
            with self.lib.Client(transport=transport) as client:
                request = client.build_request(method, url, **options)
                response = client.send(request, stream=True)
                at_headers(response)
                response.read()
                return response

        async def sent() -> Any:
            async with self.lib.AsyncClient(transport=transport) as client:
                request = client.build_request(method, url, **options)
                response = await client.send(request, stream=True)
                at_headers(response)
                await response.aread()
                return response

        return self.run(sent())

    def status(self, code: int, **headers: str) -> Callable[[Any], Any]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return lambda request: self.lib.Response(code, headers=named, text=f"answer {code}")

    def raising(self, error: str) -> Callable[[Any], Any]:
        def raise_(request: Any) -> Any:
            raise getattr(self.lib, error)("test")

        return raise_

    def events(
        self, *chunks: bytes | Exception, code: int = 200, kind: str = "text/event-stream"
    ) -> Callable[[Any], Any]:
        """A stream of these chunks; an exception among them cuts it."""

        def pieces() -> Iterator[bytes]:
            for chunk in chunks:
                if isinstance(chunk, Exception):
                    raise chunk
                yield chunk

        async def apieces() -> AsyncIterator[bytes]:
            for chunk in pieces():
                if chunk == HANG:
                    await asyncio.get_running_loop().create_future()
                yield chunk

        def answer(request: Any) -> Any:
            content = apieces() if self.asynchronous else pieces()
            return self.lib.Response(code, headers={"content-type": kind}, content=content)

        return answer

    def hang(self, request: Any) -> Any:
        """Answer nothing: the client's read time-out, or the cut on asyncio, ends it."""
        if self.asynchronous:
            return asyncio.get_running_loop().create_future()
        self.clock.advance(request.extensions["timeout"]["read"])
        raise self.lib.ReadTimeout("test")

    def warm(self, key: str) -> None:
        teach(self.registry[key], self.clock, [0.1] * 200)

    def fates(self) -> list[tuple[str, Fate]]:
        return [(leg.key, leg.fate) for leg in self.deliveries[-1].legs]

    def in_flight(self) -> int:
        return sum(breaker.metrics().in_flight for breaker in self.registry.breakers())


@pytest.fixture(
    params=[(library, kind) for library in LIBRARIES for kind in ("sync", "async")],
    ids=lambda param: "-".join(param),
)
def world(
    request: pytest.FixtureRequest, registry: Registry, clock: ManualClock, run: Run
) -> World:
    library, kind = request.param
    return World(library, asynchronous=kind == "async", registry=registry, clock=clock, run=run)


@pytest.fixture(params=LIBRARIES)
def async_world(
    request: pytest.FixtureRequest, registry: Registry, clock: ManualClock, run: Run
) -> World:
    return World(request.param, asynchronous=True, registry=registry, clock=clock, run=run)


# Where a request goes


def test_a_request_goes_to_the_first_provider_under_its_base_url(world: World) -> None:
    response = world.request("GET", "http://failover/users/7?q=a%20b", headers={"x-mine": "1"})

    (sent,) = world.received["a"]
    assert str(sent.url) == "https://a.example/api/users/7?q=a%20b"
    assert sent.headers["host"] == "a.example"
    assert sent.headers["x-mine"] == "1"
    assert response.text == "a"
    assert response.extensions[world.adapter.PROVIDER] == "a"
    assert world.registry["a"].metrics().successes == 1


def test_a_request_to_any_of_the_base_urls_goes_to_whoever_can(world: World) -> None:
    open_breaker(world.registry["a"])

    assert world.request("GET", "https://a.example/api/v1?x=1").text == "b"
    assert str(world.received["b"][0].url) == "https://b.example/v1?x=1"
    world.request("GET", "https://a.example:443/api")
    assert str(world.received["b"][1].url) == "https://b.example/"


def test_a_transport_tells_paths_apart_and_forgets_old_ones(world: World, run: Run) -> None:
    transport = world.transport()

    async def asend(path: str) -> None:
        await transport.handle_async_request(world.lib.Request("GET", f"http://failover{path}"))

    for number in range(600):
        path = f"/users/{number}"
        if world.asynchronous:
            run(asend(path))
        else:
            transport.handle_request(world.lib.Request("GET", f"http://failover{path}"))
        assert str(world.received["a"][-1].url) == f"https://a.example/api{path}"

    assert len(transport.planner._urls) <= 256


def test_of_base_urls_within_each_other_the_longer_counts(world: World) -> None:
    world.targets = {"a": "https://x.example/api", "b": "https://x.example/api/v2"}

    world.request("GET", "https://x.example/api/v2/users")

    assert str(world.received["x"][0].url) == "https://x.example/api/users"


@pytest.mark.parametrize("url", ["https://other.example/x", "https://a.example/apis/x"])
def test_a_request_to_elsewhere_passes_as_it_is_and_unguarded(world: World, url: str) -> None:
    world.request("GET", url)

    assert sum(world.counts.values()) == 1
    assert str(next(iter(world.received.values()))[0].url) == url
    assert not world.deliveries


def test_the_clients_own_request_is_left_as_it_was(world: World) -> None:
    response = world.request("GET", "http://failover/x")

    assert str(response.request.url) == "http://failover/x"
    assert response.request.extensions["timeout"]["read"] == 5.0


# When another is tried


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_an_idempotent_request_goes_on_after_a_failure(world: World, method: str) -> None:
    world.answers["a"] = world.status(503)

    assert world.request(method).status_code == 200
    assert world.counts == {"a": 1, "b": 1}
    assert world.registry["a"].metrics().failures == 1
    assert world.in_flight() == 0


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_another_request_is_sent_once_and_its_answer_is_the_answer(
    world: World, method: str
) -> None:
    world.answers["a"] = world.status(503)

    response = world.request(method, content=b"once")

    assert (response.status_code, response.text) == (503, "answer 503")
    assert world.counts == {"a": 1}
    assert world.fates() == [("a", Fate.FAILED)]


@pytest.mark.parametrize("error", ["ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"])
def test_any_request_goes_on_where_nothing_was_sent(world: World, error: str) -> None:
    world.answers["a"] = world.raising(error)

    assert world.request("POST", content=b"body").text == "b"
    assert world.received["b"][0].content == b"body"
    assert world.fates() == [("a", Fate.UNREACHABLE), ("b", Fate.SERVED)]


def test_a_full_pool_of_our_own_is_not_the_providers_fault(world: World) -> None:
    world.answers["a"] = world.raising("PoolTimeout")

    world.request("GET")

    assert world.registry["a"].metrics().failures == 0
    assert world.registry["a"].metrics().ignored == 1


@pytest.mark.parametrize("error", ["ReadError", "ReadTimeout", "RemoteProtocolError", "WriteError"])
def test_what_may_have_been_sent_is_repeated_only_if_declared_safe(
    world: World, error: str
) -> None:
    world.answers["a"] = world.raising(error)
    with pytest.raises(getattr(world.lib, error)):
        world.request("POST", content=b"once")
    assert world.counts == {"a": 1}

    assert world.request("POST", headers={"Idempotency-Key": "k"}, content=b"x").text == "b"
    extensions = {world.adapter.REPEATABLE: True}
    assert world.request("POST", extensions=extensions, content=b"x").text == "b"
    extensions = {world.adapter.REPEATABLE: False}
    with pytest.raises(getattr(world.lib, error)):
        world.request("GET", extensions=extensions)


def test_a_record_tells_what_was_on_our_side_of_the_wire(world: World) -> None:
    world.answers = {"a": world.raising("PoolTimeout"), "b": world.raising("PoolTimeout")}

    with pytest.raises(world.lib.PoolTimeout):
        world.request("POST")

    assert world.fates() == [("a", Fate.UNREACHABLE), ("b", Fate.UNREACHABLE)]


def test_a_rule_of_ones_own_says_what_may_be_repeated(world: World) -> None:
    world.answers["a"] = world.status(500)
    world.options["repeatable"] = lambda request: b"safe" in request.url.raw_path or None

    assert world.request("POST", "http://failover/safe").status_code == 200
    assert world.request("POST", "http://failover/x").status_code == 500
    assert world.request("GET", "http://failover/x").status_code == 200


def test_a_fault_in_that_rule_means_no(world: World) -> None:
    world.answers["a"] = world.status(500)
    world.options["repeatable"] = lambda request: 1 / 0

    assert world.request("GET").status_code == 500
    assert world.registry.faults == 1


def test_of_thousands_of_requests_none_is_sent_twice(world: World) -> None:
    """Whatever goes wrong, and however often; what was never sent may be tried again."""
    chance = Random(7)
    received: Counter[str] = Counter()
    wire = world.lib

    def answer(request: Any) -> Any:
        drawn = chance.random()
        if drawn < 0.05:
            raise wire.ConnectError("not sent")
        received[request.headers["x-id"]] += 1
        if drawn < 0.10:
            raise wire.ReadError("sent")
        return wire.Response(503 if drawn < 0.15 else 200)

    world.answers = {"a": answer, "b": answer}
    transport = world.transport()
    requests = [
        wire.Request("POST", "http://failover/x", headers={"x-id": str(number)}, content=b"x")
        for number in range(2500)
    ]
    if world.asynchronous:

        async def send_all() -> None:
            for request in requests:
                with suppress(wire.TransportError):
                    await transport.handle_async_request(request)

        world.run(send_all())
    else:
        for request in requests:
            with suppress(wire.TransportError):
                transport.handle_request(request)

    assert max(received.values()) == 1
    assert len(received) > 1000


def test_a_wrong_request_is_not_tried_elsewhere(world: World) -> None:
    world.answers["a"] = world.status(404)

    assert world.request("GET").status_code == 404
    assert world.counts == {"a": 1}
    assert world.registry["a"].metrics().failures == 0


def test_the_last_bad_answer_is_the_answer(world: World) -> None:
    world.answers = {"a": world.status(500), "b": world.status(502)}

    response = world.request("GET")

    assert (response.status_code, response.text) == (502, "answer 502")
    assert world.fates() == [("a", Fate.FAILED), ("b", Fate.FAILED)]
    assert world.deliveries[-1].served_by is None
    assert world.in_flight() == 0


def test_a_throttled_provider_is_left_alone_until_then_and_not_blamed(world: World) -> None:
    world.answers["a"] = world.status(429, retry_after="2")

    for _ in range(10):
        assert world.request("GET").text == "b"
    world.clock.advance(1.9)
    assert world.request("GET").text == "b"

    assert world.counts["a"] == 1
    assert world.registry["a"].metrics().failures == 0
    del world.answers["a"]
    world.clock.advance(0.2)
    assert world.request("GET").text == "a"


def test_used_up_money_opens_for_long(world: World) -> None:
    body = b'{"error": {"code": "insufficient_quota"}}'
    world.answers["a"] = world.events(body, code=429, kind="application/json")

    assert world.request("GET").text == "b"
    assert world.registry["a"].retry_after > 600.0
    reason = world.registry["a"].refusal().reason
    assert reason is not None
    assert reason.rule == "quota"


# All open


def test_when_all_refuse_it_is_an_error_of_the_library_with_the_earliest_time(
    world: World,
) -> None:
    world.registry["a"].open("test", for_=20.0)
    world.registry["b"].open("test", for_=5.0)

    with pytest.raises(BreakerOpenError) as caught:
        world.request("GET")

    assert isinstance(caught.value, world.lib.TransportError)
    assert (caught.value.key, caught.value.retry_after) == ("b", pytest.approx(5.0))
    assert not world.counts


def test_or_an_answer_that_the_sdks_do_not_retry(world: World) -> None:
    world.options["on_refuse"] = "response"
    world.registry["a"].open("test", for_=20.0)
    world.registry["b"].open("test", for_=5.0)

    response = world.request("GET")

    assert response.status_code == 503
    assert response.headers["x-should-retry"] == "false"
    assert response.headers["retry-after"] == "5"


def test_the_least_bad_answers_without_a_vote(world: World) -> None:
    world.rules["when_all_open"] = "least_bad"
    for key in "ab":
        while (permit := world.registry[key].try_acquire()) is not None:
            permit.failure("test")

    assert world.request("GET").text == "a"
    assert world.registry["a"].state is State.OPEN
    assert world.registry["a"].metrics().successes == 0


# A provider that hangs


def test_a_hanging_provider_costs_patience_times_slow(world: World) -> None:
    world.warm("a")
    world.answers["a"] = world.hang
    began = world.clock()

    assert world.request("GET", timeout=30.0).text == "b"

    waited = world.clock() - began
    assert waited == pytest.approx(2 * world.registry["a"].slow_threshold, rel=0.01)
    assert world.registry["a"].metrics().failures == 1
    assert world.in_flight() == 0


def test_limits_become_time_outs_never_above_the_clients_own(world: World) -> None:
    world.warm("a")
    limit = 2 * world.registry["a"].slow_threshold
    seen: list[dict[str, float]] = []

    def answer(request: Any) -> Any:
        seen.append(dict(request.extensions["timeout"]))
        return world.lib.Response(200)

    world.answers["a"] = answer
    world.request("GET", timeout=30.0)
    world.request("POST", timeout=30.0)
    world.request("GET", timeout=0.05)
    world.request("GET", timeout=None)

    assert seen[0] == pytest.approx(dict.fromkeys(("connect", "read", "write", "pool"), limit))
    assert seen[1] == pytest.approx({"connect": limit, "pool": limit, "read": 30.0, "write": 30.0})
    assert set(seen[2].values()) == {0.05}
    assert seen[3] == pytest.approx(seen[0])


def test_the_body_is_read_under_the_clients_own_time_outs(world: World) -> None:
    world.warm("a")
    world.request("GET", timeout=30.0)

    assert world.received["a"][0].extensions["timeout"] == {
        "connect": 30.0,
        "read": 30.0,
        "write": 30.0,
        "pool": 30.0,
    }


def test_the_end_of_the_time_budget_is_a_time_out_of_the_library(world: World) -> None:
    world.rules["time_budget"] = 3.0
    world.answers = {"a": world.hang, "b": world.hang}

    with pytest.raises(world.lib.ReadTimeout):
        world.request("POST", timeout=30.0)

    assert world.counts == {"a": 1}
    assert world.in_flight() == 0


# Streams


def test_an_event_stream_that_breaks_before_its_first_chunk_is_opened_elsewhere(
    world: World,
) -> None:
    world.answers["a"] = world.events(world.lib.ReadError("cut"))
    world.answers["b"] = world.events(b"data: 1\n\n", b"data: 2\n\n")

    assert world.request("GET").text == "data: 1\n\ndata: 2\n\n"
    assert world.registry["a"].metrics().failures == 1
    assert world.in_flight() == 0


@pytest.mark.parametrize(
    "event",
    [b'event: error\ndata: {"type":"overloaded_error"}\n\n', b'data: {"error": {"code": 503}}\n\n'],
)
def test_an_error_event_as_the_first_chunk_is_a_failure(world: World, event: bytes) -> None:
    world.answers["a"] = world.events(event)
    world.answers["b"] = world.events(b"data: 1\n\n")

    assert world.request("GET").text == "data: 1\n\n"
    assert world.registry["a"].metrics().failures == 1


def test_a_stream_is_never_opened_again_after_its_first_chunk(world: World) -> None:
    world.answers["a"] = world.events(b"data: 1\n\n", world.lib.ReadError("cut"))

    with pytest.raises(world.lib.ReadError, match="cut"):
        world.request("GET")

    assert world.counts == {"a": 1}
    assert world.registry["a"].metrics().failures == 1
    assert world.fates() == [("a", Fate.SERVED)]
    assert world.in_flight() == 0


def test_a_stream_that_may_not_be_repeated_is_handed_over_at_its_headers(world: World) -> None:
    world.answers["a"] = world.events(world.lib.ReadError("cut"))
    seen: list[int] = []

    with pytest.raises(world.lib.ReadError, match="cut"):
        world.request("POST", at_headers=lambda response: seen.append(response.status_code))

    assert seen == [200]
    assert world.counts == {"a": 1}
    assert world.in_flight() == 0


def test_an_answer_that_is_given_up_is_closed(world: World) -> None:
    class Body(world.lib.SyncByteStream, world.lib.AsyncByteStream):  # type: ignore[misc, name-defined]  # either library's
        closed = 0

        def __iter__(self) -> Iterator[bytes]:
            yield b"sorry"

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"sorry"

        def close(self) -> None:
            self.closed += 1

        async def aclose(self) -> None:
            self.closed += 1

    body = Body()
    world.answers["a"] = lambda request: world.lib.Response(503, stream=body)

    assert world.request("GET").text == "b"
    assert body.closed == 1


def test_a_stream_that_hangs_before_its_first_chunk_is_blamed_even_before_slow_is_known(
    world: World,
) -> None:
    """A sync client's read time-out raises there; on asyncio the attempt is cut off."""
    silent = HANG if world.asynchronous else world.lib.ReadTimeout("test")
    world.answers["a"] = world.events(silent)

    assert world.request("GET").text == "b"
    assert world.registry["a"].metrics().failures == 1
    assert world.in_flight() == 0


def test_whoever_leaves_in_the_middle_of_a_stream_ends_the_call_there(
    async_world: World, run: Run
) -> None:
    world = async_world
    world.answers["a"] = world.events(b"data: 1\n\n", HANG)
    transport = world.transport()

    async def leave() -> Any:
        response = await transport.handle_async_request(world.lib.Request("GET", "http://failover"))

        async def read() -> None:
            async for _ in response.stream:
                pass

        task = asyncio.create_task(read())
        await asyncio.sleep(1.0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return response

    response = run(leave())

    assert world.in_flight() == 0
    assert world.registry["a"].metrics().failures == 0
    del response


def test_an_empty_event_stream_is_an_answer(world: World) -> None:
    world.answers["a"] = world.events()

    assert world.request("GET").text == ""
    assert world.registry["a"].metrics().successes == 1


# Bodies


def once(world: World) -> Any:
    def pieces() -> Iterator[bytes]:
        yield b"one "
        yield b"two"

    async def apieces() -> AsyncIterator[bytes]:
        for piece in pieces():
            yield piece

    return apieces() if world.asynchronous else pieces()


def test_a_body_that_cannot_be_sent_twice_contradicts_a_declaration(world: World) -> None:
    with pytest.raises(ValueError, match="can be sent only once"):
        world.request("POST", content=once(world), extensions={world.adapter.REPEATABLE: True})

    assert not world.counts
    assert world.in_flight() == 0


def test_a_body_that_cannot_be_sent_twice_is_sent_once(world: World) -> None:
    world.answers["a"] = world.status(503)

    assert world.request("PUT", content=once(world)).status_code == 503
    assert world.counts == {"a": 1}


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_body_that_nobody_has_read_goes_on_whole(world: World, method: str) -> None:
    open_breaker(world.registry["a"])

    world.request(method, content=once(world))

    assert world.received["b"][0].content == b"one two"


# LLM providers


@pytest.fixture
def models(world: World) -> World:
    endpoint = world.adapter.LLMEndpoint
    world.targets = {
        "a": endpoint("https://a.example/v1", "key-of-a"),
        "b": endpoint(
            "https://b.example/openai/v1", "key-of-b", models={"gpt-4o-mini": "llama-3.3-70b"}
        ),
        "c": endpoint("https://c.example", "key-of-c", key_header="api-key"),
    }
    return world


CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hë"}]}


def test_each_provider_gets_its_own_key_and_model_name_and_no_others(models: World) -> None:
    models.answers = {"a": models.status(529), "b": models.status(500)}
    headers = {"Authorization": "Bearer of-a", "OpenAI-Organization": "org", "Cookie": "c=1"}

    models.request("POST", "https://a.example/v1/chat/completions", json=CHAT, headers=headers)

    a, b, c = (models.received[key][0] for key in "abc")
    assert a.headers["authorization"] == "Bearer key-of-a"
    assert b.headers["authorization"] == "Bearer key-of-b"
    assert c.headers["api-key"] == "key-of-c"
    assert "authorization" not in c.headers
    for sent in (a, b, c):
        assert not {"cookie", "openai-organization"} & set(sent.headers)
    assert str(b.url) == "https://b.example/openai/v1/chat/completions"
    assert json.loads(a.content) == CHAT
    assert json.loads(b.content) == {**CHAT, "model": "llama-3.3-70b"}
    assert b.headers["content-length"] == str(len(b.content))


@pytest.mark.parametrize("path", ["chat/completions", "responses", "embeddings", "messages?beta=1"])
def test_to_ask_a_model_again_is_safe(models: World, path: str) -> None:
    models.answers["a"] = models.status(503)

    assert models.request("POST", f"http://failover/{path}", json=CHAT).text == "b"


def test_to_ask_a_model_again_is_safe_only_where_all_are_models(models: World) -> None:
    models.targets["b"] = "https://b.example"
    models.answers["a"] = models.status(503)

    assert models.request("POST", "http://failover/chat/completions").status_code == 503


def test_to_upload_again_is_not(models: World) -> None:
    models.answers["a"] = models.status(503)

    assert models.request("POST", "http://failover/files", content=b"x").status_code == 503
    assert models.counts == {"a": 1}


@pytest.mark.parametrize("content", [b"", b"no json", b"[1]", b'{"model": ["x"]}', b"\xff"])
def test_a_body_without_a_model_name_passes_as_it_is(models: World, content: bytes) -> None:
    open_breaker(models.registry["a"])

    models.request("POST", "http://failover/chat/completions", content=content)

    assert models.received["b"][0].content == content


def test_no_key_is_ever_shown(models: World) -> None:
    transport = models.transport()

    shown = repr(transport.failover.providers) + repr(transport.failover) + repr(models.targets)

    assert "key-of" not in shown


# Bad input


@pytest.mark.parametrize(
    "base", ["", "a.example", "ftp://a.example", "https://", "https://a.example/?x=1", "/api"]
)
def test_a_base_url_that_is_none_is_an_error_that_names_the_provider(
    world: World, base: str
) -> None:
    world.targets["b"] = base
    with pytest.raises(ValueError, match="'b'"):
        world.transport()


@pytest.mark.parametrize("target", [None, 7, b"https://a.example", object()])
def test_a_target_of_another_kind_is_an_error(world: World, target: Any) -> None:
    world.targets["a"] = target
    with pytest.raises(TypeError, match="target of 'a'"):
        world.transport()


def test_settings_of_the_wrong_type_are_errors(world: World) -> None:
    with pytest.raises(TypeError, match="failover must be a Failover"):
        world.adapter.FailoverTransport(world.lib.MockTransport(print), {"a": "https://a"})
    world.options["repeatable"] = "yes"
    with pytest.raises(TypeError, match="repeatable must be a callable"):
        world.transport()
