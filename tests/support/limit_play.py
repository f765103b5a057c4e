"""Plays single calls to a limit, without a callee."""

from __future__ import annotations

from tests.support.limited_callee import CALM, THRESHOLD, USUAL, new_limit

from recloser._circuit.limit import Limit
from recloser._circuit.round import Finding

FAST, SLOW = 0.1, 0.4
"""Latencies in seconds. `SLOW` is below 4.5 usual medians, which would be severe."""
SEVERE = 0.6


class Play:
    """Plays calls to a limit, and collects what it finds."""

    def __init__(self, limit: Limit, now: float = 0.0) -> None:
        self.limit = limit
        self.now = now
        self.token = 10
        self.findings: list[Finding] = []

    def ask(self, running: int = 0) -> int:
        """Ask for one call; return its token, or 0 if it is refused."""
        self.token += 1
        return self.token if self.limit.admit(self.token, running, self.now) else 0

    def refuse(self, calls: int) -> None:
        """Ask for calls while the limit is full."""
        for _ in range(calls):
            assert not self.ask(int(self.limit.size) + 1)

    def end(self, token: int, latency: float, *, ok: bool = True) -> Finding:
        finding = self.limit.ended(token, latency, self.now, THRESHOLD, ok=ok)
        self.findings.append(finding)
        return finding

    def answer(
        self, *latencies: float, running: int = 0, ok: bool = True, every: float = 0.01
    ) -> Finding:
        """Make calls one after another; return what the last one shows."""
        finding = Finding.NOTHING
        for latency in latencies:
            token = self.ask(running)
            assert token
            self.now += every
            finding = self.end(token, latency, ok=ok)
        return finding

    def round(self, latency: float, *, running: int = 0) -> Finding:
        """Play calls of the same latency until a round is complete; return what it shows."""
        before = self.limit._round
        for _ in range(40):
            finding = self.answer(latency, running=running)
            if self.limit._round is not before:
                return finding
        raise AssertionError("no round takes so many answers")


def limited(size: float = 8.0, *, is_first: bool = False, mute: bool = False) -> Play:
    """A limit of exactly this size."""
    limit = new_limit(size, is_first=is_first, mute=mute)
    limit.size = size
    return Play(limit)


def returning(size: float = 2.0) -> Play:
    """A limit that begins with a recovery, so that the load returns."""
    return Play(Limit(size, CALM, USUAL, 1, 0.0))


def paused(longest: float = 4.0, level: float = 0.5) -> Play:
    play = limited(8.0)
    play.limit.level = level
    play.limit.pause(longest)
    return play
