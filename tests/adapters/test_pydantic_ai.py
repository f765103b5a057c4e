"""The pydantic-ai adapter: with the package's own test models, and with a real SDK on loopback."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

pytest.importorskip("pydantic_ai")

from pydantic_ai import Agent, exceptions
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.usage import RequestUsage
from tests.support.breaker_state import votes
from tests.support.scripted_upstream import Upstream, answer

from recloser import Breaker, BreakerOpenError, Policy, Registry, State
from recloser.testing import ManualClock
from recloser_adapters.pydantic_ai import BreakerOpenModelError, GuardedModel

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Script:
    """What a model does: it takes its time on a manual clock, and fails as it is told.

    Attributes:
        takes: Seconds before an answer, and before each piece of a stream.
        error: What it raises; None for an answer.
        words: The pieces of its answer.
        fails_after: After so many pieces of a stream it raises.
        asked: How often it was asked.
    """

    def __init__(self, clock: ManualClock) -> None:
        self.takes = 0.2
        self.error: Exception | None = None
        self.words = ["pong"]
        self.fails_after = 99
        self.asked = 0
        self._clock = clock

    async def answer(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        self.asked += 1
        self._clock.advance(self.takes)
        if self.error is not None:
            raise self.error
        usage = RequestUsage(input_tokens=1, output_tokens=len(self.words))
        return ModelResponse(parts=[TextPart("".join(self.words))], usage=usage)

    async def stream(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        self.asked += 1
        for number, word in enumerate(self.words):
            if self.error is not None and number >= self.fails_after:
                raise self.error
            self._clock.advance(self.takes)
            yield word


@pytest.fixture
def script(clock: ManualClock) -> Script:
    return Script(clock)


@pytest.fixture
def model(script: Script, registry: Registry) -> GuardedModel:
    made = FunctionModel(script.answer, stream_function=script.stream, model_name="m")
    return GuardedModel(made, registry, key="m")


@pytest.fixture
def breaker(registry: Registry) -> Breaker:
    return registry["m"]


async def text_of(model: Any) -> str:
    return (await Agent(model).run("ping")).output


async def stream_of(model: Any) -> list[str]:
    async with Agent(model).run_stream("ping") as result:
        return [each async for each in result.stream_text(delta=True, debounce_by=None)]


async def test_good_requests_are_successes(
    model: GuardedModel, script: Script, breaker: Breaker
) -> None:
    script.words = ["po", "ng"]

    assert await text_of(model) == "pong"
    assert await stream_of(model) == ["po", "ng"]

    assert votes(breaker.metrics()) == {"successes": 2}
    assert model.registry.faults == 0


async def test_the_default_key_is_the_provider_and_the_model(registry: Registry) -> None:
    model = GuardedModel(TestModel(), registry)

    await text_of(model)

    assert [each.key for each in registry] == ["test:test"]
    assert model.breaker.metrics().successes == 1


async def test_a_sick_model_is_skipped_by_the_fallback_model(
    model: GuardedModel, script: Script, breaker: Breaker
) -> None:
    script.error = exceptions.ModelHTTPError(503, "m")
    both = FallbackModel(model, TestModel(custom_output_text="backup"))

    for _ in range(30):
        assert await text_of(both) == "backup"

    assert breaker.state is State.OPEN
    assert script.asked < 20
    with pytest.raises(BreakerOpenModelError) as refused:
        await text_of(model)
    assert isinstance(refused.value, exceptions.ModelAPIError)
    assert isinstance(refused.value, BreakerOpenError)
    assert refused.value.model_name == "m"


def its(name: str) -> Any:
    kind = getattr(exceptions, name, None)
    if kind is None:
        pytest.skip(f"this version has no {name}")
    return kind


@pytest.mark.parametrize(
    ("make", "counts"),
    [
        (lambda: exceptions.ModelHTTPError(500, "m"), {"failures": 1}),
        (lambda: exceptions.ModelHTTPError(400, "m"), {"ignored": 1}),
        (lambda: exceptions.ModelHTTPError(429, "m"), {"throttled": 1}),
        (lambda: exceptions.ModelAPIError("m", "no connection"), {"failures": 1}),
        (lambda: exceptions.UnexpectedModelBehavior("nonsense"), {"failures": 1}),
        (lambda: its("ModelRateLimitError")("m", "slowly"), {"throttled": 1}),
        (lambda: its("ModelQuotaExceededError")("m", "pay"), {"throttled": 1}),
        (lambda: its("ModelServerError")("m", "oops"), {"failures": 1}),
        (lambda: its("ModelConnectionError")("m", "reset"), {"failures": 1}),
        (lambda: its("ModelConnectionError")("m", "busy", phase="pool"), {"ignored": 1}),
        (lambda: its("ModelRequestRejectedError")("m", "no"), {"ignored": 1}),
        (lambda: its("ContentFilterError")("not that"), {"ignored": 1}),
        (lambda: exceptions.UserError("mistake"), {"ignored": 1}),
    ],
)
async def test_what_errors_say(
    model: GuardedModel, script: Script, breaker: Breaker, make: Any, counts: dict[str, int]
) -> None:
    script.error = make()

    with pytest.raises(type(script.error)):
        await text_of(model)

    assert votes(breaker.metrics()) == counts


async def test_a_rate_limit_asks_for_a_pause(
    model: GuardedModel, script: Script, breaker: Breaker
) -> None:
    script.error = its("ModelRateLimitError")("m", "slowly", retry_after=7.0)

    for _ in range(30):
        if breaker.state is State.OPEN:
            break
        with pytest.raises(exceptions.ModelAPIError):
            await text_of(model)

    assert breaker.metrics().failures == 0
    assert 6.0 <= breaker.retry_after <= 9.0


async def test_the_latency_of_a_stream_is_that_of_its_first_event(
    model: GuardedModel, script: Script, breaker: Breaker
) -> None:
    script.words = ["word "] * 9

    await stream_of(model)

    assert breaker.metrics().mean == pytest.approx(0.2)


async def test_a_stream_that_breaks_is_a_failure(
    model: GuardedModel, script: Script, breaker: Breaker
) -> None:
    script.words, script.fails_after = ["word "] * 4, 2
    script.error = exceptions.ModelAPIError("m", "cut")

    with pytest.raises(exceptions.ModelAPIError):
        await stream_of(model)

    assert votes(breaker.metrics()) == {"failures": 1}


async def test_who_leaves_a_stream_after_an_event_has_an_answer(
    model: GuardedModel, script: Script, breaker: Breaker
) -> None:
    script.words = ["word "] * 4

    async with Agent(model).run_stream("ping") as result:
        async for _ in result.stream_text(delta=True, debounce_by=None):
            break

    assert votes(breaker.metrics()) == {"successes": 1}


async def test_an_error_of_who_reads_a_stream_is_no_failure_of_the_model(
    model: GuardedModel, script: Script, breaker: Breaker
) -> None:
    async def read() -> None:
        async with Agent(model).run_stream("ping"):
            raise ConnectionError("mine")

    with pytest.raises(ConnectionError):
        await read()

    assert breaker.metrics().failures == 0
    assert breaker.metrics().in_flight == 0


async def test_a_refused_stream_raises(model: GuardedModel, breaker: Breaker) -> None:
    breaker.open("by hand")

    with pytest.raises(BreakerOpenModelError):
        await stream_of(model)


async def test_a_request_timeout_of_the_settings_works_with_a_guarded_stream(
    model: GuardedModel, script: Script
) -> None:
    settings: Any = {"request_timeout": 30.0, "timeout": 30.0}

    async with Agent(model, model_settings=settings).run_stream("ping") as result:
        assert await result.get_output() == "pong"


async def test_long_answers_explain_themselves(
    model: GuardedModel, script: Script, breaker: Breaker
) -> None:
    """Short answers take 0.2 s and long ones 20 s: neither is slow."""
    for _ in range(60):
        script.takes, script.words = 0.2, ["pong"]
        await text_of(model)
        script.takes, script.words = 20.0, ["word"] * 2000
        await text_of(model)

    assert breaker.state is State.CLOSED
    assert votes(breaker.metrics()) == {"successes": 120}


async def test_a_hopeless_request_is_cut_off_and_the_fallback_takes_over() -> None:
    import anyio

    registry = Registry(Policy(slow_ceiling=1.0))
    for _ in range(100):
        registry["m"].record(0.01, success=True)

    async def hang(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        await anyio.sleep(30)
        raise AssertionError("it is cut off")

    model = GuardedModel(FunctionModel(hang), registry, key="m", cut_off=True)

    assert await text_of(FallbackModel(model, TestModel(custom_output_text="backup"))) == "backup"
    assert registry["m"].metrics().failures == 1


async def test_a_fallback_model_can_be_guarded_as_a_whole(
    model: GuardedModel, script: Script, registry: Registry
) -> None:
    script.words = ["po", "ng"]
    whole = GuardedModel(FallbackModel(model, TestModel()), registry, key="whole")

    assert await text_of(whole) == "pong"
    assert await stream_of(whole) == ["po", "ng"]

    assert votes(registry["whole"].metrics()) == {"successes": 2}
    assert votes(registry["m"].metrics()) == {"successes": 2}


async def test_a_stream_of_another_kind_is_a_fault_and_breaks_nothing(registry: Registry) -> None:
    class Odd:
        __slots__ = ()

    class OddModel(TestModel):
        @asynccontextmanager
        async def request_stream(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
            yield Odd()

    model: Any = GuardedModel(OddModel(), registry, key="odd")
    async with model.request_stream([], None, None) as response:
        assert isinstance(response, Odd)

    assert registry.faults == 1
    assert votes(registry["odd"].metrics()) == {"successes": 1}


def test_the_refusal_can_be_copied_and_pickled() -> None:
    error = BreakerOpenModelError("m", retry_after=2.5, model_name="gpt-5")

    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (twin.key, twin.retry_after, twin.model_name) == ("m", 2.5, "gpt-5")
        assert str(twin) == str(error) == error.message


@pytest.mark.parametrize(
    ("registry", "settings", "message"),
    [
        (Policy(), {}, r"write Registry\(policy\)"),
        (None, {"kye": "m"}, "unexpected keyword argument 'kye'"),
        (None, {"key": ""}, "key must not be empty"),
        (None, {"key": 7}, "key must be a str"),
        (None, {"cut_off": "no"}, "cut_off must be True or False"),
    ],
)
def test_a_mistake_is_told_at_once(registry: Any, settings: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        GuardedModel(TestModel(), registry, **settings)


def test_what_is_no_model_is_told_at_once() -> None:
    wrong: Any = 5
    with pytest.raises(TypeError, match="wrapped must be a Model or the name of one, not 5"):
        GuardedModel(wrong)


# A real SDK


async def test_the_real_sdk_of_openai(upstream: Upstream, registry: Registry) -> None:
    openai: Any = pytest.importorskip("pydantic_ai.models.openai")
    provider: Any = pytest.importorskip("pydantic_ai.providers.openai")
    client: Any = pytest.importorskip("openai").AsyncOpenAI(
        api_key="none", base_url=f"{upstream.url}/v1", max_retries=0
    )
    bare = openai.OpenAIChatModel("gpt-5", provider=provider.OpenAIProvider(openai_client=client))
    model = GuardedModel(bare, registry)
    choice = {"index": 0, "message": {"role": "assistant", "content": "pong"}}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    body = {"id": "1", "object": "chat.completion", "created": 1, "model": "gpt-5"}
    reply = json.dumps({**body, "choices": [{**choice, "finish_reason": "stop"}], "usage": usage})
    path, kind = "/v1/chat/completions", {"content-type": "application/json"}
    upstream.answers(path, answer(200, reply.encode(), kind))
    upstream.answers(path, answer(503))
    upstream.answers(path, answer(400))
    upstream.answers(path, answer(429, b"", {"retry-after": "7"}))

    assert await text_of(model) == "pong"
    for _ in range(3):
        with pytest.raises(exceptions.ModelAPIError):
            await text_of(model)

    await client.close()
    breaker = registry["openai:gpt-5"]
    assert votes(breaker.metrics()) == {
        "successes": 1,
        "failures": 1,
        "ignored": 1,
        "throttled": 1,
    }
