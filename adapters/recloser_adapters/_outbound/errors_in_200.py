"""Errors inside an answer with a good status: which they are, and whose.

Providers of models report an error in the body if it occurs after the headers were sent, and gateways
report all errors there. An error counts as its HTTP status would: an `invalid_request_error` is the
caller's own, a `rate_limit_error` asks to wait, a `server_error` is a failure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple, cast

from recloser import Outcome, asked_in_body
from recloser_adapters._outbound.permit import CallPermit

# The account has no credit left: a wait of seconds does not help.
_QUOTA = re.compile(
    r"insufficient_(?:quota|credits|funds|balance)|credit_balance|spend_limit|billing|quota_exceeded"
)
_THROTTLED = re.compile(
    r"rate_?limit|too_?many_?requests|resource_?exhausted|throttl|tokens_per_|requests_per_"
)
# What the callee may well answer to somebody else, or to another request.
_CALLERS = re.compile(
    r"invalid|not_?found|permission|forbidden|unauth|authenticat|api_?key|bad_?request|too_?(?:large|long)"
    r"|context_?length|max_?tokens|content_?(?:filter|policy)|moderation|safety|unsupported|validation"
    r"|bad_user_input|failed_precondition|out_of_range|already_exists|unprocessable|model_not_"
    r"|parse_failed|persisted_query|string_above|image_(?:parse|too|content|file)|user_error|max_cost|prohibited|not_supported|conflict"
)
# Where an error, or the object that holds it, has its code.
_CODES = ("code", "type", "status", "error_type")
_CODES_AROUND = ("code", "status", "error_type")
# Words of a message by which a server speaks of its own trouble.
_TROUBLE = re.compile(
    r"overload|unavailable|timed? ?-?out|internal|upstream|crash|panic|fail|unexpected|exception"
    r"|gateway|capacity|try again|temporar|connection|unreachable|server|cuda|out of memory|went wrong"
)
_BROKEN_OFF = ("error", "ERROR")  # values of `finish_reason`
_LONGEST = 200  # characters of a name or a message that are looked at


class BodyError(NamedTuple):
    """An error that was found in a body.

    Attributes:
        outcome: What it stands for.
        what: Its name, for the reason of an opening.
        quota: Whether money or quota is used up.
    """

    outcome: Outcome
    what: str
    quota: bool = False


def whole_error_of(document: object) -> BodyError | None:
    """The error in the whole answer of a model's API, as JSON; None if it has none.

    In a stream, an error ends the answer whatever it says. Here, one without any code is a failure
    only if its message speaks of trouble of the server. Otherwise nobody can tell whose it is.
    """
    if isinstance(document, list):  # a stream of Gemini's API as one array
        found = map(error_of, cast("list[object]", document))
        return next((error for error in found if error is not None), None)
    error = error_of(document)
    if error is None:
        return None
    around = _dict(document)
    fields = _dict(around.get("error"))
    codes = [*map(fields.get, _CODES), *map(around.get, _CODES_AROUND)]
    if not fields or any(codes):
        return error
    message = str(fields.get("message"))[:_LONGEST].lower()
    return error if _TROUBLE.search(message) else error._replace(outcome=Outcome.IGNORED)


def speaks_of_trouble(text: bytes) -> bool:
    """Whether a text speaks of trouble of a server, such as "upstream connect error"."""
    return _TROUBLE.search(text[:_LONGEST].decode("utf-8", "replace").lower()) is not None


def error_of(document: object, name: str = "") -> BodyError | None:
    """The error in one event of the stream of a model's API, or in a whole answer; None if none.

    Args:
        document: The body or the data of the event, as JSON.
        name: The name of the event; "" if it has none.
    """
    if not isinstance(document, dict):
        return BodyError(Outcome.FAILURE, "error event in the stream") if name == "error" else None
    fields = cast("dict[str, Any]", document)
    kind = fields.get("type")
    if kind == "response.failed" or name == "response.failed":
        return judge(_dict(fields.get("response")).get("error") or "response.failed")
    error: Any = fields.get("error")
    if error:
        return judge(error, fields)
    if fields.get("object") == "error" or kind == "error" or name == "error":
        return judge(fields)
    # OpenRouter has it in a choice, Cohere in the message or in its last event.
    for part in (fields, _dict(fields.get("delta")), *map(_dict, _list(fields.get("choices")))):
        if part.get("finish_reason") in _BROKEN_OFF:
            return judge(part.get("error") or "finish_reason: error")
        if part.get("error"):
            return judge(part["error"])
    return None


def judge(error: object, around: dict[str, Any] | None = None) -> BodyError:
    """What an error stands for, by its codes.

    Args:
        error: A dict with a code, type or status; or a text.
        around: The object that holds it, whose own `code` or `status` counts if it has none.
    """
    fields = _dict(error)
    # OpenAI names the exact reason in `code`, Gemini in `status`.
    codes = [fields.get(name) for name in _CODES]
    if around is not None and not any(codes):
        codes = [around.get(name) for name in _CODES_AROUND]
    names = [str(code)[:_LONGEST] for code in codes if isinstance(code, str) and code]
    numbers = [number for code in codes if (number := _status(code))]
    what = ", ".join([*names, *map(str, numbers)]) or _text(error)
    what = f"error in the body: {what}"
    joined = " ".join(names).lower().replace("-", "_").replace(" ", "_")
    if _QUOTA.search(joined) or 402 in numbers:
        return BodyError(Outcome.THROTTLED, what, quota=True)
    if _THROTTLED.search(joined):
        return BodyError(Outcome.THROTTLED, what)
    if numbers:
        return BodyError(Outcome.of_upstream_status(numbers[0]), what)
    return BodyError(Outcome.IGNORED if _CALLERS.search(joined) else Outcome.FAILURE, what)


def _status(code: object) -> int:
    """A code as an HTTP status of 400-599; 0 if it is none."""
    if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) == 3:
        code = int(code)
    return code if isinstance(code, int) and 400 <= code <= 599 else 0


def _text(error: object) -> str:
    """A name for an error without a code. Its message is left out: it may hold what users typed."""
    return error if isinstance(error, str) and re.fullmatch(r"[\w.: -]{1,40}", error) else "error"


def end_by(permit: CallPermit, error: BodyError, said: bytes) -> None:
    """End a call by the error in its body, and by the pause that the body asks for.

    Args:
        permit: The permit of the call.
        error: The error.
        said: The body, or the event of a stream.
    """
    wait: float | None = None
    outcome, quota = error.outcome, error.quota
    if outcome is Outcome.THROTTLED or outcome is Outcome.FAILURE:
        wait, used_up = asked_in_body(said)
        if used_up:
            outcome, quota = Outcome.THROTTLED, True
    permit.end(outcome, error=error.what, retry_after=wait, quota=quota)


def graphql_error_of(document: object) -> BodyError | None:
    """The error in an answer of a GraphQL server; None if it has data, or none of its errors counts.

    Without data, an error is a failure of the server unless its code or its form says otherwise: an
    error of a query that was never executed has no path.
    """
    if not isinstance(document, dict):
        return None
    fields = cast("dict[str, Any]", document)
    found = [_graphql_error(_dict(error)) for error in _list(fields.get("errors"))]
    if not found or fields.get("data") is not None:
        return None
    for outcome in (Outcome.FAILURE, Outcome.THROTTLED):
        for error in found:
            if error.outcome is outcome:
                return error
    return found[0]


def _graphql_error(error: dict[str, Any]) -> BodyError:
    details = _dict(error.get("extensions"))
    code = details.get("code") or details.get("classification") or error.get("type")
    status = details.get("status") or _dict(details.get("http")).get("status")
    if code or status:
        return judge({"code": code, "status": status})
    outcome = Outcome.FAILURE if error.get("path") else Outcome.IGNORED
    return BodyError(outcome, "error in the body: GraphQL error")


def _dict(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return [*cast("Iterable[Any]", value)] if isinstance(value, list) else []
