"""The LangChain adapter: with the package's own fake models, and with a real SDK on loopback."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest

pytest.importorskip("langchain_core")

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableLambda
from tests.support.breaker_state import votes
from tests.support.scripted_upstream import Upstream, answer

from recloser import Breaker, BreakerOpenError, HopelessError, Policy, Registry, State
from recloser.testing import ManualClock
from recloser_adapters.langchain import GuardedRunnable, guard

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Scripted(BaseChatModel):
    """A model that takes its time on a manual clock, streams, and fails as it is told."""

    clock: Any = None
    takes: float = 0.2
    words: Sequence[str] = ("pong",)
    error: Any = None
    fails_after: int = 99
    streaming: bool = False

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **_: Any) -> Any:
        if self.streaming:
            # Many integrations answer a call from their own stream.
            text = "".join(str(each.message.content) for each in self._stream(messages))
        else:
            self.clock.advance(self.takes)
            if self.error is not None:
                raise self.error
            text = "".join(self.words)
        usage: Any = {"input_tokens": 1, "output_tokens": len(self.words), "total_tokens": 2}
        message = AIMessage(text, usage_metadata=usage)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **_: Any
    ) -> Iterator[ChatGenerationChunk]:
        for number, word in enumerate(self.words):
            if number >= self.fails_after:
                raise self.error
            self.clock.advance(self.takes)
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **_: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(messages):
            yield chunk


@pytest.fixture
def breaker(registry: Registry) -> Breaker:
    return registry["m"]


def scripted(registry: Registry, **fields: Any) -> Any:
    return guard(Scripted(clock=registry.clock, **fields), registry, key="m")


async def test_good_calls_of_each_kind_are_successes(registry: Registry, breaker: Breaker) -> None:
    model = scripted(registry, words=["po", "ng"])

    assert model.invoke("ping").content == "pong"
    assert (await model.ainvoke("ping")).content == "pong"
    assert [each.content for each in model.stream("ping") if each.content] == ["po", "ng"]
    assert [each.content async for each in model.astream("ping") if each.content] == ["po", "ng"]
    assert len(model.batch(["a", "b"])) == 2

    assert votes(breaker.metrics()) == {"successes": 6}
    assert registry.faults == 0


def test_a_call_that_a_model_makes_from_its_own_stream_counts_once(
    registry: Registry, breaker: Breaker
) -> None:
    scripted(registry, streaming=True).invoke("ping")

    assert votes(breaker.metrics()) == {"successes": 1}


def test_it_stays_a_model_of_its_class_and_the_original_stays_unguarded(
    registry: Registry, breaker: Breaker
) -> None:
    model = Scripted(clock=registry.clock)
    guarded = guard(model, registry, key="m")

    assert isinstance(guarded, Scripted)
    assert type(guarded).__name__ == "Scripted"
    assert type(model) is Scripted
    assert guarded.lc_id() == model.lc_id()
    model.invoke("ping")
    assert votes(breaker.metrics()) == {}


def test_what_is_bound_to_it_is_guarded_too(registry: Registry, breaker: Breaker) -> None:
    scripted(registry).bind(stop=["."]).invoke("ping")

    assert votes(breaker.metrics()) == {"successes": 1}


def test_the_default_key_is_the_provider_and_the_model(registry: Registry) -> None:
    guard(FakeListChatModel(responses=["pong"]), registry).invoke("ping")

    assert [each.key for each in registry] == ["fakelistchatmodel"]


def test_errors_open_and_a_fallback_takes_over_at_once(
    registry: Registry, breaker: Breaker
) -> None:
    sick = scripted(registry, error=ConnectionError("reset"))
    backup = FakeListChatModel(responses=["backup"])
    model = sick.with_fallbacks([backup])

    answers = [model.invoke("ping").content for _ in range(30)]

    assert answers == ["backup"] * 30
    assert breaker.state is State.OPEN
    assert breaker.metrics().refused > 10
    with pytest.raises(BreakerOpenError):
        sick.invoke("ping")


def test_what_a_parser_cannot_read_is_an_answer(registry: Registry, breaker: Breaker) -> None:
    model = scripted(registry, error=OutputParserException("no JSON"))

    for _ in range(20):
        with pytest.raises(OutputParserException):
            model.invoke("ping")

    assert votes(breaker.metrics()) == {"ignored": 20}


async def test_the_latency_of_a_stream_is_that_of_its_first_chunk(
    registry: Registry, breaker: Breaker
) -> None:
    model = scripted(registry, words=["a"] * 9)

    list(model.stream("ping"))
    [each async for each in model.astream("ping")]

    assert breaker.metrics().mean == pytest.approx(0.2)
    assert votes(breaker.metrics()) == {"successes": 2}


async def test_a_stream_that_breaks_is_a_failure(registry: Registry, breaker: Breaker) -> None:
    model = scripted(registry, words=["a"] * 4, error=ConnectionError("cut"), fails_after=2)

    with pytest.raises(ConnectionError):
        list(model.stream("ping"))
    with pytest.raises(ConnectionError):
        [each async for each in model.astream("ping")]

    assert votes(breaker.metrics()) == {"failures": 2}


async def test_who_leaves_a_stream_after_a_chunk_has_an_answer(
    registry: Registry, breaker: Breaker
) -> None:
    model = scripted(registry, words=["a"] * 4)

    stream = model.stream("ping")
    next(stream)
    stream.close()
    chunks = model.astream("ping")
    await anext(chunks)
    await chunks.aclose()

    assert votes(breaker.metrics()) == {"successes": 2}


def test_a_refused_stream_raises(registry: Registry, breaker: Breaker) -> None:
    breaker.open("by hand")

    with pytest.raises(BreakerOpenError):
        list(scripted(registry).stream("ping"))


def test_long_answers_explain_themselves(
    registry: Registry, breaker: Breaker, clock: ManualClock
) -> None:
    """One prompt gets a short answer in 0.2 s, another one a long one in 20 s: neither is slow."""
    short = scripted(registry, takes=0.2)
    long = scripted(registry, takes=20.0, words=["word"] * 2000)

    for _ in range(60):
        short.invoke("ping")
        long.invoke("ping")

    assert breaker.state is State.CLOSED
    assert votes(breaker.metrics()) == {"successes": 120}


async def test_a_hopeless_call_is_cut_off_if_that_is_asked_for() -> None:
    import anyio

    registry = Registry(Policy(slow_ceiling=1.0))
    for _ in range(100):
        registry["slow"].record(0.01, success=True)

    async def slow(_: object) -> str:
        await anyio.sleep(30)
        return "late"

    runnable: Any = guard(RunnableLambda(slow, name="slow"), registry, cut_off=True)
    with pytest.raises(HopelessError):
        await runnable.ainvoke("ping")

    assert registry["slow"].metrics().failures == 1


# Other runnables


async def test_a_runnable_is_guarded_in_each_of_its_forms(registry: Registry) -> None:
    add: Any = RunnableLambda(lambda x: x + 1, name="add")
    runnable = guard(add, registry)

    assert isinstance(runnable, GuardedRunnable)
    assert runnable.invoke(1) == 2
    assert await runnable.ainvoke(1) == 2
    assert runnable.batch([1, 2]) == [2, 3]
    assert await runnable.abatch([1]) == [2]
    assert list(runnable.stream(1)) == [2]
    assert [each async for each in runnable.astream(1)] == [2]
    chain = runnable | RunnableLambda(lambda x: x * 10)
    assert chain.invoke(1) == 20
    assert list(chain.stream(1)) == [20]

    assert votes(registry["add"].metrics()) == {"successes": 9}


def test_a_refused_runnable_has_a_fallback(registry: Registry) -> None:
    add: Any = RunnableLambda(lambda x: x + 1)
    backup: Any = RunnableLambda(lambda x: "backup")
    runnable = guard(add, registry, key="add")
    registry["add"].open("by hand")

    assert runnable.with_fallbacks([backup]).invoke(1) == "backup"


@pytest.mark.parametrize(
    ("runnable", "registry", "settings", "message"),
    [
        (object(), None, {}, "guard needs a Runnable, not object"),
        (
            RunnableLambda(len) | RunnableLambda(str),
            None,
            {},
            "key must be given, because this Run",
        ),
        (RunnableLambda(lambda x: x), None, {}, "key must be given, because this Run"),
        (RunnableLambda(len), Policy(), {}, r"write Registry\(policy\)"),
        (RunnableLambda(len), None, {"kye": "m"}, "unexpected keyword argument 'kye'"),
        (RunnableLambda(len), None, {"key": ""}, "key must not be empty"),
        (RunnableLambda(len), None, {"key": 7}, "key must be a str"),
        (RunnableLambda(len), None, {"cut_off": "no"}, "cut_off must be True or False"),
    ],
)
def test_a_mistake_is_told_at_once(
    runnable: Any, registry: Any, settings: Any, message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        guard(runnable, registry, **settings)


# A real SDK


def test_the_real_sdk_of_openai(upstream: Upstream, registry: Registry) -> None:
    chat: Any = pytest.importorskip("langchain_openai").ChatOpenAI
    model = guard(
        chat(model="gpt-5", api_key="none", base_url=f"{upstream.url}/v1", max_retries=0), registry
    )
    choice = {"index": 0, "message": {"role": "assistant", "content": "pong"}}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    body = {"id": "1", "object": "chat.completion", "created": 1, "model": "gpt-5"}
    reply = json.dumps({**body, "choices": [{**choice, "finish_reason": "stop"}], "usage": usage})
    kind = {"content-type": "application/json"}
    path = "/v1/chat/completions"
    upstream.answers(path, answer(200, reply.encode(), kind))
    upstream.answers(path, answer(503))
    upstream.answers(path, answer(400))
    upstream.answers(path, answer(429, b"", {"retry-after": "7"}))

    assert model.invoke("ping").content == "pong"
    for _ in range(3):
        with pytest.raises(Exception):  # noqa: B017, PT011  # of the SDK
            model.invoke("ping")

    model.root_client.close()
    breaker = registry["openai:gpt-5"]
    assert votes(breaker.metrics()) == {
        "successes": 1,
        "failures": 1,
        "ignored": 1,
        "throttled": 1,
    }
