"""What the body of an answer says: errors without data are a failure, unless they are the client's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, cast

from recloser import Outcome, Permit
from recloser_adapters._outbound.decoding import Decoder
from recloser_adapters._outbound.errors_in_200 import BodyError, graphql_error_of

ClassifyError: TypeAlias = Callable[[Mapping[str, Any]], Outcome | None]
"""Takes one of the `errors` of an answer, and returns its outcome or None for the default."""
Fault: TypeAlias = Callable[[str, BaseException], None]

LONGEST: Final = 65_536
"""Bytes of an answer that are read. What is longer has data."""


class AnswerWatch:
    """Collects the body of one answer, and ends the permit if it has errors and no data.

    Args:
        status: The status of the answer.
        content_type: The header of this name; "" if there is none.
        encoding: The content encoding; "" if there is none.
    """

    __slots__ = ("_body", "_encoding", "reads")

    def __init__(self, status: int, content_type: str, encoding: str) -> None:
        kind = content_type.partition(";")[0].strip().lower()
        self.reads = 200 <= status < 300 and kind.endswith(("/json", "+json"))
        self._encoding = encoding
        self._body = b""

    def add(self, piece: bytes) -> None:
        """Collect a piece of the body."""
        if not self.reads:
            return
        if len(self._body) + len(piece) > LONGEST:
            self.reads, self._body = False, b""
        else:
            self._body += piece

    def end(self, permit: Permit, classify: ClassifyError | None, fault: Fault) -> None:
        """End the call at the end of the body, if that has errors and no data."""
        if not self.reads:
            return
        self.reads = False
        try:
            body = self._body
            if self._encoding:
                body = Decoder(self._encoding).feed(body)
            error = error_in(body, classify, fault)
        except Exception as error_of_ours:
            fault("graphql", error_of_ours)
            return
        if error is None:
            return
        if error.outcome is Outcome.IGNORED:
            permit.mark()  # an answer without a vote shows that the handler works
        permit.end(error.outcome, error=error.what)


def error_in(
    body: bytes, classify: ClassifyError | None = None, fault: Fault | None = None
) -> BodyError | None:
    """The error in a whole answer; None if it has data or no errors.

    A batch has one if each of its answers has.

    Args:
        body: The body.
        classify: A function of the user, asked for each error.
        fault: Told what that function raises.
    """
    if b'"errors"' not in body:
        return None
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    documents: list[Any] = [document]
    if isinstance(document, list):
        documents = document  # pyright: ignore[reportUnknownVariableType]  # it may hold anything
    found = [_error_of(each, classify, fault) for each in documents]
    if not found or None in found:
        return None
    errors = cast("list[BodyError]", found)
    return next((each for each in errors if each.outcome is Outcome.FAILURE), errors[0])


def _error_of(
    document: object, classify: ClassifyError | None, fault: Fault | None
) -> BodyError | None:
    fields = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
    errors = fields.get("errors")
    if not isinstance(errors, list) or _has_data(fields.get("data")):
        return None
    judged = [_judge(each, classify, fault) for each in cast("list[object]", errors)]
    return next(
        (each for each in judged if each.outcome is Outcome.FAILURE), judged[0] if judged else None
    )


def _has_data(data: object) -> bool:
    """Whether there is any: a field that may be null is null if its resolver failed."""
    if not isinstance(data, dict):
        return data is not None
    return any(value is not None for value in cast("dict[str, object]", data).values())


def _judge(error: object, classify: ClassifyError | None, fault: Fault | None) -> BodyError:
    found = graphql_error_of({"errors": [error]}) or BodyError(Outcome.FAILURE, "GraphQL error")
    outcome: Outcome | None = None
    if classify is not None and isinstance(error, dict):
        try:
            outcome = classify(cast("dict[str, Any]", error))
            if outcome is not None and not isinstance(outcome, Outcome):
                raise TypeError(f"classify_error must return an Outcome or None, not {outcome!r}")
        except Exception as raised:
            outcome = None
            if fault is not None:
                fault("classify_error", raised)
    # A limit on the calls of a client is not the fault of the handler, as a 429 is not.
    usual = Outcome.FAILURE if found.outcome is Outcome.FAILURE else Outcome.IGNORED
    return found._replace(outcome=outcome or usual)
