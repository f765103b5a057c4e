"""Admits the attempts of botocore clients, and decides their outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError, HTTPClientError

from recloser import LoosePermit, Outcome, Refused, Unguarded, parse_retry_after
from recloser_adapters._botocore.aws_call import AWSCall
from recloser_adapters._botocore.streamed import streamed, watch_streamed
from recloser_adapters._outbound.body import AnyBodyWatch, BodyWatch
from recloser_adapters._outbound.call import OutboundCalls
from recloser_adapters._outbound.llm import LLMCall
from recloser_adapters._outbound.permit import CallPermit, ReportedPermit

# Operations that wait until there is something to tell.
_LONG_POLLS = frozenset(
    [
        ("sqs", "ReceiveMessage"),
        ("sfn", "GetActivityTask"),
        ("swf", "PollForActivityTask"),
        ("swf", "PollForDecisionTask"),
    ]
)
# AWS asks for a pause in milliseconds.
_RETRY_AFTER_MS = "x-amz-retry-after"
_CONTEXT = "recloser"


class AWSCalls(OutboundCalls[AWSCall, Mapping[str, Any]]):
    """The calls of one client, which tells of them by its events."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # A call of botocore takes so long that it need not be told at a glance.
        self._always_closely = True

    def listen(self, events: Any) -> None:
        """Register with the events of a client or of a session. A second time has no effect."""
        hooks = (
            # botocore signs a request by the same event, before what is registered for all services.
            ("request-created", self.created),
            ("response-received", self.received),
            ("after-call-error", self.gave_up),
        )
        for event, hook in hooks:
            events.register_last(event, hook, unique_id=f"{_CONTEXT} {event}")

    def created(self, request: Any, event_name: str, **unused: Any) -> None:
        """A request has been made and signed: admit it, or raise the refusal.

        What is raised here goes to the caller. botocore does not retry it, and takes nothing from
        its budget of retries.
        """
        try:
            request.context.pop(_CONTEXT, None)
            _, service, operation = event_name.split(".", 2)
            call = AWSCall(request, service, operation)
        except Exception as fault:
            self.registry.fault("outbound admission", fault)
            return
        admission = self.admit(call, LoosePermit)
        if isinstance(admission, Refused):
            raise self._refusal_error(call, admission.error())
        if not isinstance(admission, Unguarded):
            # The context lives as long as the attempts of one call. If the caller is cancelled, it
            # is dropped, and with it the permit.
            request.context[_CONTEXT] = call, admission

    def received(
        self,
        context: dict[str, Any],
        parsed_response: dict[str, Any] | None,
        response_dict: dict[str, Any] | None,
        exception: Exception | None,
        event_name: str,
        **unused: Any,
    ) -> None:
        """An attempt has an answer, which is parsed, or has failed."""
        found: tuple[AWSCall, CallPermit] | None = context.pop(_CONTEXT, None)
        if found is None:
            return
        call, permit = found
        try:
            if exception is not None:
                self._raised(permit, call, exception)
            elif parsed_response is not None:
                self._answered(permit, call, parsed_response, response_dict or {})
        except Exception as fault:
            self.registry.fault("outbound outcome", fault)

    def gave_up(self, context: dict[str, Any] | None, exception: Exception, **unused: Any) -> None:
        """A call has failed. Its attempt has ended, unless its answer could not be parsed."""
        found: tuple[AWSCall, CallPermit] | None = (context or {}).pop(_CONTEXT, None)
        if found is not None:
            self._raised(found[1], found[0], exception)

    def _raised(self, permit: CallPermit, call: AWSCall, error: Exception) -> None:
        # What botocore did not expect is wrapped: an error of the file that is sent, for example.
        unexpected = type(error) is HTTPClientError and getattr(error, "kwargs", {}).get("error")
        local = isinstance(unexpected, Exception) and permit.classify(unexpected)[0] is (
            Outcome.IGNORED
        )
        self.end_by_error(permit, error, local=local, request=call)

    def _answered(
        self,
        permit: CallPermit,
        call: AWSCall,
        parsed: dict[str, Any],
        response: Mapping[str, Any],
    ) -> None:
        told: Mapping[str, Any] = parsed.get("ResponseMetadata", {})
        status = int(told.get("HTTPStatusCode", 200))
        headers: Mapping[str, str] = told.get("HTTPHeaders", {})
        if status >= 400:
            permit.mark()
            self._answered_by_error(permit, call, parsed, status, headers)
            return
        seen = parsed if status < 300 else ClientError(parsed, call.operation)  # type: ignore[arg-type]
        outcome = self._overruled(seen, Outcome.of_upstream_status(status))
        if outcome is not Outcome.SUCCESS:
            permit.mark()
            permit.end(outcome, error=f"HTTP {status}")
            return
        body = streamed(parsed)
        if body is None:
            _note_tokens(permit, parsed)
            permit.success()
            return
        watch: AnyBodyWatch | None
        if hasattr(body, "get_initial_response") or call.asks_model:
            content_type = headers.get("content-type", "")
            watch = self.good_answers.watch(permit, call, status, headers, content_type)
        else:
            permit.mark()
            watch = BodyWatch(permit)
        if watch is not None and not watch_streamed(body, watch):
            permit.success()

    def _answered_by_error(
        self,
        permit: CallPermit,
        call: AWSCall,
        parsed: dict[str, Any],
        status: int,
        headers: Mapping[str, str],
    ) -> None:
        error = ClientError(parsed, call.operation)  # type: ignore[arg-type]
        outcome, retry_after = permit.classify(error)
        outcome = self._overruled(error, outcome)
        throttled = outcome is Outcome.THROTTLED
        retry_after = _milliseconds(headers) or parse_retry_after(headers, limits=throttled)
        if throttled:
            permit = self.scoped(permit, call)
        code = str(parsed.get("Error", {}).get("Code", ""))
        named = f"HTTP {status} {code}" if code.isidentifier() else f"HTTP {status}"
        permit.end(outcome, error=named, retry_after=retry_after)

    def _call_of(self, request: AWSCall) -> LLMCall | None:
        return super()._call_of(request) if request.asks_model else None

    def _is_long_poll(self, request: AWSCall) -> bool:
        return (request.service, request.operation) in _LONG_POLLS


def _milliseconds(headers: Mapping[str, str]) -> float | None:
    value = headers.get(_RETRY_AFTER_MS, "")
    return int(value) / 1000.0 if value.isascii() and value.isdigit() else None


def _note_tokens(permit: CallPermit, parsed: dict[str, Any]) -> None:
    """Note how many tokens the answer of a model has, which explains how long it took."""
    if not isinstance(permit, ReportedPermit) or not permit.request_bytes:
        return
    usage: Mapping[str, Any] = parsed.get("usage") or {}
    tokens: object = usage.get("outputTokens")
    if isinstance(tokens, int):
        permit.note_tokens(tokens)
