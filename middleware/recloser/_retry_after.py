"""Reads how long an upstream asks for a pause, from headers that may be malformed or hostile."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import cast

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


def parse_retry_after(headers: Mapping[str, str], now_wall: float | None = None) -> float | None:
    """Read `retry-after-ms`, else `Retry-After` as seconds or as a date.

    The LLM SDKs read them in the same order, and accept fractions, too. A malformed value (with
    signs, exponents, NaN, more than ten digits, or an invalid date) counts as absent. The result is
    finite but not limited; a breaker limits it to `Policy.max_retry_after`.

    Args:
        headers: Any mapping of header names to values. The names in a plain dict may be in any
            case.
        now_wall: Wall-clock time to compare a date with, in seconds since the epoch; None reads
            the clock.

    Returns:
        Seconds to wait, >= 0; 0.0 for a date in the past. None if there is no usable value.
    """
    milliseconds = _number(_value(headers, "retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000.0
    text = _value(headers, "retry-after")
    seconds = _number(text)
    return seconds if seconds is not None else _seconds_until(text, now_wall)


def _value(headers: Mapping[str, str], name: str) -> str:
    value: object = headers.get(name)
    if value is None:
        # The header mappings of clients ignore case; a plain dict does not.
        value = next((headers[each] for each in headers if each.lower() == name), "")
    return value.strip(" \t") if isinstance(value, str) else ""


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(_NUMBER, text) else None


def _seconds_until(text: str, now_wall: float | None) -> float | None:
    if not re.fullmatch(_DATE, text):
        return None
    # Imported here: few upstreams send dates, and the module is slow to import.
    from email.utils import parsedate_to_datetime

    try:
        # An asctime date has no time zone, and would be read as local time.
        date = parsedate_to_datetime(text if text.endswith("GMT") else f"{text} GMT").timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None  # such as 31 February
    return max(date - (time.time() if now_wall is None else now_wall), 0.0)


def retry_after_of(error: BaseException) -> float | None:
    """Read the wait, in seconds, from the headers of the response that an exception carries."""
    try:
        response = getattr(error, "response", None)
        headers = getattr(error if response is None else response, "headers", None)
        if not isinstance(headers, Mapping):
            return None
        return parse_retry_after(cast("Mapping[str, str]", headers))
    except Exception:
        # A foreign object may raise anything. A wait that cannot be read counts as absent.
        return None
