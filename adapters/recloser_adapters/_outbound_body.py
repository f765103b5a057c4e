"""How the body of an answer decides a call: at its end, its close, its failure, or by what it says.

It knows no client library: an adapter tells a watch what happens to the body.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

from recloser import LoosePermit, Outcome

# OpenAI and Anthropic say with these that money is used up: no wait of seconds will heal it.
_QUOTA = re.compile(
    rb'"(?:insufficient_quota|credit_balance_exhausted|enforced_spend_limit_reached)"'
)
_ENOUGH = 8192  # bytes of an error's body to look at; theirs are a few hundred
# The error event of Anthropic and of OpenAI's responses, and OpenAI's chat error, which has no
# event name. Both SDKs raise on them.
_ERROR_EVENT = re.compile(rb'[\r\n](?:event: ?error[\r\n]|data: ?\{ ?"error" ?: ?[{"])')
_LONGEST_EVENT = 24  # bytes of the longest match, so that one split over two chunks is seen


class BodyWatch(Protocol):
    """What an adapter tells of a body."""

    @property
    def reads(self) -> bool:
        """Whether the verdict depends on what the body says."""
        ...

    def begun(self) -> None:
        """The first piece of the body came."""

    def chunk(self, data: bytes) -> None:
        """A piece of the body came."""

    def heard(self, chunks: Iterable[bytes]) -> Iterable[bytes]:
        """The pieces of the body, each of which is a `chunk` before it is passed on."""
        ...

    def eof(self) -> None:
        """The body is complete."""

    def closed(self) -> None:
        """The caller closed it, at whatever point."""

    def failed(self, error: BaseException, *, local: bool = False) -> None:
        """Reading it raised; `local` if that was no fault of the callee."""


class Ticket(BodyWatch, Protocol):
    """What an adapter does with a permit, and what watches the body of a good answer."""

    def mark(self) -> None:
        """Take the latency here."""

    def success(self) -> None:
        """The callee answered."""

    def failure(
        self, error: BaseException | str | None = None, *, retry_after: float | None = None
    ) -> None:
        """The callee failed."""

    def throttled(self, retry_after: float | None = None, *, quota: bool = False) -> None:
        """The callee said "later"."""

    def ignore(self) -> None:
        """The call says nothing of the callee."""

    def cancel(self) -> None:
        """The caller went away."""

    def end_by_error(self, error: BaseException | None) -> None:
        """End it with what the call raised."""


class OwnWatch:
    """The half of a ticket that watches the body of a good answer.

    For the other half its end and its close are its success. A caller who closes early has had its
    answer: that is the usual end of an OpenAI stream, which nobody reads beyond `[DONE]`.
    """

    __slots__ = ()

    reads: bool = False

    def begun(self) -> None:
        """The first piece of the body came."""

    def chunk(self, data: bytes) -> None:
        """A piece of the body came."""

    def heard(self, chunks: Iterable[bytes]) -> Iterable[bytes]:
        """There is nothing to hear."""
        return chunks

    def eof(self: Ticket) -> None:
        """The body is complete."""
        self.success()

    def closed(self: Ticket) -> None:
        """The caller closed it, at whatever point."""
        self.success()

    def failed(self: Ticket, error: BaseException, *, local: bool = False) -> None:
        """Reading it raised; `local` if that was no fault of the callee."""
        if local:
            self.ignore()
        else:
            self.end_by_error(error)


class Call(OwnWatch, LoosePermit):
    """The permit of a call that ends with its body: one object for both."""

    __slots__ = ()

    # An adapter reads the status of the response; aiohttp has one on a response that is none.
    reads_status = False

    if not TYPE_CHECKING:
        # As `OwnWatch` has them, without the frame more that those would cost each body.
        eof = closed = LoosePermit.success


class Unguarded(OwnWatch):
    """The ticket of a call that no breaker guards: nothing happens."""

    def mark(self, *args: object, **kwargs: object) -> None:
        """Do nothing."""

    success = failure = throttled = ignore = cancel = end_by_error = mark


def end(
    ticket: Ticket, outcome: Outcome, error: BaseException | str, retry_after: float | None
) -> None:
    """End a call with an outcome."""
    match outcome:
        case Outcome.SUCCESS:
            ticket.success()
        case Outcome.FAILURE:
            ticket.failure(error, retry_after=retry_after)
        case Outcome.THROTTLED:
            ticket.throttled(retry_after)
        case Outcome.IGNORED:
            ticket.ignore()
        case Outcome.CANCELLED:
            ticket.cancel()


def is_event_stream(content_type: str) -> bool:
    """Whether a content type is that of server-sent events."""
    return content_type[:17].lower() == "text/event-stream"


class _Listener:
    """A watch that hears what the body says."""

    __slots__ = ("_ticket",)

    def __init__(self, ticket: Ticket) -> None:
        self._ticket = ticket

    def heard(self: BodyWatch, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The pieces of the body, each of which is a `chunk` before it is passed on."""
        for chunk in chunks:
            self.chunk(chunk)
            yield chunk


class StreamWatch(_Listener):
    """An event stream: latency is its first chunk, and an error event is a failure if asked for.

    The headers of a stream say that somebody listens; only the first chunk is an answer.
    """

    __slots__ = ("_begun", "_tail")

    def __init__(self, ticket: Ticket, *, sse_errors: bool) -> None:
        super().__init__(ticket)
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
            self._ticket.mark()

    def chunk(self, data: bytes) -> None:
        """Take the latency at the first piece; look for an error event."""
        self.begun()
        if self._tail is None:
            return
        seen = self._tail + data
        if _ERROR_EVENT.search(seen):
            self._tail = None
            self._ticket.failure("error event in the stream")
        else:
            self._tail = seen[-_LONGEST_EVENT:]

    def eof(self) -> None:
        """The body is complete."""
        self._ticket.success()

    def closed(self) -> None:
        """Closed before anything came, it was given up; afterwards it had served."""
        if self._begun:
            self._ticket.success()
        else:
            self._ticket.cancel()

    def failed(self, error: BaseException, *, local: bool = False) -> None:
        """Reading it raised."""
        self._ticket.failed(error, local=local)


class QuotaWatch(_Listener):
    """A 429 without Retry-After: its body tells an exhausted quota from a brief limit."""

    __slots__ = ("_encoding", "_seen")

    def __init__(self, ticket: Ticket, encoding: str) -> None:
        super().__init__(ticket)
        self._encoding = encoding
        self._seen = b""

    @property
    def reads(self) -> bool:
        """It always looks for the code."""
        return True

    def begun(self) -> None:
        """A 429 has its latency from its headers."""

    def chunk(self, data: bytes) -> None:
        """Keep the beginning of the body."""
        if len(self._seen) < _ENOUGH:
            self._seen += data[:_ENOUGH]

    def eof(self) -> None:
        """Judge by what came."""
        self._ticket.throttled(quota=_QUOTA.search(self._text()) is not None)

    def closed(self) -> None:
        """Judge by what came."""
        self.eof()

    def failed(self, error: BaseException, *, local: bool = False) -> None:
        """Judge by what came: the status was said before anything failed."""
        self.eof()

    def _text(self) -> bytes:
        if self._encoding not in ("gzip", "deflate"):
            return self._seen
        try:
            # 47: either header; bounded, because a few bytes can inflate to gigabytes.
            return zlib.decompressobj(47).decompress(self._seen, _ENOUGH)
        except zlib.error:
            return self._seen
