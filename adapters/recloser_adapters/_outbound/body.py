"""Watches of a response body: its end, its close, its failure or its content ends the permit.

They import no client library. The adapter tells the watch what happens to the body.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf
from typing import TypeAlias

from recloser import Outcome
from recloser_adapters._outbound.permit import CallPermit, WatchingPermit


class BodyWatch:
    """Watches the body of a good answer: its end and its close are both a success.

    `WatchingPermit` explains why the close is a success.

    Args:
        permit: The permit of the call. The watch ends it.

    Attributes:
        reads: Whether the outcome depends on the content of the body.
        decided: Whether what comes can no longer change whether this is an answer: its first piece
            has come, or its beginning has been judged.
        cuts_off: Whether the caller's wait for a piece ends when it is hopeless.
        patience: Seconds from now after which it is hopeless to wait for a piece; infinite for none.
        longest_wait: Seconds that any read of the body may take; infinite for no limit.
    """

    __slots__ = ("_permit",)

    def __init__(self, permit: CallPermit) -> None:
        self._permit = permit

    @property
    def reads(self) -> bool:
        """Whether the outcome depends on the content of the body."""
        return False

    @property
    def decided(self) -> bool:
        """Whether what comes can no longer change whether this is an answer."""
        return not self.reads

    @property
    def cuts_off(self) -> bool:
        """Whether the caller's wait for a piece ends when it is hopeless."""
        return False

    @property
    def patience(self) -> float:
        """Seconds from now after which it is hopeless to wait for a piece; infinite for none."""
        return inf

    @property
    def longest_wait(self) -> float:
        """Seconds that any read of the body may take; infinite for no limit."""
        return inf

    def arrived(self, data: bytes) -> None:
        """The body has begun to arrive: these bytes can be read, and were not read yet."""

    def asked(self) -> None:
        """The caller waits for the next chunk."""

    def chunk(self, data: bytes) -> None:
        """A chunk of the body has arrived."""

    def watched(self, chunks: Iterable[bytes]) -> Iterable[bytes]:
        """The same chunks. If their content matters, `chunk` is called with each one first."""
        return chunks

    def eof(self) -> None:
        """The body is complete."""
        self._permit.success()

    def closed(self) -> None:
        """The caller closed the body, complete or not."""
        self._permit.success()

    def failed(self, error: BaseException, *, local: bool = False) -> None:
        """Reading the body raised an error; `local` if the callee did not cause it."""
        if local:
            self._permit.end(Outcome.IGNORED)
        else:
            self._permit.end_by_error(error)


class ReadingWatch(BodyWatch):
    """A watch that reads the content of the body."""

    __slots__ = ()

    @property
    def reads(self) -> bool:
        """Always True."""
        return True

    def watched(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same chunks; `asked` is called before each of them comes, and `chunk` after it."""
        remaining = iter(chunks)
        while True:
            self.asked()
            try:
                chunk = next(remaining)
            except StopIteration:
                return
            self.chunk(chunk)
            yield chunk


AnyBodyWatch: TypeAlias = BodyWatch | WatchingPermit
"""The object that an adapter tells what happens to a body."""
