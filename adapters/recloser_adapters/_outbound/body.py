"""Watches of a response body: its end, its close, its failure or its content ends the permit.

They import no client library. The adapter tells the watch what happens to the body.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from recloser import Outcome, asked_in_body
from recloser_adapters._outbound.permit import CallPermit, WatchingPermit

# The error event of Anthropic and of OpenAI's responses API, and the error of OpenAI's chat API,
# which has no event name. Both SDKs raise an error for them.
_ERROR_EVENT = re.compile(rb'[\r\n](?:event: ?error[\r\n]|data: ?\{ ?"error" ?: ?[{"])')
_LONGEST_EVENT = 24  # bytes of the longest match; a match may be split over two chunks


def is_event_stream(content_type: str) -> bool:
    """Whether a content type is that of server-sent events."""
    return content_type[:17].lower() == "text/event-stream"


class BodyWatch:
    """Watches the body of a good answer: its end and its close are both a success.

    `WatchingPermit` explains why the close is a success.

    Args:
        permit: The permit of the call. The watch ends it.

    Attributes:
        reads: Whether the outcome depends on the content of the body.
    """

    __slots__ = ("_permit",)

    def __init__(self, permit: CallPermit) -> None:
        self._permit = permit

    @property
    def reads(self) -> bool:
        """Whether the outcome depends on the content of the body."""
        return False

    def begun(self) -> None:
        """The first chunk of the body has arrived."""

    def chunk(self, data: bytes) -> None:
        """A chunk of the body has arrived."""

    def watched(self, chunks: Iterable[bytes]) -> Iterable[bytes]:
        """The same chunks. If their content matters, `chunk` is called with each one first."""
        return chunks

    def eof(self) -> None:
        """The body is complete."""
        self._permit.success()

    def closed(self) -> None:
        """The caller closed the body, complete or not."""
        self._permit.success()

    def failed(self, error: BaseException, *, local: bool = False) -> None:
        """Reading the body raised an error; `local` if the callee did not cause it."""
        if local:
            self._permit.end(Outcome.IGNORED)
        else:
            self._permit.end_by_error(error)


class _ReadingWatch(BodyWatch):
    """A watch that reads the content of the body."""

    __slots__ = ()

    def watched(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same chunks; `chunk` is called with each one first."""
        for chunk in chunks:
            self.chunk(chunk)
            yield chunk


AnyBodyWatch: TypeAlias = BodyWatch | WatchingPermit
"""The object that an adapter tells what happens to a body."""


class EventStreamWatch(_ReadingWatch):
    """Watches an event stream. Its latency is the time to the first chunk.

    The headers of a stream show only that a server accepted the request. The first chunk is the
    first part of an answer.

    Args:
        permit: The permit of the call. The watch ends it.
        sse_errors: Whether an error event in the stream is a failure.
    """

    __slots__ = ("_begun", "_tail")

    def __init__(self, permit: CallPermit, *, sse_errors: bool) -> None:
        super().__init__(permit)
        self._begun = False
        # A line begins at the start of the body, as after a line feed.
        self._tail: bytes | None = b"\n" if sse_errors else None

    @property
    def reads(self) -> bool:
        """Whether the watch searches for error events."""
        return self._tail is not None

    def begun(self) -> None:
        """Take the latency at the first chunk."""
        if not self._begun:
            self._begun = True
            self._permit.mark()

    def chunk(self, data: bytes) -> None:
        """Take the latency at the first chunk; search for an error event."""
        self.begun()
        if self._tail is None:
            return
        seen = self._tail + data
        if (found := _ERROR_EVENT.search(seen)) is not None:
            self._tail = None
            wait, quota = asked_in_body(seen[found.start() :])
            outcome = Outcome.THROTTLED if quota else Outcome.FAILURE
            self._permit.end(
                outcome, error="error event in the stream", retry_after=wait, quota=quota
            )
        else:
            self._tail = seen[-_LONGEST_EVENT:]

    def closed(self) -> None:
        """Before the first chunk a close is a cancellation; after it, a success."""
        self._permit.end(Outcome.SUCCESS if self._begun else Outcome.CANCELLED)
