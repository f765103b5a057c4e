"""The streams of a breaker: when they begin, how long their pieces are awaited, what is learned."""

from __future__ import annotations

from contextlib import suppress
from math import inf

from recloser._circuit.in_flight import CountedCall
from recloser._circuit.streams import Stream
from recloser._locked_circuit import WithinDecisionError
from recloser._state import Mode, State
from recloser._steerable_circuit import SteerableCircuit

# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_ENFORCE = Mode.ENFORCE
_CLOSED = State.CLOSED


class StreamingCircuit(SteerableCircuit):
    """A circuit that is told of answers that come in pieces. The base of `OperableCircuit`."""

    __slots__ = ()

    @property
    def piece_timeout(self) -> float:
        """Seconds after which it is hopeless to wait for one more piece of an answer.

        It is learned from streams: two limits of a stall, or 1.5 times what one stream in a thousand
        has as its longest gap if that is longer. It is never above `Policy.slow_ceiling`, and equal
        to it until enough is known. It is infinite where nothing may be cut off: in the modes observe
        and disabled, and while only a share of the callers is refused.
        """
        if not self.may_cut_off:
            return inf
        streams = self._calls.streams
        return self.policy.slow_ceiling if streams is None else streams.hopeless

    def note_stream(self, token: int, stream: Stream) -> None:
        """Note that the answer to a call comes in pieces; see `recloser._pieces`."""
        now = self.clock()
        with suppress(WithinDecisionError):  # in a finalizer: the stream is not watched
            self._decide(now, self._note_stream, token, stream)

    def expect_piece(self, token: int, stream: Stream) -> bool:
        """Watch without a decision for the second piece of an answer, which may have none.

        Returns:
            Whether that is possible: it is not for a probe, nor for a call without a vote.
        """
        calls = self._calls
        streams = calls.streams
        if streams is None or self._circuit.state is not _CLOSED or token not in calls.voting:
            return False
        streams.by_token[token] = stream  # one operation on a dict is atomic
        return True

    def forget_stream(self, token: int) -> None:
        """Forget an answer of `expect_piece` that has ended."""
        streams = self._calls.streams
        if streams is not None:
            streams.by_token.pop(token, None)

    def _note_stream(self, token: int, stream: Stream) -> None:
        closed = self._circuit.state is _CLOSED
        self._calls.note_stream(token, stream, self.policy, closed=closed)

    def note_gap(self, stream: Stream, since: float, now: float) -> None:
        """Note the longest time (s) for which the consumer of a stream waited for a piece so far."""
        gap = now - since - self._listeners.stalls.lost(since, now)
        stream.longest = max(stream.longest, gap)
        streams = self._calls.streams
        if streams is not None and gap > streams.time_limit and not stream.stalled:
            # Before each decision, the stalls until then are counted. A finalizer cannot make one:
            # then the next decision counts it.
            with suppress(WithinDecisionError):
                self._decide(now, _nothing)

    def begin_stream(self, call: CountedCall) -> bool:
        """Take the latency at the first piece; return whether it came within the slow threshold.

        If it came later, but may come at any time (see `subscriptions.py`), the headers were the
        answer.
        """
        try:
            now = self.clock()
        except Exception as error:
            self.fault("clock", error)
            return False
        # Without the lock: it is one number.
        threshold = self._circuit.detector.baseline.threshold
        if now - call.started <= threshold:
            call.answered = now
            return True
        self._calls.excuse(call, call.token, threshold)
        if call.answered == inf:
            call.answered = now
        return False

    def learn_stream(self, kind: str, *, prompt: bool, ended: bool) -> None:
        """Learn from a stream whose call ends; see `Subscriptions.learn`."""
        self._calls.learn_stream(kind, self.policy, prompt=prompt, ended=ended)

    def are_answers(self, kind: str) -> bool:
        """Whether streams of a kind are answers, and not subscriptions that may be idle."""
        streams = self._calls.streams
        return streams is not None and streams.subscriptions.are_answers(kind)


def _nothing() -> None:
    """A decision that only counts what has happened until now."""
