"""What the tests of the core share, beside what every test does."""

from __future__ import annotations

import pytest

from recloser import Breaker, Policy
from recloser.testing import ManualClock, no_jitter


@pytest.fixture
def breaker(clock: ManualClock, policy: Policy) -> Breaker:
    """A breaker of no registry."""
    return Breaker("k", policy, clock=clock, random=no_jitter)
