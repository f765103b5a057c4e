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

    An answer of one piece has no gaps, so it teaches nothing of them. Most bodies without a length
    are such answers; `may_be_single` spares them the decisions of a stream.
    """

    __slots__ = ("_breaker", "_is_single", "_token")

    since: float

    def __init__(
        self,
        breaker: OperableCircuit,
        token: int,
        began: float,
        latency: float,
        *,
        may_be_single: bool = False,
    ) -> None:
        super().__init__(began, latency)
        self._breaker = breaker
        self._token = token
        self._is_single = False
        if token <= 0:
            return
        if may_be_single and breaker.expect_piece(token, self):
            self._is_single = True
        else:
            self._note()

    def _note(self) -> None:
        self._is_single = False
        try:
            self._breaker.note_stream(self._token, self)
        except Exception as error:
            self._breaker.fault("pieces", error)

    def end_single(self) -> None:
        """The answer ends. If it had one piece only, its call may end without a decision."""
        if self._is_single:
            self._is_single = False
            self._breaker.forget_stream(self._token)

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
        if self._is_single:
            self._note()
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
        return self._breaker.piece_timeout if self._token > 0 else inf
