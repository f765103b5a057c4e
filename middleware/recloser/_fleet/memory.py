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
from math import inf

from recloser._fleet.store import MAX_EPOCH, Fact, News, StoreError

_LONGEST = 1_000_000  # bytes of a text
_MOST_MAIL, _MAIL_LIVES = 2_000, 10.0


class MemoryData:
    """What several `MemoryStore`s share.

    Args:
        clock: Returns monotonic seconds.

    Attributes:
        facts: By name: epoch, text, when it was written, when its time is over, and its version,
            0 if it was never loud. Times are seconds.
        mail: By box: texts, each with when it was written.
        beats: By worker: its text, and when its time is over.
        bells: Called where the bell is rung, by worker.
        version: As in `News`.
        life: As in `News`.
        operations: How many operations there were, by name.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock: Callable[[], float] = clock
        self.bells: dict[int, Callable[[], object]] = {}
        self.operations: dict[str, int] = {}
        self.life: int = 0
        self.flush()

    def flush(self) -> None:
        """Lose everything."""
        self.facts: dict[str, tuple[int, str, float, float, int]] = {}
        self.mail: dict[str, deque[tuple[str, float]]] = {}
        self.beats: dict[str, tuple[str, float]] = {}
        self.version: int = 0
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
        if not 0 < epoch <= MAX_EPOCH or now >= until:
            return None
        return Fact(name, epoch, text, max(now - at, 0.0))

    def swap(
        self, name: str, before: int, epoch: int, text: str, ttl: float, *, loud: bool = True
    ) -> bool:
        """See `Store`."""
        data = self._count("swap")
        now = data.clock()
        if epoch <= before:
            raise StoreError(f"the epoch after {before} must be greater, not {epoch}")
        if not 0.0 < ttl < inf:
            raise StoreError(f"ttl must be > 0 and finite, in seconds, not {ttl!r}")
        _check(text)
        if epoch > MAX_EPOCH:
            return False
        there, _, _, until, version = data.facts.get(name, (0, "", 0.0, 0.0, 0))
        if now >= until or there > MAX_EPOCH:
            version = 0
        elif there != before:
            return False
        if loud:
            data.version = version = data.version + 1
        data.facts[name] = epoch, text, now, now + ttl, version
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
        rung, seconds = self._pipe[0], max(seconds, 0.0)
        try:
            ready, _, _ = select.select([rung, wake], [], [], seconds)
        except (OSError, ValueError):  # `wake` is closed, or none
            ready, _, _ = select.select([rung], [], [], seconds)
        if rung not in ready:
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


def _check(text: str) -> None:
    """Refuse what other stores cannot keep."""
    try:
        length = len(text.encode())
    except UnicodeEncodeError as error:
        raise StoreError(f"a text must be encodable as UTF-8: {error.reason}") from None
    if length > _LONGEST:
        raise StoreError(f"a text must have at most {_LONGEST} bytes, not {length}")
