"""A detector that knows what is normal, and single votes for it."""

from __future__ import annotations

from recloser import Policy
from recloser._circuit.detector import Detector
from recloser._circuit.in_flight import InFlight
from recloser._circuit.votes import Ending, Vote
from recloser._outcome import Outcome

NORMAL = 0.1
SLOW = 0.25  # above a threshold of 0.2, and below twice that
VERY_SLOW = 0.5
NOW = 50.0


def known_detector(policy: Policy) -> Detector:
    """It knows that 0.1 s is normal, so that 0.2 s is slow, and nothing is suspicious."""
    detector = Detector(policy)
    detector.learn_quiet([NORMAL] * 100)
    assert detector.refresh(NOW)
    assert 0.2 <= detector.baseline.threshold < SLOW
    return detector


def vote(detector: Detector, vote: Vote, token: int, latency: float = NORMAL) -> bool:
    """Count a call; return whether the evidence is enough."""
    outcome = Outcome.FAILURE if vote is Vote.FAILED else Outcome.SUCCESS
    if vote is Vote.GOOD:
        detector.good(token, latency, NOW, latency)
        return False
    return detector.vote(vote, Ending(token, outcome, latency, NOW), InFlight())
