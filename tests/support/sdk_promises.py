"""Tests of an LLM SDK on a guarded client: its calls, its sleeps and its exceptions.

The class runs with the real OpenAI and Anthropic packages, sync and async, and with the provider on
a real socket. The SDKs' sleeps are recorded, and advance the breakers' clock.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, ClassVar

import anyio
import pytest
from tests.support.breaker_state import votes
from tests.support.outage import ASKED_BY_ALL
from tests.support.scripted_upstream import LAST, Upstream, answer, chunk, hang_up, head

from recloser import Breaker, Registry, State
from recloser.testing import ManualClock

EVENTS = {"content-type": "text/event-stream"}
KEY = "provider"


class Sdk:
    """An SDK, sync or async, on a guarded client of the kind that it makes by default.

    Attributes:
        module: The package.
        path: The path of its requests.
        client: The SDK's own client.
    """

    module: Any
    path: str

    def __init__(
        self, upstream: Upstream, registry: Registry, is_async: bool, **settings: Any
    ) -> None:
        self.is_async = is_async
        self._runner = asyncio.Runner()
        kind = self.module.DefaultAsyncHttpxClient if is_async else self.module.DefaultHttpxClient
        http_client = kind(trust_env=False)
        # Old versions use httpx, new ones use httpx2.
        library = kind.__mro__[1].__module__.partition(".")[0]
        adapter = importlib.import_module(f"recloser_adapters.{library}")
        self._http_client = adapter.wrap_client(http_client, registry, key=KEY, **settings)
        self.client = self.make(upstream.url, self._http_client)

    def make(self, url: str, http_client: Any) -> Any:
        """The SDK's own client."""
        raise NotImplementedError

    def send(self, stream: bool) -> Any:
        """Send a request; the result is awaitable if the client is async."""
        raise NotImplementedError

    def reply(self) -> bytes:
        """A good answer of the provider, with the text "pong"."""
        raise NotImplementedError

    def events(self) -> list[bytes]:
        """The same as an event stream."""
        raise NotImplementedError

    def quota(self) -> bytes:
        """The body of a 429 for an exhausted quota."""
        raise NotImplementedError

    def ask(self, *, stream: bool = False) -> Any:
        """Send a request. A stream is returned as a list of the SDK's objects."""
        if self.is_async:
            return self._runner.run(self._ask_async(stream))
        answered = self.send(stream)
        return list(answered) if stream else answered

    async def _ask_async(self, stream: bool) -> Any:
        answered = await self.send(stream)
        return [event async for event in answered] if stream else answered

    def close(self) -> None:
        """Close the HTTP client."""
        if self.is_async:
            self._runner.run(self._http_client.aclose())
        else:
            self._http_client.close()
        self._runner.close()


class Promises:
    """Derive from this class, and set `sdk`."""

    sdk: ClassVar[type[Sdk]]

    @pytest.fixture
    def breaker(self, registry: Registry) -> Breaker:
        return registry[KEY]

    @pytest.fixture
    def sleeps(self, monkeypatch: pytest.MonkeyPatch, clock: ManualClock) -> list[float]:
        """The SDK's sleeps between its attempts, in seconds."""
        taken: list[float] = []

        def sleep(seconds: float) -> None:
            taken.append(seconds)
            clock.advance(seconds)

        really = anyio.sleep

        async def asleep(seconds: float) -> None:
            sleep(seconds)
            await really(0)

        monkeypatch.setattr(time, "sleep", sleep)
        monkeypatch.setattr(anyio, "sleep", asleep)
        return taken

    @pytest.fixture(params=[False, True], ids=["sync", "async"])
    def connect(
        self, request: pytest.FixtureRequest, upstream: Upstream, registry: Registry
    ) -> Iterator[Callable[..., Sdk]]:
        with ExitStack() as stack:

            def connect(**settings: Any) -> Sdk:
                made = self.sdk(upstream, registry, request.param, **settings)
                stack.callback(made.close)
                return made

            yield connect

    def test_an_answer_is_a_success(
        self, connect: Callable[..., Sdk], upstream: Upstream, breaker: Breaker
    ) -> None:
        sdk = connect()
        upstream.answers(sdk.path, answer(200, sdk.reply(), {"content-type": "application/json"}))

        assert "pong" in str(sdk.ask())

        assert breaker.metrics().successes == 1

    def test_each_attempt_is_a_call(
        self,
        connect: Callable[..., Sdk],
        upstream: Upstream,
        breaker: Breaker,
        sleeps: list[float],
    ) -> None:
        sdk = connect()
        upstream.answers(sdk.path, answer(500, b"{}"))

        with pytest.raises(sdk.module.InternalServerError):
            sdk.ask()

        assert upstream.count(sdk.path) == 3
        assert len(sleeps) == 2
        assert breaker.metrics().failures == 3

    def test_a_refusal_is_by_default_a_response_that_is_not_retried(
        self,
        connect: Callable[..., Sdk],
        upstream: Upstream,
        breaker: Breaker,
        sleeps: list[float],
    ) -> None:
        sdk = connect()
        breaker.open("test", for_=30.0)

        with pytest.raises(sdk.module.InternalServerError) as raised:
            sdk.ask()

        assert raised.value.status_code == 503
        assert raised.value.response.headers["retry-after"] == "30"
        assert raised.value.response.json()["breaker"] == KEY
        assert f"breaker {KEY!r} is open" in str(raised.value)
        assert (upstream.connections, breaker.metrics().refused, sleeps) == (0, 1, [])

    def test_a_refusal_is_no_failure_for_a_breaker_around_the_sdk(
        self, connect: Callable[..., Sdk], breaker: Breaker
    ) -> None:
        sdk, outer = connect(), Breaker("outer")
        breaker.open("test", for_=30.0)

        with pytest.raises(sdk.module.InternalServerError), outer:
            sdk.ask()

        assert votes(outer.metrics()) == {"ignored": 1}

    def test_a_refusal_as_an_error_is_retried_and_hidden(
        self,
        connect: Callable[..., Sdk],
        upstream: Upstream,
        breaker: Breaker,
        sleeps: list[float],
    ) -> None:
        """This is why these SDKs get a response by default."""
        sdk = connect(on_refuse="raise")
        breaker.open("test", for_=3000.0)

        with pytest.raises(sdk.module.APIConnectionError) as raised:
            sdk.ask()

        assert type(raised.value.__cause__).__name__ == "BreakerOpenTransportError"
        assert (upstream.connections, breaker.metrics().refused, len(sleeps)) == (0, 3, 2)

    def test_the_wait_that_a_429_asks_for_is_slept_once_and_then_served(
        self,
        connect: Callable[..., Sdk],
        upstream: Upstream,
        breaker: Breaker,
        registry: Registry,
        sleeps: list[float],
    ) -> None:
        sdk = connect()
        upstream.answers(sdk.path, answer(429, b"{}", {"retry-after": "2"}))
        upstream.answers(sdk.path, answer(200, sdk.reply(), {"content-type": "application/json"}))

        assert "pong" in str(sdk.ask())

        assert sleeps == [2.0]
        assert upstream.count(sdk.path) == 2
        assert breaker.metrics().failures == 0
        (scope,) = (each for each in registry if each is not breaker)
        assert votes(scope.metrics()) == {"throttled": 1, "successes": 1}

    def test_while_a_429_holds_others_are_refused_at_once(
        self,
        connect: Callable[..., Sdk],
        upstream: Upstream,
        breaker: Breaker,
        sleeps: list[float],
    ) -> None:
        sdk = connect(on_refuse="response")
        upstream.answers(
            sdk.path, answer(429, b"{}", {"retry-after": "2", "x-should-retry": "false"})
        )

        for _ in range(ASKED_BY_ALL):
            with pytest.raises(sdk.module.RateLimitError):
                sdk.ask()
        with pytest.raises(sdk.module.InternalServerError) as raised:
            sdk.ask()

        assert raised.value.response.headers["retry-after"] == "2"
        assert (upstream.count(sdk.path), sleeps) == (ASKED_BY_ALL, [])

    def test_an_exhausted_quota_is_not_knocked_at_again(
        self,
        connect: Callable[..., Sdk],
        upstream: Upstream,
        breaker: Breaker,
        registry: Registry,
        sleeps: list[float],
    ) -> None:
        sdk = connect(on_refuse="response")
        upstream.answers(sdk.path, answer(429, sdk.quota(), {"content-type": "application/json"}))

        for _ in range(ASKED_BY_ALL + 2):
            with pytest.raises(sdk.module.APIStatusError):
                sdk.ask()

        assert upstream.count(sdk.path) == ASKED_BY_ALL
        assert len(sleeps) <= ASKED_BY_ALL
        assert breaker.state is State.CLOSED
        (scope,) = (each for each in registry if each.state is State.OPEN)
        assert "(credential " in scope.key
        reason = scope.refusal().reason
        assert reason is not None
        assert reason.rule == "quota"
        assert scope.retry_after > scope.policy.max_retry_after

    def test_a_stream_is_a_success_with_the_latency_of_its_first_chunk(
        self,
        connect: Callable[..., Sdk],
        upstream: Upstream,
        breaker: Breaker,
        clock: ManualClock,
    ) -> None:
        """OpenAI's SDK stops reading at `[DONE]`, and closes the stream before its end."""
        sdk = connect()
        first, *rest = sdk.events()
        upstream.answers(
            sdk.path,
            head(200, EVENTS),
            lambda wire: clock.advance(0.25),
            chunk(first),
            *map(chunk, rest),
            LAST,
        )

        assert "pong" in str(sdk.ask(stream=True))

        assert breaker.metrics().successes == 1
        assert breaker.metrics().mean == pytest.approx(0.25)
        assert breaker.metrics().in_flight == 0

    def test_an_error_event_within_a_stream_is_a_failure(
        self, connect: Callable[..., Sdk], upstream: Upstream, breaker: Breaker
    ) -> None:
        sdk = connect(sse_errors=True)
        first, *_ = sdk.events()
        error = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
        said = b"event: error\ndata: " + json.dumps(error).encode() + b"\n\n"
        upstream.answers(sdk.path, head(200, EVENTS), chunk(first), chunk(said), LAST)

        with pytest.raises(sdk.module.APIError):
            sdk.ask(stream=True)

        assert breaker.metrics().failures == 1

    def test_a_stream_that_is_cut_is_a_failure(
        self, connect: Callable[..., Sdk], upstream: Upstream, breaker: Breaker
    ) -> None:
        sdk = connect()
        first, *_ = sdk.events()
        upstream.answers(sdk.path, head(200, EVENTS), chunk(first), hang_up)

        with pytest.raises(Exception, match=r"peer closed|Connection error"):
            sdk.ask(stream=True)

        assert breaker.metrics().failures == 1
