"""The outbound calls of one client: `admission`, the answer to a refusal, and the outcomes.

An error ends a call at once. An answer of 4xx or above ends it with its headers, but a 429 without
Retry-After ends it with its body, as any other answer does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Generic, TypeVar, cast

from recloser import BreakerOpenError, Outcome, Registry, parse_retry_after
from recloser_adapters._outbound.admission import Admission
from recloser_adapters._outbound.asked_to_wait import AskedWatch, is_rate_limit, may_ask
from recloser_adapters._outbound.body import (
    AnyBodyWatch,
    BodyWatch,
)
from recloser_adapters._outbound.good_answers import GoodAnswers
from recloser_adapters._outbound.keys import Keys
from recloser_adapters._outbound.permit import CallPermit, ScopedPermit
from recloser_adapters._outbound.sdk import Form, fitting
from recloser_adapters._outbound.settings import (
    CallSettings,
    Raise,
    RaiseOrResponse,
    check_settings,
)
from recloser_adapters._outbound.verdicts import FixedWatch

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")

# A plain global, because looking up a member of an enum takes 60 ns on Python 3.11.
_SUCCESS = Outcome.SUCCESS
# A set, because a test for membership takes 75 ns in a range and 27 ns in this set.
_GOOD = frozenset(range(200, 400))
# What wrong arguments raise. A transport of the user may raise others for a callee.
_OF_PROGRAM = (ValueError, TypeError, AttributeError)
_WORDS = ("auto", "raise", "response")
_FORMS: dict[object, Form] = {"raise": "raise", "response": "response"}


class OutboundCalls(Admission[RequestT], Generic[RequestT, ResponseT]):
    """Admits the calls of one client, and decides their outcomes.

    Args:
        registry: Holds the breakers; by default a new one.
        settings: The user's settings; see `CallSettings`.
        keys: The ready-made keys of the library. They read its requests.
        refusal_error: Makes the error of a refused call.
        refusal_response: Makes the 503 of a refused call; None if the library has no way to.

    Attributes:
        cut_off: Whether calls end when an answer is hopeless.
        good_answers: Chooses the watches of good answers.
        looks_into: Tells whether the body of a good answer is read for errors.
        good_statuses: Statuses that are a success without a further check. Empty if the user gave
            `classify` or `verdict`, which must see every answer.

    Raises:
        TypeError: A setting has the wrong type or does not exist.
        ValueError: The key is empty, or `on_refuse` is unknown.
    """

    def __init__(
        self,
        registry: Registry | None,
        settings: CallSettings[RequestT, ResponseT, RaiseOrResponse]
        | CallSettings[RequestT, ResponseT, Raise],
        *,
        keys: Keys[RequestT],
        refusal_error: Callable[[RequestT, BreakerOpenError], BreakerOpenError],
        refusal_response: Callable[[RequestT, BreakerOpenError], ResponseT] | None,
    ) -> None:
        check_settings(
            registry, settings, words=_WORDS if refusal_response is not None else _WORDS[:2]
        )
        all_settings = cast("Mapping[str, Any]", settings)
        super().__init__(registry if registry is not None else Registry(), all_settings, keys)
        self.cut_off: bool = bool(settings.get("cut_off", False))
        self.good_answers: GoodAnswers = GoodAnswers(
            self.registry,
            settings.get("verdict"),
            errors=settings.get("sse_errors"),
            cuts_off=self.cut_off,
        )
        self.looks_into: Callable[[Any], bool] = self.good_answers.looks_into
        self._classify = settings.get("classify")
        plain = self._classify is None and settings.get("verdict") is None
        self.good_statuses: frozenset[int] = _GOOD if plain else frozenset()
        on_refuse = settings.get("on_refuse")
        self._substitute: Callable[[RequestT, BreakerOpenError], ResponseT | None] | None = (
            on_refuse if callable(on_refuse) else None
        )
        self._form: Form | None = _FORMS.get(on_refuse)
        self._refusal_response = refusal_response
        self._refusal_error = refusal_error

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
        elif self._refusal_response is not None and (
            fitting(partial(self.keys.read.header, request), self._form) == "response"
        ):
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
        request: RequestT | None = None,
    ) -> AnyBodyWatch | None:
        """Decide by the headers of an answer. If they are not enough, return a watch of its body.

        Args:
            permit: The permit of the call.
            response: The answer; the user's `classify` is called with it.
            status: Its status.
            headers: Its headers.
            content_type: Its content type, "" if it has none. It is an argument of its own, because
                all calls need it and each adapter has a cheap way to read it.
            request: The request; None if it is unknown.

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
            return self.good_answers.watch(permit, request, status, headers, content_type)
        return self._watch_bad_answer(permit, outcome, status, headers, request)

    def _watch_bad_answer(
        self,
        permit: CallPermit,
        outcome: Outcome,
        status: int,
        headers: Mapping[str, str],
        request: RequestT | None,
    ) -> AnyBodyWatch | None:
        # Whatever it says, the callee has answered.
        permit.mark()
        if self._classify is None and is_rate_limit(status, headers):
            outcome = Outcome.THROTTLED
        throttled = outcome is Outcome.THROTTLED
        retry_after = parse_retry_after(headers, limits=throttled)
        if throttled:
            permit = self.scoped(permit, request)
        llm = isinstance(permit, ScopedPermit) and permit.llm
        if may_ask(outcome, status, llm=llm) and not (throttled and retry_after):
            longest = permit.breaker.policy.max_open_for
            watch: BodyWatch = AskedWatch(permit, outcome, status, headers, retry_after, longest)
            return self.good_answers.asks_user(permit, watch, status, headers) or watch
        watch = FixedWatch(permit, outcome, f"HTTP {status}", retry_after)
        asking = self.good_answers.asks_user(permit, watch, status, headers)
        if asking is None:
            watch.eof()
        return asking

    def end_by_error(
        self,
        permit: CallPermit,
        error: BaseException,
        *,
        local: bool = False,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        request: RequestT | None = None,
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
            request: The request, to find the scope of a wait; None if a wait belongs to the key.
        """
        outcome, retry_after = permit.classify(error)
        if outcome is Outcome.FAILURE:
            if local:
                outcome = Outcome.IGNORED
            elif status is not None and status >= 400:
                outcome = Outcome.of_upstream_status(status)
                limits = outcome is Outcome.THROTTLED
                retry_after = None if headers is None else parse_retry_after(headers, limits=limits)
            elif _is_of_program(error):
                outcome = Outcome.IGNORED
        if status is not None and status >= 400:
            permit.mark()
        if isinstance(error, Exception):
            outcome = self._overruled(error, outcome)
        if outcome is Outcome.THROTTLED:
            permit = self.scoped(permit, request)
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


def _is_of_program(error: BaseException) -> bool:
    """Whether an error tells of a wrong argument: a header with a line break, a time-out below 0.

    Such values often come from outside. No callee has seen them. What the libraries raise for a callee
    is of their own classes, or an `OSError`.
    """
    return (
        isinstance(error, _OF_PROGRAM)
        and type(error).__module__ == "builtins"
        and not isinstance(error, UnicodeDecodeError)  # of what a callee has sent
        and error.__cause__ is None
    )
