"""Event streams of AWS, without a client: which events are in them, however they are cut."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.aws_events import AWSEventReader
from recloser_adapters._outbound.events import Event

LONG = 65_536  # bytes of a message that is kept
MOST = 24 * 1024 * 1024  # bytes of a message that is believed
# A value of each type of header: its type, and its bytes with their length if it has one.
VALUES = {
    "true": b"\x00",
    "false": b"\x01",
    "byte": b"\x02\x2a",
    "short": b"\x03\x00\x2a",
    "int": b"\x04\x00\x00\x00\x2a",
    "long": b"\x05" + bytes(7) + b"\x2a",
    "bytes": b"\x06\x00\x03\x09\x07x",
    "empty bytes": b"\x06\x00\x00",
    "text": b"\x07\x00\x02hi",
    "long text": b"\x07\x01\x00" + b"x" * 256,
    "timestamp": b"\x08" + bytes(7) + b"\x2a",
    "uuid": b"\x09" + bytes(15) + b"\x2a",
}


def header(name: str, value: bytes) -> bytes:
    return bytes([len(name)]) + name.encode() + value


def text(name: str, value: str) -> bytes:
    return header(name, b"\x07" + len(value.encode()).to_bytes(2) + value.encode())


def framed(headers: bytes, payload: bytes = b"") -> bytes:
    """One message, with checksums that nobody looks at."""
    size = 12 + len(headers) + len(payload) + 4
    return size.to_bytes(4) + len(headers).to_bytes(4) + b"????" + headers + payload + b"????"


def message(kind: str, payload: object, **more: str) -> bytes:
    names = {"message-type": kind, **{name.replace("_", "-"): more[name] for name in more}}
    headers = b"".join(text(f":{name}", value) for name, value in names.items())
    return framed(headers, json.dumps(payload).encode())


def read(body: bytes, size: int = 0) -> list[Event]:
    """The events of a body that comes in chunks of a size."""
    reader, step = AWSEventReader(), size or len(body) or 1
    events: list[Event] = []
    for at in range(0, len(body), step):
        events += reader.read(body[at : at + step])
    return [*events, *reader.end()]


@pytest.mark.parametrize("size", [1, 3, 11, 12, 16, 17, 100, 0])
def test_events_are_the_same_however_they_are_cut(size: int) -> None:
    body = (
        message("event", {"role": "assistant"}, event_type="messageStart")
        + framed(b"")
        + message("event", {"delta": {"text": "Hi"}}, event_type="contentBlockDelta")
        + message("exception", {"message": "?"}, exception_type="throttlingException")
        + framed(text(":event-type", "chunk"), b"no JSON")
    )

    assert read(body, size) == [
        ("messageStart", b'{"role": "assistant"}', {"role": "assistant"}),
        ("", b"", None),
        ("contentBlockDelta", b'{"delta": {"text": "Hi"}}', {"delta": {"text": "Hi"}}),
        ("error", b'{"message": "?"}', {"type": "throttlingException"}),
        ("chunk", b"no JSON", None),
    ]


@pytest.mark.parametrize(
    ("headers", "name", "document"),
    [
        ({}, "", {"a": 1}),
        ({":event-type": "chunk"}, "chunk", {"a": 1}),
        ({":message-type": "event"}, "", {"a": 1}),
        ({":message-type": "event", ":event-type": "chunk"}, "chunk", {"a": 1}),
        ({":message-type": "event", ":exception-type": "x"}, "", {"a": 1}),
        ({":message-type": "exception", ":exception-type": "x"}, "error", {"type": "x"}),
        ({":message-type": "error", ":error-code": "500"}, "error", {"type": "500"}),
        (
            {":message-type": "error", ":error-code": "500", ":exception-type": "x"},
            "error",
            {"type": "x"},
        ),
        ({":message-type": "exception", ":event-type": "chunk"}, "error", {"type": "error"}),
    ],
)
def test_the_headers_tell_what_a_message_is(
    headers: dict[str, str], name: str, document: Any
) -> None:
    names = b"".join(text(each, value) for each, value in headers.items())

    assert read(framed(names, b'{"a": 1}')) == [(name, b'{"a": 1}', document)]


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_a_header_of_any_type_hides_none_after_it(value: bytes) -> None:
    names = header("first", value) + text(":event-type", "chunk") + header("last", value)

    assert read(framed(names, b"{}")) == [("chunk", b"{}", {})]


@pytest.mark.parametrize("names", [b"\x05ab", b"\x02ab", b"\x02ab\x07", b"\x02ab\x07\x00\x09x"])
def test_headers_that_break_off_are_none(names: bytes) -> None:
    first = text(":event-type", "chunk")

    assert read(framed(names, b"{}")) == [("", b"{}", {})]
    assert read(framed(first + names, b"{}")) == [("chunk", b"{}", {})]


def test_only_a_text_is_the_name_of_an_event() -> None:
    names = text(":event-type", "chunk") + header(":event-type", b"\x06\x00\x02hi")

    assert read(framed(names)) == [("chunk", b"", None)]


def test_texts_that_are_none_of_unicode_are_read_all_the_same() -> None:
    wrong = header(":event-type", b"\x07\x00\x02\xff\xfe") + b"\x01\xff\x07\x00\x01\xff"

    assert [event.name for event in read(framed(wrong))] == ["\ufffd\ufffd"]


def test_a_document_that_is_too_deep_is_none() -> None:
    deep = b"[" * 60_000

    assert read(framed(b"", deep)) == [("", deep, None)]


# Bounds


@pytest.mark.parametrize("size", [1_000, LONG + 1, 70_000, 0])
def test_a_message_that_is_too_long_is_told_without_its_data(size: int) -> None:
    last = message("event", {"a": 1}, event_type="last")
    longest = framed(b"", b"x" * (LONG - 16))
    too_long = framed(b"", b"y" * (LONG - 15))
    far_too_long = framed(b"", b"z" * (5 * LONG))
    end = ("last", b'{"a": 1}', {"a": 1})

    assert read(longest + last, size) == [("", b"x" * (LONG - 16), None), end]
    assert read(too_long + last, size) == [("", b"", None), end]
    assert read(far_too_long + last, size) == [("", b"", None), end]


def test_of_a_message_that_is_too_long_nothing_is_kept() -> None:
    reader = AWSEventReader()
    whole = framed(b"", b"y" * MOST)[: MOST // 2]
    begun = MOST.to_bytes(4) + whole[4:]

    assert [*reader.read(begun[:50])] == [("", b"", None)]
    for at in range(50, 500_000, 1000):
        assert [*reader.read(begun[at : at + 1000])] == []
        assert len(reader._rest) == 0


@pytest.mark.parametrize(
    "prelude",
    [
        (15).to_bytes(4) + bytes(4),  # shorter than itself
        (18).to_bytes(4) + (3).to_bytes(4),  # shorter than its headers
        (100).to_bytes(4) + (1 << 24).to_bytes(4),
        (MOST + 1).to_bytes(4) + bytes(4),
        b"<html><b",
    ],
)
def test_what_is_no_such_stream_is_content_and_looked_at_no_more(prelude: bytes) -> None:
    reader = AWSEventReader()

    assert [*reader.read(message("event", {}) + prelude + b"????")] == [
        ("", b"{}", {}),
        ("", b"?", None),
    ]
    assert reader._rest == b""
    assert [*reader.read(message("event", {}))] == []
    assert [*reader.end()] == []
