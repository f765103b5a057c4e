"""Failover for `httpx` and `httpx2` clients: one client, several base URLs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Unpack, cast

from recloser import Attempt, BreakerOpenError, Failover, Outcome
from recloser_adapters._httpx.addressing import LLMEndpoint, Plan, Planner
from recloser_adapters._httpx.library import AsyncInner, SyncInner
from recloser_adapters._httpx.transports import (
    AsyncTransport,
    InnerT,
    RequestT,
    ResponseT,
    SyncTransport,
    Transport,
)
from recloser_adapters._outbound.body import AnyBodyWatch
from recloser_adapters._outbound.permit import ReportedPermit
from recloser_adapters._outbound.settings import (
    AnswerSettings,
    CallSettings,
    RaiseOrResponse,
    check_names,
)

PROVIDER = "recloser.provider"
"""Key in the extensions of a response: its value is the key of the provider that answered."""
# Bytes of an answer that are read at most before the caller gets it. Comments are in them.
_ENOUGH = 65_536
_ANSWERED_BADLY = (Outcome.FAILURE, Outcome.THROTTLED)


class FailoverBase(Transport[InnerT, RequestT, ResponseT]):
    """The part that sync and async share. `FailoverTransport` documents the settings."""

    def __init__(
        self,
        transport: InnerT,
        failover: Failover[str] | Failover[LLMEndpoint] | Failover[str | LLMEndpoint],
        *,
        repeatable: Callable[[RequestT], bool | None] | None = None,
        **settings: Unpack[AnswerSettings[RequestT, ResponseT, RaiseOrResponse]],
    ) -> None:
        if not isinstance(failover, Failover):
            raise TypeError(f"failover must be a Failover, not {type(failover).__name__}")
        check_names(settings, AnswerSettings.__optional_keys__)
        all_settings = cast(
            "CallSettings[RequestT, ResponseT, RaiseOrResponse]", {"sse_errors": True, **settings}
        )
        self._guard(transport, failover.registry, all_settings)
        # The first piece decides who serves a stream, whatever its method.
        self.outbound.good_answers.subscriptions = False
        self.failover: Failover[Any] = failover
        self.planner: Planner = Planner(failover, repeatable, self.library)

    def answered(self, plan: Plan, sent: Any, response: Any, permit: AttemptPermit) -> bool:
        """Judge an answer by its headers; return whether its body can still change the outcome."""
        # From here on the client's own time-outs apply. `sent` was made for this attempt, so no
        # other request shares this mapping.
        limits = sent.extensions["timeout"]
        limits.clear()
        limits.update(plan.timeouts)
        response.extensions = {**response.extensions, PROVIDER: permit.attempt.key}
        self.watch(permit, response, sent)
        return plan.repeatable and permit.outcome is None and not response.is_closed

    def stands(self, response: Any, permit: AttemptPermit) -> bool:
        """Whether an answer goes to the caller. If it does not, the next provider is tried."""
        outcome = permit.outcome or Outcome.SUCCESS
        status = response.status_code
        what = f"HTTP {status}" if status >= 400 else "error event in the stream"
        if outcome in _ANSWERED_BADLY and permit.attempt.moves_on(outcome, error=what):
            return False
        permit.hand_over()
        return True

    def gives_up(self, plan: Plan, error: Exception, permit: AttemptPermit) -> bool:
        """Whether the next provider is tried after an error. If not, the caller gets the error."""
        self.end_by_error(permit, plan.request, error)
        outcome = permit.outcome or Outcome.FAILURE
        sent = not isinstance(error, (*self.library.unsent_errors, BreakerOpenError))
        if permit.attempt.moves_on(outcome, error=error, sent=sent):
            return True
        permit.attempt.end(outcome, error=error, sent=sent)
        return False


class AttemptPermit(ReportedPermit):
    """The permit of one attempt. Its outcome decides whether the next provider is tried.

    Attributes:
        attempt: The attempt.
    """

    def __init__(self, attempt: Attempt[Any], failover: Failover[Any]) -> None:
        super().__init__(attempt.permit, failover.registry, None)
        self.attempt: Attempt[Any] = attempt
        self._handed_over = False

    def hand_over(self) -> None:
        """Give the answer to the caller: from now on its body ends the call."""
        self._handed_over = True
        self.attempt.commit(self.outcome or Outcome.SUCCESS)

    def end_by_error(self, error: BaseException) -> None:
        """End the permit by the error that the call raised."""
        # Before the caller has an answer, the time limit of the attempt may be what cancels it.
        # Only the attempt can tell, so the attempt ends the permit.
        if self._handed_over or isinstance(error, Exception):
            super().end_by_error(error)


class SyncFailover(
    FailoverBase[SyncInner[RequestT, ResponseT], RequestT, ResponseT],
    SyncTransport[RequestT, ResponseT],
):
    """The sync failover transport."""

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
        permit = AttemptPermit(attempt, self.failover)
        sent = self.planner.addressed(plan, attempt)
        response: Any = None
        try:
            response = self.wrapped.handle_request(sent)
            if self.answered(plan, sent, response, permit):
                self._look_into(response, permit)
            if self.stands(response, permit):
                return response
        except Exception as error:
            if not self.gives_up(plan, error, permit):
                _close(response)
                raise
        _close(response)
        return None

    def _look_into(self, response: Any, permit: AttemptPermit) -> None:
        """Read what decides the outcome: the first piece of a stream, or the body of an error."""
        if response.status_code == 429:
            response.read()
            return
        stream = response.stream
        watch: AnyBodyWatch | None = getattr(stream, "watch", None)
        if watch is None or watch.decided:
            return
        chunks, head, size = iter(stream), list[bytes](), 0
        for chunk in chunks:
            head.append(chunk)
            size += len(chunk)
            if watch.decided or permit.outcome is not None or size >= _ENOUGH:
                break
        response.stream = self.read_ahead(head, chunks, stream)


class AsyncFailover(
    FailoverBase[AsyncInner[RequestT, ResponseT], RequestT, ResponseT],
    AsyncTransport[RequestT, ResponseT],
):
    """The async failover transport."""

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
            raise self.library.read_timeout(
                "no answer within the time budget of the failover"
            ) from late
        raise AssertionError("the last attempt either answers or raises")

    async def _try(self, plan: Plan, attempt: Attempt[Any]) -> Any:
        permit = AttemptPermit(attempt, self.failover)
        sent = self.planner.addressed(plan, attempt)
        response: Any = None
        try:
            response = await self.wrapped.handle_async_request(sent)
            if self.answered(plan, sent, response, permit):
                await self._look_into(response, permit)
            if self.stands(response, permit):
                return response
        except Exception as error:
            if not self.gives_up(plan, error, permit):
                await _aclose(response)
                raise
        await _aclose(response)
        return None

    async def _look_into(self, response: Any, permit: AttemptPermit) -> None:
        """Read what decides the outcome: the first piece of a stream, or the body of an error."""
        if response.status_code == 429:
            await response.aread()
            return
        stream = response.stream
        watch: AnyBodyWatch | None = getattr(stream, "watch", None)
        if watch is None or watch.decided:
            return
        chunks, head, size = stream.__aiter__(), list[bytes](), 0
        async for chunk in chunks:
            head.append(chunk)
            size += len(chunk)
            if watch.decided or permit.outcome is not None or size >= _ENOUGH:
                break
        response.stream = self.read_ahead(head, chunks, stream)


def _close(response: Any) -> None:
    # The answer is discarded, so an error from its close does not matter.
    with suppress(Exception):
        if response is not None:
            response.close()


async def _aclose(response: Any) -> None:
    with suppress(Exception):
        if response is not None:
            await response.aclose()
