"""Attempts on asyncio: when they are cancelled."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from math import inf

import pytest
from tests.support.failover_fleet import Run, hang

from recloser._failover.attempt_timer import AttemptTimer
from recloser.testing import ManualClock


@dataclass
class Timed:
    """An attempt with a limit; after `hopeless_at` it makes sense to give it up."""

    clock: ManualClock
    limit: float = inf
    time_left: float = inf
    hopeless_at: float = inf

    def __post_init__(self) -> None:
        self.began = self.clock()

    @property
    def is_hopeless(self) -> bool:
        return self.clock() - self.began >= self.hopeless_at


async def cancelled_after(timed: Timed, look_after: float) -> float:
    timer = await AttemptTimer.started(timed, look_after)
    assert timer is not None
    try:
        await hang()
    except asyncio.CancelledError as error:
        with pytest.raises(TimeoutError):
            await timer.end(type(error), error, None)
    return timed.clock() - timed.began


@pytest.mark.parametrize(
    ("changed", "after"),
    [
        ({"hopeless_at": 0.0, "limit": 3.0}, 1.0),
        ({"hopeless_at": 0.0, "limit": 0.5}, 0.5),
        ({"hopeless_at": 3.0, "limit": 3.0}, 3.0),
        ({"hopeless_at": 4.1, "limit": 3.0}, 4.25),
        ({"time_left": 2.5}, 2.5),
        ({"look_after": inf, "limit": 2.5}, 2.5),
    ],
)
def test_it_cancels_when_that_makes_sense_or_the_budget_ends(
    clock: ManualClock, run: Run, changed: dict[str, float], after: float
) -> None:
    look_after = changed.pop("look_after", 1.0)
    timed = Timed(clock, **changed)

    assert run(cancelled_after(timed, look_after)) == pytest.approx(after, rel=0.01)


def test_once_stopped_it_cancels_nothing(clock: ManualClock, run: Run) -> None:
    async def served() -> str:
        timer = await AttemptTimer.started(Timed(clock, hopeless_at=0.0, limit=1.0), 1.0)
        assert timer is not None
        timer.stop()
        await asyncio.sleep(100.0)
        await timer.end(None, None, None)
        return "served"

    assert run(served()) == "served"
