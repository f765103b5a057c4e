"""Breakers inside breakers: a call counts once per breaker, and a refusal is nobody's failure."""

from __future__ import annotations

from typing import Any

import anyio.lowlevel
import pytest
from tests.support.breaker_state import votes
from tests.support.frontends import Asgi, AsyncFrontend, Frontend
from tests.support.scripted_handler import OopsError, Script

import recloser.asgi
from recloser import Registry
from recloser.testing import ManualClock

pytestmark = pytest.mark.anyio


def wrapped(http: Frontend, registry: Registry, key: str) -> Any:
    """Put one more middleware around a front end's app."""
    return http.wrap(registry, key)


def copying(inner: Any) -> Any:
    """An app that hands a copy of its scope to another."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await inner(dict(scope), receive, send)

    return app


async def test_the_same_breaker_twice_counts_once(http: Frontend, script: Script) -> None:
    wrapped(http, http.registry, http.key)

    await http.call()
    script.status = 500
    await http.call()

    assert votes(http.breaker.metrics()) == {"successes": 1, "failures": 1}


async def test_the_same_breaker_around_another_counts_once(http: Frontend) -> None:
    wrapped(http, http.registry, "tenant")
    wrapped(http, http.registry, http.key)

    await http.call()

    assert votes(http.breaker.metrics()) == {"successes": 1}
    assert votes(http.registry["tenant"].metrics()) == {"successes": 1}


async def test_the_outer_breakers_permit_is_found_again_after_the_inner_one(
    asgi: Asgi, script: Script
) -> None:
    inner = asgi.app

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await inner(scope, receive, lambda message: anyio.lowlevel.checkpoint())
        recloser.asgi.permit_of(scope).failure("stale data served")

    asgi.app = app
    wrapped(asgi, asgi.registry, "outer")

    await asgi.call()

    assert votes(asgi.registry["outer"].metrics()) == {"failures": 1}


async def test_the_same_breaker_twice_needs_one_probe(
    http: Frontend, script: Script, clock: ManualClock
) -> None:
    wrapped(http, http.registry, http.key)
    http.breaker.open(for_=1.0)
    clock.advance(2.0)

    assert (await http.call()).ok


async def test_two_keys_in_one_registry_are_two_breakers(http: Frontend, script: Script) -> None:
    wrapped(http, http.registry, "tenant")
    script.status = 500

    await http.call()

    assert votes(http.breaker.metrics()) == {"failures": 1}
    assert votes(http.registry["tenant"].metrics()) == {"failures": 1}


async def test_two_registries_are_two_breakers(
    http: Frontend, script: Script, clock: ManualClock
) -> None:
    other = Registry(clock=clock)
    wrapped(http, other, http.key)

    await http.call()

    assert votes(http.breaker.metrics()) == {"successes": 1}
    assert votes(other[http.key].metrics()) == {"successes": 1}


async def test_a_refusal_inside_is_no_failure_outside(http: Frontend, clock: ManualClock) -> None:
    other = Registry(clock=clock)
    wrapped(http, other, "outer")
    http.breaker.open()

    for _ in range(20):
        assert (await http.call()).refused

    assert votes(other["outer"].metrics()) == {"ignored": 20}


async def test_a_refusal_inside_is_no_failure_at_any_level_outside(
    http: Frontend, clock: ManualClock
) -> None:
    other = Registry(clock=clock)
    for key in ("near", "far"):
        wrapped(http, other, key)
    http.breaker.open()

    assert (await http.call()).refused

    assert votes(other["near"].metrics()) == {"ignored": 1}
    assert votes(other["far"].metrics()) == {"ignored": 1}


async def test_a_refusal_by_on_refuse_is_no_failure_outside(
    http: Frontend, clock: ManualClock
) -> None:
    async def asgi_answer(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body"})

    def wsgi_answer(environ: Any, start_response: Any) -> Any:
        start_response("500 Later", [("Content-Type", "text/plain")])
        return []

    http.configure(on_refuse=asgi_answer if isinstance(http, AsyncFrontend) else wsgi_answer)
    other = Registry(clock=clock)
    wrapped(http, other, "outer")
    http.breaker.open()

    assert (await http.call()).status == 500
    assert votes(other["outer"].metrics()) == {"ignored": 1}


async def test_a_copied_scope_does_not_hide_a_refusal(asgi: Asgi, clock: ManualClock) -> None:
    asgi.app = copying(asgi.app)
    other = Registry(clock=clock)
    wrapped(asgi, other, "outer")
    asgi.breaker.open()

    assert (await asgi.call()).refused
    assert votes(other["outer"].metrics()) == {"ignored": 1}


async def test_no_copy_at_any_level_hides_a_refusal(asgi: Asgi, clock: ManualClock) -> None:
    other = Registry(clock=clock)
    for key in ("near", "far"):
        asgi.app = copying(asgi.app)
        wrapped(asgi, other, key)
    asgi.breaker.open()

    assert (await asgi.call()).refused
    assert votes(other["near"].metrics()) == {"ignored": 1}
    assert votes(other["far"].metrics()) == {"ignored": 1}


async def test_a_refused_request_says_so_to_whoever_is_further_out(http: Frontend) -> None:
    requests = http.remember_requests()
    http.breaker.open()

    assert (await http.call()).refused
    assert requests[0]["recloser.refused"] is True


async def test_an_app_that_asks_another_twice_is_guarded_twice(asgi: Asgi, script: Script) -> None:
    """A middleware that tries again does so with the scope that it has."""
    inner = asgi.app

    async def retrying(scope: Any, receive: Any, send: Any) -> None:
        try:
            await inner(scope, receive, send)
        except OopsError:
            script.raises = None
            await inner(scope, receive, send)

    if asgi.key != "app":
        asgi.configure()
        return
    asgi.app = retrying
    script.raises = OopsError()

    assert (await asgi.call()).ok
    assert votes(asgi.breaker.metrics()) == {"successes": 1, "failures": 1}


async def test_a_request_marked_as_refused_is_no_failure(http: Frontend, script: Script) -> None:
    """By a decorator or an error handler, which have no permit to tell."""
    requests = http.remember_requests()
    script.status = 503
    script.on_call = lambda: requests[-1].update({"recloser.refused": True})

    assert (await http.call()).status == 503
    assert votes(http.breaker.metrics()) == {"ignored": 1}
