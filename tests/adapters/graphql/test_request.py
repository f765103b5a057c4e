"""The name of the operation, from requests of all forms."""

from __future__ import annotations

import gzip
import hashlib
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recloser_adapters.graphql import OperationKeys
from recloser_adapters.graphql._request import (
    _TOKEN,
    LONGEST,
    Operation,
    names_in,
    of_body,
    of_query_string,
)

JSON = "application/json"


@pytest.mark.parametrize(
    ("document", "names"),
    [
        ("query Orders { orders { id } }", ["Orders"]),
        ("query Orders($id: ID! = 7, $list: [Int] = [1]) { order(id: $id) { id } }", ["Orders"]),
        ("mutation Pay @live { pay }", ["Pay"]),
        ("subscription Ticks { ticks }", ["Ticks"]),
        ("{ orders { id } }", [""]),
        ("query { orders }", [""]),
        ("query ($id: ID) { order(id: $id) }", [""]),
        ("query @cached { orders }", [""]),
        ("query A { a } query B { b }", ["A", "B"]),
        ("fragment F on Order { id } query Orders { orders { ...F } }", ["Orders"]),
        ("query Orders { ...F } fragment F on Order { query mutation }", ["Orders"]),
        ("# query Comment { a }\nquery Orders { orders }", ["Orders"]),
        ('query Orders { find(text: "query Text { a }") }', ["Orders"]),
        ('query Orders { find(text: """a " block query X { """) { id } }', ["Orders"]),
        ('query Orders { find(text: "a \\" query X {") } query Two { a }', ["Orders", "Two"]),
        ("query query { query }", ["query"]),
        ("", []),
        ("nonsense", []),
        ("query", []),
        ("}}}} query Orders { a }", ["Orders"]),
    ],
)
def test_the_operations_of_a_document(document: str, names: list[str]) -> None:
    assert names_in(document) == names


@given(st.text(st.sampled_from('query X{}()[]"\\#\n@$ mutation_'), max_size=200))
def test_any_text_is_read(document: str) -> None:
    assert all(isinstance(name, str) for name in names_in(document))


@pytest.mark.parametrize("begin", ['"', '"""', '"\\"', '"""\\"""', '"""x""'])
def test_a_text_that_does_not_end_is_read_once(begin: str) -> None:
    """If it were read again from each of its quotes, a client could keep a worker busy for hours."""
    text = begin + '\\"' * 1000

    assert len([*_TOKEN.finditer(text)]) == 1


def body_of(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("body", "kind", "names"),
    [
        (body_of(query="query Orders { a }"), JSON, ["Orders"]),
        (body_of(query="query A {a} query B {b}", operationName="B"), JSON, ["B"]),
        (body_of(query="query A {a} query B {b}"), JSON, [""]),
        (body_of(query="{ a }", operationName=None), "application/json; charset=utf-8", [""]),
        (body_of(query="query Orders { a }", operationName="no name!"), JSON, ["Orders"]),
        (body_of(query=7, operationName=["x"]), JSON, [""]),
        (b"query Orders { a }", "application/graphql", ["Orders"]),
        (
            urlencode({"query": "query Orders { a }"}).encode(),
            "application/x-www-form-urlencoded",
            ["Orders"],
        ),
        (b"a=b", "application/x-www-form-urlencoded", [""]),
        (b'[{"query": "query A {a}"}, {"query": "query B {b}"}]', JSON, ["A", "B"]),
        (b"[]", JSON, [""]),
        (b"[1, null]", JSON, ["", ""]),
        (b"not json", JSON, [""]),
        (b"", "", [""]),
        (b"[" * 60_000, JSON, [""]),
        (b"\xff\xfe", JSON, [""]),
    ],
)
def test_the_operations_of_a_body(body: bytes, kind: str, names: list[str]) -> None:
    assert [operation.name for operation in of_body(body, kind)] == names


def test_an_upload_has_its_operations_in_a_part() -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="operations"\r\n'
        b"Content-Type: application/json\r\n\r\n"
        b'{"query": "mutation Upload { up }"}\r\n'
        b'--x\r\nContent-Disposition: form-data; name="0"; filename="a"\r\n\r\n\x00\x01'
    )

    assert of_body(body, "multipart/form-data; boundary=x", is_whole=False) == [Operation("Upload")]
    assert of_body(b"--x--", "multipart/form-data; boundary=x") == [Operation("")]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"operationName": "Orders", "query": "query Orders {a}"}, "Orders"),
        ({"query": "query Orders {a}"}, "Orders"),
        ({"query": "{a}"}, ""),
        ({"variables": {"x": 1}}, ""),
    ],
)
def test_of_a_body_that_is_too_long_the_beginning_is_read(
    fields: dict[str, Any], name: str
) -> None:
    body = body_of(**fields, zz="x" * LONGEST)[:LONGEST]

    assert of_body(body, JSON, is_whole=False) == [Operation(name)]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        (b"query=query+Orders+%7Ba%7D", ["Orders"]),
        (b"query=%7Ba%7D&operationName=Orders", ["Orders"]),
        (b"", []),
        (b"theme=dark", []),
        (b"&".join(b"query=a" for _ in range(200)), [""]),
        (b"query=%7Ba%7D&extensions=%7Bnot", [""]),
        (b"id=abc", [""]),
    ],
)
def test_the_operation_of_a_query_string(query: bytes, names: list[str]) -> None:
    assert [operation.name for operation in of_query_string(query)] == names


# Keys


def key_of(keys: OperationKeys, **fields: Any) -> str:
    return keys.key_of(of_body(body_of(**fields), JSON))


def persisted(document: str) -> dict[str, Any]:
    sha256 = hashlib.sha256(document.encode()).hexdigest()
    return {"persistedQuery": {"version": 1, "sha256Hash": sha256}}


def test_the_first_names_have_keys_of_their_own() -> None:
    keys = OperationKeys(most=2)

    names = [key_of(keys, query=f"query {name} {{a}}") for name in "ABCAD"]

    assert names == ["GRAPHQL A", "GRAPHQL B", "GRAPHQL <other>", "GRAPHQL A", "GRAPHQL <other>"]


def test_only_the_given_names_have_keys_of_their_own() -> None:
    keys = OperationKeys(["Orders"])

    assert key_of(keys, query="query Orders {a}") == "GRAPHQL Orders"
    assert key_of(keys, query="query Else {a}") == "GRAPHQL <other>"
    assert key_of(keys, query="{a}") == "GRAPHQL <anonymous>"


def test_a_batch_has_the_name_of_its_operations_if_they_are_the_same() -> None:
    keys = OperationKeys()
    same = of_body(b'[{"query": "query A {a}"}, {"query": "query A {b}"}]', JSON)
    others = of_body(b'[{"query": "query A {a}"}, {"query": "query B {b}"}]', JSON)

    assert keys.key_of(same) == "GRAPHQL A"
    assert keys.key_of(others) == "GRAPHQL <batch>"


def test_a_persisted_query_has_the_name_that_came_with_its_text() -> None:
    keys = OperationKeys()
    document = "query Orders {a}"

    before = key_of(keys, extensions=persisted(document))
    key_of(keys, query=document, extensions=persisted(document))

    assert before == "GRAPHQL <persisted>"
    assert key_of(keys, extensions=persisted(document)) == "GRAPHQL Orders"
    assert key_of(keys, documentId="abc") == "GRAPHQL <persisted>"
    assert key_of(keys, extensions=persisted("else"), operationName="Else") == "GRAPHQL Else"


def test_another_text_gives_a_known_hash_no_other_name() -> None:
    keys = OperationKeys()
    known = persisted("query Orders {a}")

    key_of(keys, query="query Evil {a}", extensions=known)

    assert key_of(keys, extensions=known) == "GRAPHQL <persisted>"


def test_hashes_are_bounded() -> None:
    keys = OperationKeys(most=1)

    for number in range(2500):
        document = f"query Q{number} {{a}}"
        key_of(keys, query=document, extensions=persisted(document))

    assert len(keys._by_hash) <= 1000
    assert keys._known == {"Q0"}


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"operations": "Orders"}, TypeError, "operations must be several names"),
        ({"operations": [1]}, TypeError, "operations must be names"),
        ({"most": 0}, ValueError, "max_operations must be 1 or more, not 0"),
        ({"most": True}, TypeError, "max_operations must be an int"),
        ({"most": "9"}, TypeError, "max_operations must be an int"),
    ],
)
def test_a_wrong_argument_is_named(
    wrong: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        OperationKeys(**wrong)


def test_a_compressed_body_is_not_read_as_it_is() -> None:
    assert of_body(gzip.compress(body_of(query="query Orders {a}")), JSON) == [Operation("")]
