"""A store in the memory of one process, for tests and simulations.

It is for one thread at a time, or for several that each have a `MemoryStore` of their own on the same
data: each operation is short, and changes a dict or two.
"""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Callable
from functools import partial

from recloser._fleet.store import Fact, News

_MOST_MAIL, _MAIL_LIVES = 2_000, 10.0


class MemoryData:
    """What several `MemoryStore`s share.

    Args:
        clock: Returns monotonic seconds.

    Attributes:
        facts: By name: epoch, text, when it was written, when its time is over, and its version,
            0 if it is quiet. Times are seconds.
        mail: By box: texts, each with when it was written.
        beats: By worker: its text, and when its time is over.
        bells: Called where the bell is rung, by worker.
        version: As in `News`.
        life: As in `News`.
        operations: How many operations there were, by name.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.bells: dict[int, Callable[[], object]] = {}
        self.operations: dict[str, int] = {}
        self.life = 0
        self.flush()

    def flush(self) -> None:
        """Lose everything."""
        self.facts: dict[str, tuple[int, str, float, float, int]] = {}
        self.mail: dict[str, deque[tuple[str, float]]] = {}
        self.beats: dict[str, tuple[str, float]] = {}
        self.version = 0
        self.life += 1


class MemoryStore:
    """A store in memory, see `recloser.fleet.Store`; one for each worker.

    Args:
        data: What it shares with the others.
        bell: Called when another one rings; None if a thread waits for that.
    """

    def __init__(self, data: MemoryData, bell: Callable[[], None] | None = None) -> None:
        self._data = data
        self._pipe: tuple[int, int] | None = None
        if bell is not None:
            data.bells[id(self)] = bell

    @property
    def place(self) -> str:
        """Where it is."""
        return "memory"

    def _count(self, operation: str) -> MemoryData:
        data = self._data
        data.operations[operation] = data.operations.get(operation, 0) + 1
        return data

    def news(self, since: int) -> News:
        """See `Store`."""
        data = self._count("news")
        facts: tuple[Fact, ...] = ()
        if data.version != since:
            now = data.clock()
            facts = tuple(
                [
                    Fact(name, epoch, text, max(now - at, 0.0))
                    for name, (epoch, text, at, until, version) in data.facts.items()
                    if version > since and now < until
                ]
            )
        return News(data.version, facts, str(data.life))

    def get(self, name: str) -> Fact | None:
        """See `Store`."""
        data = self._count("get")
        now = data.clock()
        epoch, text, at, until, _ = data.facts.get(name, (0, "", 0.0, 0.0, 0))
        return Fact(name, epoch, text, max(now - at, 0.0)) if epoch and now < until else None

    def swap(
        self, name: str, before: int, epoch: int, text: str, ttl: float, *, loud: bool = True
    ) -> bool:
        """See `Store`."""
        data = self._count("swap")
        now = data.clock()
        there, _, _, until, _ = data.facts.get(name, (0, "", 0.0, 0.0, 0))
        if there and now < until and there != before:
            return False
        data.version += loud
        data.facts[name] = epoch, text, now, now + ttl, data.version if loud else 0
        if loud:
            self.ring()
        return True

    def send(self, box: str, text: str) -> None:
        """See `Store`."""
        data = self._count("send")
        data.mail.setdefault(box, deque(maxlen=_MOST_MAIL)).append((text, data.clock()))

    def receive(self, box: str) -> list[tuple[str, float]]:
        """See `Store`."""
        data = self._count("receive")
        now = data.clock()
        return [(text, now - at) for text, at in data.mail.pop(box, ()) if now - at < _MAIL_LIVES]

    def beat(self, worker: str, text: str, ttl: float) -> int:
        """See `Store`."""
        data = self._count("beat")
        data.beats[worker] = text, data.clock() + ttl
        return len(self._alive(data))

    def leave(self, worker: str) -> None:
        """See `Store`."""
        self._count("leave").beats.pop(worker, None)

    def workers(self) -> dict[str, str]:
        """See `Store`."""
        return self._alive(self._count("workers"))

    def _alive(self, data: MemoryData) -> dict[str, str]:
        now = data.clock()
        for worker in [each for each, (_, until) in data.beats.items() if now >= until]:
            del data.beats[worker]
        return {worker: text for worker, (text, _) in data.beats.items()}

    def ring(self) -> None:
        """See `Store`."""
        for owner, bell in [*self._data.bells.items()]:
            if owner != id(self):
                bell()

    def wait(self, seconds: float, wake: int) -> bool:
        """See `Store`."""
        if self._pipe is None:
            self._pipe = os.pipe()
            self._data.bells[id(self)] = partial(os.write, self._pipe[1], b"\0")
        ready, _, _ = select.select([self._pipe[0], wake], [], [], seconds)
        if self._pipe[0] not in ready:
            return False
        os.read(self._pipe[0], 4096)
        return True

    def close(self) -> None:
        """See `Store`."""
        self._data.bells.pop(id(self), None)
        pipe, self._pipe = self._pipe, None
        for end in pipe or ():
            os.close(end)

    def after_fork(self) -> None:
        """See `Store`. The child has a copy of the data, and shares it with nobody."""
        self._pipe = None
        self._data.bells = {}
