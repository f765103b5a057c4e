"""Bottle: what an outbound breaker refuses is no failure of the route."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.support.breaker_state import votes
from tests.support.wsgi_client import Exchange, errors_of

bottle: Any = pytest.importorskip("bottle")

from recloser import BreakerOpenError, Registry, State
from recloser.wsgi import permit_of
from recloser_adapters.bottle import BreakerMiddleware, refuse

REFUSAL = BreakerOpenError("upstream", State.OPEN, None, 20.0)


def guarded(callback: Callable[[], Any], registry: Registry) -> BreakerMiddleware:
    app = bottle.Bottle()
    app.route("/x", callback=callback)
    return BreakerMiddleware(app, registry)


def raises() -> Any:
    raise REFUSAL


def generates() -> Iterator[str]:
    raise REFUSAL
    yield "never"


def aborts() -> Any:
    try:
        raise REFUSAL
    except BreakerOpenError:
        bottle.abort(503, "later")


def answers() -> Any:
    try:
        raise REFUSAL
    except BreakerOpenError as error:
        return refuse(error)


@pytest.mark.parametrize("callback", [raises, generates, answers])
def test_a_refusal_is_answered_by_a_503_that_says_when_to_come_again(
    registry: Registry, callback: Callable[[], Any]
) -> None:
    app = guarded(callback, registry)

    for _ in range(20):
        exchange = Exchange("GET", "/x")
        answer = exchange.run(app)

        assert answer.status == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) >= 20
        assert errors_of(exchange) == ""

    assert votes(registry["GET /x"].metrics()) == {"ignored": 20}


def test_an_abort_that_stands_for_a_refusal_is_no_failure(registry: Registry) -> None:
    app = guarded(aborts, registry)

    assert Exchange("GET", "/x").run(app).status == 503
    assert votes(registry["GET /x"].metrics()) == {"ignored": 1}


def test_another_abort_counts_as_its_status(registry: Registry) -> None:
    app = guarded(lambda: bottle.abort(503), registry)

    Exchange("GET", "/x").run(app)

    assert votes(registry["GET /x"].metrics()) == {"failures": 1}


def test_a_refusal_amid_a_stream_is_no_failure_either(registry: Registry) -> None:
    def stream() -> Iterator[bytes]:
        yield b"one"
        raise REFUSAL

    answer = Exchange("GET", "/x").run(guarded(stream, registry))

    assert (answer.body, answer.error) == (b"one", REFUSAL)
    assert votes(registry["GET /x"].metrics()) == {"ignored": 1}


def test_applications_that_are_mounted_answer_refusals_too(registry: Registry) -> None:
    app, child = bottle.Bottle(), bottle.Bottle()
    child.route("/x", callback=raises)
    app.mount("/shop/", child)

    answer = Exchange("GET", "/shop/x").run(BreakerMiddleware(app, registry))

    assert answer.status == 503
    assert votes(registry["GET /shop/x"].metrics()) == {"ignored": 1}


def test_two_middlewares_around_one_app_install_one_plugin(registry: Registry) -> None:
    app = bottle.Bottle()
    before = len(app.plugins)

    BreakerMiddleware(BreakerMiddleware(app, registry), Registry())

    assert len(app.plugins) == before + 1


def test_a_callback_may_give_its_own_verdict(registry: Registry) -> None:
    def stale() -> str:
        permit_of(bottle.request.environ).failure("stale data served")
        return "old"

    assert Exchange("GET", "/x").run(guarded(stale, registry)).body == b"old"
    assert votes(registry["GET /x"].metrics()) == {"failures": 1}
