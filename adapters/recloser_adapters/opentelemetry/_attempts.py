"""Spans of attempts: one CLIENT span for each provider that a failover asks."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.context import Context, attach
from opentelemetry.context import get_current as current_context

from recloser import Answer, Attempt, Fate, Leg
from recloser_adapters.opentelemetry._instruments import KEY

# How `gen_ai.provider.name` calls the providers, by the end of the host.
_PROVIDERS = {
    "api.openai.com": "openai",
    "openai.azure.com": "azure.ai.openai",
    "models.ai.azure.com": "azure.ai.inference",
    "api.anthropic.com": "anthropic",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.cohere.com": "cohere",
    "api.cohere.ai": "cohere",
    "api.deepseek.com": "deepseek",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    "amazonaws.com": "aws.bedrock",
    "ml.cloud.ibm.com": "ibm.watsonx.ai",
}
# The first word of the label of a call to a model is its route, unless that is a chat.
_OPERATIONS = {"embeddings": "embeddings", "completions": "text_completion"}
_ROUTES = re.compile(
    r"(embeddings|completions|rerank|moderations|count_tokens|audio/\w+|images/\w+)\b"
)
_STATUS = re.compile(r"HTTP (\d{3})")
# The caller left, or got what it wanted: no error of the provider.
_NO_ERROR = frozenset({Fate.SERVED, Fate.CANCELLED})


def trace_attempts(
    *, tracer_provider: trace.TracerProvider | None = None
) -> Callable[[Attempt[Any]], AttemptSpan]:
    """Make a span of kind CLIENT for each attempt: `Failover(..., on_attempt=trace_attempts())`.

    It is the current span while the provider is asked, so spans of the client library lie within it.
    It names the provider, how the attempt ended, and of a call to a language model the operation, the
    model and the tokens, as the `gen_ai` conventions do.

    Args:
        tracer_provider: Makes the spans; None for the global one.
    """
    tracer = trace.get_tracer("recloser", tracer_provider=tracer_provider)
    return lambda attempt: AttemptSpan(tracer, attempt)


class AttemptSpan:
    """The span of one attempt."""

    def __init__(self, tracer: trace.Tracer, attempt: Attempt[Any]) -> None:
        self._model = ""
        name, attributes = self._describe(attempt)
        self._before: Context = current_context()
        self._span = tracer.start_span(
            name, self._before, trace.SpanKind.CLIENT, attributes=attributes
        )
        attach(trace.set_span_in_context(self._span, self._before))

    def _describe(self, attempt: Attempt[Any]) -> tuple[str, dict[str, Any]]:
        asked = attempt.permit.breaker.key
        attributes: dict[str, Any] = {
            "recloser.provider.key": attempt.key,
            "recloser.attempt.number": attempt.number,
            KEY: asked,
        }
        url = attempt.target
        is_model = hasattr(url, "base_url") and hasattr(url, "models")  # an LLMEndpoint
        url = getattr(url, "base_url", url)
        host = ""
        if isinstance(url, str):
            host = _note_address(url, attributes)
        known = next((name for end, name in _PROVIDERS.items() if _ends(host, end)), "")
        if not is_model and not known:
            return attempt.key, attributes
        self._model = asked.removeprefix(attempt.key).strip() if asked != attempt.key else ""
        label = attempt.permit.label or ""
        route = _ROUTES.match(label)
        operation = _OPERATIONS.get(route[1], route[1]) if route else "chat"
        attributes["gen_ai.operation.name"] = operation
        attributes["gen_ai.provider.name"] = known or attempt.key
        if self._model:
            attributes["gen_ai.request.model"] = self._model
        return f"{operation} {self._model or attempt.key}", attributes

    def ended(self, leg: Leg) -> None:
        """Note how the attempt ended. From now on the span is no longer the current one."""
        # Not by the token: the end may be in another task than the begin.
        if trace.get_current_span() is self._span:
            attach(self._before)
        self._span.set_attribute("recloser.attempt.fate", leg.fate.value)
        if leg.fate in _NO_ERROR:
            return
        error = leg.error
        status = _STATUS.match(error) if isinstance(error, str) else None
        if status is not None:
            self._span.set_attribute("http.response.status_code", int(status[1]))
        kind = status[1] if status else leg.fate.value
        if isinstance(error, BaseException):
            kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
        self._span.set_attribute("error.type", kind)
        # The text of a leg has no secrets of the exception.
        self._span.set_status(trace.Status(trace.StatusCode.ERROR, str(leg)))

    def reported(self, answer: Answer) -> None:
        """End the span, with what the answer tells."""
        told = {
            "gen_ai.request.model": answer.model,
            "gen_ai.usage.input_tokens": answer.input_tokens,
            "gen_ai.usage.output_tokens": answer.output_tokens,
            "recloser.provider.request_id": answer.request_id,
        }
        for name, value in told.items():
            if value is not None:
                self._span.set_attribute(name, value)
        self._span.end()


def _ends(host: str, end: str) -> bool:
    return host == end or host.endswith((f".{end}", f"-{end}"))


def _note_address(url: str, attributes: dict[str, Any]) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    if host:
        attributes["server.address"] = host
        attributes["server.port"] = port or (80 if parts.scheme == "http" else 443)
    return host
