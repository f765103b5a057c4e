"""The limit: how many calls may be in flight while calls are slow but come back.

Slow answers have three causes that look alike at first:

    load       There are too many calls: they wait for each other. Fewer of them are faster each, and
               no fewer are served. The limit follows the callee: it falls while calls are slow and
               fewer are faster, and it grows otherwise.
    mixture    Some calls are slow, and others are as fast as ever. The limit ends: that is normal.
    sickness   Each call is slow, however few there are. If that is mild, nobody is refused until it
               is accepted as the new normal. If it is severe, one call is sent now and then.

Load is told from sickness by an experiment, see `load.py`: if the number of calls in flight does not
vary by itself, the limit is halved for one round.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from recloser._circuit.failures import Failures
from recloser._circuit.load import Load
from recloser._circuit.new_normal import AS_FAST_AS_EVER, Usual
from recloser._circuit.pacing import Pacing
from recloser._circuit.round import Finding, Round

# Answers of a round: with fewer, the median says too little; more take too long.
_FEWEST, _MOST = 8, 32
# How the limit changes per round.
_HALVED, _LESS, _MORE, _DOUBLED = 0.5, 0.8, 1.25, 2.0
# While the load returns, until calls are slow, each fast answer lets so many more in: one, if the
# callee was slow; three, if it was dead. With seven, eight processes overloaded it again.
_RETURNS, _RETURNS_FROM_OPEN = 1.0, 3.0
# Where at least the second share of a round fails, there are too many calls: so much of the limit stays.
_SHED, _SHEDS = 0.75, 0.2
# If calls come back, twice as many as at the beginning are let through: an everyday queue passes.
_COMES_BACK = 2.0
# The share of calls that are refused is averaged over so many calls. Up to the first share, the limit
# is none; from the second on, there are more calls than the callee can serve for long, so that a
# shorter queue refuses no more of them.
_AVERAGED = 64.0
_UNBOUND = 0.02
_OVERLOAD = 0.1
# Below this limit, it is no longer halved to find out anything. Load that is not ours is possible.
_FEW = 3.0
# The least limit. If that is still too much, there are pauses between the calls. And the widest.
_LEAST, _WIDEST = 1.0, 1e6
# If nobody is refused, calls must be slow for so many seconds before the limit is lowered to find out.
_SLOW_FOR = 2.0
# If calls are very slow for so many seconds, the limit is lowered to make sure that it is load.
_SEVERE_FOR = 10.0
# While nobody is refused, it is no harm to wait longer until a latency is accepted: most faults are
# over after so many times `Policy.latency_patience`.
_UNREFUSED = 2.0
# Silence for so many typical latencies: nothing comes back.
_MUTE = 8.0
# It is a mixture if at least this share of a round is as fast as ever.
_FAST_SHARE = 0.2


class Limit:
    """The number of calls that may be in flight, and the search for it.

    Args:
        size: Calls that may be in flight at first, > 0.
        calm: Seconds without a refusal after which it ends if calls are fast.
        usual: The latency before.
        token: Token of the next call.
        now: Seconds.

    Attributes:
        size: Calls that may be in flight.
        level: Median latency of the last round, in seconds; 0.0 before.
        latest: The highest token of a call that came back.
        load: Whether the callee has too many calls.
        succeeded: Whether a call was answered since the limit was last lowered for failures.
        slow_share: Share of slow calls in the last round, 0.0-1.0.
        peak: Most calls in flight so far.
        failures: Whether calls fail because there are too many.
        answering: Tokens of the calls in flight whose answer was counted when it began.
    """

    __slots__ = (
        "_bound_at",
        "_calm",
        "_ended_at",
        "_ends_at_once",
        "_in_flight",
        "_is_sick",
        "_mute_since",
        "_pacing",
        "_refused",
        "_returns",
        "_round",
        "_severe_since",
        "_slow_since",
        "_usual",
        "_waits_for_first",
        "_widest",
        "answering",
        "failures",
        "latest",
        "level",
        "load",
        "peak",
        "size",
        "slow_share",
        "succeeded",
    )

    def __init__(self, size: float, calm: float, usual: Usual, token: int, now: float) -> None:
        self.size = self._widest = size
        self.level = 0.0
        self.latest = 0
        self.load = Load()
        self.failures = Failures()
        self.succeeded = True
        self.slow_share = 0.0
        self.peak = 0
        self.answering: set[int] = set()
        self._calm = calm
        self._usual = usual
        self._returns = _RETURNS_FROM_OPEN  # 0.0 once the load has returned
        self._ends_at_once = False
        self._waits_for_first = False
        self._is_sick = False
        self._pacing = Pacing()
        self._severe_since = self._slow_since = now
        self._ended_at = self._bound_at = self._mute_since = now
        self._refused = 0.0  # share of calls that are refused
        # Calls in flight when a call began, by its token.
        self._in_flight: dict[int, int] = {}
        self._round = Round(token)

    def begin_suspicious(self, mute: Iterable[int] | None, *, is_first: bool) -> None:
        """Begin with a suspicion, not with a recovery.

        Args:
            mute: If no call came back of late: the tokens of those in flight, oldest first.
            is_first: Whether it is the first limit for a while. It ends at once if calls are fast.
        """
        self._returns = 0.0
        self._ends_at_once = is_first
        if mute is None:
            self.size *= _COMES_BACK
            return
        self.succeeded = False
        self._waits_for_first = True
        self._in_flight.update((token, number) for number, token in enumerate(mute, 1))

    # Admission

    def admits(self, token: int, running: int, now: float) -> bool:
        """Whether one more call may begin.

        Args:
            token: Its token.
            running: Calls in flight.
            now: Seconds.
        """
        self._refused -= self._refused / _AVERAGED
        self._round.peak = max(self._round.peak, running + 1)
        if running < self.size and not self._ended_at <= now < self._pacing.next_at(self._ended_at):
            if not self._in_flight:
                self._mute_since = now
            self._in_flight[token] = running + 1
            self.peak = max(self.peak, running + 1)
            return True
        self._refused += 1.0 / _AVERAGED
        if self._refused > _UNBOUND:
            self._bound_at = now
            self._ends_at_once = False
        return False

    def wait(self, running: int, now: float) -> float:
        """Seconds until a call may be admitted, about; >= 0."""
        if running >= self.size:
            return self.level or self._usual.median
        return max(self._pacing.next_at(self._ended_at) - now, 0.0)

    def is_mute(self, newer: int, now: float, threshold: float) -> bool:
        """Whether calls are in flight, and none has come back for so long that none will.

        Args:
            newer: Calls in flight that began after the latest one that came back. Older ones say
                nothing: if an eighth of the calls hang, they are all that is left in flight where
                few threads make the calls.
            now: Seconds.
            threshold: The slow threshold, in seconds.
        """
        return newer >= min(_FEW, self.size) and self.is_silent(now, threshold)

    def is_silent(self, now: float, threshold: float) -> bool:
        """Whether no call has come back for so long; `threshold` as for `is_mute`."""
        began = max(self._mute_since, self._ended_at)
        return now - began > _MUTE * max(self.level, threshold)

    def pause(self, longest: float) -> None:
        """Send one call at a time, with a pause after each: the callee is sick, or serves others.

        Args:
            longest: The longest pause, in seconds. It begins with one latency, and doubles with
                each slow call.
        """
        self._pacing.begin(self.level, longest)
        self.size = _LEAST

    @property
    def pauses(self) -> float:
        """Seconds between two calls while `is_pausing`."""
        return self._pacing.pause

    @property
    def patience(self) -> float | None:
        """How many times `Policy.latency_patience` a latency waits; None as in an outage."""
        return None if self.is_pausing else _UNREFUSED

    @property
    def refuses(self) -> bool:
        """Whether more calls were refused of late than by chance."""
        return self._refused > _UNBOUND

    @property
    def is_pausing(self) -> bool:
        """Whether only one call is sent now and then."""
        return self._pacing.pause > 0.0

    # The end of a call

    def ended(
        self, token: int, latency: float, now: float, threshold: float, *, ok: bool
    ) -> Finding:
        """Count a call that ended.

        Args:
            token: Its token.
            latency: Seconds.
            now: Seconds.
            threshold: The slow threshold, in seconds.
            ok: Whether it was answered; otherwise it failed.
        """
        threshold = max(threshold, self._usual.high)
        in_flight = self._in_flight.pop(token, 0)
        if ok:
            self.succeeded = True
            self._ended_at = now
            self.latest = max(self.latest, token)
            if self._waits_for_first:
                self._waits_for_first = False
                if latency < self._usual.severe:
                    self.size *= _COMES_BACK
        if in_flight and (ok or latency > threshold):
            self.load.add(in_flight, latency)
        if token < self._round.first:
            return Finding.NOTHING
        if self.is_pausing:
            self.level = max(latency, 0.0)  # a clock may jump
            return self._judge_one(token, now, fast=ok and latency <= threshold)
        fast = ok and latency <= threshold
        if not fast:
            self._returns = 0.0
        elif self.refuses:
            self.size += self._returns
        finding = self.failures.add(token, ok=ok, timed_out=not ok and latency > threshold)
        if ok or latency > threshold or not self.failures.are_usual:
            self._round.add(token, latency, now, ok=ok)
        if finding is not Finding.NOTHING:
            return finding
        return self._judge_if_complete(token, threshold, now)

    def is_late(self, token: int, now: float, threshold: float) -> Finding:
        """Count a call that is overdue, though it may still come back."""
        if token < self._round.first or self.is_pausing:
            return Finding.NOTHING
        self._round.add_late(token, now)
        return self._judge_if_complete(token, max(threshold, self._usual.high), now)

    def forget(self, token: int) -> None:
        """Forget a call that ended without an answer, for example because its caller gave up."""
        self._in_flight.pop(token, None)

    def leave(self, token: int) -> None:
        """Forget a call whose caller left, also if it was late."""
        self.forget(token)
        self._round.forget(token)

    def forget_all(self, token: int) -> None:
        """Forget all calls in flight; `token` is that of the next call."""
        self._in_flight.clear()
        self._round = Round(token)

    def rename(self, before: int, token: int) -> None:
        """Note that a call has another token from now on."""
        if (in_flight := self._in_flight.pop(before, 0)) > 0:
            self._in_flight[token] = in_flight

    def shed(self) -> None:
        """Lower the limit: calls fail, maybe because there are too many."""
        self.succeeded = False
        self._fewer()

    def _fewer(self) -> bool:
        """Lower the limit, or test the calls if there are few already; return whether it fell."""
        if self.size > _FEW:
            self.size *= _SHED
            return True
        self.failures.begin_test(max(self._round.first, *self._in_flight, 0) + 1)
        return False

    def _judge_one(self, token: int, now: float, *, fast: bool) -> Finding:
        self._ended_at = now
        if not fast:
            self.load.count_useless()
            return Finding.SICK
        if self._pacing.answered_fast():
            # The load returns step by step.
            self._refused = 0.0
            self._returns, self._is_sick = _RETURNS, False
            self.load.forget()
            self._round = Round(token + 1)
        return Finding.NOTHING

    def _judge_if_complete(self, token: int, threshold: float, now: float) -> Finding:
        # With a limit of one call, answers are rare.
        enough = min(max(_FEWEST, ceil(self.size)), _MOST, ceil(4.0 * self.size))
        if not self._round.is_complete(enough, now):
            return Finding.NOTHING
        finding = self._judge(self._round, threshold, now)
        self.size = min(self.size, _WIDEST)  # a mixture doubles it
        self._round = Round(max(token, *self._in_flight, 0) + 1)
        return finding

    def _judge(self, answers: Round, threshold: float, now: float) -> Finding:
        answers.judge(threshold, now)
        fail = 0.0 if self.failures.are_usual else answers.failed
        if fail > 0.5:
            self.shed()
            return Finding.NOTHING
        self.level, self.slow_share = answers.level, answers.slow
        if answers.hangs(threshold):
            return Finding.HANGING
        helped = self.load.compare(self.size, self.level)
        if fail > _SHEDS and self.refuses and self._fewer():
            return Finding.NOTHING
        if self.level <= threshold:
            return self._judge_fast(now)
        as_fast_as_ever = AS_FAST_AS_EVER * self._usual.median
        if not self.load.is_likely and answers.fastest(_FAST_SHARE) <= as_fast_as_ever:
            self._ends_at_once, self._returns = False, 0.0
            self._refuse_nobody()
            return Finding.MIXED
        return self._judge_slow(helped, threshold, now)

    def _judge_fast(self, now: float) -> Finding:
        self._severe_since = self._slow_since = now
        if self._refused > _UNBOUND and now - self._bound_at < self._calm:
            if not self._returns:
                self.size = max(self.size * _MORE, min(self.size + 1.0, _DOUBLED * self.size))
        elif self._ends_at_once or self.peak <= _FEW or now - self._bound_at >= self._calm:
            return Finding.EASED
        return Finding.NOTHING

    def _judge_slow(self, helped: bool | None, threshold: float, now: float) -> Finding:
        self._ends_at_once, self._returns = False, 0.0
        overloaded = self._refused > _OVERLOAD
        self._is_sick = self._is_sick and not self.load.is_sure
        if self._is_sick or (not self.load.is_likely and (helped is False or self.size <= _FEW)):
            self._is_sick = True
            self._refuse_nobody()  # fewer calls are no help
            return Finding.SICK
        if not self.load.is_likely:
            if overloaded or now - self._slow_since >= _SLOW_FOR:
                self._reduce(_HALVED)
        elif helped is False:
            self.load.count_useless()
            self.size = max(self.size, _HALVED * self._widest) * _MORE
        else:
            if overloaded or self.size > _LEAST:
                self.load.useless = 0
            else:  # one call at a time is slow, and nobody else waits
                self.load.count_useless()
            if self.level < self._usual.severe or self.load.is_sure:
                self._severe_since = now
            if now - self._severe_since >= _SEVERE_FOR:
                # The number of calls in flight may have risen because of the latency.
                self._reduce(_HALVED)
            elif overloaded and self.size <= _LEAST:
                return Finding.SICK
            elif overloaded:
                self._reduce(max(min(threshold / self.level, _LESS), _HALVED))
        return Finding.NOTHING

    def _refuse_nobody(self) -> None:
        # Not without end, if nobody was refused: this may go on for many rounds.
        self.size = max(self.size, self._widest, _COMES_BACK * self._round.peak)

    def _reduce(self, ratio: float) -> None:
        self.load.lowered(self.size, self.level)
        self._widest = _COMES_BACK * self.size
        self.size = max(min(self.size, self._round.peak) * ratio, _LEAST)
