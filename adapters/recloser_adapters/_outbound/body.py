"""Watches of a body: how its end, its close, its failure or what it says ends the permit.

They know no client library: an adapter tells a watch what happens to the body.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from recloser import Outcome
from recloser_adapters._outbound.permit import CallPermit, WatchingPermit

# OpenAI and Anthropic say with these that money is used up: no wait of seconds will heal it.
_QUOTA = re.compile(
    rb'"(?:insufficient_quota|credit_balance_exhausted|enforced_spend_limit_reached)"'
)
_ENOUGH = 8192  # bytes of an error's body to look at; theirs are a few hundred
# The error event of Anthropic and of OpenAI's responses, and OpenAI's chat error, which has no
# event name. Both SDKs raise on them.
_ERROR_EVENT = re.compile(rb'[\r\n](?:event: ?error[\r\n]|data: ?\{ ?"error" ?: ?[{"])')
_LONGEST_EVENT = 24  # bytes of the longest match, so that one split over two chunks is seen


def is_event_stream(content_type: str) -> bool:
    """Whether a content type is that of server-sent events."""
    return content_type[:17].lower() == "text/event-stream"


class BodyWatch:
    """Watches the body of a good answer: its end and its close are both a success.

    `WatchingPermit` says why the close is one.

    Args:
        permit: The permit of the call, ended here.

    Attributes:
        reads: Whether the outcome depends on what the body says.
    """

    __slots__ = ("_permit",)

    def __init__(self, permit: CallPermit) -> None:
        self._permit = permit

    @property
    def reads(self) -> bool:
        """Whether the outcome depends on what the body says."""
        return False

    def begun(self) -> None:
        """The first piece of the body came."""

    def chunk(self, data: bytes) -> None:
        """A piece of the body came."""

    def watched(self, chunks: Iterable[bytes]) -> Iterable[bytes]:
        """The same pieces; where it matters what they say, `chunk` is told of each first."""
        return chunks

    def eof(self) -> None:
        """The body is complete."""
        self._permit.success()

    def closed(self) -> None:
        """The caller closed it, at whatever point."""
        self._permit.success()

    def failed(self, error: BaseException, *, local: bool = False) -> None:
        """Reading it raised; `local` if that was no fault of the callee."""
        if local:
            self._permit.end(Outcome.IGNORED)
        else:
            self._permit.end_by_error(error)


class _ReadingWatch(BodyWatch):
    """A watch that is told what the body says."""

    __slots__ = ()

    def watched(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same pieces; `chunk` is told of each first."""
        for chunk in chunks:
            self.chunk(chunk)
            yield chunk


AnyBodyWatch: TypeAlias = BodyWatch | WatchingPermit
"""What an adapter tells of a body."""


class EventStreamWatch(_ReadingWatch):
    """An event stream: latency is its first chunk, and an error event is a failure if asked for.

    The headers of a stream say that somebody listens; only the first chunk is an answer.
    """

    __slots__ = ("_begun", "_tail")

    def __init__(self, permit: CallPermit, *, sse_errors: bool) -> None:
        super().__init__(permit)
        self._begun = False
        # The beginning of the body is the beginning of a line.
        self._tail: bytes | None = b"\n" if sse_errors else None

    @property
    def reads(self) -> bool:
        """Whether it looks for error events."""
        return self._tail is not None

    def begun(self) -> None:
        """Take the latency at the first piece."""
        if not self._begun:
            self._begun = True
            self._permit.mark()

    def chunk(self, data: bytes) -> None:
        """Take the latency at the first piece; look for an error event."""
        self.begun()
        if self._tail is None:
            return
        seen = self._tail + data
        if _ERROR_EVENT.search(seen):
            self._tail = None
            self._permit.end(Outcome.FAILURE, error="error event in the stream")
        else:
            self._tail = seen[-_LONGEST_EVENT:]

    def closed(self) -> None:
        """A stream closed before anything came was given up; afterwards it had served."""
        self._permit.end(Outcome.SUCCESS if self._begun else Outcome.CANCELLED)


class QuotaWatch(_ReadingWatch):
    """A 429 without Retry-After: its body tells an exhausted quota from a brief limit."""

    __slots__ = ("_encoding", "_seen")

    def __init__(self, permit: CallPermit, encoding: str) -> None:
        super().__init__(permit)
        self._encoding = encoding
        self._seen = b""

    @property
    def reads(self) -> bool:
        """It always looks for the code."""
        return True

    def chunk(self, data: bytes) -> None:
        """Keep the beginning of the body."""
        if len(self._seen) < _ENOUGH:
            self._seen += data[:_ENOUGH]

    def eof(self) -> None:
        """Decide by what came."""
        used_up = _QUOTA.search(self._text()) is not None
        self._permit.end(Outcome.THROTTLED, quota=used_up)

    def closed(self) -> None:
        """Decide by what came."""
        self.eof()

    def failed(self, error: BaseException, *, local: bool = False) -> None:
        """Decide by what came: the status was there before anything failed."""
        self.eof()

    def _text(self) -> bytes:
        if self._encoding not in ("gzip", "deflate"):
            return self._seen
        try:
            # 47: either header; bounded, because a few bytes can inflate to gigabytes.
            return zlib.decompressobj(47).decompress(self._seen, _ENOUGH)
        except zlib.error:
            return self._seen
