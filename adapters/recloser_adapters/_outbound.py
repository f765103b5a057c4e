"""What every outbound adapter does around a call, whatever the client: key, admission, verdict.

It knows no client library. A call is admitted before it is sent; an answer of 4xx and above, or
an error, ends it at once; any other answer ends it when its body does.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, Self, TypeVar

from recloser import (
    BreakerOpenError,
    Outcome,
    Permit,
    Reason,
    RecloserError,
    Refused,
    Registry,
    State,
    parse_retry_after,
)
from recloser import Unguarded as UnguardedAnswer
from recloser_adapters._outbound_body import (
    BodyWatch,
    Call,
    OwnWatch,
    QuotaWatch,
    StreamWatch,
    Ticket,
    Unguarded,
    end,
    is_event_stream,
)

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")
CallT = TypeVar("CallT", bound=Call)


class ClientBreakerOpenError(BreakerOpenError):
    """A refusal that is an error of the client library, too: derive from this one first."""

    def __init__(self, key: str, state: State, reason: Reason | None, retry_after: float) -> None:
        self.key = key
        self.state = state
        self.reason = reason
        self.retry_after = retry_after
        # The library's own class is next, and its initialiser takes a message.
        super(RecloserError, self).__init__(str(self))

    def __reduce__(self) -> tuple[type[Self], tuple[str, State, Reason | None, float]]:
        return type(self), (self.key, self.state, self.reason, self.retry_after)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One admitted call, after its end.

    Attributes:
        key: The breaker's key.
        outcome: How it ended.
        latency: Seconds to the headers, or to the first chunk of an event stream; None if it
            ended before.
        duration: Seconds to its end: of the body, where it had one.
    """

    key: str
    outcome: Outcome
    latency: float | None
    duration: float


_UNGUARDED: Ticket = Unguarded()
# As a plain global: to look up a member of an enum takes 60 ns on Python 3.11.
_SUCCESS = Outcome.SUCCESS


class Reported(OwnWatch):
    """A permit that tells, once, how its call ended."""

    def __init__(
        self, permit: Permit, registry: Registry, on_end: Callable[[Exchange], None]
    ) -> None:
        self._permit = permit
        self._registry = registry
        self._on_end: Callable[[Exchange], None] | None = on_end
        self._started = registry.clock()
        self._latency: float | None = None

    def mark(self) -> None:
        """Take the latency here."""
        self._permit.mark()
        self._latency = self._registry.clock() - self._started

    def success(self) -> None:
        """The callee answered."""
        self._permit.success()
        self._report(Outcome.SUCCESS)

    def failure(
        self, error: BaseException | str | None = None, *, retry_after: float | None = None
    ) -> None:
        """The callee failed."""
        self._permit.failure(error, retry_after=retry_after)
        self._report(Outcome.FAILURE)

    def throttled(self, retry_after: float | None = None, *, quota: bool = False) -> None:
        """The callee said "later"."""
        self._permit.throttled(retry_after, quota=quota)
        self._report(Outcome.THROTTLED)

    def ignore(self) -> None:
        """The call says nothing of the callee."""
        self._permit.ignore()
        self._report(Outcome.IGNORED)

    def cancel(self) -> None:
        """The caller went away."""
        self._permit.cancel()
        self._report(Outcome.CANCELLED)

    def end_by_error(self, error: BaseException | None) -> None:
        """End it with what the call raised."""
        self._permit.end_by_error(error)
        if error is None:
            self._report(Outcome.SUCCESS)
        elif isinstance(error, self._permit.breaker.policy.ignore_errors):
            self._report(Outcome.IGNORED)
        else:
            self._report(Outcome.of_error(error))

    def _report(self, outcome: Outcome) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end is None:
            return
        duration = self._registry.clock() - self._started
        try:
            on_end(Exchange(self._permit.breaker.key, outcome, self._latency, duration))
        except Exception as error:
            self._registry.fault("on_end", error)

    def __del__(self) -> None:
        self._report(Outcome.CANCELLED)


class Outbound(Generic[RequestT, ResponseT]):
    """The settings of one adapter, and what follows from them for each call.

    Args:
        registry: Where the breakers are.
        by_host: The key of a request by its host; "" where it has none.
        key: One key for all calls, or what makes it from a request. A callable that returns None
            leaves the call unguarded; one that raises, or returns no str, is a fault: the call is
            then keyed by host.
        on_refuse: `"raise"`, `"response"`, or what makes the response from the request and the
            refusal. If that raises, it is a fault, and the refusal is raised.
        classify: Overrides the verdict on a response or an error; None from it leaves the default.
        sse_errors: Whether an error event within an event stream is a failure.
        on_end: Called after each admitted call, on the thread that ended it.

    Raises:
        TypeError: A setting of the wrong type.
        ValueError: An empty key, or an unknown `on_refuse`.
    """

    def __init__(
        self,
        registry: Registry | None,
        by_host: Callable[[RequestT], str],
        *,
        key: str | Callable[[RequestT], str | None],
        on_refuse: Literal["raise", "response"] | Callable[[RequestT, BreakerOpenError], ResponseT],
        classify: Callable[[ResponseT | BaseException], Outcome | None] | None,
        sse_errors: bool,
        on_end: Callable[[Exchange], None] | None,
    ) -> None:
        if registry is not None and not isinstance(registry, Registry):
            raise TypeError(f"registry must be a Registry, not {registry!r}")
        if not isinstance(key, str) and not callable(key):
            raise TypeError(f"key must be a str or a callable, not {key!r}")
        if key == "":
            raise ValueError("key must not be empty")
        if not callable(on_refuse) and on_refuse not in ("raise", "response"):
            raise ValueError(
                f'on_refuse must be "raise", "response" or a callable, not {on_refuse!r}'
            )
        for name, hook in (("classify", classify), ("on_end", on_end)):
            if hook is not None and not callable(hook):
                raise TypeError(f"{name} must be a callable, not {hook!r}")
        self.registry: Registry = registry if registry is not None else Registry()
        self._known = self.registry.get
        self.on_refuse = on_refuse
        self.classify = classify
        self.sse_errors: bool = bool(sse_errors)
        self._by_host = by_host
        self._key = key if isinstance(key, str) else ""
        self._key_function = key if not isinstance(key, str) else by_host
        self._key_of = self._ask if self._key_function is not by_host else by_host
        self._on_end = on_end

    def _ask(self, request: RequestT) -> str | None:
        try:
            key = self._key_function(request)
            if key is None or (isinstance(key, str) and key):
                return key
            raise TypeError(f"key must be a str or None, not {key!r}")
        except Exception as error:
            self.registry.fault("key function", error)
            return self._by_host(request)

    def admit(self, request: RequestT, kind: type[CallT]) -> CallT | Ticket | BreakerOpenError:
        """Ask for admission by a permit of some kind.

        Returns:
            That permit, or another ticket where nobody guards the call or somebody wants to hear
            of its end; a refusal comes as the error that it is, unraised.
        """
        try:
            key = self._key or self._key_of(request)
            # Without a host the client will say what is wrong with the URL.
            if not key:
                return _UNGUARDED
            # One frame less than registry[key], for a key that is known.
            breaker = self._known(key) or self.registry[key]
            permit = breaker.admit(kind)
            if isinstance(permit, Refused):
                return permit.error()
            if isinstance(permit, UnguardedAnswer):
                return _UNGUARDED
        except Exception as error:
            # Only a decision to refuse may refuse.
            self.registry.fault("outbound admission", error)
            return _UNGUARDED
        if self._on_end is None:
            return permit
        return Reported(permit, self.registry, self._on_end)

    def substitute(self, request: RequestT, refusal: BreakerOpenError) -> ResponseT | None:
        """Ask a callable `on_refuse` for a response; None if there is none to be had."""
        if not callable(self.on_refuse):
            return None
        try:
            return self.on_refuse(request, refusal)
        except Exception as error:
            self.registry.fault("on_refuse", error)
            return None

    def overruled(self, seen: ResponseT | BaseException, outcome: Outcome) -> Outcome:
        """The outcome after the user's `classify` had its say."""
        if self.classify is None:
            return outcome
        try:
            said = self.classify(seen)
            if said is None or isinstance(said, Outcome):
                return outcome if said is None else said
            raise TypeError(f"classify must return an Outcome or None, not {said!r}")
        except Exception as error:
            self.registry.fault("classify", error)
            return outcome

    def end_by_error(self, ticket: Ticket, error: BaseException, *, local: bool) -> None:
        """End a call with what it raised; `local` if that was no fault of the callee.

        `classify` sees what is an `Exception`: the caller's going away is not up for discussion.
        """
        try:
            if isinstance(error, Exception) and self.classify is not None:
                usual = Outcome.IGNORED if local else Outcome.of_error(error)
                said = self.overruled(error, usual)
                if said is not usual:
                    return end(ticket, said, error, None)
            if local:
                ticket.ignore()
            else:
                ticket.end_by_error(error)
        except Exception as fault:
            self.registry.fault("outbound verdict", fault)

    def end_by_status(self, ticket: Ticket, error: BaseException, status: int) -> None:
        """End a call with an error that stands for a status."""
        try:
            outcome = self.overruled(error, Outcome.of_upstream_status(status))
            end(ticket, outcome, f"HTTP {status}", None)
        except Exception as fault:
            self.registry.fault("outbound verdict", fault)

    def judge(
        self,
        ticket: Ticket,
        response: ResponseT,
        status: int,
        headers: Mapping[str, str],
        content_type: str,
    ) -> BodyWatch | None:
        """End a call at its headers if they decide, else return what watches its body.

        Args:
            ticket: The call.
            response: What `classify` is shown.
            status: Its status.
            headers: Its headers.
            content_type: The one of them that is always looked at, at what the client's headers
                cost least.
        """
        outcome = _SUCCESS if status < 400 else Outcome.of_upstream_status(status)
        if self.classify is not None:
            outcome = self.overruled(response, outcome)
        if outcome is _SUCCESS:
            if status == 101:
                # What follows is another protocol, with no end to wait for.
                ticket.success()
                return None
            if is_event_stream(content_type):
                readable = headers.get("content-encoding", "identity") == "identity"
                return StreamWatch(ticket, sse_errors=self.sse_errors and readable)
            ticket.mark()
            return ticket
        retry_after = parse_retry_after(headers)
        if outcome is Outcome.THROTTLED and retry_after is None:
            return QuotaWatch(ticket, headers.get("content-encoding", ""))
        end(ticket, outcome, f"HTTP {status}", retry_after)
        return None


def refusal_headers(refusal: BreakerOpenError) -> dict[str, str]:
    """The headers of a refusal in the shape of a response.

    Without `x-should-retry: false` the OpenAI and Anthropic SDKs sleep and try again.
    """
    return {
        "content-type": "application/problem+json",
        "cache-control": "no-store",
        "x-should-retry": "false",
        "retry-after": str(max(math.ceil(_bounded(refusal.retry_after)), 1)),
    }


def refusal_body(refusal: BreakerOpenError) -> bytes:
    """The problem document (RFC 9457) of a refusal. It stays in this process: it names the key."""
    return json.dumps(
        {
            "type": "about:blank",
            "title": "Service Unavailable",
            "status": 503,
            "detail": str(refusal),
            "breaker": refusal.key,
            "state": refusal.state.value,
            "retry_after": round(_bounded(refusal.retry_after), 3),
        }
    ).encode()


def _bounded(seconds: float) -> float:
    # A day: "until somebody closes it by hand" is no number that a header could carry.
    return min(seconds, 86_400.0)
