"""GraphQL: the middleware for WSGI, around bare apps."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from tests.support import wsgi_client
from tests.support.graphql_requests import counted, wsgi, wsgi_body

from recloser import Registry
from recloser_adapters.graphql import WsgiGraphQLMiddleware
from recloser_adapters.graphql._request import LONGEST


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


class Left(io.RawIOBase):
    """The body of a client that has left."""

    def read(self, size: int = -1) -> bytes:
        raise OSError("unexpected end of the request")


def test_a_wsgi_app_meets_the_error_of_a_client_that_has_left(registry: Registry) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        try:
            environ["wsgi.input"].read(10)
        except OSError as error:
            start_response("400 Bad Request", [("Content-Type", "application/json")])
            return [json.dumps(str(error)).encode()]
        raise AssertionError

    status, answer = wsgi_body(
        WsgiGraphQLMiddleware(app, registry), b"{}" * 10, **{"wsgi.input": Left()}
    )

    assert (status, answer) == (400, "unexpected end of the request")
    assert counted(registry) == {"GRAPHQL <anonymous>": {"ignored": 1}}


def test_a_wsgi_answer_whose_first_piece_is_empty_is_read(registry: Registry) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "application/json")])
        return iter([b"", b'{"errors": [{"message": "no", "path": ["a"]}], "data": null}'])

    wsgi_body(WsgiGraphQLMiddleware(app, registry), b'{"query": "query Orders {a}"}')

    assert counted(registry) == {"GRAPHQL Orders": {"failures": 1}}
