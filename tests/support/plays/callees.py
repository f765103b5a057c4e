"""How callees answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import exp, inf

from tests.support.plays.world import Answer, Callee, Luck, World


def good(median: float = 0.1, sigma: float = 0.3, **how: object) -> Callee:
    """Answers, with latencies that are log-normal."""

    def answer(world: World, luck: Luck) -> Answer:
        return Answer(median * exp(sigma * luck.normal), **how)  # type: ignore[arg-type]

    return answer


def failing(
    after: float = 0.02, error: str | None = "HTTP 502", wait: float | None = None
) -> Callee:
    """Fails."""
    return good(after, 0.3, end="failure", error=error, wait=wait)


def throttling(wait: float | None = None, *, quota: bool = False, after: float = 0.03) -> Callee:
    """Asks for a pause."""
    return good(after, 0.2, end="throttled", wait=wait, quota=quota)


def hanging(world: World, luck: Luck) -> Answer:
    """Never answers."""
    return Answer(inf)


def ignoring(after: float = 0.05, *, marked: bool = True) -> Callee:
    """Answers that it is the caller's own fault."""

    def answer(world: World, luck: Luck) -> Answer:
        took = after * exp(0.2 * luck.normal)
        return Answer(took, "ignore", begins=0.9 * took if marked else inf)

    return answer


def mixed(share: float, one: Callee, other: Callee) -> Callee:
    """One callee for a share of the calls, another one for the rest."""

    def answer(world: World, luck: Luck) -> Answer:
        if luck.share < share:
            return one(world, Luck(luck.normal, luck.share / share))
        return other(world, Luck(luck.normal, (luck.share - share) / (1.0 - share)))

    return answer


def ramp(seconds: float, factor: float, median: float = 0.1) -> Callee:
    """Becomes slower, from the first call on."""
    began: list[float] = []

    def answer(world: World, luck: Luck) -> Answer:
        began.append(world.now)
        part = min((world.now - began[0]) / seconds, 1.0)
        return Answer(median * factor**part * exp(0.3 * luck.normal))

    return answer


def turns(seconds: float, one: Callee, other: Callee) -> Callee:
    """Two callees in turns of some seconds."""

    def answer(world: World, luck: Luck) -> Answer:
        return (other if world.now // seconds % 2 else one)(world, luck)

    return answer


def streaming(
    pieces: int, gap: float, first: float = 0.2, end: str = "success", stalls: float = 0.0
) -> Callee:
    """Answers in pieces; a share of the streams stalls halfway."""

    def answer(world: World, luck: Luck) -> Answer:
        spread = exp(0.3 * luck.normal)
        gaps = [gap * spread * (1.0 + (number * 7 % 5) / 5.0) for number in range(pieces)]
        if luck.share < stalls:
            gaps[pieces // 2] = inf
        return Answer(first * spread, end, gaps=tuple(gaps))

    return answer


@dataclass
class Queue:
    """A callee of some servers with one queue.

    Attributes:
        servers: How many calls it works on at a time.
        work: Median seconds that one takes.
        longest: If more calls than that wait, it sheds them: they fail at once.
    """

    servers: int
    work: float = 0.1
    longest: float = inf
    _free_at: list[float] = field(default_factory=list)

    def __call__(self, world: World, luck: Luck) -> Answer:
        while self._free_at and self._free_at[0] <= world.now:
            heappop(self._free_at)
        if len(self._free_at) >= self.servers + self.longest:
            return Answer(0.005, "failure", error="HTTP 503")
        busy = sorted(self._free_at)
        begins = busy[-self.servers] if len(busy) >= self.servers else world.now
        ends = begins + self.work * exp(0.25 * luck.normal)
        heappush(self._free_at, ends)
        return Answer(ends - world.now)

    def fill(self, world: World, calls: int, work: float) -> None:
        """Let others have it work on their calls, of so many seconds each."""
        for _ in range(calls):
            busy = sorted(each for each in self._free_at if each > world.now)
            begins = busy[-self.servers] if len(busy) >= self.servers else world.now
            heappush(self._free_at, begins + work)
