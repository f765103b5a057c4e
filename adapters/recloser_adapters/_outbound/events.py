"""Reads event streams and JSON lines, and tells which of their events have content.

The specification of event streams: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

LONGEST = 65_536
"""Bytes of one event that are kept. A longer one is no error event, and has content."""
# Events that say that a request was accepted, or that the connection is alive; of Anthropic, of the
# responses API of OpenAI, of Cohere, of Bedrock, and of many servers.
_PREAMBLES = frozenset(
    {
        "ping",
        "heartbeat",
        "keepalive",
        "keep-alive",
        "keep_alive",
        "message_start",
        "message-start",
        "content_block_start",
        "content-start",
        "messageStart",
        "contentBlockStart",
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.reasoning_summary_part.added",
    }
)
_BOM = b"\xef\xbb\xbf"
# The fields of an event, the beginning of a comment, and a byte order mark, of which a chunk may have
# a part only. Other lines are no event stream, whatever its content type says; so they are content.
_FIELDS = (b":", b"data", b"event", b"id", b"retry", _BOM)
_DELTA_HEAD = frozenset({"role", "index", "id", "type"})


class Event(NamedTuple):
    """One event of a stream.

    Attributes:
        name: Its name; "" if it has none.
        data: Its data; b"" if it was too long to be kept.
        document: The data as JSON; None if they are no JSON.
    """

    name: str
    data: bytes
    document: Any


class EventReader:
    """Finds the events in the chunks of a body. Comments are left out.

    Args:
        json_lines: Whether each line is an event, instead of an event stream.
    """

    __slots__ = ("_after_cr", "_data", "_json_lines", "_kept", "_name", "_rest", "_skips")

    def __init__(self, *, json_lines: bool = False) -> None:
        self._json_lines = json_lines
        self._rest = b""
        self._after_cr = False
        self._name = b""
        self._data: list[bytes] = []
        self._kept = 0  # bytes in it
        # Whether the rest of a line or event is left out, because it is too long.
        self._skips = False

    def read(self, chunk: bytes) -> Iterator[Event]:
        """The events that are complete with this chunk."""
        # CR and LF are one end of a line, even if they come in two chunks.
        after_cr, self._after_cr = self._after_cr, chunk.endswith(b"\r")
        if after_cr:
            chunk = chunk.removeprefix(b"\n")
        # A byte order mark may precede the first line.
        lines = (self._rest + chunk).removeprefix(_BOM).splitlines(keepends=True)
        self._rest = b""
        if lines and lines[-1][-1:] not in (b"\n", b"\r"):
            self._rest = lines.pop()
        for line in lines:
            yield from self._line(line.rstrip(b"\r\n"))
        if self._rest and not self._json_lines and not _may_be_field(self._rest):
            rest, self._rest = self._rest, b""
            yield Event("", rest, None)
        elif len(self._rest) > LONGEST:
            self._rest = self._rest[:16]  # the name of the field is enough
            if not self._skips:
                self._skips = True
                yield Event(self._name.decode("latin-1"), b"", None)

    def _line(self, line: bytes) -> Iterator[Event]:
        if self._json_lines:
            if line.strip() and not self._skips:
                yield _event(b"", line)
            self._skips = False
        elif not line:
            if self._data and not self._skips:
                yield _event(self._name, b"\n".join(self._data))
            self._name, self._skips = b"", False
            self._data.clear()
            self._kept = 0
        elif line.startswith(b"data:"):
            yield from self._more(line[5:].removeprefix(b" "))
        elif line.startswith(b"event:"):
            self._name = line[6:].strip()
        elif not _may_be_field(line):
            yield Event("", line, None)

    def _more(self, data: bytes) -> Iterator[Event]:
        """One more line of data of the present event."""
        # Some servers forget the empty line after an event. Clients that read lines do not mind.
        is_next = self._data and data[:1] == b"{" and self._data[-1][-1:] == b"}"
        if is_next and not self._skips:
            yield _event(self._name, b"\n".join(self._data))
        too_long = self._kept + len(data) > LONGEST
        if too_long:
            yield Event(self._name.decode("latin-1"), b"", None)
        if is_next:
            self._skips = False
        if is_next or too_long:
            self._data.clear()
            self._kept = 0
        if len(data) <= LONGEST:
            self._data.append(data)
            self._kept += len(data) + 1

    def end(self) -> Iterator[Event]:
        """The last event, if the body ends without the line feed after it."""
        yield from self._line(self._rest)
        yield from self._line(b"")


def _may_be_field(line: bytes) -> bool:
    return any(line.startswith(field) or field.startswith(line) for field in _FIELDS)


def _event(name: bytes, data: bytes) -> Event:
    document: Any = None
    if data[:1] in (b"{", b"[") and len(data) <= LONGEST:
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            document = None
    return Event(name.decode("latin-1"), data, document)


def has_content(event: Event) -> bool:
    """Whether an event is a part of an answer, and not only a sign that one may come.

    A ping, the head of a message and a chunk with nothing but a role are none.
    """
    if not event.data:
        # Too long to be kept; an event without data is never dispatched.
        return event.name not in _PREAMBLES
    document = event.document
    if not isinstance(document, dict):
        return event.name not in _PREAMBLES and bool(event.data.strip())
    fields = cast("dict[str, Any]", document)
    name = event.name or str(fields.get("type"))
    if name in _PREAMBLES or fields.get("type") in ("ping", "heartbeat", "keepalive"):
        return _is_whole_block(fields)
    choices = fields.get("choices")
    if isinstance(choices, list):
        # OpenAI's chat API and those that are like it. The last chunk may have the usage only.
        some = any(_is_some(choice) for choice in cast("list[object]", choices))
        return some or bool(fields.get("usage")) or bool(fields.get("error"))
    if "done" in fields and ("message" in fields or "response" in fields):  # ollama
        return bool(fields["done"] or fields.get("response") or _is_some(fields.get("message")))
    return bool(fields)


def _is_whole_block(fields: dict[str, Any]) -> bool:
    """Whether a block of Anthropic comes as a whole, such as the result of a search."""
    block: Any = fields.get("content_block")
    return isinstance(block, dict) and str(cast("Any", block).get("type")).endswith("_result")


def _is_some(part: object) -> bool:
    """Whether a choice or message has more than a role."""
    if not isinstance(part, dict):
        return bool(part)
    fields = cast("dict[str, Any]", part)
    if fields.get("finish_reason") or fields.get("text"):
        return True
    inner: Any = fields.get("delta", fields.get("message"))
    inner = fields if inner is None and "role" in fields else inner
    if not isinstance(inner, dict):
        return False
    delta = cast("dict[str, Any]", inner)
    return any(value for name, value in delta.items() if name not in _DELTA_HEAD)
