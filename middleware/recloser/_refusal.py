"""The answer to a refused request, built once and then only written, by ASGI and WSGI."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, inf
from random import random
from typing import Any

from recloser._breaker import Breaker

# Retry-After is spread over this much more than the wait itself, so that the refused do not come
# back together. Never less: they would come before the probe.
_JITTER = 0.1
# Upper bound of a Retry-After, in seconds: a day, for breakers opened by hand for very long.
_LONGEST_WAIT = 86_400
# Answers kept for each form: one per second of waiting.
_MAX_KEPT = 1024


@dataclass(frozen=True, slots=True)
class Refusal:
    """The response to a refused request, in the forms that ASGI and WSGI want.

    Attributes:
        headers: For WSGI, native strings.
        raw_headers: For ASGI, lower-case bytes.
        body: What every method but HEAD answers with.
    """

    headers: tuple[tuple[str, str], ...]
    raw_headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    @classmethod
    def build(cls, body: str, content_type: str, retry_after: int) -> Refusal:
        """Make the response once; it is then only written."""
        content = body.encode()
        headers = (
            ("Content-Type", content_type),
            ("Content-Length", str(len(content))),
            ("Retry-After", str(retry_after)),
            ("Cache-Control", "no-store"),
        )
        raw = tuple(
            (name.lower().encode("ascii"), value.encode("ascii")) for name, value in headers
        )
        return cls(headers, raw, content)


class Refusals:
    """Builds responses to refused requests, and keeps them: one per whole second of waiting."""

    __slots__ = ("_as_json", "_as_text", "_expose_details")

    def __init__(self, *, expose_details: bool) -> None:
        self._expose_details = expose_details
        self._as_json: dict[int, Refusal] = {}
        self._as_text: dict[int, Refusal] = {}

    def of(self, breaker: Breaker, accept: str | None) -> Refusal:
        """The response to a request that `breaker` refused.

        Args:
            breaker: Which one.
            accept: The value of the Accept header, None without one.
        """
        wait = breaker.retry_after
        if wait == inf:
            # Opened by hand until further notice: nobody knows when to come again.
            wait = breaker.policy.max_open_for
        seconds = ceil(wait * (1.0 + _JITTER * random())) if wait < _LONGEST_WAIT else _LONGEST_WAIT
        if seconds < 1:
            seconds = 1
        as_json = accept is None or accept == "*/*" or accepts_json(accept)
        if self._expose_details:
            return self._detailed(breaker, seconds, as_json)
        built = self._as_json if as_json else self._as_text
        refusal = built.get(seconds)
        if refusal is None:
            refusal = _build(seconds, as_json, {})
            if len(built) < _MAX_KEPT:
                built[seconds] = refusal
        return refusal

    @staticmethod
    def _detailed(breaker: Breaker, seconds: int, as_json: bool) -> Refusal:
        error = breaker.refusal()
        reason = None if error.reason is None else str(error.reason)
        details = {"key": error.key, "state": error.state.value, "reason": reason}
        return _build(seconds, as_json, details)


def _build(seconds: int, as_json: bool, details: Mapping[str, str | None]) -> Refusal:
    detail = f"This is temporarily unavailable. Try again in {seconds} s."
    if not as_json:
        # ascii() of a value keeps control characters out: a key may come from a client.
        lines = [detail, *(f"{name}: {value!a}" for name, value in details.items())]
        return Refusal.build("\n".join(lines) + "\n", "text/plain; charset=utf-8", seconds)
    problem: dict[str, Any] = {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": detail,
        "retry_after": seconds,
        **details,
    }
    return Refusal.build(json.dumps(problem), "application/problem+json", seconds)


def accepts_json(accept: str) -> bool:
    """Whether a client that sent this Accept header takes a JSON answer (RFC 9110 12.5.1)."""
    decided: dict[str, tuple[int, bool]] = {}
    for part in accept.lower().split(","):
        media, _, parameters = part.partition(";")
        covered = _JSON_RANGES.get(media.strip())
        if covered is None:
            continue
        precision, types = covered
        wanted = _UNWANTED.search(parameters) is None
        for each in types:
            # The most precise range that covers a type decides about it.
            if each not in decided or precision > decided[each][0]:
                decided[each] = precision, wanted
    return not accept.strip() or any(wanted for _, wanted in decided.values())


_JSON = ("application/problem+json", "application/json")
_JSON_RANGES: Mapping[str, tuple[int, tuple[str, ...]]] = {
    "*/*": (0, _JSON),
    "application/*": (1, _JSON),
    "application/problem+json": (2, _JSON[:1]),
    "application/json": (2, _JSON[1:]),
}
_UNWANTED = re.compile(r"(?:^|;)\s*q\s*=\s*0(?:\.0*)?\s*(?:;|$)")
