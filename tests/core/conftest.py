"""What the tests of the core share, beside what every test does."""

from __future__ import annotations

import pytest

from recloser import Breaker, Policy
from recloser._circuit.machine import Circuit
from recloser.testing import ManualClock, no_jitter


@pytest.fixture
def breaker(clock: ManualClock, policy: Policy) -> Breaker:
    """A breaker of no registry."""
    return Breaker("k", policy, clock=clock, random=no_jitter)


@pytest.fixture
def decisions(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The times of the decisions that are made, which are what takes a lock; in seconds."""
    made: list[float] = []
    catch_up = Circuit.catch_up

    def counted(circuit: Circuit, now: float) -> None:
        made.append(now)
        catch_up(circuit, now)

    monkeypatch.setattr(Circuit, "catch_up", counted)
    return made
