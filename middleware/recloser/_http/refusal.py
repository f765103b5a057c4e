"""The 503 that a refused request gets. It is built once and sent many times, by ASGI and WSGI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import cycle
from math import ceil
from random import random
from typing import NamedTuple

from recloser._admission import Refused
from recloser._problem import PROBLEM_TYPE, problem_document

# Retry-After is longer than the wait by up to this share, at random, and by so many seconds at most, so
# that refused clients do not come back at the same moment. Never shorter: they would come before the
# probe.
_JITTER = 0.1
_LONGEST_JITTER = 5.0  # seconds
# Upper bound of a Retry-After, in seconds: a day, for breakers opened by hand for very long.
_LONGEST_WAIT = 86_400.0
# So many answers with different times are prepared, and given in turn.
_SPREAD = 8
# Answers kept: one for each second of waiting, and one set for each breaker.
_MAX_KEPT = 1024


class Refusal(NamedTuple):
    """The response to a refused request, in the forms that ASGI and WSGI want.

    Attributes:
        headers: For WSGI, native strings.
        raw_headers: For ASGI, lower-case bytes.
        body: The body, for every method except HEAD.
    """

    headers: tuple[tuple[str, str], ...]
    raw_headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    @classmethod
    def after(cls, wait: float) -> Refusal:
        """The response for a client that may come back in `wait` seconds.

        Args:
            wait: Seconds, >= 0. The response says more at random, up to a tenth and 5 s at most, so
                that not all clients come back at once. It says a day at most.

        Raises:
            ValueError: `wait` is negative or NaN.
        """
        if not wait >= 0.0:
            raise ValueError(f"wait must be seconds from 0, not {wait!r}")
        return _build(spread(wait), {})


def spread(wait: float) -> int:
    """Whole seconds for a Retry-After: never less than a wait in seconds, and hardly more.

    An end that an operator named, as in `open(for_=600)`, holds for clients to 5 s.
    """
    more = min(_JITTER * wait, _LONGEST_JITTER)
    return max(ceil(min(wait + more * random(), _LONGEST_WAIT)), 1)


class Refusals:
    """Answers refused requests, and keeps each answer for as long as it is true.

    The answer is `application/problem+json`, also where a client asks for another type: RFC 9110
    section 12.5.1 allows that, and reading the headers of every refused request would cost time.
    """

    __slots__ = ("_built", "_expose_details", "_kept")

    def __init__(self, *, expose_details: bool) -> None:
        self._expose_details = expose_details
        self._built: dict[int, Refusal] = {}
        # By breaker: until when (s) the answers hold, for which time of the next probe (s), and the
        # answers to give in turn.
        self._kept: dict[Refused, tuple[float, float, Iterator[Refusal]]] = {}

    def of(self, refused: Refused) -> Refusal:
        """The response to a request that was refused just now."""
        try:
            until, probe_at, answers = self._kept[refused]
            if refused.at < until and refused.probe_at == probe_at:
                return next(answers)
        except KeyError:
            pass
        return next(self._prepare(refused))

    def _prepare(self, refused: Refused) -> Iterator[Refusal]:
        wait = refused.breaker.retry_after
        answers = [self._after(refused, spread(wait)) for _ in range(_SPREAD)]
        if len(self._kept) >= _MAX_KEPT:
            self._kept.clear()
        # They hold for one second, or until it is time for the next probe.
        in_turn = cycle(answers)
        self._kept[refused] = refused.at + min(wait, 1.0), refused.probe_at, in_turn
        return in_turn

    def _after(self, refused: Refused, seconds: int) -> Refusal:
        return self._detailed(refused, seconds) if self._expose_details else self._plain(seconds)

    def _plain(self, seconds: int) -> Refusal:
        refusal = self._built.get(seconds)
        if refusal is None:
            refusal = _build(seconds, {})
            if len(self._built) < _MAX_KEPT:
                self._built[seconds] = refusal
        return refusal

    @staticmethod
    def _detailed(refused: Refused, seconds: int) -> Refusal:
        error = refused.error()
        reason = None if error.reason is None else str(error.reason)
        return _build(seconds, {"key": error.key, "state": error.state.value, "reason": reason})


def _build(seconds: int, details: Mapping[str, str | None]) -> Refusal:
    detail = f"This is temporarily unavailable. Try again in {seconds} s."
    body = problem_document(503, "Service Unavailable", detail, retry_after=seconds, **details)
    headers = (
        ("Content-Type", PROBLEM_TYPE),
        ("Content-Length", str(len(body))),
        ("Retry-After", str(seconds)),
        ("Cache-Control", "no-store"),
    )
    raw = tuple((name.lower().encode("ascii"), value.encode("ascii")) for name, value in headers)
    return Refusal(headers, raw, body)
