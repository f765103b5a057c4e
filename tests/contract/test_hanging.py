"""A handler that hangs is bad while it hangs, once, and blocks no recovery."""

from __future__ import annotations

import pytest
from tests.support.breaker_state import is_limited
from tests.support.frontends import Frontend
from tests.support.scripted_handler import OopsError, Script

from recloser import Policy, State
from recloser.testing import ManualClock

# Nothing comes back: silence for so many times the slow threshold.
MUTE_AFTER = 8.0

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("policy", [Policy(slow_ceiling=2.0, slow_floor=0.05)]),
]


async def test_it_admits_no_more_while_all_calls_still_hang_and_then_opens(
    frontend: Frontend, clock: ManualClock, policy: Policy
) -> None:
    async with frontend.several_in_flight(8):
        clock.advance(policy.slow_ceiling + 0.1)
        assert (await frontend.call()).refused
        assert is_limited(frontend.breaker)
        clock.advance(MUTE_AFTER * policy.slow_ceiling - 0.2)
        assert (await frontend.call()).refused
        assert is_limited(frontend.breaker)

        clock.advance(0.4)
        answer = await frontend.call()

        assert answer.refused
        assert frontend.breaker.state is State.OPEN
        reason = frontend.breaker.refusal().reason
        assert reason is not None
        assert reason.rule == "mute"
        assert frontend.breaker.metrics().in_flight == 8


@pytest.mark.parametrize("ending", [None, OopsError("timed out")])
async def test_each_hanging_call_counts_once(
    frontend: Frontend,
    script: Script,
    clock: ManualClock,
    policy: Policy,
    ending: Exception | None,
) -> None:
    hanging = policy.min_failures - 1
    async with frontend.several_in_flight(hanging):
        for _ in range(5):
            clock.advance(policy.slow_ceiling + 0.1)
            assert (await frontend.call()).ok
        script.raises = ending

    assert frontend.breaker.state is State.CLOSED
    metrics = frontend.breaker.metrics()
    assert metrics.in_flight == 0


async def test_a_hanging_probe_does_not_wedge_it(
    frontend: Frontend, script: Script, clock: ManualClock, policy: Policy
) -> None:
    frontend.breaker.open(for_=1.0)
    clock.advance(1.1)

    async with frontend.in_flight():
        assert (await frontend.call()).refused

        # Its lease is over; the breaker then waits, and looks again.
        clock.advance(policy.slow_ceiling + 0.1)
        assert (await frontend.call()).refused
        clock.advance(policy.max_open_for + 0.1)
        for _ in range(policy.half_open_requests):
            assert (await frontend.call()).ok

        assert frontend.breaker.state is State.CLOSED
        assert script.calls == 1 + policy.half_open_requests

    assert frontend.breaker.state is State.CLOSED
