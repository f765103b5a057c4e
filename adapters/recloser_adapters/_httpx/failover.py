"""Failover for `httpx` and `httpx2` clients: one client, several base URLs."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Unpack, cast

from recloser import Answer, Attempt, BreakerOpenError, Failover, Fate, Outcome
from recloser.hints import knows_names, wrong
from recloser_adapters._httpx.addressing import ANY_PROVIDER, LLMEndpoint, Plan, Planner
from recloser_adapters._httpx.answers import AnswerTap, rejection
from recloser_adapters._httpx.attempt_permit import AttemptPermit, Best, settled
from recloser_adapters._httpx.library import AsyncInner, SyncInner
from recloser_adapters._httpx.transports import (
    REFUSED,
    AsyncTransport,
    InnerT,
    RequestT,
    ResponseT,
    SyncTransport,
    Transport,
)
from recloser_adapters._outbound.body import AnyBodyWatch
from recloser_adapters._outbound.settings import (
    AnswerSettings,
    CallSettings,
    RaiseOrResponse,
    check_names,
)

PROVIDER = "recloser.provider"
"""Key in the extensions of a response: its value is the key of the provider that answered."""
# Key in the extensions of a request that a provider has got, and so of a redirect of it.
_SEEN = "recloser.failover"
_ANSWERED_BADLY = (Outcome.FAILURE, Outcome.THROTTLED)
# Bytes of an event stream that are read before its first token, at most: comments and preambles.
_LONGEST_PREAMBLE = 65_536


class FailoverBase(Transport[InnerT, RequestT, ResponseT]):
    """The part that sync and async share. `FailoverTransport` documents the settings."""

    @knows_names
    def __init__(
        self,
        transport: InnerT,
        failover: Failover[str] | Failover[LLMEndpoint] | Failover[str | LLMEndpoint],
        *,
        repeatable: Callable[[RequestT], bool | None] | None = None,
        pass_others: bool = False,
        **settings: Unpack[AnswerSettings[RequestT, ResponseT, RaiseOrResponse]],
    ) -> None:
        if not isinstance(failover, Failover):
            raise wrong("failover", "a Failover", failover)
        if failover.hedging.share:
            raise ValueError(
                "hedge of the failover has no effect in a transport: write failover.acall(send, "
                "repeatable=True) to send a call twice, or leave hedge out"
            )
        if not isinstance(pass_others, bool):
            raise TypeError(f"pass_others must be True or False, not {pass_others!r}")
        check_names(settings, AnswerSettings.__optional_keys__)
        all_settings = cast(
            "CallSettings[RequestT, ResponseT, RaiseOrResponse]", {"sse_errors": True, **settings}
        )
        self._guard(transport, failover.registry, all_settings)
        # The first piece decides who serves a stream, whatever its method.
        self.outbound.good_answers.subscriptions = False
        self.failover: Failover[Any] = failover
        self.planner: Planner = Planner(failover, repeatable, self.library)
        self._pass_others = pass_others
        # Keys of providers whose rejection is in the log.
        self._logged: set[tuple[str, str]] = set()

    def check_other(self, request: Any) -> None:
        """Check that a request which is for none of the providers may pass.

        A redirect of a request that a provider has got may.

        Raises:
            ValueError: It may not: a client without the base URL would get round the failover.
        """
        if self._pass_others or _SEEN in request.extensions:
            return
        where = f"{request.url.scheme}://{request.url.host}"
        message = (
            f"the request to {where} is for none of the providers of the failover: give the client "
            f"base_url={ANY_PROVIDER!r} (ANY_PROVIDER), or the transport pass_others=True if such "
            "requests are to be sent without it"
        )
        # An SDK hides the error as a "Connection error.".
        self.log_once("", message, where)
        raise ValueError(message)

    def begin(self, plan: Plan) -> Any:
        """The attempts of a request."""
        request = plan.request
        request.extensions = {**request.extensions, _SEEN: True}
        return self.failover.attempts(**plan.call)

    def answered(self, plan: Plan, sent: Any, response: Any, permit: AttemptPermit) -> bool:
        """Judge an answer by its headers; return whether its body is needed to judge it."""
        # From here on the client's own time-outs apply. `sent` was made for this attempt, so no
        # other request shares this mapping.
        limits = sent.extensions["timeout"]
        limits.clear()
        limits.update(plan.timeouts)
        response.extensions = {**response.extensions, PROVIDER: permit.attempt.key}
        self.watch(permit, response, sent)
        if response.is_closed:
            return False
        return (plan.repeatable and permit.outcome is None) or (
            plan.movable and response.status_code >= 400
        )

    def stands(self, plan: Plan, response: Any, permit: AttemptPermit) -> bool:
        """Whether an answer goes to the caller. If it does not, the next provider is tried."""
        attempt, status = permit.attempt, response.status_code
        outcome = permit.outcome or Outcome.SUCCESS
        what = f"HTTP {status}" if status >= 400 else "error event in the stream"
        fate = None
        if REFUSED in response.extensions and attempt.moves_on(outcome, error=what, sent=False):
            return False  # by a breaker around the wrapped transport
        if plan.movable and plan.llm is not None and status >= 400:
            body = self._content(response) if status == 400 else b""
            whole = rejection(status, body, generates=plan.llm.generates)
            if whole is not None:
                fate = Fate.REJECTED
                self._log_rejection(attempt.key, status, whole)
                if attempt.rejects(what, whole=whole):
                    return False
        if outcome in _ANSWERED_BADLY and attempt.moves_on(outcome, error=what):
            return False
        permit.hand_over(fate, what)
        if fate is None and outcome is Outcome.SUCCESS:
            self._logged = {known for known in self._logged if known[0] != attempt.key}
        self._tap(plan, response, attempt)
        return True

    def _tap(self, plan: Plan, response: Any, attempt: Attempt[Any]) -> None:
        """Report the call when the body of its answer has ended, with what the body tells."""
        llm, key = plan.llm, attempt.key
        made = self.planner.made if llm is not None and llm.makes else None

        def head(data: bytes) -> None:
            if made is not None and response.status_code < 300:
                made.remember(data, key)

        model = None if llm is None else self.planner.model_name(llm, key)
        read = response.is_closed
        tap = AnswerTap(response.headers, model, head, attempt.report, decoded=read)
        if read:
            tap.chunk(self._content(response))
            tap.eof()
        else:
            response.stream = self.watched_body(response.stream, tap, self.library.read_timeout)

    def _content(self, response: Any) -> bytes:
        """The decoded body of an answer that is in memory. The caller can still read it itself."""
        with suppress(Exception):
            if not response.is_closed:
                raw = b"".join(response.stream)
                response = self.library.response(
                    response.status_code, headers=response.headers, content=raw
                )
            return bytes(response.content)
        return b""

    def gives_up(self, plan: Plan, error: Exception, permit: AttemptPermit) -> bool:
        """Whether the next provider is tried after an error. If not, the caller gets the error."""
        self.end_by_error(permit, plan.request, error)
        outcome = permit.outcome or Outcome.FAILURE
        attempt = permit.attempt
        sent = not isinstance(error, (*self.library.unsent_errors, BreakerOpenError))
        if attempt.moves_on(outcome, error=error, sent=sent):
            return True
        attempt.end(outcome, error=error, sent=sent)
        attempt.report(Answer())
        return False

    def lacks_key(self, error: Exception, permit: AttemptPermit) -> bool:
        """Whether the next provider is tried, because no API key was to be had for this one."""
        attempt = permit.attempt
        self.failover.registry.fault(f"api_key of {attempt.key!r}", error)
        permit.outcome = Outcome.IGNORED
        if attempt.rejects(error, whole=True):
            return True
        attempt.end(Outcome.IGNORED, error=error, sent=False)
        attempt.report(Answer())
        return False

    def _log_rejection(self, key: str, status: int, whole: bool) -> None:
        what = "the credentials" if whole else "the model, or access to it"
        message = (
            f"provider {key!r} rejected {what} (HTTP {status}): where another provider can serve, it "
            "is asked last for a while"
        )
        self.log_once(key, message, str(status))

    def log_once(self, key: str, message: str, what: str) -> None:
        """Log a warning about a provider, once until it serves a call."""
        if (key, what) in self._logged:
            return
        self._logged = {*self._logged, (key, what)}
        try:
            logging.getLogger("recloser").warning("%s", message, extra={"recloser_key": key})
        except Exception as fault:  # raised by a logging handler of the user
            self.failover.registry.fault("logging", fault)


class SyncFailover(
    FailoverBase[SyncInner[RequestT, ResponseT], RequestT, ResponseT],
    SyncTransport[RequestT, ResponseT],
):
    """The sync failover transport."""

    def handle_request(self, request: RequestT) -> ResponseT:
        """Send a request to the first provider that can serve it."""
        asked: Any = request
        if self.planner.is_read_first(asked):
            asked.read()
        plan = self.planner.plan(asked)
        if plan is None:
            self.check_other(asked)
            return self.wrapped.handle_request(request)
        best = Best()
        try:
            for attempt in self.begin(plan):
                with attempt:
                    response: ResponseT | None = self._try(plan, attempt, best)
                    if response is not None:
                        return response
        except BreakerOpenError as refusal:
            return self.refused(request, refusal)
        raise AssertionError("the last attempt either answers or raises")

    def _try(self, plan: Plan, attempt: Attempt[Any], best: Best) -> Any:
        permit = AttemptPermit(attempt, self.failover, plan.request_bytes)
        try:
            sent = self.planner.addressed(plan, attempt, self._api_key(attempt))
        except Exception as error:
            if self.lacks_key(error, permit):
                return best.keep(error, rejected=True)
            return settled(best.instead_of(error, rejected=True))
        response: Any = None
        try:
            response = self.wrapped.handle_request(sent)
            if self.answered(plan, sent, response, permit):
                self._look_into(response, permit)
            if self.stands(plan, response, permit):
                return self._best(response, attempt, best)
            if response.status_code >= 400:  # the body of a stream is used up
                best.keep(response, rejected=attempt.is_rejected)
        except Exception as error:
            if not self.gives_up(plan, error, permit):
                _close(response)
                raise
            best.keep(error, rejected=False)
        _close(response)
        return None

    def _api_key(self, attempt: Attempt[Any]) -> str | None:
        key: Any = self.planner.key_of(attempt)
        if not inspect.isawaitable(key):
            return key  # type: ignore[no-any-return]  # `addressed` checks it
        if inspect.iscoroutine(key):
            key.close()
        raise TypeError(
            f"api_key of {attempt.key!r} must return a str, not an awaitable: that is for "
            "AsyncFailoverTransport"
        )

    def _best(self, response: Any, attempt: Attempt[Any], best: Best) -> Any:
        found = best.instead_of(response, rejected=attempt.is_rejected)
        if found is not response:
            _close(response)
        return settled(found)

    def _look_into(self, response: Any, permit: AttemptPermit) -> None:
        """Read what decides the outcome: a stream to its first token, or the body of an error."""
        stream = response.stream
        if response.status_code >= 400:
            # `response.read()` would leave nothing to read for the client, which measures that.
            body = b"".join(stream)
            stream.close()
            response.stream = self.library.fixed_body(body)
            return
        watch: AnyBodyWatch | None = getattr(stream, "watch", None)
        if watch is None or watch.decided:
            return
        chunks, head, size = iter(stream), list[bytes](), 0
        for chunk in chunks:
            head.append(chunk)
            size += len(chunk)
            if watch.decided or permit.outcome is not None or size >= _LONGEST_PREAMBLE:
                break
        response.stream = self.read_ahead(head, chunks, stream)


class AsyncFailover(
    FailoverBase[AsyncInner[RequestT, ResponseT], RequestT, ResponseT],
    AsyncTransport[RequestT, ResponseT],
):
    """The async failover transport."""

    async def handle_async_request(self, request: RequestT) -> ResponseT:
        """Send a request to the first provider that can serve it."""
        asked: Any = request
        if self.planner.is_read_first(asked):
            await asked.aread()
        plan = self.planner.plan(asked)
        if plan is None:
            self.check_other(asked)
            return await self.wrapped.handle_async_request(request)
        best = Best()
        try:
            for attempt in self.begin(plan):
                async with attempt:
                    response: ResponseT | None = await self._try(plan, attempt, best)
                    if response is not None:
                        return response
        except BreakerOpenError as refusal:
            return self.refused(request, refusal)
        except TimeoutError as late:
            raise self.library.read_timeout(
                "no answer within the time budget of the failover"
            ) from late
        raise AssertionError("the last attempt either answers or raises")

    async def _try(self, plan: Plan, attempt: Attempt[Any], best: Best) -> Any:
        permit = AttemptPermit(attempt, self.failover, plan.request_bytes)
        try:
            key: Any = self.planner.key_of(attempt)
            if inspect.isawaitable(key):
                key = await key
            sent = self.planner.addressed(plan, attempt, key)
        except Exception as error:
            if self.lacks_key(error, permit):
                return best.keep(error, rejected=True)
            return settled(best.instead_of(error, rejected=True))
        response: Any = None
        try:
            response = await self.wrapped.handle_async_request(sent)
            if self.answered(plan, sent, response, permit):
                await self._look_into(response, permit)
            if self.stands(plan, response, permit):
                return await self._best(response, attempt, best)
            if response.status_code >= 400:  # the body of a stream is used up
                best.keep(response, rejected=attempt.is_rejected)
        except Exception as error:
            if not self.gives_up(plan, error, permit):
                await _aclose(response)
                raise
            best.keep(error, rejected=False)
        await _aclose(response)
        return None

    async def _best(self, response: Any, attempt: Attempt[Any], best: Best) -> Any:
        found = best.instead_of(response, rejected=attempt.is_rejected)
        if found is not response:
            await _aclose(response)
        return settled(found)

    async def _look_into(self, response: Any, permit: AttemptPermit) -> None:
        """Read what decides the outcome: a stream to its first token, or the body of an error."""
        stream = response.stream
        if response.status_code >= 400:
            body = b"".join([chunk async for chunk in stream])
            await stream.aclose()
            response.stream = self.library.fixed_body(body)
            return
        watch: AnyBodyWatch | None = getattr(stream, "watch", None)
        if watch is None or watch.decided:
            return
        chunks, head, size = stream.__aiter__(), list[bytes](), 0
        async for chunk in chunks:
            head.append(chunk)
            size += len(chunk)
            if watch.decided or permit.outcome is not None or size >= _LONGEST_PREAMBLE:
                break
        response.stream = self.read_ahead(head, chunks, stream)


def _close(response: Any) -> None:
    # Not the response: the caller may get it after all. Its connection is no longer needed, so an
    # error does not matter.
    with suppress(Exception):
        if response is not None:
            response.stream.close()


async def _aclose(response: Any) -> None:
    with suppress(Exception):
        if response is not None:
            await response.stream.aclose()
