"""Calls of which something is known, as `Explained` sees them: they end one at a time."""

from __future__ import annotations

from math import inf
from random import Random

from recloser import Outcome, Policy
from recloser._circuit.baseline import Baseline
from recloser._circuit.counts import Counts
from recloser._circuit.explained import Explained
from recloser._circuit.in_flight import InFlight, Timing
from recloser._circuit.kinds import NOTHING, Kind
from recloser._circuit.votes import Ending, Vote
from recloser._stall import StallWatch

POLICY = Policy(slow_ceiling=1000.0)
BIG: Kind = ("big", None)
SMALL: Kind = ("small", None)


class Learner:
    """An `Explained` whose calls end at once, in comparable latencies or as they took."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.baseline = Baseline(policy)
        self.explained = Explained(self.baseline, policy)
        self.calls = InFlight()
        self.random = Random(1)
        self.token = 0

    def answer(self, kind: Kind, latency: float, *, calm: bool = True) -> tuple[Vote, float]:
        """End a call, and return its vote and its comparable latency."""
        self.token += 1
        call = Timing()
        call.started = call.answered = 0.0
        self.calls.voting[self.token] = call
        if kind != NOTHING:
            self.explained.kinds[self.token] = kind
        ending = Ending(self.token, Outcome.SUCCESS, latency, latency)
        vote = self.explained.vote(ending, self.calls, Counts(), StallWatch(), calm=calm)
        return vote, ending.latency

    def answers(
        self, kinds: dict[Kind, float], calls: int, *, calm: bool = True, sigma: float = 0.3
    ) -> None:
        """End calls of each kind in turn, with these typical latencies."""
        for _ in range(calls):
            for kind, typical in kinds.items():
                self.answer(kind, typical * self.random.lognormvariate(0.0, sigma), calm=calm)

    def apart(self) -> float:
        return self.explained.ratio(BIG) / self.explained.ratio(SMALL)

    def know(self, typical: float) -> None:
        """Teach the baseline that calls without a label take so many seconds."""
        self.baseline.learn([typical] * 50)
        self.baseline.refresh(0.0)

    def begin(self, token: int, started: float = 0.0) -> Timing:
        """Begin a call without a label that can become overdue."""
        self.calls.voting[token] = call = Timing()
        call.started, call.answered = started, inf
        return call
