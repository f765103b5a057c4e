"""The calls of one key that are in flight. Most of them begin and end without a lock.

While a breaker is closed and there is no suspicion, there is nothing to decide. A call is then
admitted by one comparison (`quick_until`) and one new entry in `voting`. A success removes the
entry and adds its latency to `recent`. Each of these steps is one operation on a dict or list, which
is atomic: by the global interpreter lock, and where there is none by the lock that each dict and list
then has. So it needs no lock of ours.
https://docs.python.org/3/faq/library.html#what-kinds-of-global-value-mutation-are-thread-safe

Everything else is a decision of the circuit. It is made under the breaker's lock, and it processes
`recent` and `dropped` first. A decision that ends a generation first sets `quick_until`, then
replaces `voting`. A call that begins reads the two in the opposite order. So a call that begins
during such a change is in the table of the old generation, and has no vote. A call that meets two
such changes is in no table and is not counted. With 9,000 changes of state among a million calls,
that happened to about 30 calls.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from math import inf

from recloser._circuit.streams import Stream, Streams
from recloser._locks import free_after_fork, new_counter
from recloser._policy import Policy

NEVER = -inf
"""A time before all others; as a limit of time or latency, no call begins or ends without a decision.
It is one float for all keys: each `-inf` would be an object of its own."""
WAITING = -inf
"""The value of `Timing.answered` while a call waits for its own caller. It is not overdue then."""
# The latency of a stream of which only the headers came, as a share of the slow threshold. The
# threshold is two to three times what is usual.
_USUAL = 0.5
# This many tokens that were given up are remembered.
_MOST_RENAMED = 256
# Shared by all keys that do not need a table of their own. Nothing is ever put in.
_NO_CALLS: dict[int, Timing] = {}
_NO_TABLES: list[dict[int, Timing]] = []


class Timing:
    """When a call began, and when it began to answer; in seconds of the breaker's clock.

    Attributes:
        started: When it began.
        answered: When it began to answer; infinite until then, and `WAITING` while the call waits
            for its own caller.
        is_held: Whether it has an answer that its caller does not take yet.
        announced: What kind of stream has been announced by headers, if its first piece has not come
            yet; "" for any other call. See `subscriptions.py`.
    """

    __slots__ = ("answered", "started")

    answered: float
    started: float

    @property
    def is_held(self) -> bool:
        return False

    @property
    def announced(self) -> str:
        return ""

    def is_lost(self, *, is_referred: bool) -> bool:
        """Whether nobody can end the call any more.

        Args:
            is_referred: Whether anything but the table of calls in flight refers to it.
        """
        return not is_referred

    def times(self) -> Timing:
        """What a table keeps of a call that takes long, if it must not keep more of it alive."""
        return self


class CountedCall(Timing):
    """A call by its permit.

    Attributes:
        token: Its number among the calls of its breaker; 0 once it has ended.
    """

    __slots__ = ("token",)

    token: int


class InFlight:
    """The calls in flight by token, in tables that decide what the end of a call means.

    A token is a number that a call gets when it begins. The table of the token decides whether the
    call has a vote, that is, whether it counts in the next decision. A call ends when its token is
    removed. If two threads try to end it, only one of them gets the token.

    Attributes:
        tokens: Iterator of the tokens that are not given out yet, ascending from 1.
        quick_until: Calls that begin before this time, in seconds, are admitted without a decision.
        quick_latency: Successes up to this latency, in seconds, end without a decision.
        voting: Calls with a vote, oldest first. While half-open, these are the probes.
        answering: Calls with a vote that cannot become overdue with the others: they began to answer
            in time, wait for their own caller, or may take longer (see `explained.py`).
        overdue: Calls that have voted as slow because they took too long. Their end can still show
            that the callee is slow but working.
        outdated: Calls without a vote, of older generations or given up as overdue, in several
            tables.
        recent: Latencies in seconds of the successes that ended without a decision.
        renamed: The latest tokens that were given up for another one; see `rename`.
        streams: What is known of answers that come in pieces; None if there never was one.
        dropped: Tokens of calls that cannot be ended any more, because the permit was
            garbage-collected or an error occurred at their end. They end as cancelled.
    """

    __slots__ = (
        "answering",
        "dropped",
        "outdated",
        "overdue",
        "quick_latency",
        "quick_until",
        "recent",
        "renamed",
        "streams",
        "tokens",
        "voting",
    )

    def __init__(self) -> None:
        self.tokens = new_counter()
        self.quick_until = NEVER
        self.quick_latency = NEVER
        self.voting: dict[int, Timing] = {}
        self.recent: list[float] = []
        self.dropped: list[int] = []
        self.answering = _NO_CALLS
        self.overdue = _NO_CALLS
        self.outdated = _NO_TABLES
        self.renamed: tuple[int, ...] = ()
        self.streams: Streams | None = None

    def rename(self, token: int) -> int:
        """A new token for a call that was taken out to begin later, so that the order is kept.

        The old token is no call that has come back, so it is remembered for a while.
        """
        self.renamed = (*self.renamed[1 - _MOST_RENAMED :], token)
        return next(self.tokens)

    def __len__(self) -> int:
        """Number of calls that have begun and not ended."""
        tables = (self.voting, self.answering, self.overdue, *self.outdated)
        return max(sum(map(len, tables)) - len(self.dropped), 0)

    def __contains__(self, token: int) -> bool:
        """Whether a call has begun and not ended."""
        tables = (self.voting, self.answering, self.overdue, *self.outdated)
        return any(token in table for table in tables)

    def all(self) -> list[Timing]:
        """All calls that have begun and not ended."""
        tables = (self.voting, self.answering, self.overdue, *self.outdated)
        return [call for table in tables for call in table.copy().values()]

    def oldest(self) -> tuple[int, Timing] | None:
        """The token and the times of the oldest call that may become overdue, if there is one."""
        while True:
            try:
                return next(iter(self.voting.items()), None)
            except RuntimeError:
                continue  # another call began or ended between the two steps

    def outlive(self, token: int, before: float) -> list[int]:
        """The tokens of the calls with a vote and a higher token that began before that second."""
        return [
            each
            for each, call in self.voting.copy().items()
            if each > token and call.started < before and call.answered != WAITING
        ]

    def take_next_overdue(self, threshold: float, now: float) -> tuple[int, Timing] | None:
        """Remove and return the oldest call in `voting` if it has taken `threshold` seconds."""
        while (oldest := self.oldest()) is not None and oldest[1].started + threshold <= now:
            if self.voting.pop(oldest[0], None) is not None:
                return oldest
            # The call has ended meanwhile.
        return None

    def missing(self, first: int, before: float) -> int:
        """Number of calls without a vote that have not ended.

        Args:
            first: Of the outdated calls, those from this token on are counted.
            before: Of the overdue calls, those that began before this time are counted; seconds,
                infinite for all.
        """
        outdated = sum(token >= first for calls in self.outdated for token in calls.copy())
        return sum(call.started < before for call in self.overdue.copy().values()) + outdated

    @property
    def probes(self) -> int:
        """Number of probes that are not decided yet, while half-open."""
        return len(self.voting) + (0 if self.streams is None else self.streams.undecided)

    @property
    def waiting(self) -> int:
        """Number of calls in `voting` that wait for their own caller."""
        return sum(call.answered == WAITING for call in self.voting.copy().values())

    # Calls that end

    def take(self, token: int) -> Timing | None:
        """End a call that has a vote; return its times, or None if there is no such call."""
        call = self.voting.pop(token, None)
        return self.answering.pop(token, None) if call is None else call

    def take_overdue(self, token: int) -> Timing | None:
        """End an overdue call; return its times, or None if there is no such call."""
        return self.overdue.pop(token, None)

    def take_outdated(self, token: int) -> Timing | None:
        """End a call of an older generation; return its times, or None if there is no such call."""
        for calls in self.outdated:
            if (call := calls.pop(token, None)) is not None:
                return call
        return None

    def outdated_call(self, token: int) -> Timing | None:
        """The times of a call of an older generation that is in flight; None if there is none."""
        return next((calls[token] for calls in self.outdated if token in calls), None)

    # Streams

    def excuse(self, call: Timing, token: int, threshold: float) -> None:
        """Let the headers be the answer, where a stream may wait for its first piece.

        They are the answer, too, if the caller does not take them yet. If the call was overdue before,
        its headers were late as well.

        Args:
            call: A call, of any kind, that has taken longer than `threshold`, or whose caller leaves.
            token: Its token.
            threshold: The slow threshold, in seconds.
        """
        if call.answered != inf or token in self.overdue:
            return
        kind, streams = call.announced, self.streams
        is_free = kind and (streams is None or not streams.subscriptions.are_answers(kind))
        if is_free or call.is_held:
            # Nobody took the time of the headers: that would cost each request something.
            call.answered = call.started + _USUAL * threshold

    def learn_stream(self, kind: str, policy: Policy, *, prompt: bool, ended: bool) -> None:
        """Count a stream; see `Subscriptions.learn`."""
        if self.streams is None:
            self.streams = Streams(policy)
        self.streams.subscriptions.learn(kind, prompt=prompt, ended=ended)

    # Calls that move to another table

    def note_overdue(self, token: int, call: Timing) -> None:
        """Move a call from `voting` to `overdue`: it was counted as slow, and may still end."""
        if self.overdue is _NO_CALLS:
            self.overdue = {}
        self.overdue[token] = call.times()

    def note_all_overdue(self, threshold: float, now: float, but_not: Container[int]) -> int:
        """Move all calls that have taken `threshold` seconds to `overdue`; return their number.

        Args:
            threshold: Seconds.
            now: Seconds.
            but_not: Tokens of calls that may take longer.
        """
        overdue = 0
        for token, call in self.voting.copy().items():
            if token in but_not or call.announced:
                continue
            if call.started + threshold <= now and self.voting.pop(token, None) is not None:
                self.note_overdue(token, call)
                overdue += 1
        return overdue

    def note_answering(self, token: int, call: Timing) -> None:
        """Note a call removed from `voting` as answering: it can no longer become overdue."""
        if self.answering is _NO_CALLS:
            self.answering = {}
        self.answering[token] = call.times()

    def note_stream(self, token: int, stream: Stream, policy: Policy, *, closed: bool) -> None:
        """Note that a call has begun to answer, and that its answer comes in pieces.

        Args:
            token: The token of the call.
            stream: What happens to its pieces.
            policy: The policy of the key.
            closed: Whether the breaker is closed. The call can no longer become overdue then, and
                it will end by a decision, which first counts the stalls.
        """
        if token not in self:
            return
        if self.streams is None:
            self.streams = Streams(policy)
        self.streams.by_token[token] = stream
        if closed and (call := self.voting.pop(token, None)) is not None:
            self.note_answering(token, call)

    def note_outdated(self, token: int, call: Timing) -> None:
        """Note that a call removed from `voting` has no vote any more."""
        self.outdated = [*self.outdated, {token: call.times()}]

    def give_up(self, tokens: Iterable[int]) -> int:
        """Stop waiting for some overdue calls: they become outdated. Return their number."""
        stuck = {token: self.overdue.pop(token) for token in [*tokens]}
        if stuck:
            self.outdated = [*filter(None, self.outdated), stuck]
        return len(stuck)

    def give_up_overdue(self) -> None:
        """Stop waiting for the overdue calls: they become outdated."""
        if self.overdue:
            self.outdated = [*self.outdated, self.overdue]
            self.overdue = _NO_CALLS

    def stop_quick(self) -> None:
        """Make every begin and end of a call a decision."""
        self.quick_until = self.quick_latency = NEVER

    def end_generation(self) -> None:
        """Take the vote from all calls."""
        self.stop_quick()
        if self.streams is not None:
            self.streams.decide_none()
        # Keep the dict itself, even if it is empty: a call that begins now may still be added.
        self.outdated = [*filter(None, self.outdated), self.voting]
        self.voting = {}
        if self.answering:
            self.outdated.append(self.answering)
            self.answering = _NO_CALLS

    def forget_all(self) -> int:
        """Forget all calls and return their number: after a fork they continue in the parent."""
        calls = len(self.all())  # also those that were dropped just now
        self.end_generation()
        if self.streams is not None:
            self.streams.by_token.clear()
        self.overdue = _NO_CALLS
        self.outdated = _NO_TABLES
        self.dropped.clear()
        free_after_fork(self.tokens)
        return calls
