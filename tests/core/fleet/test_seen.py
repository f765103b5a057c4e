"""What a leader knows of one worker."""

from __future__ import annotations

import pytest

from recloser._fleet.seen import Seen


def test_of_a_worker_that_has_told_nothing_nothing_is_assumed() -> None:
    seen = Seen()

    assert (seen.calls, seen.alone, seen.asked) == ({}, "", 0.0)


def test_two_workers_share_no_calls() -> None:
    assert Seen().calls is not Seen().calls


@pytest.mark.parametrize(("pace", "seconds"), [(0.05, 1.0), (0.5, 2.0)])
def test_it_is_silent_after_a_second_or_four_paces(pace: float, seconds: float) -> None:
    seen = Seen()
    seen.written = 8.0

    assert not seen.is_silent(8.0 + seconds, pace)
    assert seen.is_silent(8.001 + seconds, pace)


def test_it_is_small_since_a_fleet_may_be_large() -> None:
    with pytest.raises(AttributeError):
        Seen().note = 7  # type: ignore[attr-defined]
