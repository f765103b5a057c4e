"""One key on virtual time: calls arrive at random, and the breaker admits or refuses them.

In `benchmarks.detection` the fate of every call is settled beforehand. Here what a call meets may
depend on the calls that were admitted before it: a queue, a cache, a callee under overload.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf
from random import Random
from typing import Any, NamedTuple, cast

from benchmarks.detection.entrants import Recloser
from benchmarks.detection.simulator import Clock, Ending
from recloser import Permit, Policy, State


class Fate(NamedTuple):
    """How a call ends if it is admitted.

    Attributes:
        took: Time to its end, in seconds.
        ending: How it ends.
        wait: Its Retry-After, in seconds; 0 if it has none.
        label: What the caller knows of the work beforehand, such as its size; "" for nothing.
    """

    took: float
    ending: Ending = Ending.OK
    wait: float = 0.0
    label: str = ""


Draw = Callable[[Random, float], Fate]
"""Draws the fate of a call from the seconds since `Key.play` began."""
Send = Callable[[float, Fate], Fate]
"""Called for an admitted call with the time and its drawn fate; returns what really happens."""
Rate = float | Callable[[float], float]
"""Calls per second, maybe by the seconds since `Key.play` began."""


class Everyday(Recloser):
    """recloser; in addition a failure may ask for a pause, and a call have a label."""

    def acquire_labelled(self, label: str) -> Permit | None:
        return self.breaker.try_acquire(label)

    def end(self, permit: Any, ending: Ending, took: float, wait: float) -> None:
        if ending is Ending.FAILED and wait:
            permit.failure("HTTP 503", retry_after=wait)
        else:
            super().end(permit, ending, took, wait)


USES_LABELS = hasattr(Everyday, "acquire_labelled")
"""Whether the breaker can be told the label of a call; `acquire_labelled(label)` does it."""


@dataclass(slots=True)
class Tally:
    """What was counted since a moment.

    Attributes:
        since: That moment, in seconds.
        first: How many transitions there were before it.
        calls: Calls that arrived.
        good: Calls that ended well, or would have.
        admitted: Calls that were admitted.
        good_refused: Good calls that were refused.
    """

    since: float = 0.0
    first: int = 0
    calls: int = 0
    good: int = 0
    admitted: int = 0
    good_refused: int = 0


class Key:
    """One key of recloser under its default policy, and the time it lives in.

    Args:
        seed: Of all that is random.
        labelled: Whether to tell the breaker the label of each call, if it can use one.
        sized: Whether to tell it the label, which then is a number, as the size at the end of the call.
        policy: By default the default policy.
    """

    def __init__(
        self,
        seed: int,
        *,
        labelled: bool = False,
        sized: bool = False,
        policy: Policy | None = None,
    ) -> None:
        self.random = Random(f"everyday/{seed}")
        self.clock = Clock()
        self.contender = Everyday(self.clock, policy or Policy(), seed)
        self.tally = Tally()
        self._acquire_labelled: Callable[[str], Any] | None = (
            getattr(self.contender, "acquire_labelled", None) if labelled else None
        )
        self._sized = sized
        self._in_flight: list[tuple[float, int, object, Fate]] = []
        self._sent = 0

    @property
    def state(self) -> State:
        return self.contender.breaker.state

    @property
    def changes(self) -> int:
        """Changes of state since the last `measure`."""
        return len(self.contender.transitions) - self.tally.first

    def measure(self) -> None:
        """Count from now on."""
        self.tally = Tally(self.clock.now, len(self.contender.transitions))

    def play(
        self,
        draw: Draw,
        rate: Rate,
        seconds: float = inf,
        *,
        calls: int | None = None,
        send: Send | None = None,
        until: Callable[[bool], bool] | None = None,
    ) -> None:
        """Let calls arrive for some seconds or until a number of calls, whichever ends sooner.

        Args:
            draw: Draws the fate of each call.
            rate: Calls per second; the gaps are exponential.
            seconds: How long.
            calls: How many calls at most.
            send: What an admitted call really meets; by default its drawn fate.
            until: Called after each call with whether it was admitted; ends the play if true.
        """
        random, clock, begin = self.random, self.clock, self.clock.now
        now, end, left = begin, begin + seconds, calls if calls is not None else -1
        while left != 0:
            now += random.expovariate(rate(now - begin) if callable(rate) else rate)
            if now >= end:
                break
            left -= 1
            self._finish(now)
            clock.now = now
            admitted = self._arrive(draw(random, now - begin), send)
            if until is not None and until(admitted):
                return
        if seconds < inf and left != 0:
            self.rest(end - clock.now)

    def rest(self, seconds: float) -> None:
        """Let time pass without calls; those in flight end when they are due."""
        until = self.clock.now + seconds
        self._finish(until)
        self.clock.now = until

    def _arrive(self, fate: Fate, send: Send | None) -> bool:
        tally = self.tally
        tally.calls += 1
        good = fate.ending is Ending.OK
        tally.good += good
        if self._acquire_labelled is None:
            permit = self.contender.acquire()
        else:
            permit = self._acquire_labelled(fate.label)
        if permit is None:
            tally.good_refused += good
            return False
        tally.admitted += 1
        now = self.clock.now
        if send is not None:
            fate = send(now, fate)
        self._sent += 1
        heappush(self._in_flight, (now + fate.took, self._sent, permit, fate))
        return True

    def _finish(self, until: float) -> None:
        in_flight, end = self._in_flight, self.contender.end
        while in_flight and in_flight[0][0] <= until:
            self.clock.now, _, permit, fate = heappop(in_flight)
            if self._sized:
                cast("Permit", permit).size = float(fate.label)
            end(permit, fate.ending, fate.took, fate.wait)
