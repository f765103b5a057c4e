"""A client that leaves is nobody's fault, in whatever form the server says so."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.asgi_client import Exchange, Leaving, Message
from tests.support.breaker_state import is_limited, votes
from tests.support.frontends import Asgi, Frontend
from tests.support.scripted_handler import Answer, Script

from recloser import Policy, Registry, State
from recloser.asgi import BreakerMiddleware
from recloser.testing import ManualClock

pytestmark = pytest.mark.anyio

# hypercorn speaks 2.1, uvicorn 2.3; from 2.4 on `send` raises.
FORMS = [
    pytest.param("2.1", Leaving.RECEIVE, id="receive-2.1"),
    pytest.param("2.3", Leaving.RECEIVE, id="receive-2.3"),
    pytest.param("2.3", Leaving.CANCEL, id="cancel-2.3"),
    pytest.param("2.4", Leaving.OSERROR, id="oserror-2.4"),
    pytest.param("2.5", Leaving.CANCEL, id="cancel-2.5"),
]
ENDLESS = (b"chunk",) * 10_000


async def leave(asgi: Asgi, spec: str, leaving: Leaving, after: int) -> Answer:
    return await Exchange(spec=spec, leaving=leaving, leaves_after=after).run(asgi.app)


@pytest.mark.parametrize(("spec", "leaving"), FORMS)
async def test_leaving_a_stream_is_no_vote(
    around_messages: Asgi, script: Script, spec: str, leaving: Leaving
) -> None:
    script.chunks = ENDLESS
    around_messages.heeds_disconnect = True

    await leave(around_messages, spec, leaving, after=3)

    assert votes(around_messages.breaker.metrics()) == {end_of(around_messages, leaving): 1}


def end_of(asgi: Asgi, leaving: Leaving) -> str:
    """How the stream ends: an app that does not listen streams to its end."""
    return "cancelled" if asgi.listens or leaving is not Leaving.RECEIVE else "successes"


@pytest.mark.parametrize(
    ("spec", "leaving"), [form for form in FORMS if form.values[1] is not Leaving.RECEIVE]
)
@pytest.mark.parametrize("after", [0, 1])
async def test_leaving_before_the_body_is_no_vote(
    around_messages: Asgi, spec: str, leaving: Leaving, after: int
) -> None:
    await leave(around_messages, spec, leaving, after)

    # After the start, the last message may already have been handed on.
    expected = ["cancelled", "successes"] if after else ["cancelled"]
    assert votes(around_messages.breaker.metrics()) in [{name: 1} for name in expected]


@pytest.mark.parametrize(("spec", "leaving"), FORMS)
async def test_any_number_of_clients_that_leave_open_nothing(
    around_messages: Asgi, script: Script, spec: str, leaving: Leaving
) -> None:
    script.chunks = ENDLESS
    around_messages.heeds_disconnect = True

    for _ in range(50):
        await leave(around_messages, spec, leaving, after=2)

    assert around_messages.breaker.state is State.CLOSED
    assert votes(around_messages.breaker.metrics()) == {end_of(around_messages, leaving): 50}


async def test_an_app_that_is_not_told_is_judged_by_what_it_did(asgi: Asgi, script: Script) -> None:
    script.chunks = ENDLESS[:5]

    await leave(asgi, "2.3", Leaving.SILENT, after=2)

    assert votes(asgi.breaker.metrics()) == {"successes": 1}


async def test_an_oserror_of_the_apps_own_is_a_failure(http: Frontend, script: Script) -> None:
    script.raises = ConnectionRefusedError("the database is down")

    await http.call()

    assert votes(http.breaker.metrics()) == {"failures": 1}


async def test_an_oserror_of_the_apps_own_midway_is_a_failure(
    http: Frontend, script: Script
) -> None:
    script.raises_midway = ConnectionResetError("the upstream is gone")

    await http.call()

    assert votes(http.breaker.metrics()) == {"failures": 1}


@pytest.mark.parametrize("policy", [Policy(slow_ceiling=2.0)])
async def test_a_client_that_leaves_late_has_waited_and_that_counts(
    around_messages: Asgi, clock: ManualClock, policy: Policy
) -> None:
    async def leave_late(at_most: int) -> None:
        for _ in range(at_most):
            if around_messages.breaker.state is State.OPEN:
                return
            async with around_messages.in_flight() as flight:
                clock.advance(policy.slow_ceiling + 1.0)
                flight.cancel()

    await leave_late(policy.min_failures)
    assert is_limited(around_messages.breaker)
    # It answers nobody, however few requests it has.
    await leave_late(11)

    assert around_messages.breaker.state is State.OPEN
    reason = around_messages.breaker.refusal().reason
    assert reason is not None
    assert reason.rule == "failing"


async def test_a_probe_whose_client_leaves_gives_its_slot_back(
    around_messages: Asgi, script: Script, clock: ManualClock
) -> None:
    script.chunks = ENDLESS
    around_messages.heeds_disconnect = True
    around_messages.breaker.open(for_=1.0)
    clock.advance(2.0)

    await leave(around_messages, "2.4", Leaving.OSERROR, after=3)

    assert around_messages.breaker.state is State.HALF_OPEN
    script.chunks = (b"ok",)
    assert (await around_messages.call()).ok


@pytest.mark.parametrize(("spec", "leaving"), FORMS)
async def test_a_failure_that_was_told_stays_one_when_the_client_leaves(
    around_messages: Asgi, script: Script, spec: str, leaving: Leaving
) -> None:
    script.status = 500
    script.chunks = ENDLESS
    around_messages.heeds_disconnect = True

    await leave(around_messages, spec, leaving, after=3)

    assert votes(around_messages.breaker.metrics()) == {"failures": 1}


class Broken(Exchange):
    """A server that raises errors of its own once its client has gone, as uvloop's transports do.

    Attributes:
        breaks: What raises: `send` or `receive`.
    """

    breaks = "send"

    async def _send(self, message: Message) -> None:
        if self.breaks == "send" and message["type"] == "http.response.body":
            raise RuntimeError("unable to perform operation on a closed transport")
        await super()._send(message)

    async def _receive(self) -> Message:
        if self.breaks == "receive":
            raise RuntimeError("unable to perform operation on a closed transport")
        return await super()._receive()


@pytest.mark.parametrize("spec", ["2.1", "2.3", "2.4"])
async def test_what_the_server_raises_in_any_form_is_no_vote_against_the_handler(
    around_messages: Asgi, script: Script, spec: str
) -> None:
    script.chunks = ENDLESS

    for _ in range(20):
        answer = await Broken(spec=spec).run(around_messages.app)
        # Old versions of Starlette raise it in a group, and others raise an error of their own.
        assert "closed transport" in repr(answer.errors)

    assert around_messages.breaker.state is State.CLOSED
    assert votes(around_messages.breaker.metrics()) == {"ignored": 20}


@pytest.mark.parametrize("wraps", [False, True])
async def test_what_receive_raises_is_no_vote_either(
    registry: Registry, anyio_backend: str, wraps: bool
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await receive()
        except RuntimeError as error:
            if wraps:
                raise ValueError("no body") from error
            # As a framework does: it answers, and raises again.
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"sorry"})
            raise

    guarded = BreakerMiddleware(BreakerMiddleware(app, registry, key=lambda scope: "in"), registry)
    for _ in range(20):
        exchange = Broken("POST")
        exchange.breaks = "receive"
        await exchange.run(guarded)

    for key in ("in", "app"):
        assert votes(registry[key].metrics()) == {"ignored": 20}
