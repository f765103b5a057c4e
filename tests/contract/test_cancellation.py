"""Cancellation passes unchanged, is nobody's fault, and leaves nothing behind."""

from __future__ import annotations

import anyio
import pytest
from tests.support.breaker_state import votes
from tests.support.frontends import Asgi, AsyncCallFrontend, AsyncFrontend, Frontend
from tests.support.scripted_handler import Script

from recloser import Policy, State
from recloser.testing import ManualClock

pytestmark = pytest.mark.anyio


async def cancelled_call(frontend: Frontend, script: Script) -> None:
    """A call that is cancelled inside its handler."""
    with anyio.CancelScope() as scope:
        script.on_call = scope.cancel
        await frontend.call()
    script.on_call = None
    assert scope.cancelled_caught


def times(frontend: Frontend) -> int:
    """Ten thousand where a call is cheap; a framework takes a hundred times as long."""
    cheap = type(frontend) is Asgi or isinstance(frontend, AsyncCallFrontend)
    return 10_000 if cheap else 300


async def test_a_cancelled_call_is_no_vote(cancellable: AsyncFrontend, script: Script) -> None:
    await cancelled_call(cancellable, script)

    assert votes(cancellable.breaker.metrics()) == {"cancelled": 1}


async def test_any_number_of_cancelled_calls_opens_nothing(
    cancellable: AsyncFrontend, script: Script
) -> None:
    for _ in range(100):
        await cancelled_call(cancellable, script)

    assert cancellable.breaker.state is State.CLOSED
    assert votes(cancellable.breaker.metrics()) == {"cancelled": 100}


async def test_cancelled_probes_leak_nothing_and_decide_nothing(
    cancellable: AsyncFrontend, script: Script, clock: ManualClock
) -> None:
    cancellable.breaker.open(for_=1.0)
    clock.advance(2.0)

    for _ in range(times(cancellable)):
        await cancelled_call(cancellable, script)

    assert votes(cancellable.breaker.metrics()) == {"cancelled": times(cancellable)}
    assert cancellable.breaker.state is State.HALF_OPEN
    for _ in range(10):
        assert (await cancellable.call()).ok
    assert cancellable.breaker.metrics().state is State.CLOSED


@pytest.mark.parametrize("policy", [Policy(half_open_requests=5)])
async def test_no_more_probes_than_the_window_get_through(
    frontend: Frontend, script: Script, clock: ManualClock, policy: Policy
) -> None:
    frontend.breaker.half_open()

    async with frontend.several_in_flight(policy.half_open_requests):
        for _ in range(200):
            assert (await frontend.call()).refused

    assert script.calls == policy.half_open_requests


async def test_a_cancelled_flight_gives_its_slot_back_at_once(
    cancellable: AsyncFrontend, script: Script, clock: ManualClock
) -> None:
    cancellable.breaker.open(for_=1.0)
    clock.advance(2.0)

    async with cancellable.in_flight() as flight:
        assert (await cancellable.call()).refused
        flight.cancel()

    assert (await cancellable.call()).ok
