"""A callee behind a limit of its own: calls come at random, and a queue or a sickness delays them.

Nothing but the limit decides here: no breaker, no detector. What the limit finds is noted, and acted
on in the way that the breaker does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

from recloser._circuit.limit import Limit
from recloser._circuit.new_normal import Usual
from recloser._circuit.round import Finding

USUAL = Usual(median=0.1, high=0.18, known_for=600.0)
THRESHOLD = 0.3
CALM = 5.0
LONGEST_PAUSE = 2.0


def new_limit(
    size: float, now: float = 0.0, *, is_first: bool = False, mute: bool = False
) -> Limit:
    """A limit that begins with a suspicion."""
    limit = Limit(size, CALM, USUAL, 1, now)
    limit.begin_suspicious(range(1, 4) if mute else None, is_first=is_first, piled_up=1)
    return limit


class Callee:
    """Servers that work on the calls in flight.

    Args:
        servers: How many calls are worked on at a time.
        seed: Of its service times, which have a median of 0.1 s and a long tail.
        shared: Whether calls in flight share the servers, and not wait in a queue.
    """

    def __init__(self, servers: int, seed: int = 1, *, shared: bool = False) -> None:
        self._servers = servers
        self._shared = shared
        self._random = Random(seed)
        self.slower = 1.0
        # Seconds of work left, by token, oldest call first.
        self._left: dict[int, float] = {}
        self.busy = 0.0

    def begin(self, token: int) -> None:
        work = 0.1 * self._random.lognormvariate(0.0, 0.25) * self.slower
        self._left[token] = work

    def step(self, seconds: float) -> list[int]:
        """Work for a short time, and return the tokens of the calls that are done."""
        at_work = [*self._left][: None if self._shared else self._servers]
        speed = min(1.0, self._servers / len(at_work)) if at_work else 1.0
        self.busy += seconds * min(len(at_work), self._servers) / self._servers
        for token in at_work:
            self._left[token] -= seconds * speed
        done = [token for token in at_work if self._left[token] <= 0.0]
        for token in done:
            del self._left[token]
        return done


class World:
    """A limit, its callee, and callers.

    Attributes:
        findings: How often each finding was made, except for `Finding.NOTHING`.
        served: Calls that were answered.
        refused: Calls that were refused.
        sizes: The limit after each step.
    """

    def __init__(self, limit: Limit, callee: Callee, rate: float, seed: int = 1) -> None:
        self.limit = limit
        self.callee = callee
        self.rate = rate
        self.findings: Counter[Finding] = Counter()
        self.found_at: dict[Finding, float] = {}
        self.served = self.refused = 0
        self.sizes: list[float] = []
        self.now = 0.0
        self._random = Random(seed)
        self._next = self._random.expovariate(rate)
        self._token = 10
        self._started: dict[int, float] = {}
        self._late: set[int] = set()

    def run(self, seconds: float, *, stop: Callable[[], bool] = lambda: False) -> None:
        """Let it run in steps of 5 ms."""
        until = self.now + seconds
        while self.now < until and not stop():
            self.now += 0.005
            for token in self.callee.step(0.005):
                self._end(token)
            for token, started in self._started.items():
                if token not in self._late and self.now - started > THRESHOLD:
                    self._late.add(token)
                    self._note(self.limit.add_overdue(token, self.now, THRESHOLD))
            while self._next <= self.now:
                self._next += self._random.expovariate(self.rate)
                self._ask()
            self.sizes.append(self.limit.size)

    def _ask(self) -> None:
        self._token += 1
        if not self.limit.admit(self._token, len(self._started), self.now):
            self.refused += 1
            return
        self._started[self._token] = self.now
        self.callee.begin(self._token)

    def _end(self, token: int) -> None:
        latency = self.now - self._started.pop(token)
        self._late.discard(token)
        self.served += 1
        self._note(self.limit.ended(token, latency, self.now, THRESHOLD, ok=True))

    def _note(self, finding: Finding) -> None:
        if finding is Finding.NOTHING:
            return
        self.findings[finding] += 1
        self.found_at.setdefault(finding, self.now)
        severe = self.limit.level >= USUAL.severe
        if finding is Finding.SICK and (severe or self.limit.load.is_likely):
            self.limit.pause(LONGEST_PAUSE)
