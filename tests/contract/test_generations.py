"""What was admitted before a change of state has no say after it."""

from __future__ import annotations

import pytest
from tests.support.frontends import Frontend
from tests.support.scripted_handler import OopsError, Script

from recloser import State
from recloser.testing import ManualClock

pytestmark = pytest.mark.anyio

MANY = 12  # more failures than any breaker bears


async def end_late(frontend: Frontend, script: Script, error: Exception | None) -> None:
    """Begin calls, open and let recover, and let the calls end only then."""
    async with frontend.several_in_flight(MANY):
        frontend.breaker.open()
        frontend.breaker.reset()
        script.raises = error
    script.raises = None


async def test_late_failures_do_not_open_it_again(frontend: Frontend, script: Script) -> None:
    await end_late(frontend, script, OopsError("of yesterday"))

    assert frontend.breaker.state is State.CLOSED
    assert frontend.breaker.metrics().in_flight == 0
    assert (await frontend.call()).ok


async def test_late_successes_do_not_close_it(frontend: Frontend, script: Script) -> None:
    async with frontend.several_in_flight(MANY):
        frontend.breaker.open()

    assert frontend.breaker.state is State.OPEN
    assert (await frontend.call()).refused


async def test_late_successes_are_no_good_probes(
    frontend: Frontend, script: Script, clock: ManualClock
) -> None:
    async with frontend.several_in_flight(MANY):
        frontend.breaker.open(for_=1.0)
        clock.advance(2.0)
        assert (await frontend.call()).ok
        assert frontend.breaker.state is State.HALF_OPEN

    assert frontend.breaker.state is State.HALF_OPEN


async def test_late_failures_are_no_bad_probes(
    frontend: Frontend, script: Script, clock: ManualClock
) -> None:
    async with frontend.several_in_flight(MANY):
        frontend.breaker.open(for_=1.0)
        clock.advance(2.0)
        assert (await frontend.call()).ok
        script.raises = OopsError("of yesterday")

    assert frontend.breaker.state is State.HALF_OPEN
