"""Store: what the workers of a fleet share, and how they hear of changes.

The background thread of a worker uses it, never a call. So each method may take as long as a round
trip to the store; one that takes more than a quarter of a second must raise `StoreError` instead.

A store knows nothing of breakers. It holds four things:

    facts     One text for each name, with an epoch that only grows. A writer says which epoch
              it has read, so two writers never overwrite each other (compare-and-set).
    mail      Texts from many workers for the one that leads a key.
    beats     Which workers are alive, with a text about each.
    bell      Tells the other workers that there is news. A ring may be lost; nothing depends on it
              but the delay.

Nothing is kept for ever: each text has a time to live, which the store keeps by its own clock. All
times are seconds since something was written, so the clocks of the workers need not agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

MAX_EPOCH = 2**53 - 1
"""The largest epoch: up to it, every engine keeps whole numbers exactly. A fact with a larger one is
garbage, as if the store had none of that name."""


class StoreError(Exception):
    """The store did not do what it was asked to: it is gone, slow, full, read-only or broken.

    The background thread counts it, waits a while and tries again. No call ever sees it.
    """


@dataclass(frozen=True, slots=True)
class Fact:
    """One text that the workers share.

    Attributes:
        name: Its name, such as `key payments`.
        epoch: Grows by 1 or more with each change, 1 to `MAX_EPOCH`. A larger one is garbage, which
            the news tell of so that it can be counted, and nothing else.
        text: The text, JSON.
        age: Seconds since it was written, >= 0, by the clock of the store.
    """

    name: str
    epoch: int
    text: str
    age: float


@dataclass(frozen=True, slots=True)
class News:
    """What has changed in a store.

    Attributes:
        version: A number that grows with each loud change of a fact. It is lower than one seen
            before only if the store has lost what it had.
        facts: The facts that were changed loudly since the version that was asked for, and live.
        life: Names the life of the store's data: another text means that it has lost what it had.
    """

    version: int
    facts: tuple[Fact, ...]
    life: str


@runtime_checkable
class Store(Protocol):
    """What the workers of a fleet share. One object belongs to one worker and its thread.

    Every method raises `StoreError`, and nothing else, if the store does not do it in time. After a
    `StoreError` the object is still usable: the next method connects again.

    Attributes:
        place: Where it is, for log lines and the status, without a password, such as
            `redis://cache:6379/0`.
    """

    @property
    def place(self) -> str: ...

    def news(self, since: int) -> News:
        """The facts that were changed loudly after a version; 0 for all.

        It is cheap where nothing has changed: it is asked every second or two by every worker.
        """
        ...

    def get(self, name: str) -> Fact | None:
        """One fact, loud or not; None if there is none, or its time is over."""
        ...

    def swap(
        self, name: str, before: int, epoch: int, text: str, ttl: float, *, loud: bool = True
    ) -> bool:
        """Set a fact if nobody has changed it meanwhile, in one atomic step.

        Args:
            name: Its name.
            before: The epoch that the caller knows; 0 if it knows of none. If the store has none
                (any more), any `before` will do.
            epoch: The new epoch, > `before`. Above `MAX_EPOCH` it is not set.
            text: The new text.
            ttl: Seconds that it lives, > 0.
            loud: Whether it is news for the others; then their bell is rung.

        Returns:
            Whether it was set. It is not set if the store has another epoch than `before`.
        """
        ...

    def send(self, box: str, text: str) -> None:
        """Put a text into a box. It lives for some seconds, and a box has bounds: the oldest go first."""
        ...

    def receive(self, box: str) -> list[tuple[str, float]]:
        """Take all texts out of a box, the oldest first, each with its age in seconds."""
        ...

    def beat(self, worker: str, text: str, ttl: float) -> int:
        """Say that a worker is alive for `ttl` seconds; return how many are, itself included."""
        ...

    def leave(self, worker: str) -> None:
        """Say that a worker is gone."""
        ...

    def workers(self) -> dict[str, str]:
        """The workers that are alive, each with the text of its last beat."""
        ...

    def ring(self) -> None:
        """Ring the bell of all other workers."""
        ...

    def wait(self, seconds: float, wake: int) -> bool:
        """Wait until the bell rings, the file descriptor `wake` can be read, or the time is over.

        It reads nothing from `wake`. It does not raise: where the bell is broken, it waits all the
        same.

        Returns:
            Whether the bell rang.
        """
        ...

    def close(self) -> None:
        """Give back connections, sockets and files. It does not raise, and may be called twice."""
        ...

    def after_fork(self) -> None:
        """Drop, in a forked child, what belongs to the parent, without telling the store of it.

        The next method connects anew. It does not raise.
        """
        ...
