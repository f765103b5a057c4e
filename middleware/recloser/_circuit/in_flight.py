"""Calls: the permits of one key that are given out, how many ended how, and how fast they come.

Most of them come and go without a lock.

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
from math import hypot, inf

# Nothing is slow enough, or good enough, to pass without a decision.
_NEVER = -inf
WAITING = -inf
"""Such a call is not overdue, however long that takes: it cannot go on by itself."""
# What keys without long answers have in common instead of a table each; nothing is ever put in.
_NO_CALLS: dict[int, CallTimes] = {}
_NO_TABLES: list[dict[int, CallTimes]] = []
# Fewer calls than this measure no rate.
_RATE_CALLS = 8
# What is left of the highest concurrency from one measurement to the next.
_CONCURRENCY_KEPT = 0.8


class CallTimes:
    """When a call began, and when it began to answer; in seconds.

    Attributes:
        started: When it began.
        answered: When it began to answer; infinite until then, and `WAITING` while the call waits for
            its own caller.
    """

    __slots__ = ("answered", "started")

    answered: float
    started: float


class Calls:
    """The permits of one key that are given out, by token, and what became of those that ended.

    Where a token is found tells whether its call has a vote: in `in_flight` it has (half-open, it
    is a probe), in `answering` too, but it cannot become overdue; in `overdue` it has voted, but
    whether it comes back is still to be seen; in `older` it has none. A token in none of them has
    ended: taking it out is what ends a call, and of two threads that try one gets it.

    Attributes:
        tokens: The tokens still to be given out, ascending from 1.
        check_at: Calls that begin before this, in seconds, are admitted without a decision.
        good_until: Successes up to this latency, in seconds, end without a decision.
        in_flight: Calls with a vote, oldest first.
        recent: Latencies of the successes that ended without a decision, in seconds.
        dropped: Tokens that nobody can end any more; a finalizer leaves them here.
        answering: Calls with a vote that are not overdue, however long they take: they began to
            answer in time, or wait for their own caller.
        overdue: Calls that were counted as slow in flight.
        older: Calls without a vote, by generation.
        successes, failures, slow, throttled, ignored, cancelled, refused: Counts as in `Metrics`;
            those in `recent` are not among them yet.
        latency_sum: Of successes and failures, in seconds.
        latency_squares: Sum of the squares of these.
        rate: Calls asked for per second; 0.0 while unknown.
        concurrency: Calls that used to be in flight at a time, >= 1.
    """

    __slots__ = (
        "_asked_before",
        "_rate_since",
        "answering",
        "cancelled",
        "check_at",
        "concurrency",
        "dropped",
        "failures",
        "good_until",
        "ignored",
        "in_flight",
        "latency_squares",
        "latency_sum",
        "older",
        "overdue",
        "rate",
        "recent",
        "refused",
        "slow",
        "successes",
        "throttled",
        "tokens",
    )

    def __init__(self) -> None:
        self.tokens = count(1)
        self.check_at = _NEVER
        self.good_until = _NEVER
        self.in_flight: dict[int, CallTimes] = {}
        self.recent: list[float] = []
        self.dropped: list[int] = []
        self.answering = _NO_CALLS
        self.overdue = _NO_CALLS
        self.older = _NO_TABLES
        self.successes = 0
        self.failures = 0
        self.slow = 0
        self.throttled = 0
        self.ignored = 0
        self.cancelled = 0
        self.refused = 0
        self.latency_sum = 0.0
        self.latency_squares = 0.0
        self._asked_before = 0
        self._rate_since = inf
        self.rate = 0.0
        self.concurrency = 1

    # Which calls there are

    def oldest(self) -> tuple[int, CallTimes] | None:
        """The token and the times of the first call in flight."""
        while True:
            try:
                return next(iter(self.in_flight.items()), None)
            except RuntimeError:
                continue  # another call began or ended between the two steps

    def take(self, token: int) -> CallTimes | None:
        """End a call that has a vote; its times, or None if there is no such call."""
        call = self.in_flight.pop(token, None)
        return self.answering.pop(token, None) if call is None else call

    def take_overdue(self, token: int) -> CallTimes | None:
        """End a call that has voted while it hung; its times, or None."""
        return self.overdue.pop(token, None)

    def take_older(self, token: int) -> CallTimes | None:
        """End a call of an older generation; its times, or None."""
        for calls in self.older:
            if (call := calls.pop(token, None)) is not None:
                return call
        return None

    def note_overdue(self, token: int, call: CallTimes) -> None:
        """A call taken out of `in_flight` was counted as slow; it may still come back."""
        if self.overdue is _NO_CALLS:
            self.overdue = {}
        self.overdue[token] = call

    def note_answering(self, token: int, call: CallTimes) -> None:
        """A call taken out of `in_flight` has begun to answer in time, and is only long."""
        if self.answering is _NO_CALLS:
            self.answering = {}
        self.answering[token] = call

    def note_older(self, token: int, call: CallTimes) -> None:
        """A call taken out of `in_flight` has no vote any more."""
        self.older = [*self.older, {token: call}]

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

    def give_up(self) -> None:
        """Take all permits back: after a fork their calls go on in the parent."""
        self.cancelled += self.count
        self.end_generation()
        self.overdue = _NO_CALLS
        self.older = _NO_TABLES
        self.dropped.clear()

    @property
    def count(self) -> int:
        """Permits given out and not ended."""
        tables = (self.in_flight, self.answering, self.overdue, *self.older)
        return max(sum(map(len, tables)) - len(self.dropped), 0)

    # How they ended

    def count_success(self, latency: float) -> None:
        """A call answered after `latency` seconds."""
        self.successes += 1
        self.latency_sum += latency
        self.latency_squares += latency * latency

    def count_failure(self, latency: float) -> None:
        """A call failed after `latency` seconds."""
        self.failures += 1
        self.latency_sum += latency
        self.latency_squares += latency * latency

    def take_recent(self) -> list[float]:
        """Count the successes that are in `recent`, and take out their latencies."""
        latencies = self.recent.copy()
        # Not clear(): another thread may have added one since.
        del self.recent[: len(latencies)]
        self.successes += len(latencies)
        self.latency_sum += sum(latencies)
        self.latency_squares += hypot(*latencies) ** 2  # in C, four times as fast as a sum of them
        return latencies

    # How fast they come

    @property
    def asked(self) -> int:
        """Calls asked for, refused ones included."""
        ended = self.successes + self.failures + self.throttled + self.ignored + self.cancelled
        return ended + len(self.recent) + self.count + self.refused

    def watch_rate(self, now: float) -> None:
        """Measure the rate from now on, if that is not being done."""
        if self._rate_since == inf:
            self._rate_since = now

    def measure_rate(self, now: float) -> bool:
        """Draw the rate from the stretch since the last time; False if that was too short."""
        calls = self.asked - self._asked_before
        if calls < _RATE_CALLS or now <= self._rate_since:
            return False
        self.rate = calls / (now - self._rate_since)
        self._rate_since = now
        self._asked_before += calls
        return True

    def measure_concurrency(self) -> None:
        """Take the calls in flight for usual, if there are no fewer than there used to be."""
        usual = round(_CONCURRENCY_KEPT * self.concurrency)
        self.concurrency = max(len(self.in_flight), usual, 1)

    def forget_pace(self) -> None:
        """Forget rate and concurrency."""
        self.rate = 0.0
        self.concurrency = 1
