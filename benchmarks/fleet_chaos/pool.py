"""The processes of a fleet: each makes calls, and tells at each moment what it knows."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from typing import Any

from benchmarks.fleet_chaos.stores import Place
from benchmarks.fleet_chaos.upstream import TAKES
from benchmarks.fleet_chaos.worker import RUN, STOP, Caller, News, Setup, work

CONTEXT = multiprocessing.get_context("forkserver")
# So that a worker that is started again serves soon. What is not installed is left out.
CONTEXT.set_forkserver_preload(
    [
        "benchmarks.fleet_chaos.worker",
        "recloser_adapters.sqlite",
        "recloser_adapters.redis",
        "redis",
    ]
)
PATIENCE = 20.0  # seconds


@dataclass
class Worker:
    """One process of the fleet.

    Attributes:
        number: Of it.
        process: It.
        order: What it is told: a shared number.
        pipe: What it tells.
        started: When, in monotonic seconds.
        news: What it told last; None for nothing yet.
        opened: When its breaker opened, monotonic seconds, with the rule.
        stopped: Whether it is stopped by a signal.
    """

    number: int
    process: Any
    order: Any
    pipe: Connection
    started: float
    news: News | None = None
    opened: list[tuple[float, str, str]] = field(default_factory=list)
    stopped: bool = False

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.process.pid, number)
        self.stopped = number == signal.SIGSTOP


class Pool:
    """All processes of a fleet.

    Args:
        place: Its store; None for none.
        workers: How many there are.
        rate: Calls per second of all in sum.
        upstream: The address of the callee; "" for a flag that all see.
        takes: Seconds that a call takes with that flag, about.
        make: Makes the calls of a worker.

    Attributes:
        workers: By number.
        broken: What broke that a worker has told.
    """

    def __init__(
        self,
        place: Place | None,
        workers: int = 8,
        rate: float = 120.0,
        upstream: str = "",
        takes: float = TAKES,
        make: type[Caller] = Caller,
    ) -> None:
        self._make = make
        self._place, self._rate = place, rate / workers
        self._upstream, self._takes = upstream, takes
        self.dead = CONTEXT.RawValue("i", 0)
        self.broken: list[str] = []
        self.workers = [self._start(number) for number in range(workers)]
        self.await_all()

    def _start(self, number: int) -> Worker:
        place = self._place
        address, namespace = "" if place is None else place.address, ""
        if place is not None and place.namespace and number % 2:
            address, namespace = place.far, place.namespace
        ours, theirs = CONTEXT.Pipe(duplex=False)
        order = CONTEXT.RawValue("i", RUN)
        setup = Setup(number, address, namespace, self._rate, self._upstream, self._takes)
        arguments = setup, order, self.dead, theirs, self._make
        process = CONTEXT.Process(target=work, args=arguments, daemon=True)
        process.start()
        theirs.close()
        return Worker(number, process, order, ours, time.monotonic())

    def read(self, seconds: float) -> None:
        """Wait for what the workers tell, at most so many seconds, and take it over."""
        end = time.monotonic() + seconds
        while True:
            by_pipe = {each.pipe: each for each in self.workers if not each.pipe.closed}
            for pipe in wait_for(list(by_pipe), max(end - time.monotonic(), 0.0)):
                assert isinstance(pipe, Connection)
                self._take(by_pipe[pipe])
            if time.monotonic() >= end:
                return

    def _take(self, worker: Worker) -> None:
        try:
            told = worker.pipe.recv()
        except (EOFError, OSError):
            worker.pipe.close()
            if worker.order.value == RUN:
                worker.process.join(1)
                what = f"worker {worker.number} ended by itself: {worker.process.exitcode}"
                self.broken.append(what)
            return
        if isinstance(told, News):
            worker.news = told
        elif isinstance(told, str):
            self.broken.append(f"worker {worker.number}: {told}")
        else:
            self.note(worker, told)

    def note(self, worker: Worker, told: tuple[float, str, str]) -> None:
        """Take over that a breaker has opened, and the like."""
        worker.opened.append(told)

    def await_all(self) -> None:
        """Wait until all have told something."""
        deadline = time.monotonic() + PATIENCE
        while any(worker.news is None for worker in self.workers):
            if time.monotonic() >= deadline:
                self.broken.append(f"not all workers tell something within {PATIENCE:g} s")
                return
            self.read(0.02)

    def kill(self, number: int) -> None:
        """End a worker without notice."""
        worker = self.workers[number]
        worker.order.value = STOP
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()

    def restart(self, number: int) -> None:
        """Start a worker again that was killed, or has ended."""
        self.workers[number] = self._start(number)

    def end(self, number: int) -> News | None:
        """Let a worker make no more calls, and end; return its last words."""
        worker = self.workers[number]
        worker.order.value = STOP
        deadline = time.monotonic() + PATIENCE
        while not worker.pipe.closed and time.monotonic() < deadline:
            self.read(0.01)
        worker.process.join(max(deadline - time.monotonic(), 0.1))
        if worker.process.exitcode != 0:
            self.broken.append(f"worker {number} ended with {worker.process.exitcode}")
            worker.process.kill()
        return worker.news

    def end_all(self) -> list[News]:
        """End all; return their last words."""
        for worker in self.workers:
            worker.order.value = STOP
        ended = [self.end(worker.number) for worker in self.workers]
        return [news for news in ended if news is not None]

    def close(self) -> None:
        """End what is left."""
        for worker in self.workers:
            worker.order.value = STOP
            worker.process.kill()
            worker.process.join()
            worker.pipe.close()
