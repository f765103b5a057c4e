"""The WSGI middleware: what a refused client gets, and what an app that answers it sees."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.passing import never, passing

from recloser import Registry
from recloser.wsgi import REFUSAL, BreakerMiddleware

Passing = passing(BreakerMiddleware, "PATH_INFO")
NotPassing = passing(BreakerMiddleware, "PATH_INFO", passes=False)


def ask(app: Any, method: str = "GET", **more: str) -> tuple[list[str], bytes]:
    """The statuses that the app began with, and its body."""
    statuses: list[str] = []
    environ = {"REQUEST_METHOD": method, "SCRIPT_NAME": "", "PATH_INFO": "/x", **more}
    body = app(environ, lambda status, headers, failure=None: statuses.append(status))
    return statuses, b"".join(body)


def broken(environ: Any, start_response: Any) -> list[bytes]:
    raise OSError


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("answer", [None, broken], ids=["ours", "the user's fails"])
def test_a_refused_request_gets_a_503_and_head_no_body(
    registry: Registry, method: str, answer: Any
) -> None:
    registry["app"].open()

    statuses, body = ask(BreakerMiddleware(never, registry, on_refuse=answer), method)

    assert statuses == ["503 Service Unavailable"]
    assert (body == b"") is (method == "HEAD")
    assert registry.faults == (answer is not None)


def test_the_users_answer_knows_why_it_answers(registry: Registry) -> None:
    refusals: list[Any] = []

    def on_refuse(environ: Any, start_response: Any) -> list[bytes]:
        refusals.append(environ[REFUSAL])
        start_response("429 Too Many Requests", [])
        return [b"later"]

    registry["app"].open("for repair")

    answer = ask(BreakerMiddleware(never, registry, on_refuse=on_refuse))

    assert answer == (["429 Too Many Requests"], b"later")
    assert refusals[0].key == "app"


@pytest.mark.parametrize("kind", [Passing, NotPassing], ids=["passing", "not passing"])
@pytest.mark.parametrize(
    "origin", [{}, {"HTTP_ORIGIN": "https://a.example"}], ids=["same", "other"]
)
@pytest.mark.parametrize("answers", [False, True])
def test_only_requests_of_another_origin_are_passed_on_and_only_where_that_is_asked_for(
    registry: Registry, kind: Any, origin: dict[str, str], answers: bool
) -> None:
    def on_refuse(environ: Any, start_response: Any) -> list[bytes]:
        start_response("429 Too Many Requests", [])
        return []

    registry["app"].open()
    guarded = kind(never, registry, on_refuse=on_refuse if answers else None)

    (status,), _ = ask(guarded, **origin)

    assert status[:3] == ("429" if answers else "503")
    assert guarded.passed == ["/x"] * (bool(origin) and kind is Passing)
    assert registry.faults == 0
