"""The loop over the attempts of one call."""

from __future__ import annotations

import pytest
from tests.support.failover_fleet import Fleet

from recloser import BreakerOpenError, Registry
from recloser.testing import open_breaker


def test_attempts_are_numbered_and_end_when_one_has_served(registry: Registry) -> None:
    fleet = Fleet(registry, "a", "b", "c")
    seen: list[tuple[str, int]] = []

    for attempt in fleet.failover.attempts(repeatable=True):
        with attempt:
            seen.append((attempt.key, attempt.number))
            if attempt.key == "a":
                raise OSError

    assert seen == [("a", 1), ("b", 2)]


def test_a_call_that_nobody_takes_is_reported_and_refused_at_the_first_step(
    registry: Registry,
) -> None:
    fleet = Fleet(registry, "a", "b")
    for key in "ab":
        open_breaker(registry[key])
    attempts = fleet.failover.attempts()
    assert not fleet.deliveries

    with pytest.raises(BreakerOpenError):
        next(attempts)

    assert fleet.deliveries[0].served_by is None
    assert fleet.deliveries[0].sends == 0
