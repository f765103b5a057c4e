"""Breakers for the models and other runnables of LangChain (langchain-core 1.0 and later).

    primary = guard(ChatOpenAI(model="gpt-5"), registry)
    backup = guard(ChatAnthropic(model="claude-sonnet-4-5"), registry)
    model = primary.with_fallbacks([backup])

A refused call raises a `BreakerOpenError`, so LangChain's own `with_fallbacks` goes on to the next
model at once. A guarded chat model is of the same class as before: `bind_tools`,
`with_structured_output` and agents work as without. One call is one request to the model, as
LangChain makes it; what the SDK below repeats is part of it.

Rate limits ask for a pause. What the provider rejects, and what a parser cannot read, are answers.
Errors of the connection and of the server are failures. The latency of a stream is the time to its
first chunk; a stream that breaks or stalls is a failure. The length of the prompt and the tokens of the
answer explain how long a call takes.

Any other runnable, such as a retriever or a chain, is guarded as a whole: each call of `invoke`,
`batch`, `stream` and their asynchronous forms is a call for each of its inputs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from math import inf
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, Unpack

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.runnables import Runnable
from langchain_core.runnables.base import RunnableBindingBase

from recloser import Breaker, Deadline, HopelessError, Registry
from recloser_adapters._model_calls import (
    EventWatch,
    ModelGuardSettings,
    characters,
    check_model_guard,
    leave,
    note_tokens,
)
from recloser_adapters._outbound.usage import size_of

__all__ = ["GuardedRunnable", "ModelGuardSettings", "guard"]

if TYPE_CHECKING:
    _Binding: TypeAlias = RunnableBindingBase[Any, Any]
else:
    _Binding = RunnableBindingBase  # pydantic would put a class of that name into this module

RunnableT = TypeVar("RunnableT", bound=Runnable[Any, Any])

# The guard whose call runs in this context: a model may make one of its methods from another one.
_inside: ContextVar[object] = ContextVar("recloser_inside_model", default=None)


def guard(
    runnable: RunnableT,
    registry: Registry | None = None,
    **settings: Unpack[ModelGuardSettings],
) -> RunnableT:
    """_Guard a chat model, or another runnable, by a breaker.

    Args:
        runnable: The model or runnable; it stays as it is.
        registry: Holds the breakers; by default a new one.
        **settings: `key` and `cut_off`: see `ModelGuardSettings`. The key of a runnable that is no
            chat model is its name by default; one without a name needs a key.

    Returns:
        A copy of a chat model, of a subclass of its class; for another runnable a
        `GuardedRunnable`, which takes the same inputs.

    Raises:
        TypeError: An argument has the wrong type, or a setting does not exist.
        ValueError: The key is empty, or missing.
    """
    if not isinstance(runnable, Runnable):
        raise TypeError(f"guard needs a Runnable, not {type(runnable).__name__}")
    check_model_guard(registry, settings)
    registry = Registry() if registry is None else registry
    cut_off = settings.get("cut_off", False)
    if isinstance(runnable, BaseChatModel):
        key = settings.get("key") or _key_of(runnable)
        return _guarded_model(runnable, _Guard(registry, key, cut_off=cut_off))  # type: ignore[return-value]
    # A `RunnableLambda` around a lambda has not even the attribute.
    named = settings.get("key") or getattr(runnable, "name", None)
    if not named:
        kind = type(runnable).__name__
        raise ValueError(
            f"key must be given, because this {kind} has no name: guard(it, registry, key='search')"
        )
    return GuardedRunnable.around(runnable, _Guard(registry, named, cut_off=cut_off))  # type: ignore[return-value]


class _Guard:
    """Guards the calls of one model or runnable.

    Args:
        registry: Holds the breakers.
        key: The key of its breaker.
        cut_off: Whether asynchronous calls end when an answer is hopeless.
    """

    def __init__(self, registry: Registry, key: str, *, cut_off: bool) -> None:
        self._registry = registry
        self._key = key
        self._cut_off = cut_off

    @property
    def breaker(self) -> Breaker:
        """The breaker."""
        return self._registry[self._key]

    def call(self, call: Callable[[], Any], request_bytes: int) -> Any:
        """Call a function under guard, unless this guard has a call in this context already."""
        if _inside.get() is self:
            return call()
        with self.breaker.acquire("call", size_of(request_bytes)) as permit:
            token = _inside.set(self)
            try:
                answer = call()
            finally:
                _inside.reset(token)
            note_tokens(permit, request_bytes, _tokens_of(answer))
        return answer

    async def acall(self, call: Callable[[], Any], request_bytes: int) -> Any:
        """Await a function under guard, and cut it off if that is asked for."""
        if _inside.get() is self:
            return await call()
        with self.breaker.acquire("call", size_of(request_bytes)) as permit:
            limit = permit.timeout if self._cut_off else inf
            token = _inside.set(self)
            try:
                answer = await self._in_time(call, limit)
            finally:
                _inside.reset(token)
            note_tokens(permit, request_bytes, _tokens_of(answer))
        return answer

    async def _in_time(self, call: Callable[[], Any], limit: float) -> Any:
        if limit == inf:
            return await call()
        with Deadline(limit):
            return await call()
        raise HopelessError(self._key, limit)

    def stream(self, stream: Callable[[], Iterator[Any]], request_bytes: int) -> Iterator[Any]:
        """The chunks of a stream under guard."""
        if _inside.get() is self:
            yield from stream()
            return
        permit = self.breaker.acquire("stream", size_of(request_bytes))
        watch, chunks = EventWatch(permit), None
        try:
            chunks = iter(stream())
            while True:
                token = _inside.set(self)
                try:
                    chunk = next(chunks)
                except StopIteration:
                    break
                finally:
                    _inside.reset(token)
                watch.arrived()
                yield chunk
                watch.asked()
        except GeneratorExit:
            leave(permit)
            raise
        except BaseException as error:
            permit.end_by_error(error)
            raise
        finally:
            _close(chunks)
        watch.read_all()

    async def astream(
        self, stream: Callable[[], AsyncIterator[Any]], request_bytes: int
    ) -> AsyncIterator[Any]:
        """The chunks of an asynchronous stream under guard."""
        if _inside.get() is self:
            async for chunk in stream():
                yield chunk
            return
        permit = self.breaker.acquire("stream", size_of(request_bytes))
        watch, chunks = EventWatch(permit), None
        try:
            chunks = aiter(stream())
            while True:
                token = _inside.set(self)
                try:
                    chunk = await anext(chunks)
                except StopAsyncIteration:
                    break
                finally:
                    _inside.reset(token)
                watch.arrived()
                yield chunk
                watch.asked()
        except GeneratorExit:
            leave(permit)
            raise
        except BaseException as error:
            permit.end_by_error(error)
            raise
        finally:
            await _aclose(chunks)
        watch.read_all()


def _close(chunks: Any) -> None:
    close = getattr(chunks, "close", None)
    if close is not None:
        close()


async def _aclose(chunks: Any) -> None:
    close = getattr(chunks, "aclose", None)
    if close is not None:
        await close()


# Chat models

# The methods in which a chat model talks to its provider, by how they answer.
_CALLS = ("_generate",)
_ACALLS = ("_agenerate",)
_STREAMS = ("_stream", "_stream_chat_model_events")
_ASTREAMS = ("_astream", "_astream_chat_model_events")


def _guarded_model(model: BaseChatModel, its_guard: _Guard) -> BaseChatModel:
    """A copy of a model whose class sends under guard.

    A subclass of its own class, because LangChain and its users ask for that class, and because a
    model that wraps another one would hide what it can do. Only those methods are overridden that the
    class has itself: LangChain looks at that to know whether it can stream.
    """
    kind = type(model)
    methods: dict[str, Any] = {}
    ways: tuple[tuple[tuple[str, ...], Callable[..., Any]], ...] = (
        (_CALLS, its_guard.call),
        (_ACALLS, its_guard.acall),
        (_STREAMS, its_guard.stream),
        (_ASTREAMS, its_guard.astream),
    )
    for names, way in ways:
        for name in names:
            method = getattr(kind, name, None)
            if method is not None and method is not getattr(BaseChatModel, name, None):
                methods[name] = _overriding(method, way)
    named = {
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
    }
    guarded = type(kind.__name__, (kind,), {**named, **methods})
    copy = model.model_copy()
    copy.__class__ = guarded
    return copy


def _overriding(method: Callable[..., Any], way: Callable[..., Any]) -> Callable[..., Any]:
    def override(self: BaseChatModel, messages: Any, *args: Any, **kwargs: Any) -> Any:
        return way(lambda: method(self, messages, *args, **kwargs), _bytes_of(messages))

    return override


def _key_of(model: BaseChatModel) -> str:
    """Provider and model: `openai:gpt-5`."""
    known = model._get_ls_params()
    provider = known.get("ls_provider") or model._llm_type
    name = known.get("ls_model_name")
    return f"{provider}:{name}" if name else provider


def _bytes_of(messages: list[Any]) -> int:
    return sum(characters(getattr(message, "content", "")) for message in messages)


def _tokens_of(answer: Any) -> object:
    """The tokens of an answer; None if it does not tell them."""
    try:
        return answer.generations[0].message.usage_metadata["output_tokens"]
    except (AttributeError, LookupError, TypeError):
        return None


# Other runnables


class GuardedRunnable(_Binding):
    """A runnable whose calls are guarded as a whole. `guard` makes it.

    Attributes:
        bound: The runnable.
        guard: Guards its calls.
    """

    guard: Any = None

    @classmethod
    def around(cls, runnable: Runnable[Any, Any], its_guard: _Guard) -> GuardedRunnable:
        """A guard around a runnable."""
        made = cls(bound=runnable)
        made.guard = its_guard
        return made

    def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:  # noqa: A002
        """Invoke the runnable if its breaker admits the call."""
        return self.guard.call(lambda: self.bound.invoke(input, config, **kwargs), 0)

    async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:  # noqa: A002
        """Invoke the runnable if its breaker admits the call."""
        return await self.guard.acall(lambda: self.bound.ainvoke(input, config, **kwargs), 0)

    def stream(self, input: Any, config: Any = None, **kwargs: Any) -> Iterator[Any]:  # noqa: A002
        """Stream from the runnable if its breaker admits the call."""
        yield from self.guard.stream(lambda: self.bound.stream(input, config, **kwargs), 0)

    async def astream(
        self,
        input: Any,  # noqa: A002
        config: Any = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """Stream from the runnable if its breaker admits the call."""
        async for chunk in self.guard.astream(
            lambda: self.bound.astream(input, config, **kwargs), 0
        ):
            yield chunk

    # Those of a binding would ask the runnable within, past the guard.
    if not TYPE_CHECKING:
        batch, abatch = Runnable.batch, Runnable.abatch
        transform, atransform = Runnable.transform, Runnable.atransform
        batch_as_completed = Runnable.batch_as_completed
        abatch_as_completed = Runnable.abatch_as_completed
