"""Event streams and JSON lines: which events are in them, however they are cut, and what has content."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.events import Event, EventReader, has_content

LONG = 65_536


def read(body: bytes, size: int = 0, *, json_lines: bool = False) -> list[Event]:
    """The events of a body that comes in chunks of a size."""
    reader, step = EventReader(json_lines=json_lines), size or len(body) or 1
    events: list[Event] = []
    for at in range(0, len(body), step):
        events += reader.read(body[at : at + step])
    return [*events, *reader.end()]


def said(events: list[Event]) -> list[tuple[str, bytes]]:
    return [(event.name, event.data) for event in events]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 0])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_events_are_the_same_however_they_are_cut(size: int, end: bytes) -> None:
    body = end.join(
        [
            b"\xef\xbb\xbf: a comment",
            b"event: first",
            b"id: 1",
            b"retry: 5",
            b"data: one",
            b"data: two",
            b"",
            b"data:three",
            b"",
            b"event: nothing",
            b"",
            b"data: last",
        ]
    )

    assert said(read(body, size)) == [("first", b"one\ntwo"), ("", b"three"), ("", b"last")]


def test_a_document_is_read_from_its_data() -> None:
    events = read(b'data: {"a": 1}\n\ndata: [1]\n\ndata: {broken}\n\ndata: [DONE]\n\n')

    assert [event.document for event in events] == [{"a": 1}, [1], None, None]


def test_an_empty_line_that_a_server_forgets_is_not_missed() -> None:
    """Clients that read lines do not need it either."""
    events = read(b'data: {"a": 1}\ndata: {"b": 2}\ndata: {"c":\ndata: 3}\n\n')

    assert [event.document for event in events] == [{"a": 1}, {"b": 2}, {"c": 3}]


@pytest.mark.parametrize("size", [1, 0])
def test_what_is_no_event_stream_is_content(size: int) -> None:
    """Whatever its content type says."""
    events = read(b"<html>\nsorry\n\n", size)

    assert b"".join(event.data for event in events).startswith(b"<")
    assert all(map(has_content, events))
    assert events


@pytest.mark.parametrize("size", [1, 5, 0])
def test_of_json_lines_each_is_an_event(size: int) -> None:
    events = read(b'{"a": 1}\n\n  \n{"b": 2}\r\n{"c": 3}', size, json_lines=True)

    assert [event.document for event in events] == [{"a": 1}, {"b": 2}, {"c": 3}]


# Bounds


@pytest.mark.parametrize("size", [1_000, 0])
@pytest.mark.parametrize("name", ["", "delta"])
def test_an_event_that_is_too_long_is_told_once_without_its_data(size: int, name: str) -> None:
    head = f"event: {name}\n".encode() if name else b""
    body = head + b"data: " + b"x" * (3 * LONG) + b"\n\ndata: next\n\n"

    told = said(read(body, size))

    assert (name, b"") in told
    assert told == [(name, b""), ("", b"next")]


def test_while_a_long_line_goes_on_little_of_it_is_kept() -> None:
    reader = EventReader()
    events = [*reader.read(b"data: " + b"x" * (2 * LONG))]

    assert said(events) == [("", b"")]
    assert len(reader._rest) <= 16
    assert [*reader.read(b"x" * 1000)] == []
    assert [*reader.read(b"x" * (2 * LONG))] == []
    assert [*reader.read(b"\n\n")] == []
    assert said([*reader.read(b"data: next\n\n")]) == [("", b"next")]


def test_an_event_of_many_lines_is_kept_to_the_same_bound() -> None:
    line = b"data: " + b"x" * 999 + b"\n"
    events = read(line * 200 + b"\n")

    assert ("", b"") in said(events)
    assert max(len(event.data) for event in events) <= LONG


def test_a_long_json_line_is_told_once() -> None:
    reader = EventReader(json_lines=True)
    events = [*reader.read(b"[" + b"1," * LONG), *reader.read(b"1]\n"), *reader.read(b"[2]\n")]

    assert [event.data for event in events] == [b"", b"[2]"]


@pytest.mark.parametrize("before", [b"", b"event: e\ndata: 1\n\n", b'data: {"a": {}}\n'])
@pytest.mark.parametrize("more", [0, 1])
def test_an_event_of_just_the_length_that_is_kept_is_whole(before: bytes, more: int) -> None:
    """Its lines and what is between them count, not those of events before it."""
    lines = [b"{" + b"x" * 30_000, b"y" * 10_000, b"z" * (LONG - 40_003 + more)]
    body = b"".join(b"data: %s\n" % line for line in lines) + b"\n"

    last = read(before + body)[-1]

    assert last.data == (lines[2] if more else b"\n".join(lines))


@pytest.mark.parametrize("more", [0, 1])
def test_a_line_of_just_the_length_that_is_kept_is_whole(more: int) -> None:
    value = b"1" * (LONG - 2 + more)

    assert read(b"data: [%s]\n\n" % value)[0].data == (b"" if more else b"[%s]" % value)
    reader = EventReader()
    begun = [*reader.read(b"data: " + b"x" * (LONG - 6 + more))]
    assert said(begun) == [("", b"")] * more


@pytest.mark.parametrize("more", [0, 1])
def test_a_json_line_that_is_longer_is_not_parsed(more: int) -> None:
    text = "1" * (LONG - 8 + more)

    (event,) = read(b'{"a":"%s"}\n' % text.encode(), json_lines=True)

    assert event.name == ""
    assert event.document == (None if more else {"a": text})


def test_two_long_events_are_two() -> None:
    line = b"data: [" + b"1" * 40_000 + b"]\n\n"

    assert [len(event.data) for event in read(3 * line)] == [40_002] * 3


def test_after_a_long_event_those_without_an_empty_line_are_found_again() -> None:
    reader = EventReader()

    events = [*reader.read(b'data: {"a": "' + b"x" * (2 * LONG))]
    events += reader.read(b'"}\ndata: {"b": 1}\ndata: {"c": 2}\ndata: {"d": 3}\n\n')

    assert said(events) == [("", b""), ("", b'{"b": 1}'), ("", b'{"c": 2}'), ("", b'{"d": 3}')]


# Lines


def test_each_line_is_read_to_its_end() -> None:
    assert read(b"event:X\ndata:X\ndata:  X X\n\n") == [Event("X", b"X\n X X", None)]
    assert read(b"data: 3\n\n") == [Event("", b"3", None)]
    assert read(b"[1]X\n", json_lines=True) == [Event("", b"[1]X", None)]


def test_a_document_that_is_too_deep_is_none() -> None:
    deep = b"[" * 60_000

    assert read(b"data: " + deep + b"\n\n") == [Event("", deep, None)]


@pytest.mark.parametrize("lines", [(b'{"a": {}', b', "b": 1}'), (b'{"a":', b'{"b": 1}}')])
def test_a_document_of_several_lines_is_one_event(lines: tuple[bytes, ...]) -> None:
    (event,) = read(b"".join(b"data: %s\n" % line for line in lines) + b"\n")

    assert event.data == b"\n".join(lines)


def test_what_is_no_field_is_told_at_once_and_only_once() -> None:
    reader = EventReader()

    assert [*reader.read(b"hello")] == [Event("", b"hello", None)]
    assert [*reader.read(b'data: {"a": 1}\n\n')] == [Event("", b'{"a": 1}', {"a": 1})]
    assert [*reader.read(b"bye\n")] == [Event("", b"bye", None)]
    assert [*EventReader(json_lines=True).read(b"hello")] == []


# Content


def event(document: Any = None, name: str = "", data: bytes = b"") -> Event:
    return Event(name, data or json.dumps(document).encode(), document)


PREAMBLES = (
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
)


@pytest.mark.parametrize("name", PREAMBLES)
def test_a_sign_of_life_has_no_content(name: str) -> None:
    assert not has_content(event({"type": name}))
    assert not has_content(event({"a": 1}, name=name))
    assert not has_content(Event(name, b"so far so good", None))
    assert not has_content(Event(name, b"", None))
    assert has_content(event({"type": f"{name}.delta"}))


@pytest.mark.parametrize("sort", ["ping", "heartbeat", "keepalive"])
def test_a_ping_with_another_name_has_none(sort: str) -> None:
    assert not has_content(event({"type": sort}, name="message"))


def test_a_block_that_comes_as_a_whole_has() -> None:
    whole = {"type": "content_block_start", "content_block": {"type": "web_search_tool_result"}}
    begun = {"type": "content_block_start", "content_block": {"type": "text", "text": ""}}

    assert has_content(event(whole))
    assert not has_content(event(begun))
    assert not has_content(event({"type": "content_block_start", "content_block": "text_result"}))


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"delta": {"role": "assistant"}}, False),
        ({"delta": {"role": "assistant", "content": ""}}, False),
        ({"delta": {}}, False),
        ({"index": 0}, False),
        ({}, False),
        ({"delta": {"content": "Hi"}}, True),
        ({"delta": {"reasoning": "hm"}}, True),
        ({"delta": {"tool_calls": [{}]}}, True),
        ({"message": {"content": "Hi"}}, True),
        ({"finish_reason": "stop", "delta": {}}, True),
        ({"text": "Hi"}, True),
        ({"text": ""}, False),
        ({"delta": {"index": 1}}, False),
        ({"delta": {"id": "a"}}, False),
        ({"delta": {"type": "function"}}, False),
        ({"index": 0, "logprobs": [1]}, False),
        ({"role": "assistant", "content": "Hi"}, True),
        ({"role": "assistant", "index": 0}, False),
        ({"role": "assistant", "logprobs": [1], "delta": {}}, False),
        ("Hi", True),
        ("", False),
    ],
)
def test_a_choice_with_more_than_a_role_has_content(choice: Any, expected: bool) -> None:
    assert has_content(event({"choices": [choice]})) is expected


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"choices": []}, False),
        ({"choices": [], "usage": {"total_tokens": 5}}, True),
        ({"choices": [], "error": {"code": 500}}, True),
        # ollama
        ({"done": False, "message": {"role": "assistant", "content": ""}}, False),
        ({"done": False, "message": {"role": "assistant", "content": "Hi"}}, True),
        ({"done": True, "message": {"role": "assistant", "content": ""}}, True),
        ({"done": False, "response": ""}, False),
        ({"done": False, "response": "Hi"}, True),
        ({"done": False}, True),
        ({"response": ""}, True),
        ({"message": {}}, True),
        ({}, False),
        ({"a": 1}, True),
        ([1], True),
    ],
)
def test_what_a_document_says_is_content(document: Any, expected: bool) -> None:
    assert has_content(event(document)) is expected


def test_text_is_content_if_it_is_more_than_white_space() -> None:
    assert has_content(Event("", b"Hi", None))
    assert not has_content(Event("", b" \n", None))
    assert has_content(Event("", b"", None))  # too long to be kept


def test_an_event_of_several_lines_ends_where_the_next_one_begins() -> None:
    """Some servers forget the empty line after an event."""
    body = b'data: {"a":\ndata: 1}\ndata: {"b": 2}\n\n'

    assert said(read(body)) == [("", b'{"a":\n1}'), ("", b'{"b": 2}')]
