"""Failover for `httpx` and `httpx2` clients: one client, several base URLs.

Like `_httpx_factory` it imports neither library; each adapter completes its classes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any, ClassVar

from recloser import Attempt, BreakerOpenError, Failover, Outcome
from recloser_adapters._failover_plan import LLMEndpoint, Plan, Planner
from recloser_adapters._httpx_factory import (
    AsyncInner,
    AsyncTransport,
    InnerT,
    OnRefuse,
    RequestT,
    ResponseT,
    SyncInner,
    SyncTransport,
    Transport,
)
from recloser_adapters._outbound import Exchange, Reported
from recloser_adapters._outbound_body import is_event_stream

PROVIDER = "recloser.provider"
"""In the extensions of a response: the key of the provider that answered."""
_ANSWERED_BADLY = (Outcome.FAILURE, Outcome.THROTTLED)


class FailoverBase(Transport[InnerT, RequestT, ResponseT]):
    """What both halves share; the settings are those of the adapters' `FailoverTransport`.

    Attributes:
        url_class: The library's URL.
        request_class: The library's request.
        unsent_errors: What is raised before anything was sent.
        time_out_class: What is raised when the time budget ends.
        peeked: What replaces the stream of a response whose first chunk was read ahead.
    """

    url_class: ClassVar[type[Any]]
    request_class: ClassVar[type[Any]]
    unsent_errors: ClassVar[tuple[type[BaseException], ...]]
    time_out_class: ClassVar[type[Any]]
    peeked: ClassVar[type[SyncPeeked | AsyncPeeked]]

    def __init__(
        self,
        transport: InnerT,
        failover: Failover[str] | Failover[LLMEndpoint] | Failover[str | LLMEndpoint],
        *,
        repeatable: Callable[[RequestT], bool | None] | None = None,
        on_refuse: OnRefuse | Callable[[RequestT, BreakerOpenError], ResponseT] = "raise",
        classify: Callable[[ResponseT | BaseException], Outcome | None] | None = None,
        sse_errors: bool = True,
    ) -> None:
        if not isinstance(failover, Failover):
            raise TypeError(f"failover must be a Failover, not {type(failover).__name__}")
        super().__init__(
            transport,
            failover.registry,
            on_refuse=on_refuse,
            classify=classify,
            sse_errors=sse_errors,
        )
        self.failover: Failover[Any] = failover
        self.planner: Planner = Planner(
            failover,
            repeatable,
            url_class=self.url_class,
            request_class=self.request_class,
            fixed_body=self.fixed_body,
        )

    def answered(self, plan: Plan, sent: Any, response: Any, hearing: _Hearing) -> bool:
        """Judge the headers of an answer; whether its body should have a say, too."""
        # From here on the client's own time-outs hold: `sent` was made for this attempt alone.
        limits = sent.extensions["timeout"]
        limits.clear()
        limits.update(plan.timeouts)
        response.extensions = {**response.extensions, PROVIDER: hearing.attempt.key}
        self.watch(hearing.ticket, response)
        return plan.repeatable and hearing.outcome is None and not response.is_closed

    def stands(self, response: Any, hearing: _Hearing) -> bool:
        """Whether an answer goes to the caller; if not, another provider takes over."""
        outcome = hearing.outcome or Outcome.SUCCESS
        status = response.status_code
        what = f"HTTP {status}" if status >= 400 else "error event in the stream"
        if outcome in _ANSWERED_BADLY and hearing.attempt.moves_on(outcome, error=what):
            return False
        hearing.hand_over()
        return True

    def gives_up(self, plan: Plan, error: Exception, hearing: _Hearing) -> bool:
        """Whether another provider takes over after an error; if not, it is the last word."""
        self.end_by_error(hearing.ticket, plan.request, error)
        outcome = hearing.outcome or Outcome.FAILURE
        sent = not isinstance(error, (*self.unsent_errors, BreakerOpenError))
        if hearing.attempt.moves_on(outcome, error=error, sent=sent):
            return True
        hearing.attempt.end(outcome, error=error, sent=sent)
        return False


class _Ticket(Reported):
    """The ticket of one attempt."""

    handed_over = False

    def end_by_error(self, error: BaseException | None) -> None:
        """End it with what the call raised."""
        # Who is cancelled before the caller has anything may have been cut off by the attempt's own
        # time limit. Only the attempt knows; it ends the permit.
        if self.handed_over or error is None or isinstance(error, Exception):
            super().end_by_error(error)


class _Hearing:
    """One attempt, and what its answer has said so far."""

    def __init__(self, attempt: Attempt[Any], failover: Failover[Any]) -> None:
        self.attempt: Attempt[Any] = attempt
        self._ends: list[Exchange] = []
        self.ticket: _Ticket = _Ticket(attempt.permit, failover.registry, self._ends.append)

    @property
    def outcome(self) -> Outcome | None:
        """How the call ended; None if only its body will tell."""
        return self._ends[0].outcome if self._ends else None

    def hand_over(self) -> None:
        """The answer goes to the caller, and its body ends the call."""
        self.ticket.handed_over = True
        self.attempt.commit(self.outcome or Outcome.SUCCESS)


class SyncFailover(
    FailoverBase[SyncInner[RequestT, ResponseT], RequestT, ResponseT],
    SyncTransport[RequestT, ResponseT],
):
    """The sync half."""

    def handle_request(self, request: RequestT) -> ResponseT:
        """Send a request to the first provider that can serve it."""
        plan = self.planner.plan(request)
        if plan is None:
            return self.wrapped.handle_request(request)
        try:
            for attempt in self.failover.attempts(repeatable=plan.repeatable):
                with attempt:
                    response: ResponseT | None = self._try(plan, attempt)
                    if response is not None:
                        return response
        except BreakerOpenError as refusal:
            return self.refused(request, refusal)
        raise AssertionError("the last attempt either answers or raises")

    def _try(self, plan: Plan, attempt: Attempt[Any]) -> Any:
        hearing = _Hearing(attempt, self.failover)
        sent = self.planner.addressed(plan, attempt)
        response: Any = None
        try:
            response = self.wrapped.handle_request(sent)
            if self.answered(plan, sent, response, hearing):
                self._look_into(response)
            if self.stands(response, hearing):
                return response
        except Exception as error:
            if not self.gives_up(plan, error, hearing):
                _close(response)
                raise
        _close(response)
        return None

    def _look_into(self, response: Any) -> None:
        """Wait for what decides: the first chunk of a stream, or why a 429 says no."""
        if response.status_code == 429:
            response.read()
        elif is_event_stream(response.headers.get("content-type", "")):
            chunks = iter(response.stream)
            response.stream = self.peeked(next(chunks, b""), chunks, response.stream)


class AsyncFailover(
    FailoverBase[AsyncInner[RequestT, ResponseT], RequestT, ResponseT],
    AsyncTransport[RequestT, ResponseT],
):
    """The async half."""

    async def handle_async_request(self, request: RequestT) -> ResponseT:
        """Send a request to the first provider that can serve it."""
        plan = self.planner.plan(request)
        if plan is None:
            return await self.wrapped.handle_async_request(request)
        try:
            for attempt in self.failover.attempts(repeatable=plan.repeatable):
                async with attempt:
                    response: ResponseT | None = await self._try(plan, attempt)
                    if response is not None:
                        return response
        except BreakerOpenError as refusal:
            return self.refused(request, refusal)
        except TimeoutError as late:
            raise self.time_out_class("no answer within the time budget of the failover") from late
        raise AssertionError("the last attempt either answers or raises")

    async def _try(self, plan: Plan, attempt: Attempt[Any]) -> Any:
        hearing = _Hearing(attempt, self.failover)
        sent = self.planner.addressed(plan, attempt)
        response: Any = None
        try:
            response = await self.wrapped.handle_async_request(sent)
            if self.answered(plan, sent, response, hearing):
                await self._look_into(response)
            if self.stands(response, hearing):
                return response
        except Exception as error:
            if not self.gives_up(plan, error, hearing):
                await _aclose(response)
                raise
        await _aclose(response)
        return None

    async def _look_into(self, response: Any) -> None:
        """Wait for what decides: the first chunk of a stream, or why a 429 says no."""
        if response.status_code == 429:
            await response.aread()
        elif is_event_stream(response.headers.get("content-type", "")):
            chunks = response.stream.__aiter__()
            first = await anext(chunks, b"")
            response.stream = self.peeked(first, chunks, response.stream)


class SyncPeeked:
    """A response body whose first chunk was read ahead."""

    def __init__(self, first: bytes, chunks: Any, stream: Any) -> None:
        self._first = first
        self._chunks = chunks
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        yield self._first
        yield from self._chunks

    def close(self) -> None:
        """Close the body."""
        self._stream.close()


class AsyncPeeked:
    """A response body whose first chunk was read ahead."""

    def __init__(self, first: bytes, chunks: Any, stream: Any) -> None:
        self._first = first
        self._chunks = chunks
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            yield self._first
            async for chunk in self._chunks:
                yield chunk
        finally:
            # Left to the garbage collector, it would be closed on another task, or never.
            await self._chunks.aclose()

    async def aclose(self) -> None:
        """Close the body."""
        await self._stream.aclose()


def _close(response: Any) -> None:
    # The answer is not wanted; what goes wrong with it is nobody's concern any more.
    with suppress(Exception):
        if response is not None:
            response.close()


async def _aclose(response: Any) -> None:
    with suppress(Exception):
        if response is not None:
            await response.aclose()
