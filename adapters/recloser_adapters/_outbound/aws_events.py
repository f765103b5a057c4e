"""Reads the event streams of AWS, in which Bedrock answers: messages of headers and a payload.

The format: https://smithy.io/2.0/aws/amazon-eventstream.html. Checksums are not checked: what is read here
decides nothing but whether an error was reported.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from recloser_adapters._outbound.events import LONGEST, Event

MEDIA_TYPE = "application/vnd.amazon.eventstream"
# Bytes of the prelude (two lengths and a checksum), and of the checksum at the end.
_PRELUDE, _CHECKSUM = 12, 4
# Bytes of a message at most; what claims to be longer is no event stream.
_MOST = 24 * 1024 * 1024
# Lengths of the values of a header by its type; 6 and 7 have a length of their own.
_LENGTHS = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}


class AWSEventReader:
    """Finds the events in the chunks of a body.

    An error is an event with the name `error`, whose document has the type and the message.
    """

    __slots__ = ("_is_lost", "_rest", "_skip")

    def __init__(self) -> None:
        self._rest = b""
        self._skip = 0  # bytes of a message that is too long to be kept
        self._is_lost = False

    def read(self, chunk: bytes) -> Iterator[Event]:
        """The events that are complete with this chunk."""
        if self._is_lost:
            return
        skipped = min(self._skip, len(chunk))
        self._skip -= skipped
        self._rest += chunk[skipped:]
        while len(self._rest) >= _PRELUDE:
            size = int.from_bytes(self._rest[:4])
            headers = int.from_bytes(self._rest[4:8])
            if not _PRELUDE + headers + _CHECKSUM <= size <= _MOST:
                self._is_lost, self._rest = True, b""
                yield Event("", b"?", None)  # no event stream, so it is content
                return
            if size > LONGEST:
                self._skip = max(size - len(self._rest), 0)
                self._rest = self._rest[size:]
                yield Event("", b"", None)
                continue
            if len(self._rest) < size:
                return
            message, self._rest = self._rest[:size], self._rest[size:]
            yield _event(
                _headers(message[_PRELUDE : _PRELUDE + headers]),
                message[_PRELUDE + headers : -_CHECKSUM],
            )

    def end(self) -> Iterator[Event]:
        """What the end of the body completes: nothing, because messages have lengths."""
        return iter(())


def _headers(data: bytes) -> dict[str, str]:
    """The headers whose values are texts."""
    found: dict[str, str] = {}
    at = 0
    while at < len(data):
        name_ends = at + 1 + data[at]
        name, kind = data[at + 1 : name_ends], data[name_ends : name_ends + 1]
        if not kind:
            break
        at = name_ends + 1
        length = _LENGTHS.get(kind[0])
        if length is None:
            length = int.from_bytes(data[at : at + 2])
            at += 2
            if kind == b"\x07":
                found[name.decode("utf-8", "replace")] = data[at : at + length].decode(
                    "utf-8", "replace"
                )
        at += length
    return found


def _event(headers: dict[str, str], payload: bytes) -> Event:
    document: Any = None
    with suppress(ValueError, RecursionError):
        document = json.loads(payload)
    if headers.get(":message-type", "event") == "event":
        return Event(headers.get(":event-type", ""), payload, document)
    kind = headers.get(":exception-type") or headers.get(":error-code") or "error"
    return Event("error", payload, {"type": kind})
