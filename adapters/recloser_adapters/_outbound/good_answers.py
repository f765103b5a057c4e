"""Chooses the watch of the body of an answer with a good status: it may still hang or be an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from recloser import Outcome, Registry
from recloser_adapters._outbound.body import AnyBodyWatch, BodyWatch
from recloser_adapters._outbound.errors_in_200 import BodyError
from recloser_adapters._outbound.permit import CallPermit, WatchingPermit
from recloser_adapters._outbound.promised import (
    is_subscription,
    may_be_text,
    preset_of,
    wants_json,
)
from recloser_adapters._outbound.streams import LONGEST_TYPE, STREAMS, StreamWatch, is_stream
from recloser_adapters._outbound.verdicts import (
    Preset,
    Verdict,
    VerdictWatch,
    judge_graphql,
    judge_model,
    judge_of_user,
    judge_text,
)

Judge = Callable[[bytes, bool], BodyError | None]
_JUDGES: Mapping[str, Judge] = {"llm": judge_model, "graphql": judge_graphql}
_TEXTS = ("text/", "application/xml")
NOT_PLAIN = (*STREAMS, "text/html")
"""The content types of answers that are looked at more closely."""


def is_plain(content_type: str) -> bool:
    """Whether an answer of a content type is neither a stream nor HTML."""
    # The first comparison is for speed: most answers are of that type.
    return content_type == "application/json" or not content_type[:LONGEST_TYPE].lower().startswith(
        NOT_PLAIN
    )


class GoodAnswers:
    """Chooses the watch of a good answer.

    Args:
        registry: Counts faults.
        verdict: The setting of the user.
        errors: The setting `sse_errors`; None if the user did not give it.
        cuts_off: Whether streams are cut off that have stalled.

    Attributes:
        subscriptions: Whether a stream that was opened by a GET is not awaited.
    """

    def __init__(
        self,
        registry: Registry,
        verdict: Verdict | Preset | None,
        *,
        errors: bool | None,
        cuts_off: bool,
    ) -> None:
        self._registry = registry
        self._verdict = verdict if callable(verdict) else None
        self._preset: str = verdict if isinstance(verdict, str) else ""
        self._errors = errors
        self._cuts_off = cuts_off
        self.subscriptions = True

    def looks_into(self, request: Any) -> bool:
        """Whether the body of a good answer to a request is read, even if it is no stream."""
        return bool(self._verdict or self._preset or preset_of(request))

    def watch(
        self,
        permit: CallPermit,
        request: Any,
        status: int,
        headers: Mapping[str, str],
        content_type: str,
    ) -> AnyBodyWatch | None:
        """The watch of an answer; None if the call has ended, because the answer is none.

        Args:
            permit: The permit of the call.
            request: The request; None if it is unknown.
            status: The status of the answer.
            headers: Its headers.
            content_type: Its content type; "" if it has none.
        """
        preset = self._preset
        if not preset and (request is None or request.method == "POST"):
            preset = preset_of(request)
        if not preset and self._verdict is None and is_plain(content_type):
            # The usual case. The rest decides the same, but takes longer.
            permit.mark()
            return permit if isinstance(permit, WatchingPermit) else BodyWatch(permit)
        kind = content_type[:48].lower()
        if status < 300 and kind.startswith("text/html") and (preset or wants_json(request)):
            permit.end(Outcome.FAILURE, error="HTML where JSON was promised")
            return None
        encoding = headers.get("content-encoding", "")
        judge: Judge | None = None
        if is_stream(content_type):
            errors = preset == "llm" if self._errors is None else self._errors
            # A stream of a GraphQL server is a subscription even if a POST opened it.
            is_awaited = preset != "graphql" and not is_subscription(request)
            watch: AnyBodyWatch = StreamWatch(
                permit,
                content_type,
                encoding,
                errors=errors,
                must_begin=preset == "llm",
                awaited=is_awaited or not self.subscriptions,
                cuts_off=self._cuts_off,
            )
        else:
            permit.mark()
            watch = permit if isinstance(permit, WatchingPermit) else BodyWatch(permit)
            posts = request is None or request.method == "POST"
            if posts and status not in (204, 205, 304):
                if "json" in kind:
                    judge = _JUDGES.get(preset)
                elif preset == "llm" and kind.startswith(_TEXTS) and not may_be_text(request):
                    judge = judge_text
        if self._verdict is not None:
            judge = judge_of_user(self._verdict, status, headers)
        if judge is None:
            return watch
        return VerdictWatch(permit, watch, encoding, judge, self._registry, good=True)

    def asks_user(
        self, permit: CallPermit, watch: BodyWatch, status: int, headers: Mapping[str, str]
    ) -> VerdictWatch | None:
        """The watch of a bad answer about which the user's verdict is asked; None if there is none."""
        if self._verdict is None:
            return None
        judge = judge_of_user(self._verdict, status, headers)
        encoding = headers.get("content-encoding", "")
        return VerdictWatch(permit, watch, encoding, judge, self._registry, good=False)
