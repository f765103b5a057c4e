"""Errors inside an answer with a good status: found where a model is asked, or where that is set."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from typing import Any

import pytest
from tests.support.breaker_state import votes
from tests.support.outbound_clients import Client
from tests.support.scripted_upstream import LAST, Upstream, answer, chunk, head

from recloser import Breaker, Outcome, Registry, State
from recloser_adapters._outbound.permit import CallReport

from .conftest import Connect

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json; charset=utf-8"}
EVENTS = {"content-type": "text/event-stream"}
LINES = {"content-type": "application/x-ndjson"}
CHAT = "/v1/chat/completions"
FIRST = b'data: {"choices": [{"index": 0, "delta": {"content": "Hi"}}]}\n\n'
ERRORS: list[tuple[object, str]] = [
    ({"error": {"message": "upstream overloaded", "code": 502}}, "failures"),
    ({"error": {"message": "boom", "type": "server_error", "code": None}}, "failures"),
    ({"type": "error", "error": {"type": "overloaded_error"}}, "failures"),
    ({"type": "error", "error": {"type": "api_error"}}, "failures"),
    (
        {"object": "error", "message": "dead", "type": "InternalServerError", "code": 500},
        "failures",
    ),
    ({"error": {"code": 503, "status": "UNAVAILABLE"}}, "failures"),
    ({"error": "the model runner has stopped"}, "failures"),
    ({"error": {"message": "The upstream is overloaded"}}, "failures"),
    ({"choices": [{"finish_reason": "error", "error": {"code": 504}}]}, "failures"),
    ({"error": {"type": "rate_limit_error"}}, "throttled"),
    ({"error": {"code": 429}}, "throttled"),
    ({"error": {"code": "429", "status": "RESOURCE_EXHAUSTED"}}, "throttled"),
    ({"error": {"code": "insufficient_quota", "type": "insufficient_quota"}}, "throttled"),
    ({"error": {"code": 402, "message": "no credits"}}, "throttled"),
    ({"error": {"type": "invalid_request_error", "code": "context_length_exceeded"}}, "ignored"),
    ({"error": {"type": "authentication_error"}}, "ignored"),
    ({"error": {"code": 400, "status": "INVALID_ARGUMENT"}}, "ignored"),
    ({"error": {"code": "content_filter"}}, "ignored"),
    ({"object": "error", "type": "NotFoundError", "code": 404}, "ignored"),
    ({"finish_reason": "ERROR", "message": {"role": "assistant", "content": []}}, "failures"),
    ({"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "x"}}, "failures"),
    ({"event_type": "stream-end", "finish_reason": "ERROR"}, "failures"),
]


@pytest.fixture
async def client(connect: Connect, upstream: Upstream, reports: list[CallReport]) -> Client:
    """One key for all paths: by default each model and each kind of call to one has its own."""
    made: Client = connect(key=upstream.host, on_end=reports.append)
    return made


@pytest.fixture
def reports() -> list[CallReport]:
    """How the calls ended. A wait is counted where it belongs, which is not always the key."""
    return []


OUTCOMES = {
    "successes": Outcome.SUCCESS,
    "failures": Outcome.FAILURE,
    "throttled": Outcome.THROTTLED,
    "ignored": Outcome.IGNORED,
}


async def ask(client: Client, upstream: Upstream, path: str = CHAT) -> bytes:
    status, body = await client.get(upstream.url + path, method="POST", body=b"{}")
    assert status == 200
    return body


@pytest.mark.parametrize(("said", "counted"), ERRORS, ids=str)
async def test_an_error_that_a_model_reports_counts_as_its_status_would(
    client: Client, upstream: Upstream, reports: list[CallReport], said: object, counted: str
) -> None:
    body = json.dumps(said).encode()
    upstream.answers(CHAT, answer(200, body, JSON))

    assert await ask(client, upstream) == body

    assert [report.outcome for report in reports] == [OUTCOMES[counted]]


@pytest.mark.parametrize(("said", "counted"), ERRORS[::4], ids=str)
@pytest.mark.parametrize("headers", [EVENTS, LINES], ids=["events", "lines"])
async def test_an_error_in_mid_stream_counts_in_the_same_way(
    client: Client,
    upstream: Upstream,
    reports: list[CallReport],
    said: object,
    counted: str,
    headers: Mapping[str, str],
) -> None:
    event = json.dumps(said).encode()
    event = b"data: " + event + b"\n\n" if headers is EVENTS else event + b"\n"
    first = FIRST if headers is EVENTS else FIRST[6:-1]
    upstream.answers(CHAT, head(200, headers), chunk(first), chunk(event), LAST)

    assert await ask(client, upstream) == first + event

    assert [report.outcome for report in reports] == [OUTCOMES[counted]]


async def test_an_error_of_which_nobody_can_tell_whose_it_is_says_nothing(
    client: Client, upstream: Upstream, reports: list[CallReport]
) -> None:
    said = b'{"error": {"message": "?"}}'
    upstream.answers(CHAT, answer(200, said, JSON))

    assert await ask(client, upstream) == said

    assert [report.outcome for report in reports] == [Outcome.IGNORED]


async def test_any_error_ends_a_stream(
    client: Client, upstream: Upstream, reports: list[CallReport]
) -> None:
    event = b'data: {"error": {"message": "?"}}\n\n'
    upstream.answers(CHAT, head(200, EVENTS), chunk(FIRST), chunk(event), LAST)

    await ask(client, upstream)

    assert [report.outcome for report in reports] == [Outcome.FAILURE]


@pytest.mark.parametrize(
    "event",
    [
        b'event: response.failed\ndata: {"type": "response.failed", "response": {"error": {"code":'
        b' "server_error"}}}\n\n',
        b'event: error\ndata: {"type": "error", "code": "server_error", "message": "boom"}\n\n',
        b'event: error\ndata: {"type":"error","message":"internal"}\n\n',
        b"event: error\ndata: gone\n\n",
    ],
)
async def test_events_with_a_name_are_errors_by_their_name(
    client: Client, upstream: Upstream, breaker: Breaker, event: bytes
) -> None:
    upstream.answers("/v1/responses", head(200, EVENTS), chunk(FIRST), chunk(event), LAST)

    await ask(client, upstream, "/v1/responses")

    assert votes(breaker.metrics()) == {"failures": 1}


@pytest.mark.parametrize(
    "said",
    [
        {"choices": [{"message": {"content": 'The word "error" in an answer: {"error": {}}'}}]},
        {"object": "response", "status": "completed", "error": None, "output": []},
        {"choices": [], "error": None},
        {"choices": [{"message": {"content": "error"}}], "usage": {}},
    ],
)
async def test_what_only_looks_like_an_error_is_none(
    client: Client, upstream: Upstream, breaker: Breaker, said: object
) -> None:
    upstream.answers(CHAT, answer(200, json.dumps(said).encode(), JSON))

    await ask(client, upstream)

    assert votes(breaker.metrics()) == {"successes": 1}


@pytest.mark.parametrize("path", ["/orders", "/v1/files", "/v1/fine_tuning/jobs"])
async def test_elsewhere_the_body_is_none_of_ours(
    client: Client, upstream: Upstream, breaker: Breaker, path: str
) -> None:
    upstream.answers(path, answer(200, b'{"error": {"code": 500}}', JSON))

    await ask(client, upstream, path)

    assert votes(breaker.metrics()) == {"successes": 1}


@pytest.mark.parametrize("body", [b'{"id": "x", "choices": [{"mes', b"", b" \n"])
async def test_json_that_is_not_whole_is_a_failure(
    client: Client, upstream: Upstream, breaker: Breaker, body: bytes
) -> None:
    upstream.answers(CHAT, answer(200, body, JSON))

    await ask(client, upstream)

    assert votes(breaker.metrics()) == {"failures": 1}


async def test_a_page_where_a_model_was_asked_is_a_failure(
    client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers(CHAT, answer(200, b"<html>gateway</html>", {"content-type": "text/html"}))

    await ask(client, upstream)

    assert votes(breaker.metrics()) == {"failures": 1}


async def test_a_page_is_an_answer_where_json_was_not_promised(
    client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/render", answer(200, b"<html>", {"content-type": "text/html"}))

    await ask(client, upstream, "/render")

    assert votes(breaker.metrics()) == {"successes": 1}


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw deflate"])
async def test_an_error_is_found_in_a_compressed_body(
    client: Client, upstream: Upstream, breaker: Breaker, encoding: str
) -> None:
    said = b'{"error": {"code": 503}}'
    raw = zlib.compressobj(wbits=-15)
    packed = {
        "gzip": gzip.compress(said),
        "deflate": zlib.compress(said),
        "raw deflate": raw.compress(said) + raw.flush(),
    }[encoding]
    headers = {**JSON, "content-encoding": encoding.removeprefix("raw ")}
    upstream.answers(CHAT, answer(200, packed, headers))

    assert await ask(client, upstream) == said

    assert votes(breaker.metrics()) == {"failures": 1}


async def test_what_inflates_to_gigabytes_is_read_to_a_limit(
    client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    packed = gzip.compress(b"[" + b" " * 3_000_000 + b"]")
    upstream.answers(CHAT, answer(200, packed, {**JSON, "content-encoding": "gzip"}))

    await ask(client, upstream)

    assert votes(breaker.metrics()) == {"successes": 1}


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        ({"data": {"a": 1}}, "successes"),
        ({"data": {"a": None}, "errors": [{"path": ["a"]}]}, "successes"),
        ({"data": None, "errors": [{"message": "x", "path": ["a"]}]}, "failures"),
        (
            {"data": None, "errors": [{"extensions": {"code": "INTERNAL_SERVER_ERROR"}}]},
            "failures",
        ),
        ({"errors": [{"extensions": {"code": "SERVICE_UNAVAILABLE"}}]}, "failures"),
        ({"errors": [{"extensions": {"code": "GRAPHQL_VALIDATION_FAILED"}}]}, "ignored"),
        ({"errors": [{"message": "Unknown field", "locations": [{"line": 1}]}]}, "ignored"),
        ({"errors": [{"extensions": {"code": "UNAUTHENTICATED"}}]}, "ignored"),
        ({"errors": [{"extensions": {"code": "BAD_USER_INPUT"}}]}, "ignored"),
        ({"errors": [{"extensions": {"code": "THROTTLED"}}]}, "throttled"),
        ({"errors": [{"extensions": {"code": "NOT_FOUND"}}, {"path": ["b"]}]}, "failures"),
    ],
)
async def test_errors_of_graphql_without_data(
    client: Client, upstream: Upstream, reports: list[CallReport], said: object, counted: str
) -> None:
    upstream.answers("/graphql", answer(200, json.dumps(said).encode(), JSON))

    await ask(client, upstream, "/graphql")

    assert [report.outcome for report in reports] == [OUTCOMES[counted]]


async def test_a_preset_holds_for_all_paths(
    connect: Connect, client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers("/v2/ask", answer(200, b'{"error": {"code": 500}}', JSON))

    await ask(connect(verdict="llm"), upstream, "/v2/ask")

    assert votes(breaker.metrics()) == {"failures": 1}


async def test_a_verdict_sees_the_status_the_headers_and_the_beginning_once(
    connect: Connect, client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    seen: list[Any] = []

    def verdict(status: int, headers: Mapping[str, str], beginning: bytes) -> Outcome | None:
        seen.append((status, headers["x-shard"], beginning[:4], len(beginning)))
        return Outcome.FAILURE if b"SORRY" in beginning else None

    parts = [b"well", b"x" * 20_000, b"SORRY"]
    upstream.answers("/", head(200, {"x-shard": "7"}), *map(chunk, parts), LAST)
    upstream.answers("/sorry", answer(200, b"SORRY", {"x-shard": "8"}))
    judged: Client = connect(verdict=verdict)

    assert await ask(judged, upstream, "/") == b"".join(parts)
    assert await ask(judged, upstream, "/sorry") == b"SORRY"

    assert seen == [(200, "7", b"well", 16_384), (200, "8", b"SORR", 5)]
    assert votes(breaker.metrics()) == {"successes": 1, "failures": 1}


@pytest.mark.parametrize(
    ("status", "outcome", "counted"),
    [
        (404, Outcome.SUCCESS, "successes"),
        (404, Outcome.FAILURE, "failures"),
        (404, None, "ignored"),
        (500, Outcome.IGNORED, "ignored"),
        (500, None, "failures"),
        (429, Outcome.SUCCESS, "successes"),
        (429, None, "throttled"),
        (200, Outcome.THROTTLED, "throttled"),
    ],
)
async def test_a_verdict_overrules_the_status(
    connect: Connect,
    client: Client,
    upstream: Upstream,
    reports: list[CallReport],
    status: int,
    outcome: Outcome | None,
    counted: str,
) -> None:
    upstream.answers("/", answer(status, b"ok"))

    judged: Client = connect(verdict=lambda *_: outcome, on_end=reports.append)
    assert await judged.get(f"{upstream.url}/") == (status, b"ok")

    assert [report.outcome for report in reports] == [OUTCOMES[counted]]


@pytest.mark.parametrize("junk", [7, "failure", RuntimeError("mine")])
async def test_a_verdict_that_fails_changes_nothing(
    connect: Connect,
    client: Client,
    upstream: Upstream,
    breaker: Breaker,
    registry: Registry,
    junk: Any,
) -> None:
    def verdict(*_: object) -> Any:
        if isinstance(junk, Exception):
            raise junk
        return junk

    upstream.answers("/", answer(200, b"ok"))

    assert await connect(verdict=verdict).get(f"{upstream.url}/") == (200, b"ok")

    assert votes(breaker.metrics()) == {"successes": 1}
    assert registry.faults == 1


@pytest.mark.parametrize(("wrong", "error"), [("lllm", ValueError), (7, TypeError)])
async def test_a_verdict_that_is_none_is_told_by_name(
    connect: Connect, client: Client, wrong: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match='verdict must be "llm", "graphql" or a callable, not'):
        await connect(verdict=wrong).get("http://127.0.0.1:1/")


async def test_models_that_report_errors_only_in_their_answers_open_the_breaker(
    client: Client, upstream: Upstream, breaker: Breaker
) -> None:
    upstream.answers(CHAT, answer(200, b'{"error": {"code": 502}}', JSON))

    for _ in range(5):
        await ask(client, upstream)

    assert breaker.state is State.OPEN


# Formats of their own


AWS = {"content-type": "application/vnd.amazon.eventstream"}


def aws_message(payload: object, **headers: str) -> bytes:
    """One message of an event stream of AWS, without checksums."""
    names = b""
    for name, value in headers.items():
        key = f":{name.replace('_', '-')}".encode()
        names += bytes([len(key)]) + key + b"\x07" + len(value).to_bytes(2) + value.encode()
    body = json.dumps(payload).encode()
    sizes = (16 + len(names) + len(body)).to_bytes(4) + len(names).to_bytes(4)
    return sizes + b"\0\0\0\0" + names + body + b"\0\0\0\0"


DELTA = aws_message({"delta": {"text": "Hi"}}, message_type="event", event_type="contentBlockDelta")


@pytest.mark.parametrize(
    ("exception", "counted"),
    [
        ("modelStreamErrorException", "failures"),
        ("internalServerException", "failures"),
        ("throttlingException", "throttled"),
        ("validationException", "ignored"),
        ("", "successes"),
    ],
)
@pytest.mark.parametrize("size", [7, 1000])
async def test_an_exception_in_an_event_stream_of_aws_counts(
    client: Client,
    upstream: Upstream,
    reports: list[CallReport],
    exception: str,
    counted: str,
    size: int,
) -> None:
    path = "/model/m/converse-stream"
    error = aws_message({"message": "x"}, message_type="exception", exception_type=exception)
    body = DELTA * 2 + (error if exception else DELTA)
    pieces = [chunk(body[at : at + size]) for at in range(0, len(body), size)]
    upstream.answers(path, head(200, AWS), *pieces, LAST)

    assert await ask(client, upstream, path) == body

    assert [report.outcome for report in reports] == [OUTCOMES[counted]]


@pytest.mark.parametrize(
    ("body", "counted"),
    [
        (b'[{"candidates": []},\r\n{"error": {"code": 503, "status": "UNAVAILABLE"}}]', "failures"),
        (b'[{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}]', "throttled"),
        (b'[{"candidates": []}, {"candidates": []}]', "successes"),
        (b'[{"candidates": []},', "failures"),
    ],
)
async def test_an_error_in_a_stream_that_is_one_array_counts(
    client: Client, upstream: Upstream, reports: list[CallReport], body: bytes, counted: str
) -> None:
    path = "/v1beta/models/g:streamGenerateContent"
    upstream.answers(path, answer(200, body, JSON))

    assert await ask(client, upstream, path) == body

    assert [report.outcome for report in reports] == [OUTCOMES[counted]]


@pytest.mark.parametrize(
    ("body", "content_type", "counted"),
    [
        (b"upstream connect error", "text/plain", "failures"),
        (b"<Error>InternalError</Error>", "application/xml", "failures"),
        (b'{"choices": []}', "text/plain", "successes"),
        (b'{"error": {"code": 502}}', "text/plain; charset=utf-8", "failures"),
        (b"data: {}\n\n", "text/plain", "successes"),
        (b"Hello.", "text/plain", "successes"),
    ],
)
async def test_a_text_of_trouble_where_a_model_was_to_answer_is_a_failure(
    client: Client,
    upstream: Upstream,
    reports: list[CallReport],
    body: bytes,
    content_type: str,
    counted: str,
) -> None:
    upstream.answers(CHAT, answer(200, body, {"content-type": content_type}))

    assert await ask(client, upstream) == body

    assert [report.outcome for report in reports] == [OUTCOMES[counted]]


async def test_a_transcript_is_a_text(
    client: Client, upstream: Upstream, reports: list[CallReport]
) -> None:
    path = "/v1/audio/transcriptions"
    upstream.answers(path, answer(200, b"Hello.", {"content-type": "text/plain"}))

    await ask(client, upstream, path)

    assert [report.outcome for report in reports] == [Outcome.SUCCESS]


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        (b"", "failures"),
        (b": keep-alive\n\n", "failures"),
        (b'data: {"choices": []}\n\n', "successes"),
        (b"data: [DONE]\n\n", "successes"),
    ],
)
async def test_a_stream_of_a_model_that_ends_before_its_first_event_is_a_failure(
    client: Client, upstream: Upstream, reports: list[CallReport], said: bytes, counted: str
) -> None:
    pieces = [chunk(said)] if said else []
    upstream.answers(CHAT, head(200, EVENTS), *pieces, LAST)

    await ask(client, upstream)

    assert [report.outcome for report in reports] == [OUTCOMES[counted]]
