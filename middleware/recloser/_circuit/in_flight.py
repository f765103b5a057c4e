"""The calls of one key that are in flight. Most of them come and go without a lock.

While a breaker is closed and nothing is suspicious, there is nothing to decide. A call is then
admitted by one comparison (`quick_until`) and one entry in `voting`; a success takes the entry out
again and leaves its latency in `recent`. Each of these is one operation on a dict or list, which
the global interpreter lock makes atomic, so none of them needs a lock of ours.
https://docs.python.org/3/faq/library.html#what-kinds-of-global-value-mutation-are-thread-safe

All else is a decision of the circuit. It is made under the breaker's lock, and first takes in what
is in `recent` and `dropped`. A decision that ends a generation first sets `quick_until`, then
replaces `voting`. A call on its way in reads the two in the opposite order. So a call that meets
such a change has its entry in the table of the old generation, and no vote. A call that meets two
such changes is in no table, and is not counted: with 9,000 changes of state among a million calls
that happened to some 30 of them.
"""

from __future__ import annotations

from itertools import count
from math import inf

# No call begins early enough, or ends soon enough, to pass without a decision.
_NEVER = -inf
WAITING = -inf
"""The value of `Timing.answered` while a call waits for its own caller. It is not overdue then."""
# Shared by the keys that need no table of their own. Nothing is ever put in.
_NO_CALLS: dict[int, Timing] = {}
_NO_TABLES: list[dict[int, Timing]] = []


class Timing:
    """When a call began, and when it began to answer; in seconds of the breaker's clock.

    Attributes:
        started: When it began.
        answered: When it began to answer; infinite until then, and `WAITING` while the call waits
            for its own caller.
    """

    __slots__ = ("answered", "started")

    answered: float
    started: float


class InFlight:
    """The calls in flight by token, in tables that say what their end means.

    A token is a number that a call gets when it begins. The table where it is found tells whether
    the call has a vote, which is a say in the next decision. Taking the token out is what ends a
    call: of two threads that try, one gets it.

    Attributes:
        tokens: The tokens still to be given out, ascending from 1.
        quick_until: Calls that begin before this, in seconds, are admitted without a decision.
        quick_latency: Successes up to this latency, in seconds, end without a decision.
        voting: Calls with a vote, oldest first. While half-open these are the probes.
        answering: Calls with a vote that cannot become overdue: they began to answer in time, or
            wait for their own caller.
        overdue: Calls that have voted as slow because they took too long. Whether they come back is
            still of interest.
        outdated: Calls of older generations, which have no vote, in one table per generation.
        recent: Latencies of the successes that ended without a decision, in seconds.
        dropped: Tokens of permits that were garbage-collected before their call had ended.
    """

    __slots__ = (
        "answering",
        "dropped",
        "outdated",
        "overdue",
        "quick_latency",
        "quick_until",
        "recent",
        "tokens",
        "voting",
    )

    def __init__(self) -> None:
        self.tokens = count(1)
        self.quick_until = _NEVER
        self.quick_latency = _NEVER
        self.voting: dict[int, Timing] = {}
        self.recent: list[float] = []
        self.dropped: list[int] = []
        self.answering = _NO_CALLS
        self.overdue = _NO_CALLS
        self.outdated = _NO_TABLES

    def __len__(self) -> int:
        """Calls that have begun and not ended."""
        tables = (self.voting, self.answering, self.overdue, *self.outdated)
        return max(sum(map(len, tables)) - len(self.dropped), 0)

    def all(self) -> list[Timing]:
        """All calls that have begun and not ended."""
        tables = (self.voting, self.answering, self.overdue, *self.outdated)
        return [call for table in tables for call in table.copy().values()]

    def oldest(self) -> tuple[int, Timing] | None:
        """The token and the times of the oldest call that may become overdue."""
        while True:
            try:
                return next(iter(self.voting.items()), None)
            except RuntimeError:
                continue  # another call began or ended between the two steps

    def take_next_overdue(self, threshold: float, now: float) -> tuple[int, Timing] | None:
        """Take the oldest call out of `voting` if it has taken `threshold` seconds; else None."""
        while (oldest := self.oldest()) is not None and oldest[1].started + threshold <= now:
            if self.voting.pop(oldest[0], None) is not None:
                return oldest
            # It ended meanwhile.
        return None

    def missing(self, first: int) -> int:
        """Calls from token `first` on that have no vote any more and have not come back."""
        outdated = sum(token >= first for calls in self.outdated for token in calls.copy())
        return len(self.overdue) + outdated

    # Calls that end

    def take(self, token: int) -> Timing | None:
        """End a call that has a vote; its times, or None if there is no such call."""
        call = self.voting.pop(token, None)
        return self.answering.pop(token, None) if call is None else call

    def take_overdue(self, token: int) -> Timing | None:
        """End a call that was overdue; its times, or None if there is no such call."""
        return self.overdue.pop(token, None)

    def take_outdated(self, token: int) -> Timing | None:
        """End a call of an older generation; its times, or None if there is no such call."""
        for calls in self.outdated:
            if (call := calls.pop(token, None)) is not None:
                return call
        return None

    def take_recent(self) -> list[float]:
        """Take out the latencies of the calls that ended without a decision, in seconds."""
        latencies = self.recent.copy()
        # Not clear(): another thread may have added one since.
        del self.recent[: len(latencies)]
        return latencies

    # Calls whose end means something else from now on

    def note_overdue(self, token: int, call: Timing) -> None:
        """A call taken out of `voting` was counted as slow; it may still come back."""
        if self.overdue is _NO_CALLS:
            self.overdue = {}
        self.overdue[token] = call

    def note_all_overdue(self, threshold: float, now: float) -> int:
        """Note all calls as overdue that have taken `threshold` seconds; tell how many there were."""
        overdue = 0
        for token, call in self.voting.copy().items():
            if call.started + threshold <= now and self.voting.pop(token, None) is not None:
                self.note_overdue(token, call)
                overdue += 1
        return overdue

    def note_answering(self, token: int, call: Timing) -> None:
        """A call taken out of `voting` has begun to answer in time, and is only long."""
        if self.answering is _NO_CALLS:
            self.answering = {}
        self.answering[token] = call

    def note_outdated(self, token: int, call: Timing) -> None:
        """A call taken out of `voting` has no vote any more."""
        self.outdated = [*self.outdated, {token: call}]

    def give_up_overdue(self) -> None:
        """Wait for the overdue calls no longer."""
        if self.overdue:
            self.outdated = [*self.outdated, self.overdue]
            self.overdue = _NO_CALLS

    def stop_quick(self) -> None:
        """Let no call begin or end without a decision."""
        self.quick_until = self.quick_latency = _NEVER

    def end_generation(self) -> None:
        """Take the vote from all calls."""
        self.stop_quick()
        # The dict itself, and even if empty: a call may be on its way in.
        self.outdated = [*filter(None, self.outdated), self.voting]
        self.voting = {}
        if self.answering:
            self.outdated.append(self.answering)
            self.answering = _NO_CALLS

    def forget_all(self) -> int:
        """Forget all calls, and tell how many there were: after a fork they go on in the parent."""
        calls = len(self)
        self.end_generation()
        self.overdue = _NO_CALLS
        self.outdated = _NO_TABLES
        self.dropped.clear()
        return calls
