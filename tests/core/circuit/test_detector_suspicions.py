"""The detector: what belongs to a suspicion, and what to the next one."""

from __future__ import annotations

import pytest
from tests.support.detectors import NOW, SLOW, known_detector, vote

from recloser import Policy
from recloser._circuit.detector import Detector
from recloser._circuit.votes import Vote


@pytest.mark.parametrize("kind", [Vote.FAILED, Vote.GOOD, Vote.SLOW])
def test_calls_count_after_late_ones_that_were_not_enough(policy: Policy, kind: Vote) -> None:
    detector = known_detector(policy)
    assert not detector.evidence.take_for_slow([3], NOW)

    assert not vote(detector, kind, 4)

    assert detector.evidence.calls == 2


def test_only_where_the_floor_is_the_threshold_calls_are_hardly_slow() -> None:
    for floor, expected in ((0.22, True), (0.15, False)):
        detector = Detector(Policy(slow_floor=floor))
        detector.learn_quiet([0.1] * 100)
        assert detector.refresh(NOW)

        vote(detector, Vote.SLOW, 1, SLOW)

        assert (detector.baseline.threshold <= floor) == expected
        assert detector.is_hardly_slow == expected


def test_late_calls_that_were_not_enough_are_forgotten_after_good_ones(policy: Policy) -> None:
    detector = known_detector(policy)
    assert not detector.evidence.take_for_slow([3], NOW)

    for token in range(4, 300):
        vote(detector, Vote.GOOD, token)

    assert detector.evidence.idle
    assert detector.held == ()
