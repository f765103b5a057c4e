"""Streams: answers that come in pieces, and for how long the next piece may be awaited.

The first piece is the answer, by which the latency is taken. The callee may stall after it. So each
key learns the longest gap of its streams: the longest time for which the consumer of a stream had
to wait for one piece. A wait that is much longer than the longest gap of nearly all streams is a
stall. It is a failure, and it is counted while it lasts.

It is not learned from all gaps, because a stream may have thousands of short ones and one long one,
such as the time for which a model uses a tool. By streams, that long gap is usual; by gaps, it is
one of thousands.

Several streams that stand still at the same time need not wait for so long, if they are most of those
that flow and the callee sent pieces to others meanwhile: so it is not the callee as a whole that pauses
for a moment.

A stream that stalls or fails after its first piece shows that a first piece proves little. So the next
probes are good only when they have flowed for a while, or have ended.

What the consumer needs between two pieces is not the callee's time. What carries no content (a
comment, a ping, the head of a message) is no piece.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TypeAlias

from recloser._circuit.histogram import ExponentialHistogram
from recloser._circuit.hopeless import hopeless_after, tail_share
from recloser._circuit.subscriptions import Subscriptions
from recloser._policy import Policy

# A wait is a stall if it is longer than this many times the longest gap of 95 % of the streams. If the
# longest gaps are log-normal with sigma 0.8, one stream in a thousand has such a gap.
_USUAL = 0.95
_ABOVE_USUAL = 3.0
# Seconds that are never a stall. An interruption of one second keeps the flow of thought of a user
# (Nielsen 1993, "Usability Engineering"), and a callee may pause that long for a garbage collection.
_SHORTEST_STALL = 2.0
# Seconds after which a wait is a stall while hardly any stream is known, if no known one had a gap
# that long. After ten seconds a user turns to other work (ibid.).
_STALL_IF_UNKNOWN = 10.0
# Part of the time limit after which several streams that stand still at the same time have stalled. So
# it is one second at least.
_IF_SEVERAL = 0.5
# A probe has flowed for a while if it began longer ago than the time limit, and its consumer waits for
# less than this part of it.
_FLOWS = 0.5
# Part of the time limit between two checks for stalls.
_CHECK_EVERY = 1.0 / 32.0
# A stream that stalled during an outage, and then ended well, counts as this part of all that are
# remembered. So six of them are enough to make such a gap usual, if the callee has changed for good.
_SHARE_IN_OUTAGE = 0.01
# The time limit is learned anew when this many times as many streams are known: it costs 10 us.
_REFRESH = 1.02
_SHORTEST_GAP = 1e-6  # seconds; so a stream of one piece counts, too

Decided: TypeAlias = tuple[int, float, float | None]
"""A stream that is decided: its token, the seconds until its first piece, and for how many seconds its
consumer waits for another one, None if it flows."""


class Stream:
    """One answer that comes in pieces.

    Attributes:
        began: When its first piece came, in seconds.
        latency: Seconds until then.
        longest: Its longest gap so far, in seconds.
        since: Since when its consumer waits for a piece, in seconds; infinite if it does not.
        stalled: Whether it has stalled, and was counted as a failure.
        undecided: Whether it is a probe that is not decided yet: it must have flowed for a while.
        weight: As how many streams it counts when it teaches.
    """

    __slots__ = ("began", "latency", "longest", "since", "stalled", "undecided", "weight")

    def __init__(self, began: float, latency: float) -> None:
        self.began: float = began
        self.latency: float = latency
        self.longest: float = _SHORTEST_GAP
        self.since: float = inf
        self.stalled: bool = False
        self.undecided: bool = False
        self.weight: float = 1.0


class Streams:
    """The streams of one key. It is made with the first of them.

    Attributes:
        by_token: The streams in flight by the tokens of their calls. A stream that has stalled stays
            here until it ends. Other threads may add and remove streams at any time.
        check_at: When the next of them may have stalled, in seconds.
        hopeless: After this many seconds it is hopeless to wait for a piece any longer.
        time_limit: A wait that is longer than this is a stall; seconds. Infinite where such waits are
            usual.
    """

    __slots__ = (
        "_doubted",
        "_history",
        "_if_several",
        "_policy",
        "_refresh_at",
        "_unusual",
        "by_token",
        "check_at",
        "hopeless",
        "subscriptions",
        "time_limit",
    )

    check_at: float

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.by_token: dict[int, Stream] = {}
        self.subscriptions = Subscriptions()
        self.forget()

    def adopt(self, policy: Policy) -> None:
        """Judge by another policy."""
        self._policy = policy
        self._refresh()

    def forget(self) -> None:
        """Forget what was learned."""
        self._history = ExponentialHistogram()
        # Whether the last stream that was decided had stalled, or failed.
        self._doubted = False
        self._refresh()

    # Streams in flight

    @property
    def undecided(self) -> int:
        """Number of probes that are not decided yet: they must have flowed for a while."""
        return sum(stream.undecided for stream in self.by_token.copy().values())

    def doubts(self, token: int) -> bool:
        """Whether a probe that has begun to answer may well stall later; it is undecided then."""
        stream = self.by_token.get(token)
        if stream is None or stream.stalled or not self._doubted or self.time_limit == inf:
            return False
        stream.undecided = True
        self.check_at = min(self.check_at, stream.began + self.time_limit)
        return True

    def decide_none(self) -> None:
        """No probe is undecided any more: calls that began before a change of state have no vote."""
        for stream in self.by_token.copy().values():
            stream.undecided = False

    def forget_ended(self, in_flight: Callable[[int], bool]) -> None:
        """Forget the streams of calls that are not in flight: their handlers have ended them early."""
        for token in [*self.by_token]:
            if not in_flight(token):
                self.by_token.pop(token, None)

    def take_decided(self, now: float, lost: Callable[[float, float], float]) -> list[Decided]:
        """The streams that have stalled, and the undecided probes that have flowed for a while.

        Args:
            now: Seconds.
            lost: Function from two times to the seconds between them in which the process stood
                still.
        """
        decided: list[Decided] = []
        streams = self.by_token.copy()
        several = self._several(streams, now, lost)
        first, limit = now, self.time_limit
        for token, stream in streams.items():
            since = stream.since
            if stream.stalled:
                continue
            wait = now - since
            if wait > limit:
                wait -= lost(since, now)
            if wait > limit or token in several:
                stream.stalled = self._doubted = True
                if stream.undecided:
                    stream.weight = max(_SHARE_IN_OUTAGE * self._history.total, 1.0)
                stream.undecided = False
                decided.append((token, stream.latency, wait))
                continue
            first = min(first, since)
            if stream.undecided:
                if now - stream.began > limit and wait < _FLOWS * limit:
                    stream.undecided = False
                    decided.append((token, stream.latency, None))
                else:
                    first = -inf
        self.check_at = max(first + min(self._if_several, limit), now + _CHECK_EVERY * limit)
        return decided

    def _several(
        self, streams: dict[int, Stream], now: float, lost: Callable[[float, float], float]
    ) -> set[int]:
        """The streams that stand still at the same time, if they are several; see the module."""
        few = self._policy.min_failures
        if len(streams) < few or self._if_several == inf:
            return set()
        going = {token: each for token, each in streams.items() if not each.stalled}
        oldest = min((each.since for each in going.values()), default=inf)
        if now - oldest < self._if_several:
            return set()
        stood_still = lost(oldest, now)  # our own process
        late_since = now - self._if_several - stood_still
        late = {token: each.since for token, each in going.items() if each.since <= late_since}
        if len(late) < few or 2 * len(late) <= sum(
            each.began <= late_since for each in going.values()
        ):
            return set()
        # Others got a piece when the oldest had waited for longer than is usual.
        meanwhile = max(late.values()) - oldest - stood_still > self._unusual
        return set(late) if meanwhile else set()

    def end(self, token: int, *, well: bool, failed: bool = False) -> None:
        """A call has ended. If it was a stream, and ended well, its longest gap is learned."""
        stream = self.by_token.pop(token, None)
        if stream is None:
            return
        if failed:
            self._doubted = True
        if not well:
            return
        if not stream.stalled:
            self._doubted = False
        history = self._history
        if history.total >= self._policy.history_size:
            self._history = ExponentialHistogram()
            self._history.merge(history, 0.5)
            self._refresh_at = 0.0
        self._history.add((stream.longest,), stream.weight)
        if self._history.total >= self._refresh_at:
            self._refresh()

    # What is normal

    def _refresh(self) -> None:
        policy, history = self._policy, self._history
        ceiling, total = policy.slow_ceiling, history.total
        self._refresh_at = total * _REFRESH
        usual, longest = history.quantiles(_USUAL, tail_share(total))
        if total >= policy.min_history:
            limit = max(_SHORTEST_STALL, _ABOVE_USUAL * usual)
            self.hopeless = hopeless_after(limit, longest, total, ceiling)
        else:
            usual = longest
            limit = max(_STALL_IF_UNKNOWN, _ABOVE_USUAL * usual)
            self.hopeless = ceiling
        # Streams that usually pause for so long are those of events that happen now and then.
        self.time_limit = inf if usual >= ceiling else min(limit, ceiling)
        self._unusual = _ABOVE_USUAL * usual
        self._if_several = _IF_SEVERAL * self.time_limit if total >= policy.min_history else inf
        self.check_at = -inf
