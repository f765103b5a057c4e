"""C. What is known is worth what it rests on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random

from benchmarks.detection.simulator import Ending
from benchmarks.everyday.key import Draw, Fate, Key
from benchmarks.everyday.latencies import dead, failing, hanging, lognormal, scaled
from benchmarks.everyday.populations import cache_flush
from benchmarks.everyday.scenario import REFUSED, REFUSED_2, Goal, Play, Result, Scenario, result
from recloser import State

CHEAP = "C. What is known: cheap calls teach nothing about dear ones"
DEAD = "C. What is known: a dead callee costs few calls, whatever came before"

_RATE = 20.0
_WELL = lognormal(0.05, 0.3)
_DEAREST = 5_000  # calls, after which a dead callee counts as never noticed
_COST = "calls to the dead callee"

Sequence = Callable[[Key], None]


def _cheap(random: Random, since: float) -> Fate:
    return Fate(random.uniform(0.002, 0.01))


def _after_cheap(before: int, count: float, seed: int) -> Result:
    """Normal calls, then cheap ones of one client; measured are the two minutes that follow."""
    key, route = Key(seed), lognormal(0.2, 0.2)
    if before:
        key.play(route, _RATE, calls=before)
    key.play(_cheap, 50.0, calls=int(count))
    key.measure()
    key.play(route, _RATE, 120.0)
    return result(key, f"{count:g} calls")


# Sequences: what comes before the healthy minute.


def flapping_overload(key: Key, seconds: float = 600.0) -> None:
    """40 calls/s are offered to a callee that fails above 15 in half a second."""
    recent: deque[float] = deque()

    def send(now: float, fate: Fate) -> Fate:
        while recent and recent[0] <= now - 0.5:
            recent.popleft()
        recent.append(now)
        return Fate(0.001, Ending.FAILED) if len(recent) > 15 else fate

    key.play(_WELL, 40.0, seconds, send=send)


def blips(key: Key, minutes: int = 60) -> None:
    """5-20 failures in a row each minute."""
    for _ in range(minutes):
        key.play(_WELL, _RATE, key.random.uniform(50.0, 59.0))
        key.play(dead(), _RATE, calls=key.random.randint(5, 20))


def slow_minutes(key: Key, minutes: int = 30) -> None:
    """Every other minute is 8x slower."""
    slow = scaled(_WELL, lambda random, since: 8.0)
    for minute in range(minutes):
        key.play(slow if minute % 2 else _WELL, _RATE, 60.0)


def some_fail(share: float, key: Key, seconds: float = 600.0) -> None:
    """A share of the calls fails for a while."""
    key.play(failing(_WELL, share), _RATE, seconds)


def outages(key: Key, minutes: int = 30) -> None:
    """10 s of each minute every call fails."""
    for _ in range(minutes):
        key.play(_WELL, _RATE, 50.0)
        key.play(dead(), _RATE, 10.0)


def step_and_back(key: Key, factor: float = 4.0) -> None:
    """Half an hour slower, and then as before."""
    key.play(scaled(_WELL, lambda random, since: factor), _RATE, 1800.0)
    key.play(_WELL, _RATE, 300.0)


def mixture(key: Key) -> None:
    """Four to eight of the above in random order and length."""
    random = key.random
    for _ in range(random.randint(4, 8)):
        kind = random.randrange(6)
        if kind == 0:
            flapping_overload(key, random.uniform(30.0, 600.0))
        elif kind == 1:
            blips(key, random.randint(5, 60))
        elif kind == 2:
            slow_minutes(key, random.randint(2, 30))
        elif kind == 3:
            some_fail(random.uniform(0.2, 0.8), key, random.uniform(60.0, 900.0))
        elif kind == 4:
            outages(key, random.randint(3, 30))
        else:
            step_and_back(key, random.uniform(2.0, 10.0))
        key.play(_WELL, _RATE, random.uniform(0.0, 120.0))


SEQUENCES: dict[str, Sequence] = {
    "nothing": lambda key: None,
    "10 min of flapping overload": flapping_overload,
    "an hour of blips": blips,
    "slow minutes": slow_minutes,
    "40 % fail for 10 min": partial(some_fail, 0.4),
    "60 % fail for 10 min": partial(some_fail, 0.6),
    "outages of 10 s": outages,
    "a step of 4x and back": step_and_back,
    "a mixture": mixture,
}


def cost(key: Key, sick: Draw) -> int:
    """Calls admitted to a dead callee until it is noticed.

    It is noticed when the breaker changes to another state than closed, or when fewer than half
    of the last ten calls were admitted.
    """
    admitted, last, changes = 0, deque([True] * 10, maxlen=10), key.changes

    def noticed(was_admitted: bool) -> bool:
        nonlocal admitted
        left = key.changes > changes and key.state is not State.CLOSED
        if was_admitted and not left:
            admitted += 1
        last.append(was_admitted)
        return left or sum(last) < 5

    key.play(sick, _RATE, calls=_DEAREST, until=noticed)
    return admitted


def _dead_after(sequence: Sequence, sick: Draw) -> Play:
    def play(draw: float, seed: int) -> Result:
        key = Key(seed + 1000 * int(draw))
        key.play(_WELL, _RATE, 300.0)
        sequence(key)
        key.measure()
        key.play(_WELL, _RATE, 60.0)
        minute = result(key)
        return replace(minute, variant=f"{draw:g}", figures={_COST: float(cost(key, sick))})

    return play


def scenarios() -> list[Scenario]:
    """Return the scenarios of this part. In the last, the columns tell of the healthy minute."""
    counts = (30.0, 100.0, 300.0)
    restart = "cheap calls at a restart, then a 200 ms route"
    later = "1,000 calls of 200 ms, cheap calls of one client"
    rows = [
        Scenario(restart, CHEAP, partial(_after_cheap, 0), (REFUSED_2,), counts),
        Scenario(later, CHEAP, partial(_after_cheap, 1000), (REFUSED_2,), counts),
    ]
    rows += [
        Scenario(f"a cache that always hit is flushed, {keys}", CHEAP, play, (REFUSED_2,))
        for keys, play in (
            ("2,000 keys by Zipf", cache_flush(cacheable=1.0, zipf=True)),
            ("2,000 keys alike", cache_flush(cacheable=1.0, zipf=False)),
        )
    ]
    # The second goal: a breaker that never recovered would spend nothing on a dead callee.
    few = (Goal(_COST, 20.0, always=True), Goal(REFUSED, 10.0))
    for name, sequence in SEQUENCES.items():
        for how, sick in (("fails", dead()), ("hangs", hanging(2.0))):
            play = _dead_after(sequence, sick)
            # Each mixture is another one, so that there are more of them.
            draws = tuple(map(float, range(10 if sequence is mixture else 1)))
            rows.append(Scenario(f"{name}, then it {how}", DEAD, play, few, draws, draws[:4]))
    return rows
