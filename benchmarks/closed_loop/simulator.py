"""Users, clients, breakers and a callee on virtual time.

A user call goes to one worker. Its client asks the worker's breaker, sends an attempt to the
callee, and gives up after the time-out, while the callee goes on. After a failure it tries again.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import exp, inf
from random import Random

from benchmarks.closed_loop.callees import Callee, Fifo, Pauses, Sharing
from benchmarks.closed_loop.scenarios import Scenario, Steps
from benchmarks.detection.simulator import Clock, Contender, Ending

SIGMA = 0.5
"""Of the logarithm of service times."""
QUICK = 0.005
"""Seconds until the callee's answer if it sheds a call."""
RETRY_AFTER = 0.05
"""Seconds between a failure and the next attempt, on average."""


class _Call:
    """A user's call."""

    __slots__ = ("begun", "deadline", "left", "locks", "number", "settled", "worker")

    def __init__(self, number: int, left: int, deadline: float) -> None:
        self.number, self.left, self.deadline = number, left, deadline
        self.worker = 0
        self.begun = self.settled = self.locks = False


class _Attempt:
    """One try of a call."""

    __slots__ = ("call", "permit", "started")

    def __init__(self, call: _Call, permit: object, started: float) -> None:
        self.call, self.started = call, started
        self.permit: object | None = permit  # None when it has ended


@dataclass(slots=True)
class Play:
    """What users saw.

    Attributes:
        starts: When each call came, in seconds.
        good: 1 for each call that was answered.
        refused: 1 for each call that a breaker ended.
        attempts: What reached the callee.
        latencies: Of the answers in time, in seconds from the start of the attempt.
    """

    starts: array[float] = field(default_factory=lambda: array("d"))
    good: bytearray = field(default_factory=bytearray)
    refused: bytearray = field(default_factory=bytearray)
    attempts: int = 0
    latencies: array[float] = field(default_factory=lambda: array("d"))


def _at(steps: Steps, time: float) -> float:
    return next(value for start, value in reversed(steps) if start <= time)


class World:
    """One run of one scenario."""

    def __init__(
        self,
        scenario: Scenario,
        contenders: list[Contender],
        clock: Clock,
        seed: int,
        *,
        cut: bool = False,
    ) -> None:
        self.play = Play()
        self._scenario, self._contenders, self._clock, self._cut = scenario, contenders, clock, cut
        # Arrivals have their own draws, so that they are the same for every contender.
        self._arrivals, self._draws = Random(seed), Random(seed + 1_000_003)
        self._events: list[tuple[float, int, Callable[[object], None], object]] = []
        self._number = self._unsettled = 0
        self._scale = scenario.mean * exp(-SIGMA * SIGMA / 2)
        pauses = Pauses(*scenario.pause, after=scenario.warm_up + 30.0) if scenario.pause else None
        first = int(_at(scenario.servers, 0.0))
        self._callee: Callee[_Attempt] = (
            Fifo(first, clock, self.schedule, self._served, scenario.slowdown, pauses)
            if scenario.discipline == "fifo"
            else Sharing(first, clock, self.schedule, self._served, scenario.slowdown)
        )
        self._lock: Fifo[_Attempt] = Fifo(1, clock, self.schedule, self._served)
        self._free = [scenario.threads] * scenario.workers
        self._accepted: list[deque[_Call]] = [deque() for _ in range(scenario.workers)]
        self._taking = set[int]()  # workers whose waiting calls are being taken

    @property
    def waiting(self) -> int:
        """Attempts more than the callee has servers."""
        return self._callee.waiting

    def schedule(self, at: float, handler: Callable[[object], None], argument: object) -> None:
        self._number += 1
        heappush(self._events, (at, self._number, handler, argument))

    def run(self, watch: Callable[[float], None] | None = None) -> Play:
        """Play it to the end of the last user call; `watch` is called once a second."""
        for at, servers in self._scenario.servers[1:]:
            self.schedule(at, self._resize, int(servers))
        self._next_arrival(0.0)
        events, clock, end = self._events, self._clock, self._scenario.end
        second = 0.0
        while events:
            at, _, handler, argument = heappop(events)
            if at >= end and not self._unsettled:
                break
            if watch is not None and at >= second:
                watch(at)
                second = at // 1.0 + 1.0
            clock.now = at
            handler(argument)
        return self.play

    def _resize(self, servers: object) -> None:
        assert isinstance(servers, int)
        self._callee.resize(servers)

    # Users

    def _next_arrival(self, now: float) -> None:
        """Schedule the next call. No call is skipped or doubled where the rate changes."""
        rates = self._scenario.rates
        while now < self._scenario.end:
            change = next((start for start, _ in rates if start > now), inf)
            rate = _at(rates, now)
            at = now + self._arrivals.expovariate(rate)
            if at < change:
                if at < self._scenario.end:
                    self.schedule(at, self._arrive, None)
                return
            now = change

    def _arrive(self, _: object) -> None:
        now, play = self._clock.now, self.play
        scenario = self._scenario
        call = _Call(len(play.starts), scenario.retries, now + scenario.patience)
        if scenario.workers > 1:
            call.worker = int(self._arrivals.random() * scenario.workers)
        if scenario.fault is not None and scenario.fault.kind == "lock":
            call.locks = self._arrivals.random() < scenario.fault.share
        play.starts.append(now)
        play.good.append(0)
        play.refused.append(0)
        self._unsettled += 1
        self._next_arrival(now)
        if not scenario.threads:
            self._try(call)
        elif self._free[call.worker]:
            self._take_thread(call)
        else:
            self._accepted[call.worker].append(call)
            self.schedule(call.deadline, self._leave, call)

    def _take_thread(self, call: _Call) -> None:
        self._free[call.worker] -= 1
        call.begun = True
        self._try(call)

    def _leave(self, call: object) -> None:
        """A user who has waited for a thread for too long is gone."""
        assert isinstance(call, _Call)
        if not call.begun and not call.settled:
            call.settled = True
            self._unsettled -= 1

    def _settle(self, call: _Call, *, good: bool = False, refused: bool = False) -> None:
        call.settled = True
        self._unsettled -= 1
        self.play.good[call.number] = good
        self.play.refused[call.number] = refused
        if self._scenario.threads:
            self._free[call.worker] += 1
            self._take_waiting(call.worker)

    def _take_waiting(self, worker: int) -> None:
        if worker in self._taking:
            return  # a call that waited was refused at once: the loop below goes on with the next one
        self._taking.add(worker)
        waiting = self._accepted[worker]
        while waiting and self._free[worker]:
            following = waiting.popleft()
            if not following.settled:
                self._take_thread(following)
        self._taking.discard(worker)

    # Clients

    def _try(self, argument: object) -> None:
        call: _Call = argument  # type: ignore[assignment]  # what was scheduled
        now, scenario = self._clock.now, self._scenario
        permit = self._contenders[call.worker].acquire()
        if permit is None:
            self._settle(call, refused=True)
            return
        attempt = _Attempt(call, permit, now)
        self.play.attempts += 1
        timeout = scenario.timeout
        if self._cut:
            timeout = min(timeout, getattr(permit, "timeout", inf))
        self.schedule(now + timeout, self._give_up, attempt)
        self._send(attempt, now)

    def _give_up(self, argument: object) -> None:
        attempt: _Attempt = argument  # type: ignore[assignment]
        if attempt.permit is not None:
            self._end(attempt, Ending.FAILED, 0.0)

    def _end(self, attempt: _Attempt, ending: Ending, wait: float) -> None:
        permit, call = attempt.permit, attempt.call
        if permit is None:
            return  # nobody waits for it any more
        attempt.permit = None
        now = self._clock.now
        self._contenders[call.worker].end(permit, ending, now - attempt.started, wait)
        if ending is Ending.OK:
            self.play.latencies.append(now - attempt.started)
            self._settle(call, good=now <= call.deadline)
        elif call.left:
            call.left -= 1
            delay = RETRY_AFTER * (0.5 + self._draws.random())
            self.schedule(now + delay, self._try, call)
        else:
            self._settle(call)

    # The callee

    def _send(self, attempt: _Attempt, now: float) -> None:
        scenario, random = self._scenario, self._draws.random
        fault, call = scenario.fault, attempt.call
        work = self._scale * exp(SIGMA * self._draws.gauss(0.0, 1.0))
        if (
            fault is not None
            and scenario.warm_up <= now < scenario.over
            and (call.locks if fault.kind == "lock" else random() < fault.share)
        ):
            if fault.kind == "fail":
                self.schedule(now + fault.took, self._failed, attempt)
            elif fault.kind == "throttle":
                self.schedule(now + fault.took, self._throttled, attempt)
            elif fault.kind == "slow":
                self.schedule(now + fault.took * work, self._served, attempt)
            elif fault.kind == "lock":
                self._lock.offer(attempt, work * fault.took / scenario.mean)
        elif scenario.sheds is not None and self._callee.waiting >= scenario.sheds:
            self.schedule(now + QUICK, self._failed, attempt)
        else:
            self._callee.offer(attempt, work)

    def _served(self, attempt: object) -> None:
        self._end(attempt, Ending.OK, 0.0)  # type: ignore[arg-type]

    def _failed(self, attempt: object) -> None:
        self._end(attempt, Ending.FAILED, 0.0)  # type: ignore[arg-type]

    def _throttled(self, attempt: object) -> None:
        wait = self._scenario.fault.wait if self._scenario.fault else 0.0
        self._end(attempt, Ending.THROTTLED, wait)  # type: ignore[arg-type]
