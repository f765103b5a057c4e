"""GraphQL: the middlewares around real servers of GraphQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.support.graphql_requests import (
    Answer,
    asgi,
    asgi_get,
    counted,
    wsgi,
)

from recloser import Outcome, Registry, State
from recloser_adapters.graphql import GraphQLMiddleware, WsgiGraphQLMiddleware


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
