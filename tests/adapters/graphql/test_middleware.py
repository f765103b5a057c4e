"""GraphQL: both middlewares, around real servers of GraphQL and around bare apps."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.support import asgi_client, wsgi_client
from tests.support.breaker_state import votes

from recloser import Outcome, Registry, State
from recloser.testing import open_breaker
from recloser_adapters.graphql import GraphQLMiddleware, WsgiGraphQLMiddleware
from recloser_adapters.graphql._request import LONGEST

Answer = tuple[int | None, Any]


class Upload(asgi_client.Exchange):
    """A request with a body, in several pieces."""

    def __init__(
        self, body: bytes, *, pieces: int = 1, headers: Any = (), path: str = "/graphql", method: str = "POST"
    ) -> None:
        super().__init__(method, path, headers or ((b"content-type", b"application/json"),))
        size = max(-(-len(body) // pieces), 1)
        self._pieces = [body[at : at + size] for at in range(0, len(body), size)] or [b""]

    async def _receive(self) -> Any:
        if not self._pieces:
            return await super()._receive()
        self._asked = True
        piece = self._pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(self._pieces)}


def asgi(app: Any, **fields: Any) -> Answer:
    return asgi_body(app, json.dumps(fields).encode())


def asgi_body(app: Any, body: bytes, **how: Any) -> Answer:
    answer = asyncio.run(Upload(body, **how).run(app))
    assert answer.error is None, answer.error
    return answer.status, json.loads(answer.body) if answer.status != 503 else None


def asgi_get(app: Any, path: str = "/graphql", **fields: str) -> Answer:
    exchange = asgi_client.Exchange("GET", path)
    exchange.scope["query_string"] = urlencode(fields).encode()
    answer = asyncio.run(exchange.run(app))
    return answer.status, answer.body


def wsgi_body(app: Any, body: bytes, **environ: Any) -> Answer:
    exchange = wsgi_client.Exchange("POST", "/graphql")
    exchange.environ.update(
        {
            "wsgi.input": io.BytesIO(body),
            "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": "application/json",
            **environ,
        }
    )
    answer = exchange.run(app)
    assert answer.error is None, answer.error
    return answer.status, json.loads(answer.body) if answer.status != 503 else None


def wsgi(app: Any, **fields: Any) -> Answer:
    return wsgi_body(app, json.dumps(fields).encode())


def counted(registry: Registry) -> dict[str, dict[str, int]]:
    return {breaker.key: votes(breaker.metrics()) for breaker in registry}


class Trouble:
    """Whether the resolver of `order` fails, and by what."""

    error: Exception | None = None

    def order(self) -> str | None:
        if self.error is not None:
            raise self.error
        return "an order"


def strawberry_asgi(trouble: Trouble) -> Any:
    pytest.importorskip("strawberry")
    from strawberry.asgi import GraphQL

    return GraphQL(strawberry_schema(trouble))


def strawberry_schema(trouble: Trouble) -> Any:
    import strawberry

    class Query:
        @strawberry.field
        def order(self) -> str | None:
            return trouble.order()

        @strawberry.field
        def user(self) -> str:
            return "a user"

    return strawberry.Schema(strawberry.type(Query))


TYPES = "type Query { order: String, user: String! }"


def ariadne_schema(trouble: Trouble) -> Any:
    pytest.importorskip("ariadne")
    from ariadne import QueryType, make_executable_schema

    query = QueryType()
    query.set_field("order", lambda *_: trouble.order())
    query.set_field("user", lambda *_: "a user")
    return make_executable_schema(TYPES, query)


def ariadne_asgi(trouble: Trouble) -> Any:
    schema = ariadne_schema(trouble)
    from ariadne.asgi import GraphQL

    return GraphQL(schema)


def ariadne_wsgi(trouble: Trouble) -> Any:
    schema = ariadne_schema(trouble)
    from ariadne.wsgi import GraphQL

    return GraphQL(schema)


SERVERS: dict[str, tuple[Callable[[Trouble], Any], Any, Callable[..., Answer]]] = {
    "strawberry": (strawberry_asgi, GraphQLMiddleware, asgi),
    "ariadne": (ariadne_asgi, GraphQLMiddleware, asgi),
    "ariadne-wsgi": (ariadne_wsgi, WsgiGraphQLMiddleware, wsgi),
}


@pytest.fixture(params=SERVERS)
def served(request: pytest.FixtureRequest, registry: Registry) -> tuple[Any, Any, Trouble]:
    make, middleware, ask = SERVERS[request.param]
    trouble = Trouble()
    app = middleware(make(trouble), registry)
    return app, lambda **fields: ask(app, **fields), trouble


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_each_operation_has_a_breaker(served: Any, registry: Registry) -> None:
    _, ask, _ = served

    assert ask(query="query Orders { order }") == (200, {"data": {"order": "an order"}})
    assert ask(query="query Users { user }") == (200, {"data": {"user": "a user"}})
    assert ask(query="query A {user} query B {order}", operationName="B")[0] == 200
    assert ask(query="{ user }") == (200, {"data": {"user": "a user"}})

    assert counted(registry) == {
        "GRAPHQL Orders": {"successes": 1},
        "GRAPHQL Users": {"successes": 1},
        "GRAPHQL B": {"successes": 1},
        "GRAPHQL <anonymous>": {"successes": 1},
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_resolver_that_fails_opens_its_operation_alone(served: Any, registry: Registry) -> None:
    _, ask, trouble = served
    trouble.error = RuntimeError("the database is down")

    answers = [ask(query="query Orders { order }") for _ in range(30)]

    assert answers[0][0] == 200
    assert answers[0][1]["errors"]
    assert answers[-1][0] == 503
    assert registry["GRAPHQL Orders"].state is State.OPEN
    assert "GraphQL error" in registry["GRAPHQL Orders"].explain()
    assert ask(query="query Users { user }")[0] == 200
    assert registry["GRAPHQL Users"].state is State.CLOSED


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_a_client_does_wrong_has_no_vote(served: Any, registry: Registry) -> None:
    from graphql import GraphQLError

    _, ask, trouble = served
    trouble.error = GraphQLError("no such order", extensions={"code": "NOT_FOUND"})

    for _ in range(20):
        assert ask(query="query Missing { order }")[1]["errors"]
        assert ask(query="query Invalid { nonsense }")[1]["errors"]
        assert ask(query="query Syntax { ")[1]["errors"]

    assert counted(registry) == {
        "GRAPHQL Missing": {"ignored": 20},
        "GRAPHQL Invalid": {"ignored": 20},
        "GRAPHQL Syntax": {"ignored": 20},
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_answer_with_some_data_is_a_success(served: Any, registry: Registry) -> None:
    _, ask, trouble = served
    trouble.error = RuntimeError("the database is down")

    status, answer = ask(query="query Both { order user }")

    assert (status, answer["data"]) == (200, {"order": None, "user": "a user"})
    assert counted(registry) == {"GRAPHQL Both": {"successes": 1}}


def test_the_default_judgement_can_be_replaced(registry: Registry) -> None:
    trouble = Trouble()
    trouble.error = RuntimeError("no such order")
    app = GraphQLMiddleware(
        strawberry_asgi(trouble),
        registry,
        classify_error=lambda error: Outcome.IGNORED if "no such" in error["message"] else None,
    )

    asgi(app, query="query Orders { order }")

    assert counted(registry) == {"GRAPHQL Orders": {"ignored": 1}}


def test_a_query_by_get_has_the_same_key_and_the_page_none(registry: Registry) -> None:
    app = GraphQLMiddleware(strawberry_asgi(Trouble()), registry)

    status, _ = asgi_get(app, query="query Orders { order }")
    asgi_get(app)

    assert status == 200
    assert counted(registry) == {"GRAPHQL Orders": {"successes": 1}}


# Bare apps


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

    asyncio.run(
        Upload(b'{"query": "query Orders {a}"}').run(GraphQLMiddleware(app, registry))
    )

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


# WSGI


def wsgi_echo(environ: Any, start_response: Any) -> Any:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    first = environ["wsgi.input"].read(5)
    body = first + environ["wsgi.input"].read(length - len(first))
    answer = json.dumps({"data": {"length": len(body), "sum": sum(body)}}).encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [answer]


@pytest.mark.parametrize("size", [10, LONGEST - 1, LONGEST, LONGEST + 1, 10 * LONGEST])
def test_a_wsgi_app_gets_the_whole_body_and_nothing_beyond(registry: Registry, size: int) -> None:
    body = json.dumps({"query": "query Orders {a}", "zz": "x" * size}).encode()
    stream = io.BytesIO(body + b"the next request")

    status, answer = wsgi_body(
        WsgiGraphQLMiddleware(wsgi_echo, registry), body, **{"wsgi.input": stream}
    )

    assert (status, answer["data"]) == (200, {"length": len(body), "sum": sum(body)})
    assert stream.read() == b"the next request"
    assert counted(registry) == {"GRAPHQL Orders": {"successes": 1}}


@pytest.mark.parametrize(("terminated", "key"), [(True, "Orders"), (False, "<anonymous>")])
def test_a_wsgi_body_without_a_length(registry: Registry, terminated: bool, key: str) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({"data": len(environ["wsgi.input"].read())}).encode()]

    body = b'{"query": "query Orders {a}"}'
    _, answer = wsgi_body(
        WsgiGraphQLMiddleware(app, registry),
        body,
        CONTENT_LENGTH="",
        **{"wsgi.input_terminated": terminated},
    )

    assert answer == {"data": len(body)}
    assert counted(registry) == {f"GRAPHQL {key}": {"successes": 1}}


@pytest.mark.parametrize("length", [True, False])
def test_a_wsgi_answer_that_is_a_stream_is_read(registry: Registry, length: bool) -> None:
    closed: list[bool] = []
    body = json.dumps({"data": None, "errors": [{"message": "m", "path": ["a"]}]}).encode()

    class Body:
        def __iter__(self) -> Any:
            yield body

        def close(self) -> None:
            closed.append(True)

    def app(environ: Any, start_response: Any) -> Any:
        headers = [("Content-Type", "application/json")]
        if length:
            headers.append(("Content-Length", str(len(body))))
        start_response("200 OK", headers)
        return Body()

    wsgi(WsgiGraphQLMiddleware(app, registry), query="query Orders {a}")

    assert closed == [True]
    assert counted(registry) == {"GRAPHQL Orders": {"failures": 1}}


def test_wsgi_passes_other_paths_and_pages(registry: Registry) -> None:
    app = WsgiGraphQLMiddleware(wsgi_echo, registry)

    assert wsgi_client.Exchange("POST", "/orders").run(app).status == 200
    assert wsgi_client.Exchange("GET", "/graphql").run(app).status == 200

    assert counted(registry) == {}


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
