"""The watch of an answer that comes in pieces: an event stream, or lines of JSON."""

from __future__ import annotations

from math import inf

from recloser import Outcome, Pieces
from recloser_adapters._outbound.aws_events import MEDIA_TYPE, AWSEventReader
from recloser_adapters._outbound.body import ReadingWatch
from recloser_adapters._outbound.decoding import Decoder
from recloser_adapters._outbound.errors_in_200 import end_by, error_of
from recloser_adapters._outbound.events import Event, EventReader, has_content
from recloser_adapters._outbound.permit import CallPermit

_EVENTS = "text/event-stream"
STREAMS = (
    *(_EVENTS, "application/x-ndjson", "application/jsonl", "application/x-jsonlines"),
    MEDIA_TYPE,
)
"""The content types of event streams, and of lines of JSON."""
LONGEST_TYPE = max(map(len, STREAMS))
"""Characters of a content type that tell whether it is one of them."""


def is_stream(content_type: str) -> bool:
    """Whether a content type is that of an event stream, or of lines of JSON."""
    return content_type[:LONGEST_TYPE].lower().startswith(STREAMS)


def _reader(content_type: str) -> EventReader | AWSEventReader:
    kind = content_type[:LONGEST_TYPE].lower()
    if kind.startswith(MEDIA_TYPE):
        return AWSEventReader()
    return EventReader(json_lines=not kind.startswith(_EVENTS))


class StreamWatch(ReadingWatch):
    """Watches a stream that answers a request. Its latency is the time to the first piece.

    The headers of a stream show only that a server accepted the request. So do comments, pings and
    the head of a message. The first piece is the first part of an answer. If a later one does not
    come for much longer than usual, the stream has stalled, and that is a failure.

    Args:
        permit: The permit of the call. The watch ends it.
        content_type: The content type of the answer.
        encoding: Its content encoding; "" if it has none.
        errors: Whether an error in the stream ends the call.
        must_begin: Whether a stream that ends before its first event is a failure: a model was asked.
        awaited: Whether the caller waits for the pieces. If it does not, the headers are the answer.
        cuts_off: Whether the caller's wait for a piece ends when it is hopeless.
    """

    __slots__ = (
        "_awaited",
        "_begun",
        "_content_type",
        "_cuts_off",
        "_decoder",
        "_errors",
        "_hopeless_at",
        "_must_begin",
        "_pieces",
        "_reader",
    )

    def __init__(
        self,
        permit: CallPermit,
        content_type: str,
        encoding: str,
        *,
        errors: bool,
        must_begin: bool = False,
        awaited: bool = True,
        cuts_off: bool = False,
    ) -> None:
        super().__init__(permit)
        self._awaited = awaited
        self._begun = False
        if not awaited:
            permit.mark()
        self._cuts_off = cuts_off and awaited
        self._hopeless_at = permit.started + permit.timeout if cuts_off else inf
        self._content_type = content_type
        self._reader = _reader(content_type)
        self._decoder = Decoder(encoding)
        self._errors = errors
        self._must_begin = must_begin and awaited
        self._pieces: Pieces | None = None

    @property
    def decided(self) -> bool:
        """Whether a first piece has come, so that the stream is an answer."""
        return self._begun

    def arrived(self, data: bytes) -> None:
        """The body has begun to arrive, and may be read later: these bytes will be."""
        if any(map(has_content, _reader(self._content_type).read(data))):
            self._piece()

    def asked(self) -> None:
        """The caller waits for the next chunk."""
        if self._pieces is not None:
            self._pieces.asked()

    def chunk(self, data: bytes) -> None:
        """Take the latency at the first piece, and the gap before each other one."""
        decoder = self._decoder
        text = decoder.feed(data)
        if not decoder.readable:
            self._piece()
            return
        for event in self._reader.read(text):
            self._look_at(event)

    def _look_at(self, event: Event) -> None:
        self._must_begin = False
        if self._errors:
            error = error_of(event.document, event.name)
            if error is not None:
                self._errors = False
                end_by(self._permit, error, event.data)
                return
        if has_content(event):
            self._piece()

    def _piece(self) -> None:
        self._begun = True
        if self._pieces is not None:
            self._pieces.arrived()
        elif self._awaited:
            self._pieces = self._permit.pieces()

    @property
    def cuts_off(self) -> bool:
        """Whether the caller's wait for a piece ends when it is hopeless."""
        return self._cuts_off

    @property
    def patience(self) -> float:
        """Seconds from now after which it is hopeless to wait for a piece; infinite for none."""
        if not self.cuts_off:
            return inf
        breaker, pieces = self._permit.breaker, self._pieces
        try:
            now = breaker.clock()
        except Exception as fault:
            breaker.fault("clock", fault)
            return inf
        if pieces is None:
            return max(self._hopeless_at - now, 0.0)
        return max(pieces.timeout - max(now - pieces.since, 0.0), 0.0)

    @property
    def longest_wait(self) -> float:
        """Seconds for which one read of the body may take, whenever it is; infinite for no limit."""
        if not self.cuts_off:
            return inf
        return max(self.patience, self._permit.breaker.piece_timeout)

    def eof(self) -> None:
        """The stream is complete."""
        for event in self._reader.end():
            self._look_at(event)
        if self._must_begin and self._decoder.readable:
            self._permit.end(Outcome.FAILURE, error="the stream ended before its first event")
        self._permit.success()

    def closed(self) -> None:
        """Before the first piece a close is a cancellation; after it, a success."""
        given_up = self._awaited and not self._begun
        self._permit.end(Outcome.CANCELLED if given_up else Outcome.SUCCESS)
