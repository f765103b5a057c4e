"""The callee: servers with a queue in front of them, or servers that all jobs share.

Each of them does all work that it is given. A job whose client gave up keeps its place and is
served like any other: a server does not know that nobody waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Generic, Protocol, TypeVar

Job = TypeVar("Job")
Offered = TypeVar("Offered", contravariant=True)
Schedule = Callable[[float, Callable[[object], None], object], None]
"""Runs a function with an argument at a time in seconds."""


class Callee(Protocol[Offered]):
    """Serves jobs, and says when each is done."""

    @property
    def waiting(self) -> int:
        """Jobs more than there are servers."""
        ...

    def offer(self, job: Offered, work: float) -> None:
        """Take a job that keeps one server busy for `work` seconds."""

    def resize(self, servers: int) -> None:
        """Have another number of servers from now on."""


class Pauses:
    """When the callee stands still: for `length` seconds, every `every` seconds."""

    def __init__(self, every: float = 0.0, length: float = 0.0, after: float = 0.0) -> None:
        self._every, self._length, self._after = every, length, after

    def end_of(self, begun: float, work: float) -> float:
        """When `work` seconds of work are done that begin at `begun`."""
        if not self._every or begun + work < self._after:
            return begun + work
        at = self._after + (begun - self._after) // self._every * self._every
        if self._after <= at <= begun < at + self._length:
            begun = at + self._length
        following = max(at, self._after - self._every) + self._every
        return begun + work + (self._length if begun + work > following else 0.0)


class Fifo(Generic[Job]):
    """First come, first served. A server that is taken away first finishes its job."""

    def __init__(
        self,
        servers: int,
        now: Callable[[], float],
        schedule: Schedule,
        done: Callable[[Job], None],
        slowdown: Callable[[float], float] | None = None,
        pauses: Pauses | None = None,
    ) -> None:
        self._servers, self._now, self._schedule, self._done = servers, now, schedule, done
        self._slowdown, self._pauses = slowdown, pauses
        self._queue: deque[tuple[Job, float]] = deque()
        self._busy = 0

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def offer(self, job: Job, work: float) -> None:
        if self._busy < self._servers:
            self._begin(job, work)
        else:
            self._queue.append((job, work))

    def resize(self, servers: int) -> None:
        self._servers = servers
        while self._queue and self._busy < servers:
            self._begin(*self._queue.popleft())

    def _begin(self, job: Job, work: float) -> None:
        self._busy += 1
        now = self._now()
        if self._slowdown is not None:
            work *= self._slowdown(now)
        end = now + work if self._pauses is None else self._pauses.end_of(now, work)
        self._schedule(end, self._finish, job)

    def _finish(self, job: object) -> None:
        self._busy -= 1
        if self._queue and self._busy < self._servers:
            self._begin(*self._queue.popleft())
        self._done(job)  # type: ignore[arg-type]  # what `_begin` scheduled


class Sharing(Generic[Job]):
    """Processor sharing: each of n jobs gets min(1, servers / n) of a server.

    All jobs progress equally fast. So one number is enough: the work that a job would have got
    that has been there since the beginning. A job is done when that number has grown by its work.
    """

    def __init__(
        self,
        servers: int,
        now: Callable[[], float],
        schedule: Schedule,
        done: Callable[[Job], None],
        slowdown: Callable[[float], float] | None = None,
    ) -> None:
        self._servers, self._now, self._schedule, self._done = servers, now, schedule, done
        self._slowdown = slowdown
        # (work of all time at which it is done, number, job)
        self._jobs: list[tuple[float, int, Job]] = []
        self._number = self._plan = 0
        self._attained = self._updated = 0.0

    @property
    def waiting(self) -> int:
        return max(len(self._jobs) - self._servers, 0)

    def offer(self, job: Job, work: float) -> None:
        self._progress()
        if self._slowdown is not None:
            work *= self._slowdown(self._updated)
        self._number += 1
        heappush(self._jobs, (self._attained + work, self._number, job))
        self._plan_next()

    def resize(self, servers: int) -> None:
        self._progress()
        self._servers = servers
        self._plan_next()

    def _speed(self) -> float:
        return min(1.0, self._servers / len(self._jobs)) if self._jobs else 0.0

    def _progress(self) -> None:
        now = self._now()
        self._attained += (now - self._updated) * self._speed()
        self._updated = now

    def _plan_next(self) -> None:
        self._plan += 1
        speed = self._speed()
        if speed:
            left = max(self._jobs[0][0] - self._attained, 0.0)
            self._schedule(self._updated + left / speed, self._finish, self._plan)

    def _finish(self, plan: object) -> None:
        if plan != self._plan:
            return  # the first job to end, or its time, changed since
        self._progress()
        self._attained, _, job = heappop(self._jobs)
        self._plan_next()
        self._done(job)
