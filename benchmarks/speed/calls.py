"""The cost of a guarded function call, admitted and refused, sync and async, next to the peers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from recloser import Breaker, BreakerOpenError, Registry

from .floors import FLOOR, WithFloor
from .peers import Peer
from .report import Goal, Reach, Section, timed
from .rounds import Candidate, Effort, awaited, measure, plain

OURS = "recloser, decorator"
BLOCK = "recloser, with"
BLOCK_FLOOR = f"{FLOOR} of with"
MOST_OF_BLOCK = 1.4  # the project's goal for a block, as a multiple of a decorated call


def _nothing() -> None:
    pass


async def _nothing_async() -> None:
    pass


def sync_calls(peers: list[Peer], effort: Effort, tick: Callable[[], None]) -> Section:
    """Time each way to guard a function."""
    breaker = Breaker("with")
    registry = Registry()

    def with_block() -> None:
        with breaker:
            pass

    floor = WithFloor()

    def floor_block() -> None:
        with floor:
            pass

    def two_steps() -> None:
        breaker.acquire().success()

    def keyed() -> None:
        registry["provider"].acquire().success()

    candidates = [
        Candidate("bare call", plain(_nothing)),
        Candidate(OURS, plain(Breaker("decorator")(_nothing))),
        Candidate(BLOCK, plain(with_block)),
        Candidate(BLOCK_FLOOR, plain(floor_block)),
        Candidate("recloser, acquire() and success()", plain(two_steps)),
        Candidate("recloser, registry[key] too", plain(keyed)),
    ]
    candidates += [Candidate(peer.name, plain(peer.guard(_nothing))) for peer in peers]
    timings = measure(candidates, effort, tick)
    decorated = timings.median(OURS)
    most = MOST_OF_BLOCK * decorated - timings.median("bare call")
    section = timed(
        "A guarded call", timings, over="bare call", reach={BLOCK: Reach(BLOCK_FLOOR, most)}
    )
    section.goals.append(
        Goal("a block, to a decorated call", timings.median(BLOCK) / decorated, MOST_OF_BLOCK)
    )
    ours = timings.added(OURS, "bare call")
    for peer, limit in (("circuitbreaker", 1.6), ("nopanic, slow calls too", 0.7)):
        if peer in timings.names:
            ratio = ours / timings.added(peer, "bare call")
            section.goals.append(Goal(f"a guarded call, to {peer}'s added cost", ratio, limit))
    return section


def async_calls(peers: list[Peer], effort: Effort, tick: Callable[[], None]) -> Section:
    """Time each way to guard a coroutine function."""
    breaker = Breaker("async with")

    async def with_block() -> None:
        async with breaker:
            pass

    with asyncio.Runner() as runner:
        candidates = [
            Candidate("bare await", awaited(runner, _nothing_async)),
            Candidate(OURS, awaited(runner, Breaker("decorator")(_nothing_async))),
            Candidate("recloser, async with", awaited(runner, with_block)),
        ]
        candidates += [
            Candidate(peer.name, awaited(runner, peer.guard_async(_nothing_async)))
            for peer in peers
            if peer.guard_async is not None
        ]
        timings = measure(candidates, effort, tick)
    section = timed("A guarded coroutine", timings, over="bare await")
    if "circuitbreaker" in timings.names:
        ratio = timings.added(OURS, "bare await") / timings.added("circuitbreaker", "bare await")
        section.goals.append(
            Goal("a guarded coroutine, to circuitbreaker's added cost", ratio, 1.4)
        )
    return section


def refused_calls(effort: Effort, tick: Callable[[], None]) -> Section:
    """Time the refusal of an open breaker, with and without the exception."""
    breaker = Breaker("open")
    breaker.open(for_=3600.0)

    def failing() -> None:
        raise ConnectionError

    def caught(call: Callable[[], object]) -> Callable[[], None]:
        def attempt() -> None:
            # contextlib.suppress would add its own cost to every figure.
            try:  # noqa: SIM105 - see above
                call()
            except (BreakerOpenError, ConnectionError):
                pass

        return attempt

    candidates = [
        Candidate("a bare failing call, caught", plain(caught(failing))),
        Candidate("refused, try_acquire()", plain(breaker.try_acquire)),
        Candidate("refused, decorator, caught", plain(caught(breaker(_nothing)))),
    ]
    timings = measure(candidates, effort, tick)
    return timed("A refused call", timings, over="a bare failing call, caught")
