"""GraphQL: the middleware for ASGI, around bare apps."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest
from tests.support.breaker_state import votes
from tests.support.graphql_requests import Upload, asgi, asgi_body, counted

from recloser import Registry
from recloser.testing import open_breaker
from recloser_adapters.graphql import GraphQLMiddleware, WsgiGraphQLMiddleware
from recloser_adapters.graphql._request import LONGEST


async def echoing(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the length of the body."""
    body, more = b"", scope["method"] == "POST"
    while more:
        message = await receive()
        body += message["body"]
        more = message["more_body"]
    await answer_json(send, {"data": {"length": len(body), "sum": sum(body)}})


async def answer_json(send: Any, document: Any, *headers: Any, encode: Any = bytes) -> None:
    head = [(b"content-type", b"application/json"), *headers]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    body = encode(json.dumps(document).encode())
    half = len(body) // 2
    await send({"type": "http.response.body", "body": body[:half], "more_body": True})
    await send({"type": "http.response.body", "body": body[half:]})


@pytest.mark.parametrize("size", [10, LONGEST - 1, LONGEST, LONGEST + 1, 10 * LONGEST])
@pytest.mark.parametrize("pieces", [1, 7, 100])
def test_the_app_gets_the_whole_body(registry: Registry, size: int, pieces: int) -> None:
    body = json.dumps({"query": "query Orders {a}", "zz": "x" * size}).encode()

    status, answer = asgi_body(GraphQLMiddleware(echoing, registry), body, pieces=pieces)

    assert (status, answer["data"]) == (200, {"length": len(body), "sum": sum(body)})
    assert counted(registry) == {"GRAPHQL Orders": {"successes": 1}}


def test_no_more_than_the_beginning_is_read_before_the_app(registry: Registry) -> None:
    read = 0

    async def receive() -> Any:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": b"x" * 1024, "more_body": True}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer_json(send, {"data": {"read": read}})

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = Upload(b"").scope
    asyncio.run(GraphQLMiddleware(app, registry)(scope, receive, send))

    assert read == LONGEST // 1024


def test_a_client_that_leaves_while_it_sends_has_no_vote(registry: Registry) -> None:
    messages = [
        {"type": "http.request", "body": b'{"query": "query O', "more_body": True},
        {"type": "http.disconnect"},
    ]
    seen: list[str] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend([(await receive())["type"], (await receive())["type"]])

    async def send(message: Any) -> None:
        raise AssertionError(message)

    asyncio.run(GraphQLMiddleware(app, registry)(Upload(b"").scope, receive, send))

    assert seen == ["http.request", "http.disconnect"]
    assert counted(registry) == {"GRAPHQL <anonymous>": {"cancelled": 1}}


def test_a_compressed_body_is_read(registry: Registry) -> None:
    body = gzip.compress(json.dumps({"query": "query Orders {a}"}).encode())
    headers = ((b"content-type", b"application/json"), (b"content-encoding", b"gzip"))

    asgi_body(GraphQLMiddleware(echoing, registry), body, headers=headers)

    assert counted(registry) == {"GRAPHQL Orders": {"successes": 1}}


def test_a_compressed_answer_is_read(registry: Registry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        document = {"data": None, "errors": [{"message": "m", "path": ["a"]}]}
        await answer_json(send, document, (b"content-encoding", b"gzip"), encode=gzip.compress)

    asyncio.run(Upload(b'{"query": "query Orders {a}"}').run(GraphQLMiddleware(app, registry)))

    assert counted(registry) == {"GRAPHQL Orders": {"failures": 1}}


def test_an_answer_with_an_error_status_counts_as_that(registry: Registry) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b'{"data": {}}'})

    asgi(GraphQLMiddleware(app, registry), query="query Orders {a}")

    assert counted(registry) == {"GRAPHQL Orders": {"failures": 1}}


@pytest.mark.parametrize(
    ("path", "root", "guarded"),
    [
        ("/graphql", "", True),
        ("/graphql/", "", True),
        ("/mounted/graphql", "/mounted", True),
        ("/graphql/", "/graphql", True),
        ("/", "/graphql", True),
        ("/graphql/more", "", False),
        ("/orders", "", False),
    ],
)
def test_other_paths_pass(registry: Registry, path: str, root: str, guarded: bool) -> None:
    exchange = Upload(b'{"query": "query Orders {a}"}', path=path)
    exchange.scope["root_path"] = root

    asyncio.run(exchange.run(GraphQLMiddleware(echoing, registry)))

    assert counted(registry) == ({"GRAPHQL Orders": {"successes": 1}} if guarded else {})


def test_websockets_and_lifespans_pass(registry: Registry) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    guarded = GraphQLMiddleware(app, registry)
    for kind in ("websocket", "lifespan"):
        asyncio.run(guarded({"type": kind, "path": "/graphql"}, None, None))

    assert seen == ["websocket", "lifespan"]
    assert counted(registry) == {}


def test_a_refusal_does_not_count_for_the_breaker_of_the_route(registry: Registry) -> None:
    from recloser.asgi import BreakerMiddleware

    app = BreakerMiddleware(GraphQLMiddleware(echoing, registry), registry)
    open_breaker(registry["GRAPHQL Orders"])

    assert asgi(app, query="query Orders {a}")[0] == 503
    assert votes(registry["app"].metrics()) == {"ignored": 1}


@pytest.mark.parametrize("middleware", [GraphQLMiddleware, WsgiGraphQLMiddleware])
@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"path": "graphql"}, ValueError, "path must begin with a slash"),
        ({"path": []}, ValueError, "path must name the path"),
        ({"path": 7}, TypeError, "path must be a str or several, not 7"),
        ({"path": [7]}, TypeError, "path must be a str or several, not 7"),
        ({"operations": "Orders"}, TypeError, "operations must be several names"),
        ({"max_operations": 0}, ValueError, "max_operations must be 1 or more"),
        ({"classify_error": 1}, TypeError, "classify_error must be a function"),
        ({"app": None}, TypeError, "app must be an? (ASGI|WSGI) app"),
        ({"registry": 1}, TypeError, "registry must be a Registry"),
    ],
)
def test_a_wrong_argument_is_named(
    middleware: Any, wrong: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        middleware(**{"app": echoing, **wrong})
