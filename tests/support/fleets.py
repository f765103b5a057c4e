"""A fleet of workers in virtual time: no threads, a store in memory, and calls that a test describes."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from math import inf
from random import Random

from tests.support.training import learned

from recloser import Breaker, Permit, Policy, Registry, State
from recloser._fleet.fleet import Fleet
from recloser._fleet.member import Member
from recloser.fleet import MemoryData, MemoryStore, StoreError
from recloser.testing import ManualClock, RecordingListener

KEY = "payments"
STEP = 0.01  # seconds between two moments that are played

Answer = Callable[["Worker"], tuple[float, bool]]
"""How the next call of a worker ends: its latency in seconds, and whether it is good."""


def good(worker: Worker) -> tuple[float, bool]:
    return 0.1, True


def bad(worker: Worker) -> tuple[float, bool]:
    return 0.1, False


class FailingStore(MemoryStore):
    """A store in memory that fails while `fault` is set.

    Attributes:
        fault: What it says then.
    """

    fault = ""

    def _count(self, operation: str) -> MemoryData:
        if self.fault:
            raise StoreError(self.fault)
        return super()._count(operation)


class _NoThread:
    """In place of the thread of a fleet: the world runs the turns."""

    is_running = True

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def start(self) -> None:
        pass

    def wake(self) -> None:
        self._worker.due_at = -inf

    def stop(self, timeout: float) -> None:
        self._worker.leave()


class Worker:
    """One worker of a fleet.

    Attributes:
        due_at: When its next turn is, in seconds; infinite once it has left or died.
        refused: How many of its calls were refused.
        sent: How many were not.
    """

    def __init__(self, number: int, data: MemoryData, clock: ManualClock, policy: Policy) -> None:
        self.clock = clock
        random = Random(number).random
        self.registry = Registry(policy, clock=clock, random=random)
        self.store = FailingStore(data, self._ring)
        self.fleet = Fleet(self.registry, self.store, random)
        names = iter(range(1000))
        self.fleet._member = Member(
            self.registry,
            self.store,
            lambda: f"host/{number}/{next(names)}",
            random,
        )
        self.fleet._runner = _NoThread(self)  # type: ignore[assignment]
        self.registry._listeners.fleet = self.fleet
        self.listener = RecordingListener()
        self.registry.subscribe(self.listener)
        self.due_at = -inf
        self.refused = self.sent = 0
        self.has_left = False

    def _ring(self) -> None:
        self.fleet.member.rung = True
        self.due_at = -inf

    @property
    def member(self) -> Member:
        member: Member = self.fleet.member
        return member

    @property
    def name(self) -> str:
        return self.fleet.name

    @property
    def breaker(self) -> Breaker:
        return self.registry[KEY]

    @property
    def rules(self) -> list[str]:
        """The rules of its changes of state."""
        return [each.reason.rule for each in self.listener.transitions]

    def learn(self) -> None:
        """Let it learn that 0.1 s is normal."""
        learned(self.breaker, self.clock)

    def turn(self) -> None:
        if self.has_left:
            return
        now = self.clock.now
        self.due_at = inf
        wait = self.member.turn(now)
        self.due_at = min(self.due_at, now + max(wait, 0.001))

    def die(self) -> None:
        """End without a word."""
        self.has_left = True
        self.store.close()

    def leave(self) -> None:
        self.member.leave(self.clock.now)
        self.die()


class World:
    """Some workers, and the time.

    Args:
        number: How many workers.
        is_trained: Whether each of them knows what is normal.
    """

    def __init__(
        self, number: int, *, is_trained: bool = True, policy: Policy | None = None
    ) -> None:
        self.clock = ManualClock(1000.0)
        self.data = MemoryData(self.clock)
        self.policy = Policy() if policy is None else policy
        self.workers: list[Worker] = []
        self._calls: list[tuple[float, int, Permit, bool]] = []
        self._number = 0
        for _ in range(number):
            self.add()
            if is_trained:
                self.workers[-1].learn()
        self.run(1.0)
        # Each has heard now how many there are.
        self.run(5.0)

    def add(self) -> Worker:
        self.workers.append(Worker(len(self.workers) + 1, self.data, self.clock, self.policy))
        return self.workers[-1]

    @property
    def states(self) -> list[State]:
        return [each.breaker.state for each in self.workers]

    def run(
        self, seconds: float, answer: Answer | None = None, gap: float = 0.1, until: object = None
    ) -> None:
        """Let time go on; each worker that is there makes a call every `gap` seconds.

        Args:
            seconds: How long.
            answer: How calls end; None for no calls.
            gap: Seconds between two calls of a worker.
            until: A state in which all workers are at the end, if that comes sooner; None for none.
        """
        end = self.clock.now + seconds
        next_at = self.clock.now
        while self.clock.now < end - STEP / 2:
            if until is not None and {*self.states} == {until}:
                return
            self.clock.advance(STEP)
            now = self.clock.now
            while self._calls and self._calls[0][0] <= now:
                _, _, permit, is_good = heapq.heappop(self._calls)
                if is_good:
                    permit.success()
                else:
                    permit.failure("HTTP 503")
            if answer is not None and now >= next_at:
                next_at = now + gap
                for worker in self.workers:
                    if not worker.has_left:
                        self.call(worker, answer)
            for worker in self.workers:
                if now >= worker.due_at:
                    worker.turn()

    def call(self, worker: Worker, answer: Answer) -> None:
        permit = worker.breaker.try_acquire()
        if permit is None:
            worker.refused += 1
            return
        worker.sent += 1
        latency, is_good = answer(worker)
        self._number += 1
        heapq.heappush(self._calls, (self.clock.now + latency, self._number, permit, is_good))

    def settle(self) -> None:
        """Let each worker have some turns."""
        self.run(0.3)
