"""Calls: the permits of one key that are given out, and how most of them come and go unlocked.

While a breaker is closed and nothing is suspicious, there is nothing to decide. A call is then
admitted by one comparison (`check_at`) and one entry in `in_flight`; a success takes the entry out
again and leaves its latency in `recent`. Each of these is one operation on a dict or list, which
Python makes atomic, so none of them needs a lock.
https://docs.python.org/3/faq/library.html#what-kinds-of-global-value-mutation-are-thread-safe

Everything else is a decision of the circuit under the breaker's lock, and it first catches up with
what is in `recent` and `dropped`. A decision that ends the generation closes the way in before it
takes `in_flight` away, and who admits reads the two in the opposite order. So a call that meets
such a change on its way in is one of the old generation. (If it meets two, it is of none, and not
counted: some 30 calls in a million with 9,000 changes in the meantime.)
"""

from __future__ import annotations

from itertools import count
from math import inf

# Nothing is slow enough, or good enough, to pass without a decision.
_NEVER = -inf
# What keys without long answers have in common instead of a table each; nothing is ever put in.
_NO_CALLS: dict[int, float] = {}
_NO_TABLES: list[dict[int, float]] = []


class Calls:
    """Tokens of the permits given out, each with the second at which its call began.

    Where a token is found tells whether its call has a vote: in `in_flight` it has (half-open, it
    is a probe), in `answering` too, but its latency is settled; in `overdue` it has voted, but
    whether it comes back is still to be seen; in `older` it has none. A token in none of them has
    ended: taking it out is what ends a call, and of two threads that try one gets it.

    Attributes:
        tokens: The tokens still to be given out, ascending from 1.
        check_at: Calls that begin before this, in seconds, are admitted without a decision.
        good_until: Successes up to this latency, in seconds, end without a decision.
        in_flight: Calls with a vote, oldest first.
        marked: When calls began to answer: token to seconds.
        recent: Latencies of the successes that ended without a decision, in seconds.
        dropped: Tokens that nobody can end any more; a finalizer leaves them here.
        answering: Calls with a vote that are past the slow threshold but began to answer in time.
        overdue: Calls that were counted as slow in flight.
        older: Calls without a vote, by generation.
    """

    __slots__ = (
        "answering",
        "check_at",
        "dropped",
        "good_until",
        "in_flight",
        "marked",
        "older",
        "overdue",
        "recent",
        "tokens",
    )

    def __init__(self) -> None:
        self.tokens = count(1)
        self.check_at = _NEVER
        self.good_until = _NEVER
        self.in_flight: dict[int, float] = {}
        self.marked: dict[int, float] = {}
        self.recent: list[float] = []
        self.dropped: list[int] = []
        self.answering = _NO_CALLS
        self.overdue = _NO_CALLS
        self.older = _NO_TABLES

    def oldest(self) -> tuple[int, float] | None:
        """The first call in flight, and when it began."""
        while True:
            try:
                return next(iter(self.in_flight.items()), None)
            except RuntimeError:
                continue  # another call began or ended between the two steps

    def take(self, token: int) -> float | None:
        """End a call that has a vote; when it began, or None if there is no such call."""
        started = self.in_flight.pop(token, None)
        return self.answering.pop(token, None) if started is None else started

    def take_overdue(self, token: int) -> float | None:
        """End a call that has voted while it hung; when it began, or None."""
        return self.overdue.pop(token, None)

    def take_older(self, token: int) -> float | None:
        """End a call of an older generation; when it began, or None."""
        for calls in self.older:
            if (started := calls.pop(token, None)) is not None:
                return started
        return None

    def note_overdue(self, token: int, started: float) -> None:
        """A call taken out of `in_flight` was counted as slow; it may still come back."""
        if self.overdue is _NO_CALLS:
            self.overdue = {}
        self.overdue[token] = started

    def note_answering(self, token: int, started: float) -> None:
        """A call taken out of `in_flight` has begun to answer in time, and is only long."""
        if self.answering is _NO_CALLS:
            self.answering = {}
        self.answering[token] = started

    def note_older(self, token: int, started: float) -> None:
        """A call taken out of `in_flight` has no vote any more."""
        self.older = [*self.older, {token: started}]

    def close(self) -> None:
        """Let nothing pass without a decision."""
        self.check_at = self.good_until = _NEVER

    def end_generation(self) -> None:
        """Take the vote from all calls."""
        self.close()
        # The dict itself, and even if empty: a call may be on its way in.
        self.older = [*filter(None, self.older), self.in_flight]
        self.in_flight = {}
        if self.answering:
            self.older.append(self.answering)
            self.answering = _NO_CALLS

    def give_up_overdue(self) -> None:
        """Expect the overdue calls back no more."""
        if self.overdue:
            self.older = [*self.older, self.overdue]
            self.overdue = _NO_CALLS

    def missing(self, first: int) -> int:
        """Calls from token `first` on that have no vote any more and have not come back."""
        older = sum(token >= first for calls in self.older for token in calls.copy())
        return len(self.overdue) + older

    def take_recent(self) -> list[float]:
        """Take out the latencies that are in `recent`."""
        latencies = self.recent.copy()
        # Not clear(): another thread may have added one since.
        del self.recent[: len(latencies)]
        return latencies

    def clear(self) -> None:
        """Give up all permits: after a fork their calls go on in the parent."""
        self.end_generation()
        self.give_up_overdue()
        self.older = _NO_TABLES
        self.marked.clear()
        self.dropped.clear()

    @property
    def count(self) -> int:
        """Permits given out and not ended."""
        tables = (self.in_flight, self.answering, self.overdue, *self.older)
        return max(sum(map(len, tables)) - len(self.dropped), 0)
