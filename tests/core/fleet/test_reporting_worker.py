"""What a leader knows of one worker."""

from __future__ import annotations

import pytest

from recloser._fleet.reporting_worker import ReportingWorker


def test_of_a_worker_that_has_told_nothing_nothing_is_assumed() -> None:
    seen = ReportingWorker()

    assert (seen.calls, seen.alone, seen.asked) == ({}, "", 0.0)


def test_two_workers_share_no_calls() -> None:
    assert ReportingWorker().calls is not ReportingWorker().calls


@pytest.mark.parametrize(("pace", "seconds"), [(0.05, 1.0), (0.5, 2.0)])
def test_it_is_silent_after_a_second_or_four_paces(pace: float, seconds: float) -> None:
    seen = ReportingWorker()
    seen.written = 8.0

    assert not seen.is_silent(8.0 + seconds, pace)
    assert seen.is_silent(8.001 + seconds, pace)


def test_it_is_small_since_a_fleet_may_be_large() -> None:
    with pytest.raises(AttributeError):
        ReportingWorker().note = 7  # type: ignore[attr-defined]
