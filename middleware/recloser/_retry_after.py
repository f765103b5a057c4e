"""How long an upstream asks to be left alone, read from headers that nobody vouches for."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import cast

# Python's own number parsing is far too kind to a hostile header: int() takes "١٢" and "1_000",
# float() takes "nan" and "1e999". Ten digits are three centuries. Compiled by `re` on first use:
# most programs never meet such a header.
_NUMBER = r"[0-9]{1,10}(?:\.[0-9]{1,9})?"
# The three forms of RFC 9110 section 5.6.7: IMF-fixdate, RFC 850 and asctime.
_DATE = (
    r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT"
    r"|[A-Z][a-z]{5,8}, [0-9]{2}-[A-Z][a-z]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT"
    r"|[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} [0-9]{4}"
)


def parse_retry_after(headers: Mapping[str, str], now_wall: float | None = None) -> float | None:
    """Read `retry-after-ms`, else `Retry-After` as seconds or as a date.

    The order is that of the LLM SDKs, and fractions are taken as they do. What is malformed
    (signs, exponents, NaN, more than ten digits, garbage dates) counts as not there. The result
    is finite but not capped: a breaker caps it by `Policy.max_retry_after`.

    Args:
        headers: Any mapping of header names to values; a plain dict may spell them in any case.
        now_wall: Wall-clock time to compare a date with, in seconds since the epoch; None reads
            the clock.

    Returns:
        Seconds to wait, >= 0, where a date that has passed is 0; None where nothing usable
        was said.
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
        # Clients' own mappings ignore case; a plain dict does not.
        value = next((headers[each] for each in headers if each.lower() == name), "")
    return value.strip(" \t") if isinstance(value, str) else ""


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(_NUMBER, text) else None


def _seconds_until(text: str, now_wall: float | None) -> float | None:
    if not re.fullmatch(_DATE, text):
        return None
    # Here, because few upstreams send dates and the module is slow to import.
    from email.utils import parsedate_to_datetime

    try:
        # An asctime date names no zone, and would be taken for local time.
        date = parsedate_to_datetime(text if text.endswith("GMT") else f"{text} GMT").timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None  # 31 February
    return max(date - (time.time() if now_wall is None else now_wall), 0.0)


def retry_after_of(error: BaseException) -> float | None:
    """Read for how long the response that an exception carries asks to be left alone, seconds."""
    try:
        response = getattr(error, "response", None)
        headers = getattr(error if response is None else response, "headers", None)
        if not isinstance(headers, Mapping):
            return None
        return parse_retry_after(cast("Mapping[str, str]", headers))
    except Exception:
        # What is foreign may do anything; what cannot be read was not said.
        return None
