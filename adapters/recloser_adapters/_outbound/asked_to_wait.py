"""Watches the body of an answer of 4xx, which may tell for how long the callee asks for a pause."""

from __future__ import annotations

from collections.abc import Mapping

from recloser import Outcome, asked_in_body
from recloser_adapters._outbound.body import ReadingWatch
from recloser_adapters._outbound.decoding import Decoder
from recloser_adapters._outbound.permit import CallPermit

_ENOUGH = 8192  # bytes of a body that are searched
# With these statuses an API of a model may tell that the account has no credit left. Elsewhere a 402
# is about one payment, such as a card that was declined.
_MAY_BE_QUOTA = frozenset({400, 402, 403})
_PAYMENT_REQUIRED = 402


def is_rate_limit(status: int, headers: Mapping[str, str]) -> bool:
    """Whether an answer of 4xx is a rate limit, though its status is not 429: GitHub's 403."""
    return status == 403 and (
        "retry-after" in headers or headers.get("x-ratelimit-remaining") == "0"
    )


def may_ask(outcome: Outcome, status: int, *, llm: bool) -> bool:
    """Whether the body of an answer decides if a pause is asked for, and how long.

    Args:
        outcome: The outcome by its status.
        status: Its status.
        llm: Whether it is the answer of a known API of a model.
    """
    if outcome is Outcome.THROTTLED:
        return True
    return llm and outcome is Outcome.IGNORED and status in _MAY_BE_QUOTA


class AskedWatch(ReadingWatch):
    """Watches the body of an answer that may ask for a pause, and does not say so in its headers.

    Args:
        permit: The permit of the call. The watch ends it.
        outcome: The outcome if the body says nothing.
        status: The status of the answer.
        headers: Its headers.
        said: Seconds of the pause that the headers ask for; None if they do not.
        otherwise: Seconds of the pause if a 429 says that a retry is no use, but not for how long.
    """

    __slots__ = ("_headers", "_otherwise", "_outcome", "_said", "_seen", "_status")

    def __init__(
        self,
        permit: CallPermit,
        outcome: Outcome,
        status: int,
        headers: Mapping[str, str],
        said: float | None,
        otherwise: float,
    ) -> None:
        super().__init__(permit)
        self._outcome = outcome
        self._status = status
        self._headers = headers
        self._said = said
        self._otherwise = otherwise
        self._seen = b""

    def chunk(self, data: bytes) -> None:
        """Keep the beginning of the body."""
        if len(self._seen) < _ENOUGH:
            self._seen += data[:_ENOUGH]

    def eof(self) -> None:
        """Decide by what has arrived."""
        wait, quota = asked_in_body(self._decoded())
        quota = quota or self._status == _PAYMENT_REQUIRED
        if not quota and self._outcome is not Outcome.THROTTLED:
            self._permit.end(self._outcome, error=f"HTTP {self._status}")
            return
        wait = self._said or wait
        if wait is None and not quota and self._headers.get("x-should-retry") == "false":
            wait = self._otherwise
        self._permit.end(Outcome.THROTTLED, retry_after=wait, quota=quota)

    def closed(self) -> None:
        """Decide by what has arrived."""
        self.eof()

    def failed(self, error: BaseException, *, local: bool = False) -> None:
        """Decide by what has arrived. The status itself arrived before the error."""
        self.eof()

    def _decoded(self) -> bytes:
        return Decoder(self._headers.get("content-encoding", "")).feed(self._seen)
