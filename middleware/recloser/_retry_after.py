"""Reads how long an upstream asks for a pause, from headers that may be malformed or hostile.

Which wait holds if there are several: what an answer asks for itself (`retry-after-ms`, then
`Retry-After`, then headers whose name ends like these, such as `x-ms-retry-after-ms`) comes before
what it tells of its limits (`x-ratelimit-reset` and the like). A limit counts only if it is used up:
its `remaining` is 0, or not told. Of several such limits the longest counts, because each of them must
be renewed. A wait of zero, or one that is over, is none, so the next source is asked.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from typing import cast

from recloser._duration import parse_duration

# Python's own number parsing is far too kind to a hostile header: int() takes "١٢" and "1_000",
# float() takes "nan" and "1e999". Ten digits are three centuries. `re` compiles the pattern on
# first use, because most programs never get such a header.
_NUMBER = r"[0-9]{1,10}(?:\.[0-9]{1,9})?"
# The three forms of RFC 9110 section 5.6.7: IMF-fixdate, RFC 850 and asctime.
_DATE = (
    r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT"
    r"|[A-Z][a-z]{5,8}, [0-9]{2}-[A-Z][a-z]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT"
    r"|[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} [0-9]{4}"
)
# RFC 3339 section 5.6.
_TIMESTAMP = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
    r"(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
# A time since the epoch, in seconds or (13 digits) in milliseconds.
_SINCE_EPOCH = r"[0-9]{10,13}(?:\.[0-9]{1,9})?"
# `Retry-After` with something before it, or with its unit: of Azure and of many gateways.
_ASKED = r"(?:[a-z0-9]+-)*retry-after(?:-(ms|milliseconds|s|seconds))?"
# The reset of a limit, in the headers of OpenAI, Anthropic, GitHub, Discord, the IETF drafts ...
_RESET = r"((?:[a-z0-9]+-)*rate-?limit)-(?:[a-z0-9-]+-)?reset(-[a-z0-9-]+)?"
# An item of the header `RateLimit`: `"policy";r=0;t=30`, in an earlier draft `remaining=0, reset=30`.
_LEFT = r"(?:^|[;,\s])(?:r|remaining)\s*=\s*([0-9]{1,10})(?![0-9.])"
_RENEWED = r"(?:^|[;,\s])(?:t|reset)\s*=\s*([0-9]{1,10})(?![0-9.])"
_LONGEST = 1000  # characters of a header that are looked at


def parse_retry_after(
    headers: Mapping[str, str], now_wall: float | None = None, *, limits: bool = True
) -> float | None:
    """Read for how long an answer asks for a pause; the module says which header holds.

    `Retry-After` may be seconds, with fractions as the LLM SDKs accept them, or a date. The reset of
    a limit may be seconds, a duration (`6m0s`), a timestamp (RFC 3339), a date, or seconds or
    milliseconds since the epoch. A time of day is compared with the `Date` of the answer if it has
    one, because our clock may be wrong. A malformed value (with signs, exponents, NaN, too many
    digits, or an invalid date) counts as absent. The result is finite but not limited; a breaker
    limits it to `Policy.max_retry_after`.

    Args:
        headers: Any mapping of header names to values. The names in a plain dict may be in any
            case.
        now_wall: Wall-clock time to compare a date with if the answer has none, in seconds since
            the epoch; None reads the clock.
        limits: Whether the limits count. They do only for an answer that was refused because of
            them, a 429: many answers tell when a limit will be renewed.

    Returns:
        Seconds to wait, >= 0; 0.0 if the answer asks for a pause that is over. None if there is no
        usable value.
    """
    clock = _Clock(headers, now_wall)
    milliseconds = _number(_value(headers, "retry-after-ms"))
    asked = None if milliseconds is None else milliseconds / 1000.0
    if not asked:
        seconds = _asked(_value(headers, "retry-after"), clock)
        asked = asked if seconds is None else seconds
    if not asked:
        asked = max((wait for wait in _like_retry_after(headers, clock) if wait), default=asked)
    if asked or not limits:
        return asked
    return max((wait for wait in _used_up(headers, clock) if wait > 0.0), default=asked)


def _asked(text: str, clock: _Clock) -> float | None:
    """Seconds of a wait: a number, or until a date."""
    seconds = _number(text)
    return clock.until(_date(text)) if seconds is None else seconds


def _like_retry_after(headers: Mapping[str, str], clock: _Clock) -> Iterator[float]:
    """Seconds by headers that mean what `Retry-After` does."""
    for name in headers:
        found = re.fullmatch(_ASKED, name.lower()[:_LONGEST])
        wait = None if found is None else _asked(_value(headers, name), clock)
        if found is not None and wait is not None:
            yield wait / 1000.0 if (found[1] or "").startswith("m") else wait


class _Clock:
    """The time of the answer: its `Date`, else that of the caller."""

    def __init__(self, headers: Mapping[str, str], now_wall: float | None) -> None:
        self._headers = headers
        self._now = now_wall

    def until(self, when: float | None) -> float | None:
        """Seconds until then, >= 0; None if there is no such time."""
        if when is None:
            return None
        now = _date(_value(self._headers, "date"))
        if now is None:
            now = time.time() if self._now is None else self._now
        return max(when - now, 0.0)


def _used_up(headers: Mapping[str, str], clock: _Clock) -> Iterator[float]:
    """Seconds until each of the limits that are used up is renewed."""
    for name in headers:
        reset = re.fullmatch(_RESET, name.lower()[:_LONGEST])
        if reset is None:
            continue
        family, which = reset.groups()
        left = _number(_value(headers, name.lower().replace("reset", "remaining", 1)))
        if left is None and which == "-after":  # Discord's form of seconds
            left = _number(_value(headers, f"{family}-remaining"))
        wait = None if left else _wait(_value(headers, name), clock)
        if wait is not None:
            yield wait
    text = _value(headers, "ratelimit")[:_LONGEST]
    # The earlier draft is one item with commas in it.
    for item in [text] if "limit=" in text else text.split(","):
        unused, renewed = re.search(_LEFT, item), re.search(_RENEWED, item)
        if renewed is not None and unused is not None and not float(unused[1]):
            yield float(renewed[1])


def _wait(text: str, clock: _Clock) -> float | None:
    """Seconds until a limit is renewed, in any of the forms."""
    if re.fullmatch(_SINCE_EPOCH, text):
        number = float(text)
        return clock.until(number / 1000.0 if number >= 1e11 else number)
    number_or_none = _number(text)
    if number_or_none is None:
        number_or_none = parse_duration(text)
    if number_or_none is None:
        number_or_none = clock.until(_timestamp(text))
    return clock.until(_date(text)) if number_or_none is None else number_or_none


def _value(headers: Mapping[str, str], name: str) -> str:
    value: object = headers.get(name)
    if value is None:
        # The header mappings of clients ignore case; a plain dict does not.
        value = next((headers[each] for each in headers if each.lower() == name), "")
    return value.strip(" \t") if isinstance(value, str) else ""


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(_NUMBER, text) else None


def _date(text: str) -> float | None:
    """Read an HTTP date, in seconds since the epoch."""
    if not re.fullmatch(_DATE, text):
        return None
    # Imported here: few upstreams send dates, and the module is slow to import.
    from email.utils import parsedate_to_datetime

    try:
        # An asctime date has no time zone, and would be read as local time.
        return parsedate_to_datetime(text if text.endswith("GMT") else f"{text} GMT").timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None  # such as 31 February


def _timestamp(text: str) -> float | None:
    if not re.fullmatch(_TIMESTAMP, text):
        return None
    from datetime import datetime

    try:
        return datetime.fromisoformat(text.upper()).timestamp()
    except (ValueError, OverflowError):
        return None


def retry_after_of(error: BaseException) -> float | None:
    """Read the wait, in seconds, from the response that an exception carries.

    That of a 429 may be told in its body only, which is read if it is in memory.
    """
    try:
        response = getattr(error, "response", None)
        holder = error if response is None else response
        headers = getattr(holder, "headers", None)
        if not isinstance(headers, Mapping):
            return None
        statuses = (getattr(each, "status_code", None) for each in (holder, error))
        throttled = 429 in (*statuses, getattr(error, "status", None))
        wait = parse_retry_after(cast("Mapping[str, str]", headers), limits=throttled)
        # httpx, httpx2 and requests keep a body here that was read.
        body = getattr(response, "_content", None)
        if not wait and throttled and isinstance(body, bytes):
            from recloser._asked_in_body import asked_in_body

            wait = asked_in_body(body).seconds or wait
        return wait
    except Exception:
        # A foreign object may raise anything. A wait that cannot be read counts as absent.
        return None
