"""Breakers for the models of pydantic-ai, version 2 and later.

    primary = GuardedModel("openai:gpt-5", registry)
    backup = GuardedModel("anthropic:claude-sonnet-4-5", registry)
    agent = Agent(FallbackModel(primary, backup))

A refused request raises a `ModelAPIError`, so pydantic-ai's own `FallbackModel` goes on to the next
model at once. One call is one request to the model, as the agent makes it; what the SDK below repeats
is part of it. Where the SDK takes an HTTP client, `recloser_adapters.httpx2` sees more: each attempt,
and the headers. Use one of both, not both.

A rate limit asks for a pause, and so does used-up quota. A request that the provider rejects, and an
answer that its filter stops, are answers. Errors of the connection and of the server are failures, and
so is a response that makes no sense. The latency of a stream is the time to its first event; a stream
that breaks or stalls is a failure. The length of the prompt and the tokens of the answer explain how
long a request takes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from math import inf
from typing import Any, Unpack, cast

from pydantic_ai import exceptions
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings

from recloser import (
    Breaker,
    BreakerOpenError,
    Deadline,
    Outcome,
    Permit,
    Reason,
    Registry,
    State,
)
from recloser_adapters._model_calls import (
    EventWatch,
    ModelGuardSettings,
    characters,
    check_model_guard,
    leave,
    note_tokens,
)
from recloser_adapters._outbound.usage import size_of

__all__ = ["BreakerOpenModelError", "GuardedModel", "ModelGuardSettings"]


def _errors(*names: str) -> tuple[type[Exception], ...]:
    """Classes of errors, as far as the installed version has them."""
    return tuple(getattr(exceptions, name) for name in names if hasattr(exceptions, name))


_QUOTA = _errors("ModelQuotaExceededError")
_ANSWERS = _errors(
    "ModelRateLimitError",
    "ModelQuotaExceededError",
    "ModelRequestRejectedError",
    "ContentFilterError",
)
# What else says of itself which status the provider gave.
_HTTP = _errors("ModelHTTPError")


class BreakerOpenModelError(BreakerOpenError, exceptions.ModelAPIError):
    """The breaker refused the request; nothing was sent.

    It is a `ModelAPIError`, so `FallbackModel` asks the next model.

    Args:
        key: The key of the breaker that refused.
        state: Its state, or the value of that.
        reason: Why it got this state, or the sentence of that; None if it has no reason.
        retry_after: Seconds until a request may pass, >= 0.
        model_name: The name of the model.
    """

    def __init__(
        self,
        key: str,
        state: State | str = State.OPEN,
        reason: Reason | str | None = None,
        retry_after: float = 0.0,
        model_name: str = "",
    ) -> None:
        # Each of both bases would hand its arguments on to the other one.
        refusal = BreakerOpenError(key, state, reason, retry_after)
        self.key: str = refusal.key
        self.state: State = refusal.state
        self.reason: Reason | None = refusal.reason
        error = exceptions.ModelAPIError(model_name, str(refusal))
        self.__dict__.update({**vars(error), **vars(self)})
        # Of the two bases, one says that it may be None.
        self.retry_after: float = refusal.retry_after  # pyright: ignore[reportIncompatibleVariableOverride]
        self.args: tuple[object, ...] = refusal.args

    def __str__(self) -> str:
        return BreakerOpenError.__str__(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (
            *(self.key, self.state, self.reason, self.retry_after, self.model_name),
        )


class GuardedModel(WrapperModel):
    """A model whose requests are guarded by a breaker.

    Args:
        wrapped: The model, or its name as for an `Agent`.
        registry: Holds the breakers; by default a new one.
        **settings: `key` and `cut_off`: see `ModelGuardSettings`.

    Attributes:
        registry: Holds the breakers.
        key: The key of its breaker.

    Raises:
        TypeError: An argument has the wrong type, or a setting does not exist.
        ValueError: The key is empty.
    """

    def __init__(
        self,
        wrapped: Model | str,
        registry: Registry | None = None,
        **settings: Unpack[ModelGuardSettings],
    ) -> None:
        check_model_guard(registry, settings)
        if not isinstance(wrapped, (Model, str)):
            raise TypeError(f"wrapped must be a Model or the name of one, not {wrapped!r}")
        super().__init__(wrapped)
        self.registry: Registry = Registry() if registry is None else registry
        self.key: str = settings.get("key", f"{self.wrapped.system}:{self.wrapped.model_name}")
        self.cut_off: bool = settings.get("cut_off", False)

    @property
    def breaker(self) -> Breaker:
        """The breaker of the model."""
        return self.registry[self.key]

    def _admit(self, label: str, request_bytes: int) -> Permit:
        try:
            return self.breaker.acquire(label, size_of(request_bytes))
        except BreakerOpenError as refusal:
            raise BreakerOpenModelError(
                *(refusal.key, refusal.state, refusal.reason, refusal.retry_after),
                self.wrapped.model_name,
            ) from None

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Make a request if the breaker admits it."""
        request_bytes = _bytes_of(messages)
        permit = self._admit("request", request_bytes)
        response: ModelResponse | None = None
        try:
            # In the `try` block: an error while it is made must end the permit, too.
            coroutine = self.wrapped.request(messages, model_settings, model_request_parameters)
            limit = permit.timeout if self.cut_off else inf
            if limit == inf:
                response = await coroutine
            else:
                with Deadline(limit):
                    response = await coroutine
            if response is None:
                late = f"no answer within {limit:.3g} s, which is hopeless"
                raise exceptions.ModelAPIError(self.wrapped.model_name, late)
            usage: object = getattr(response, "usage", None)
            note_tokens(permit, request_bytes, getattr(usage, "output_tokens", None))
            permit.success()
        except BaseException as error:
            _end_by_error(permit, error)
            raise
        return response

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: Any = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """Open a stream if the breaker admits it."""
        permit = self._admit("stream", _bytes_of(messages))
        is_open = False
        try:
            async with self.wrapped.request_stream(
                messages, model_settings, model_request_parameters, run_context
            ) as response:
                _watch(response, permit)
                is_open = True
                yield response
        except BaseException as error:
            if is_open:
                leave(permit)  # what the events raised has ended the permit before
            else:
                _end_by_error(permit, error)
            raise
        leave(permit)


def _watch(response: StreamedResponse, permit: Permit) -> None:
    """Tell a permit of the events of a stream."""
    hook = cast("Any", response)
    try:
        if hook._event_iterator is not None:
            permit.mark()  # its first event has been read already, as by a `FallbackModel` below
            return
        # It is the method that a class of streams must have, and that is called when events are
        # wanted.
        events = hook._get_event_iterator
        hook._get_event_iterator = lambda: _watched(events(), permit)
    except Exception as fault:  # a class of the user may lack anything
        permit.breaker.fault("model stream", fault)
        permit.mark()


async def _watched(events: AsyncIterator[Any], permit: Permit) -> AsyncIterator[Any]:
    watch = EventWatch(permit)
    try:
        async for event in events:
            watch.arrived()
            yield event
            watch.asked()
    except GeneratorExit:
        raise
    except BaseException as error:
        _end_by_error(permit, error)
        raise
    watch.read_all()


def _end_by_error(permit: Permit, error: BaseException) -> None:
    if isinstance(error, BreakerOpenError) or not isinstance(error, Exception):
        permit.end_by_error(error)
        return
    outcome, retry_after = permit.classify(error)
    if outcome is Outcome.IGNORED and isinstance(error, _QUOTA):
        outcome = Outcome.THROTTLED  # its status may be any of 4xx
    elif outcome is Outcome.FAILURE and getattr(error, "phase", None) == "pool":
        outcome = Outcome.IGNORED  # the client's own pool has no free connection
    answered = isinstance(error, _ANSWERS) or (
        isinstance(error, _HTTP) and outcome is not Outcome.FAILURE
    )
    if answered and permit.answered == inf:
        permit.mark()
    asked = retry_after or getattr(error, "retry_after", None)
    permit.end(outcome, error=error, retry_after=asked, quota=isinstance(error, _QUOTA))


def _bytes_of(messages: Iterable[ModelMessage]) -> int:
    parts = (part for message in messages for part in message.parts)
    return sum(characters(getattr(part, "content", "")) for part in parts)
