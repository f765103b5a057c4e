"""Admission of outbound calls, and the decision on their outcomes.

An error ends a call at once. An answer of 4xx or above ends it with its headers, but a 429 without
Retry-After ends it with its body, as any other answer does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, Literal, TypeVar

from recloser import (
    UNGUARDED,
    BreakerOpenError,
    LoosePermit,
    Outcome,
    Refused,
    Registry,
    Unguarded,
    parse_retry_after,
)
from recloser_adapters._outbound.body import (
    AnyBodyWatch,
    BodyWatch,
    EventStreamWatch,
    QuotaWatch,
    is_event_stream,
)
from recloser_adapters._outbound.permit import (
    CallPermit,
    ReportedPermit,
    WatchingPermit,
)
from recloser_adapters._outbound.settings import CallSettings, RaiseOrResponse, check_settings

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")
PermitT = TypeVar("PermitT", bound=LoosePermit)

# A plain global, because looking up a member of an enum takes 60 ns on Python 3.11.
_SUCCESS = Outcome.SUCCESS
# A set, because a test for membership takes 75 ns in a range and 27 ns in this set.
_GOOD = frozenset(range(200, 400))
_WORDS = ("raise", "response")


class OutboundCalls(Generic[RequestT, ResponseT]):
    """Admits the calls of one client, and decides their outcomes.

    Args:
        registry: Holds the breakers; by default a new one.
        settings: The user's settings; see `CallSettings`.
        by_host: Returns the key of a request by its host; "" if it has no host.
        refusal_error: Makes the error of a refused call.
        refusal_response: Makes the 503 of a refused call; None if the library has no way to.

    Attributes:
        registry: Holds the breakers.
        cut_off: Whether calls end when an answer is hopeless.
        sse_errors: Whether an error event in an event stream is a failure.
        good_statuses: Statuses that are a success without a further check. Empty if the user gave
            `classify`, which must see every answer.

    Raises:
        TypeError: A setting has the wrong type or does not exist.
        ValueError: The key is empty, or `on_refuse` is unknown.
    """

    def __init__(
        self,
        registry: Registry | None,
        settings: CallSettings[RequestT, ResponseT, RaiseOrResponse]
        | CallSettings[RequestT, ResponseT, Literal["raise"]],
        *,
        by_host: Callable[[RequestT], str],
        refusal_error: Callable[[RequestT, BreakerOpenError], BreakerOpenError],
        refusal_response: Callable[[RequestT, BreakerOpenError], ResponseT] | None,
    ) -> None:
        check_settings(
            registry, settings, words=_WORDS if refusal_response is not None else _WORDS[:1]
        )
        self.registry: Registry = registry if registry is not None else Registry()
        self.sse_errors: bool = bool(settings.get("sse_errors", False))
        self.cut_off: bool = bool(settings.get("cut_off", False))
        self._known = self.registry.get
        self._classify = settings.get("classify")
        self.good_statuses: frozenset[int] = _GOOD if self._classify is None else frozenset()
        self._on_end = settings.get("on_end")
        key = settings.get("key", by_host)
        self._by_host = by_host
        self._key = key if isinstance(key, str) else ""
        self._key_function = key if not isinstance(key, str) else by_host
        self._key_of = self._ask if self._key_function is not by_host else by_host
        on_refuse = settings.get("on_refuse", "raise")
        self._substitute: Callable[[RequestT, BreakerOpenError], ResponseT | None] | None = (
            on_refuse if callable(on_refuse) else None
        )
        self._refusal_response = refusal_response if on_refuse == "response" else None
        self._refusal_error = refusal_error

    # Admission

    def _ask(self, request: RequestT) -> str | None:
        try:
            key = self._key_function(request)
            if key is None or (isinstance(key, str) and key):
                return key
            raise TypeError(f"key must be a non-empty str or None, not {key!r}")
        except Exception as error:
            self.registry.fault("key function", error)
            return self._by_host(request)

    def admit(
        self, request: RequestT, kind: type[PermitT]
    ) -> PermitT | ReportedPermit | Refused | Unguarded:
        """Admit a call, refuse it, or leave it unguarded.

        Args:
            request: The request that will be sent.
            kind: The class of the permit. If the user gave `on_end`, the permit is wrapped in a
                `ReportedPermit`.
        """
        try:
            key = self._key or self._key_of(request)
            # A URL without a host is an error that the client itself reports.
            if not key:
                return UNGUARDED
            # For a known key this saves one frame, compared with registry[key].
            breaker = self._known(key) or self.registry[key]
            admission = breaker.admit(kind)
        except Exception as error:
            # A fault in this package must not refuse a call.
            self.registry.fault("outbound admission", error)
            return UNGUARDED
        if self._on_end is None or isinstance(admission, Refused | Unguarded):
            return admission
        return ReportedPermit(admission, self.registry, self._on_end)

    def answer_refusal(self, request: RequestT, refusal: BreakerOpenError) -> ResponseT:
        """Answer a refused call according to the setting `on_refuse`.

        Raises:
            BreakerOpenError: The refusal, as an error of the client library.
        """
        if self._substitute is not None:
            try:
                substitute = self._substitute(request, refusal)
                if substitute is not None:
                    return substitute
            except Exception as error:
                self.registry.fault("on_refuse", error)
        elif self._refusal_response is not None:
            return self._refusal_response(request, refusal)
        raise self._refusal_error(request, refusal)

    # Outcome

    def watch_answer(
        self,
        permit: CallPermit,
        response: ResponseT,
        status: int,
        headers: Mapping[str, str],
        content_type: str,
    ) -> AnyBodyWatch | None:
        """Decide by the headers of an answer. If they are not enough, return a watch of its body.

        Args:
            permit: The permit of the call.
            response: The answer; the user's `classify` is called with it.
            status: Its status.
            headers: Its headers.
            content_type: Its content type, "" if it has none. It is an argument of its own, because
                all calls need it and each adapter has a cheap way to read it.

        Returns:
            None if the call has ended.
        """
        if status in self.good_statuses:
            outcome = _SUCCESS
        else:
            outcome = self._overruled(response, Outcome.of_upstream_status(status))
        if outcome is _SUCCESS:
            if status == 101:
                # Another protocol follows. Its end is not the end of this call.
                permit.success()
                return None
            if is_event_stream(content_type):
                readable = headers.get("content-encoding", "identity") == "identity"
                return EventStreamWatch(permit, sse_errors=self.sse_errors and readable)
            permit.mark()
            return permit if isinstance(permit, WatchingPermit) else BodyWatch(permit)
        retry_after = parse_retry_after(headers)
        if outcome is Outcome.THROTTLED and retry_after is None:
            return QuotaWatch(permit, headers.get("content-encoding", ""))
        permit.end(outcome, error=f"HTTP {status}", retry_after=retry_after)
        return None

    def end_by_error(
        self,
        permit: CallPermit,
        error: BaseException,
        *,
        local: bool = False,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """End a call that raised before it had an answer.

        The user's `classify` is called for an `Exception` only, so a call that was cancelled stays
        cancelled.

        Args:
            permit: The permit of the call.
            error: The error that the call raised.
            local: Whether the error was not caused by the callee.
            status: The status of the answer for which the error was raised. A status below 400 is
                not used.
            headers: The headers of that answer.
        """
        outcome, retry_after = permit.classify(error)
        if outcome is Outcome.FAILURE:
            if local:
                outcome = Outcome.IGNORED
            elif status is not None and status >= 400:
                outcome = Outcome.of_upstream_status(status)
                retry_after = None if headers is None else parse_retry_after(headers)
        if isinstance(error, Exception):
            outcome = self._overruled(error, outcome)
        named = error if status is None else f"HTTP {status}"
        permit.end(outcome, error=named, retry_after=retry_after)

    def _overruled(self, seen: ResponseT | BaseException, outcome: Outcome) -> Outcome:
        """The outcome by the user's `classify`, or the usual one if it returns None or fails."""
        if self._classify is None:
            return outcome
        try:
            said = self._classify(seen)
            if said is None or isinstance(said, Outcome):
                return outcome if said is None else said
            raise TypeError(f"classify must return an Outcome or None, not {said!r}")
        except Exception as error:
            self.registry.fault("classify", error)
            return outcome
