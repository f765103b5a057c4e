"""Pieces: tells a breaker of an answer that comes in pieces, and for how long each was awaited."""

from __future__ import annotations

from math import inf

from recloser._circuit.streams import Stream
from recloser._operations import OperableCircuit


class Pieces(Stream):
    """The pieces of one answer. `Permit.pieces()` makes it when the first piece has come.

    Call `asked` when the consumer wants the next piece, and `arrived` when it is there:

        permit = breaker.acquire()
        first = next(source)
        pieces = permit.pieces()
        ...
        pieces.asked()
        piece = next(source)
        pieces.arrived()
        ...
        permit.success()

    From `asked` to `arrived` is the callee's time, the rest is the consumer's. Both are cheap, take
    no lock, and never raise. A stream that stalls is a failure, once, whether it goes on later or
    not. It needs no call for that: it is noticed when other calls begin or end.
    """

    __slots__ = ("_breaker", "_token")

    since: float

    def __init__(self, breaker: OperableCircuit, token: int, began: float, latency: float) -> None:
        super().__init__(began, latency)
        self._breaker = breaker
        self._token = token
        if not token:
            return
        try:
            breaker.note_stream(token, self)
        except Exception as error:
            breaker.fault("pieces", error)

    def asked(self) -> None:
        """The consumer waits for the next piece. If it waits already, nothing changes."""
        if self.since == inf:
            try:
                clock = self._breaker.clock
                self.since = clock()
            except Exception as error:
                self._breaker.fault("clock", error)

    def arrived(self) -> None:
        """A piece has come. Comments, pings and other things without content are no pieces."""
        since = self.since
        if since == inf:
            return
        try:
            clock = self._breaker.clock
            now = clock()
            if now - since > self.longest:
                self._breaker.note_gap(self, since, now)
        except Exception as error:
            self._breaker.fault("pieces", error)
        self.since = inf

    @property
    def timeout(self) -> float:
        """Seconds for which a piece may be awaited; see `Breaker.piece_timeout`. Infinite if uncounted."""
        return self._breaker.piece_timeout if self._token else inf
