"""Reads from the body of an answer for how long an upstream asks for a pause.

Some upstreams tell it there only: Gemini's `RetryInfo`, and that the credit of an account is used
up. The body is searched, not parsed: it may be cut off, be one event of a stream, or be no JSON.
"""

from __future__ import annotations

import re
import time
from typing import NamedTuple

from recloser._duration import parse_duration

LONGEST = 8192
"""Bytes of a body that are searched. The errors of OpenAI and Anthropic have a few hundred."""

# With these codes OpenAI, Anthropic, DeepSeek, Moonshot and others tell that the account has no credit
# left. Inside of a text, quotes are escaped, so a prompt that is repeated there does not match.
_QUOTA = re.compile(
    r'"(?:insufficient_quota|credit_balance_exhausted|enforced_spend_limit_reached'
    r"|exceeded_current_quota_error|billing_hard_limit_reached|billing_not_active"
    r'|insufficient_(?:balance|credits?)|payment_required|credit_limit)"'
    # The same in words, where there is no code for it: of Anthropic, DeepSeek and others.
    r'|"message"\s*:\s*"[^"\\]{0,80}(?:credit balance is too low'
    r"|insufficient (?:account )?(?:balance|credits?|funds)|credit limit exceeded)",
    re.IGNORECASE,
)
_NUMBER = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"
# Forms of a wait, the first that is there holds, with the seconds in their unit.
_SECONDS = (
    # google.rpc.RetryInfo, as JSON and as some proxies write it.
    (re.compile(rf'"retry_?[dD]elay"\s*:\s*"{_NUMBER}s"'), 1.0),
    (re.compile(rf'"retry_?[dD]elay"\s*:\s*\{{\s*"seconds"\s*:\s*"?{_NUMBER}\b'), 1.0),
    (re.compile(rf'"retry_?[aA]fter_?[mM]s"\s*:\s*"?{_NUMBER}\b'), 1e-3),
    (re.compile(rf'"retry_?[aA]fter(?:_?[sS]econds)?"\s*:\s*"?{_NUMBER}(?=[\s",}}\]])'), 1.0),
)
# When a limit is renewed, in seconds or milliseconds since the epoch: the headers of a provider that
# OpenRouter asked.
_RESET = re.compile(r'"x-ratelimit-reset"\s*:\s*"?([0-9]{10}|[0-9]{13})\b', re.IGNORECASE)
# "Please try again in 7m12.5s", "Please retry after 20 seconds", "available in 17 seconds"
_IN_WORDS = re.compile(
    r"(?:(?:try again|retry|available) (?:in|after)|\bwait(?: for)?) (?:about |another )?"
    r"(?:([0-9][0-9.hms]{0,30}[hms])\b|([0-9]{1,6}(?:\.[0-9]{1,9})?) (second|minute|hour)s?\b)",
    re.IGNORECASE,
)
_WORDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0}


class Asked(NamedTuple):
    """What the body of an answer asks for.

    Attributes:
        seconds: For how long it asks for a pause, > 0; None if it does not say.
        quota: Whether money or quota is used up, which takes long to change.
    """

    seconds: float | None
    quota: bool


def asked_in_body(body: bytes) -> Asked:
    """Read for how long the body of an answer asks for a pause.

    A wait in a field comes before one in words.

    Args:
        body: The body or its beginning. No more than `LONGEST` bytes are searched.
    """
    text = body[:LONGEST].decode("utf-8", "replace")
    return Asked(_seconds(text), _QUOTA.search(text) is not None)


def _seconds(text: str) -> float | None:
    for pattern, unit in _SECONDS:
        if (found := pattern.search(text)) is not None:
            return float(found[1]) * unit or None
    if (said := _IN_WORDS.search(text)) is None:
        reset = _RESET.search(text)
        if reset is None:
            return None
        when = float(reset[1]) / (1000.0 if len(reset[1]) == 13 else 1.0)
        return max(when - time.time(), 0.0) or None
    if said[1]:
        return parse_duration(said[1].lower()) or None
    return float(said[2]) * _WORDS[said[3].lower()] or None
