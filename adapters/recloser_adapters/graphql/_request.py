"""Reads the name of the operation from a request, and from no more than the beginning of its body."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Final, NamedTuple, cast
from urllib.parse import parse_qs

LONGEST: Final = 65_536
"""Bytes of a body that are read, and characters of a document."""

ANONYMOUS: Final = "<anonymous>"
"""Of an operation without a name, or of a request that cannot be read."""
BATCH: Final = "<batch>"
"""Of several operations in one request, if their names differ."""
PERSISTED: Final = "<persisted>"
"""Of a persisted query whose name is not known."""

_NAME: Final = re.compile(r"[_A-Za-z][_0-9A-Za-z]{0,99}")
# Each alternative ends where it must, or at the end of the text, so that no text is read twice.
_TOKEN: Final = re.compile(
    r'#[^\r\n]*|"""(?:[^"\\]|\\.|"(?!""))*(?:""")?|"(?:[^"\\\r\n]|\\.)*"?|[@$]?[_A-Za-z]\w*|[{}()\[\]]',
    re.DOTALL | re.ASCII,
)
_KINDS: Final = frozenset({"query", "mutation", "subscription"})
# In the beginning of a body that is longer than what is read.
_NAME_IN_JSON: Final = re.compile(r'"operationName"\s*:\s*"([_A-Za-z][_0-9A-Za-z]{0,99})"')
_QUERY_IN_JSON: Final = re.compile(r'"query"\s*:\s*("(?:[^"\\]|\\.)*")', re.DOTALL)
_OPERATIONS_PART: Final = re.compile(
    r'name="?operations"?[^\r\n]*\r?\n(?:[^\r\n]+\r?\n){0,20}\r?\n(.*?)(?:\r?\n--|\Z)', re.DOTALL
)
_MOST_FIELDS: Final = 100
_IDENTIFIERS: Final = ("id", "documentId", "doc_id", "queryId")


class Operation(NamedTuple):
    """One operation of a request.

    Attributes:
        name: Its name; "" if it has none.
        sha256: The hash of a persisted query; "" if the request names none.
        is_persisted: Whether the request has no document, only its hash or identifier.
    """

    name: str
    sha256: str = ""
    is_persisted: bool = False


def of_query_string(query: bytes) -> list[Operation]:
    """The operation of a GET request; an empty list if it asks for none, as for a page."""
    try:
        fields = parse_qs(query.decode("latin-1"), max_num_fields=_MOST_FIELDS)
    except ValueError:
        return [Operation("")]
    first: dict[str, Any] = {name: values[0] for name, values in fields.items()}
    if not {"query", "operationName", "extensions", *_IDENTIFIERS} & first.keys():
        return []
    try:
        first["extensions"] = json.loads(first.get("extensions", "null"))
    except (ValueError, RecursionError):
        del first["extensions"]
    return [_operation(first)]


def of_body(body: bytes, content_type: str, *, is_whole: bool = True) -> list[Operation]:
    """The operations of a POST request; several in a batch.

    Args:
        body: The body, or its beginning.
        content_type: The header of this name; "" if there is none.
        is_whole: Whether it is the whole body.
    """
    text = body[:LONGEST].decode("utf-8", "replace")
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/graphql":
        return [_operation({"query": text})]
    if kind == "multipart/form-data":
        part = _OPERATIONS_PART.search(text)
        text = "" if part is None else part[1]
    elif kind == "application/x-www-form-urlencoded":
        return of_query_string(body[:LONGEST]) or [Operation("")]
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError):
        return [Operation("") if is_whole else _of_beginning(text)]
    if isinstance(document, list):
        return [_operation(each) for each in cast("list[object]", document)] or [Operation("")]
    return [_operation(document)]


def names_in(document: str) -> list[str]:
    """The names of the operations in a GraphQL document; "" for one without a name."""
    names: list[str] = []
    depth = 0
    kind = ""  # the keyword of the definition that has begun; "" between two definitions
    for found in _TOKEN.finditer(document[:LONGEST]):
        token = found[0]
        if token[0] in '#"':
            continue  # a comment, a text
        if depth == 0:
            if kind in _KINDS:
                names.append(token if _NAME.fullmatch(token) else "")
                kind = "named"
            elif not kind:
                kind = token
                if token == "{":
                    names.append("")  # the short form of a query
        if token in "{([":
            depth += 1
        elif token in "})]":
            depth = max(depth - 1, 0)
            if token == "}" and depth == 0:
                kind = ""
    return names


def _operation(document: object) -> Operation:
    fields: dict[str, Any] = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
    query = fields.get("query")
    name = fields.get("operationName")
    sha256 = _hash_of(fields.get("extensions"))
    if isinstance(name, str) and _NAME.fullmatch(name):
        found = name
    else:
        names = names_in(query) if isinstance(query, str) else []
        found = names[0] if len(names) == 1 else ""
    if not isinstance(query, str) or not query:
        is_named = bool(sha256) or any(fields.get(each) for each in _IDENTIFIERS)
        return Operation(found, sha256, is_named)
    # Another text under the hash of a known query must not give it another name.
    is_true = bool(sha256) and hashlib.sha256(query.encode()).hexdigest() == sha256
    return Operation(found, sha256 if is_true else "")


def _hash_of(extensions: object) -> str:
    if not isinstance(extensions, dict):
        return ""
    persisted: Any = cast("dict[str, Any]", extensions).get("persistedQuery")
    if not isinstance(persisted, dict):
        return ""
    found: Any = cast("dict[str, Any]", persisted).get("sha256Hash")
    return found.lower() if isinstance(found, str) and len(found) == 64 else ""


def _of_beginning(text: str) -> Operation:
    named = _NAME_IN_JSON.search(text)
    if named is not None:
        return Operation(named[1])
    written = _QUERY_IN_JSON.search(text)
    if written is None:
        return Operation("")
    try:
        names = names_in(json.loads(written[1]))
    except ValueError:
        return Operation("")
    return Operation(names[0] if len(names) == 1 else "")
