"""The body of a request to a model, without a client: which fields are found, however long it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.llm_body import effort_of, fields_of, model_of

TEXT = "x" * 100_000  # more than is parsed in whole


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b'"text"', b"7", b"{", b'{"model": ', b'x{"model": "a"}'),
        b'{"a":' * 10_000,  # deeper than the parser goes
    ],
)
def test_what_is_no_object_tells_nothing(body: bytes) -> None:
    assert fields_of(body) == {}


@pytest.mark.parametrize("text", ["short", TEXT])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("first", [True, False])
def test_the_fields_of_an_object_are_found_at_both_ends(
    text: str, indent: int | None, first: bool
) -> None:
    known = {
        "model": "m",
        "stream": True,
        "max_tokens": 100,
        "max_completion_tokens": 200,
        "max_output_tokens": 300,
        "reasoning_effort": "high",
        "think": False,
    }
    messages = {"messages": [{"role": "user", "content": text}]}
    fields = {**known, **messages} if first else {**messages, **known}

    said = json.dumps(fields, indent=indent)
    for body in (said, f" {said}", f" \n{said}\n "):
        found = fields_of(body.encode())
        assert {name: found.get(name) for name in known} == known


@pytest.mark.parametrize("where", ["before", "after"])
def test_those_of_objects_within_it_do_not_count(where: str) -> None:
    """They may come from anybody, as a text that holds such a field may."""
    within: dict[str, Any] = {"metadata": {"model": "inner", "list": [{"model": "deep"}, []]}}
    told: dict[str, Any] = {"note": '{"model": "told", "stream": true}, "model": "told"'}
    messages: dict[str, Any] = {"messages": [{"content": TEXT, "model": "of a message"}]}
    parts = [within, told, messages] if where == "before" else [messages, told, within]
    body = {name: value for part in parts for name, value in part.items()}

    assert dict(fields_of(json.dumps(body).encode())) == {}
    outer = {**within, "model": "outer", **messages}
    assert fields_of(json.dumps(outer).encode())["model"] == "outer"
    outer = {**messages, "model": "outer", **within}
    assert fields_of(json.dumps(outer).encode())["model"] == "outer"


def test_where_both_ends_name_a_model_the_first_one_counts() -> None:
    body = f'{{"model": "first", "messages": "{TEXT}", "model": "last"}}'

    assert fields_of(body.encode())["model"] == "first"


def test_a_long_body_is_searched_within_bounds() -> None:
    many = ", ".join(f'"max_tokens": {number}' for number in range(100))

    at_the_end = fields_of(f'{{"messages": "{TEXT}", {many}}}'.encode())
    at_the_beginning = fields_of(f'{{{many}, "messages": "{TEXT}"}}'.encode())

    assert at_the_end["max_tokens"] == 99
    assert at_the_beginning["max_tokens"] == 11


def test_a_body_of_just_the_length_that_is_parsed_in_whole_is() -> None:
    for more in (0, 1):
        fields = {"model": "m", "mine": True, "text": "x" * (65_536 - 40 + more)}
        body = json.dumps(fields).encode()
        assert len(body) == 65_536 + more

        assert dict(fields_of(body)) == ({"model": "m"} if more else fields)


def test_of_a_longer_one_a_field_counts_that_is_within_its_edges() -> None:
    for more in (0, 1):
        before = f'{{"a": "{"x" * (4_096 - 23 + more)}", "model": "m", '
        assert before.index(', "model": "m",') + 14 == 4_095 + more
        after = f', "model": "m", "b": "{"x" * (4_096 - 24 + more)}"}}'
        assert len(after) == 4_096 + more
        expected = {} if more else {"model": "m"}

        assert dict(fields_of(f'{before}"text": "{TEXT}"}}'.encode())) == expected
        assert dict(fields_of(f'{{"text": "{TEXT}"{after}'.encode())) == expected


def test_what_is_parsed_already_is_not_parsed_again() -> None:
    parsed = {"model": "parsed"}

    assert fields_of(b'{"model": "m"}', parsed) == parsed
    assert fields_of(f'{{"model": "m", "text": "{TEXT}"}}'.encode(), parsed) == {"model": "m"}


@pytest.mark.parametrize(
    ("body", "model"),
    [
        (
            b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--b--',
            "whisper-1",
        ),
        (b'--b\r\nContent-Disposition: form-data; name="model"\r\nX: y\r\n\r\n a \r\n--b--', "a"),
        (b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n\xff\r\n--b--', "\ufffd"),
        (b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--b--', None),
        (b'name="model"\r\n\r\nx\r\n', None),
        (b"", None),
    ],
)
def test_a_form_names_its_model_too(body: bytes, model: str | None) -> None:
    assert model_of(body, {}) == model
    assert model_of(body, {"model": "m"}) == "m"


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({"think": True}, "thinking"),
        ({"think": False}, ""),
        ({"think": "High"}, "high"),
        ({"reasoning": {"max_tokens": 1_000}}, "thinking 1024"),
        ({"thinking": {"type": "enabled"}}, "thinking"),
        ({"thinking": {"type": "disabled"}}, ""),
        ({}, ""),
    ],
)
def test_the_effort_that_is_asked_for_is_a_word_or_a_coarse_number(
    fields: dict[str, Any], effort: str
) -> None:
    assert effort_of(fields) == effort
