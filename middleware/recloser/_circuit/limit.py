"""The limit: how many calls may be in flight while calls are slow but come back.

Slow answers have three causes that look alike at first:

    load       There are too many calls: they wait for each other. Fewer of them are faster each, and
               no fewer are served. The limit follows the callee: it falls while calls are slow and
               fewer are faster, and it grows otherwise.
    mixture    Some calls are slow, and others are as fast as ever. The limit ends: that is normal.
    sickness   Each call is slow, however few there are. If that is mild, nobody is refused until it
               is accepted as the new normal. If it is severe, one call is sent at a time.

`search.py` has how the limit is lowered and raised, and how load is told from sickness.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, log2

from recloser._circuit.failures import Failures
from recloser._circuit.new_normal import AS_FAST_AS_EVER, Usual
from recloser._circuit.pacing import Pacing
from recloser._circuit.round import Finding, Round
from recloser._circuit.search import DOUBLED, FEW, LEAST, WIDEST, Search

# Answers of a round: with fewer, the median says too little; more take too long.
_FEWEST, _MOST = 8, 32
# While the load returns, until calls are slow, each fast answer lets more calls in: one, if the
# callee was slow; three, if it was dead. With seven, eight processes overloaded it again.
_RETURNS, _RETURNS_FROM_OPEN = 1.0, 3.0
# Where calls fail because there are too many, this part of the limit is left.
_SHED = 0.75
# Share of failures in a round from which on calls fail because there are too many.
_SHEDS = 0.2
# While nobody is refused, it is no harm to wait longer until a latency is accepted: most faults are
# over after this many times `Policy.latency_patience`.
_UNREFUSED = 2.0
# Once a latency of single calls was accepted, the limit ends after this many seconds without a refusal.
_CALM = 5.0
# It is a mixture if at least this share of a round is as fast as ever.
_FAST_SHARE = 0.2

MUTE = 8.0
"""After a silence of this many typical latencies, nothing comes back."""


class Limit(Search):
    """The number of calls that may be in flight: admission, and what the answers say.

    The arguments are those of `Search`.

    Attributes:
        latest: The highest token of a call that came back.
        succeeded: Whether a call was answered since the limit was last lowered for failures.
        slow_share: Share of slow calls in the last round, 0.0-1.0.
        failures: Whether calls fail because there are too many.
        answering: Tokens of the calls in flight whose answer was counted when it began.
        is_accepted: Whether the load returns because the latency of single calls is the new normal.
            It stops returning at the first slow answer.
    """

    __slots__ = (
        "_began_with",
        "_ended_at",
        "_in_flight",
        "_mute_since",
        "_pacing",
        "_piled_up",
        "_timed_out",
        "answering",
        "failures",
        "is_accepted",
        "latest",
        "slow_share",
        "succeeded",
    )

    def __init__(self, size: float, calm: float, usual: Usual, token: int, now: float) -> None:
        super().__init__(size, calm, usual, token, now)
        self.latest = 0
        self.failures = Failures()
        self.succeeded = True
        self.slow_share = 0.0
        self.answering: set[int] = set()
        self.is_accepted = False
        self._timed_out = 0  # calls that timed out since the last answer
        self._returns = _RETURNS_FROM_OPEN
        self._piled_up = 0  # calls in flight when it began, until the first of them comes back
        self._began_with: float = size
        self._pacing = Pacing()
        self._ended_at = self._mute_since = now
        # Calls in flight when a call began, by its token.
        self._in_flight: dict[int, int] = {}

    def begin_suspicious(
        self, mute: Iterable[int] | None, *, is_first: bool, piled_up: int
    ) -> None:
        """Begin with a suspicion, not with a recovery.

        Args:
            mute: If no call came back of late: the tokens of those in flight, oldest first.
            is_first: Whether it is the first limit for a while. It ends at once if calls are fast.
            piled_up: How many calls are in flight, those that are overdue among them; >= 0.
        """
        self._returns = 0.0
        self._ends_at_once = is_first
        if mute is None:
            self.size *= DOUBLED
            return
        self.succeeded = False
        self._in_flight.update((token, number) for number, token in enumerate(mute, 1))
        self._piled_up = max(piled_up, 1)

    # Admission

    def admit(self, token: int, running: int, now: float) -> bool:
        """Let one more call begin if there is a place, else count a refusal; return whether it may.

        Args:
            token: Its token.
            running: Calls in flight.
            now: Seconds.
        """
        if running < self.size and not self._ended_at <= now < self._pacing.next_at(self._ended_at):
            self.begin(token, running, now)
            return True
        self.refuse(running, now)
        return False

    def begin(self, token: int, running: int, now: float) -> None:
        """Count a call that begins; the arguments are those of `admit`."""
        self._round.peak = max(self._round.peak, running + 1)
        if not self._in_flight:
            self._mute_since = now
        self._in_flight[token] = running + 1
        self.peak = max(self.peak, running + 1)
        self._refusals.count_admitted()

    def refuse(self, running: int, now: float) -> None:
        """Count a call that is refused; the arguments are those of `admit`."""
        self._round.peak = max(self._round.peak, running + 1)
        self._refusals.count(now)
        if self._refusals.are_some:
            self._ends_at_once = False

    def wait(self, running: int, now: float) -> float:
        """Seconds until a call may be admitted, about; >= 0."""
        if running >= self.size:
            return self.level or self._usual.median
        return max(self._pacing.next_at(self._ended_at) - now, 0.0)

    def is_mute(self, newer: int, now: float, threshold: float) -> bool:
        """Whether the callee is dead: of enough calls in flight, none will come back.

        Args:
            newer: Calls in flight that began after the latest one that came back. Older ones say
                nothing: if an eighth of the calls hang, they are all that is left in flight where
                few threads make the calls.
            now: Seconds.
            threshold: The slow threshold, in seconds.
        """
        return newer >= min(FEW, self.size) and self.has_long_silence(now, threshold)

    def has_long_silence(self, now: float, threshold: float) -> bool:
        """Whether no call has come back for `MUTE` latencies; `threshold` as for `is_mute`."""
        began = max(self._mute_since, self._ended_at)
        return now - began > MUTE * max(self.level, threshold)

    def pause(self, longest: float) -> None:
        """Send one call at a time, with a pause after each: the callee is sick, or serves others.

        Args:
            longest: The longest pause, in seconds. It begins with one latency, and doubles with
                each slow call. With 0.0, there are no pauses.
        """
        self.is_accepted = False
        self._pacing.begin(self.level, longest)
        self._high = self._usual.high
        self.size = LEAST

    def return_takes(self, rate: float) -> float:
        """Seconds that the load takes to return from one call at a time.

        Each answer lets one more call in, so they double with each latency. It is 0.0 if nobody is
        refused, or if one call at a time is enough for the rate.

        Args:
            rate: Calls per second, refused ones included.
        """
        if not self.is_pausing or not self.refuses:
            return 0.0
        return self.level * log2(max(rate * self.level, 1.0))

    def accept(self, usual: Usual, token: int, now: float) -> None:
        """Let the load return: a latency of single calls is the new normal.

        Args:
            usual: The new normal.
            token: Token of the next call.
            now: Seconds.
        """
        self._pacing.end()
        self._usual, self._high = usual, usual.high
        self._severe_since = self._slow_since = now
        self._calm = min(self._calm, _CALM)
        self._mild_alone = self.is_accepted = True
        self._return_load(token)

    @property
    def pauses(self) -> float:
        """Seconds between two calls while `is_pausing`."""
        return self._pacing.pause

    @property
    def sends_singly(self) -> bool:
        """Whether one call is sent at a time, without pauses."""
        return self.is_pausing and not self.pauses

    @property
    def patience(self) -> float | None:
        """After how many times `Policy.latency_patience` a slower latency is accepted.

        None if its severity decides, as in an outage.
        """
        return None if self.is_pausing else _UNREFUSED

    @property
    def is_pausing(self) -> bool:
        """Whether only one call is sent at a time, with or without pauses."""
        return self._pacing.active

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
        overdue, threshold = threshold, max(threshold, self._high)
        in_flight = self._in_flight.pop(token, 0)
        if ok:
            self.succeeded = True
            self._ended_at = now
            self.latest = max(self.latest, token)
            if self._piled_up:
                if latency < self._usual.severe:
                    # Those that have piled up count only if the limit is still as it began.
                    piled_up = self._piled_up if self.size == self._began_with else 0
                    self.size = DOUBLED * max(self.size, float(piled_up))
                self._piled_up = 0
        if in_flight and (ok or latency > threshold):
            self.load.add(in_flight, latency)
        if token < self._round.first:
            return Finding.NOTHING
        if self.is_pausing:
            self.level = max(latency, 0.0)  # a clock may jump
            mild = ok and latency < self._usual.severe
            return self._judge_one(token, now, fast=ok and latency <= threshold, mild=mild)
        fast = ok and latency <= threshold
        self._timed_out = 0 if ok else self._timed_out + (latency > threshold)
        if not fast and (self.is_accepted or not self._mild_alone):
            self._returns = 0.0
        elif self.refuses:
            self.size += self._returns
        finding = self.failures.add(token, ok=ok, timed_out=not ok and latency > threshold)
        if ok or latency > threshold or not self.failures.are_usual:
            self._round.add(token, latency, now, in_flight, ok=ok)
        if finding is not Finding.NOTHING:
            return finding
        if self._timed_out >= _FEWEST and now - self._ended_at > MUTE * max(self.level, overdue):
            return Finding.HANGING  # though nobody is refused: the limit may be far too wide
        return self._judge_if_complete(token, overdue, now)

    def add_overdue(self, token: int, now: float, threshold: float) -> Finding:
        """Count a call that is overdue, though it may still come back."""
        if token < self._round.first or self.is_pausing:
            return Finding.NOTHING
        self._round.add_overdue(token, now)
        return self._judge_if_complete(token, threshold, now)

    def forget(self, token: int) -> None:
        """Forget a call that ended without an answer, for example because its caller gave up."""
        self._in_flight.pop(token, None)

    def leave(self, token: int) -> None:
        """Forget a call whose caller left, also if it was overdue."""
        self.forget(token)
        self._round.forget(token)

    def forget_all(self, token: int) -> None:
        """Forget all calls in flight; `token` is that of the next call."""
        self._in_flight.clear()
        self._piled_up = min(self._piled_up, 1)
        self._round = Round(token)

    def count_from(self, token: int) -> None:
        """Count only calls from a token on: those before began when the limit was not yet in force."""
        if token > self._round.first:
            self._round = Round(token)

    def rename(self, before: int, token: int) -> None:
        """Note that a call has another token from now on."""
        if (in_flight := self._in_flight.pop(before, 0)) > 0:
            self._in_flight[token] = in_flight

    def shed(self) -> None:
        """Lower the limit: calls fail, maybe because there are too many."""
        self.succeeded = False
        self._fewer()
        # The calls so far say nothing of the lower limit: their failures would lower it once more.
        self._round = Round(max(self._round.first, *self._in_flight, 0) + 1)

    @property
    def fewer_are_no_help(self) -> bool:
        """Whether calls fail, although there are as few in flight as may be a help."""
        failures = self.failures
        if failures.are_crowding and self.size > LEAST:
            return False
        return not self.succeeded or failures.are_usual

    def _fewer(self) -> bool:
        """Lower the limit, or test the calls if there are few already; return whether it fell."""
        self._before_trial = None
        if self.size > (LEAST if self.failures.are_crowding else FEW):
            # At least one call fewer: a limit of 1.5 is as good as 2.
            self.size = max(min(self.size * _SHED, ceil(self.size) - 1.0), LEAST)
            return True
        self.failures.begin_test(max(self._round.first, *self._in_flight, 0) + 1)
        return False

    def _judge_one(self, token: int, now: float, *, fast: bool, mild: bool) -> Finding:
        self._ended_at = now
        if self._pacing.answered_mildly(mild=mild):
            # From now on, slow means severely slow: then there are too many calls.
            self._high = self._usual.severe
            self._mild_alone = True
            self._return_load(token)
            return Finding.MILD
        if not fast:
            self.load.count_useless()
            return Finding.SICK
        if self._pacing.answered_fast():
            self._return_load(token)
        return Finding.NOTHING

    def _return_load(self, token: int) -> None:
        """Let the load return step by step."""
        self._refusals.share = 0.0
        self._returns, self._is_sick = _RETURNS, False
        self.load.forget()
        self._round = Round(token + 1)

    def _judge_if_complete(self, token: int, threshold: float, now: float) -> Finding:
        # With a limit of one call, answers are rare.
        enough = min(max(_FEWEST, ceil(self.size)), _MOST, ceil(4.0 * self.size))
        if not self._round.is_complete(enough, now):
            return Finding.NOTHING
        finding = self._judge(self._round, threshold, now)
        self.size = min(self.size, WIDEST)  # a mixture doubles it
        self._round = Round(max(token, *self._in_flight, 0) + 1)
        return finding

    def _judge(self, answers: Round, overdue: float, now: float) -> Finding:
        threshold = max(overdue, self._high)
        if self.varies:
            # The limit must be wider: with so few calls that none is slow, the callee is often idle.
            threshold *= 1.0 + max(self.size, 1.0) ** -0.5
        answers.judge(threshold, now)
        fail = 0.0 if self.failures.are_usual else answers.failed
        if fail > 0.5:
            self.shed()
            return Finding.NOTHING
        self.level, self.slow_share = answers.level, answers.slow
        if answers.hangs(overdue):
            return Finding.HANGING
        helped = self.load.compare(self._in_use, self.level, varies=self.varies)
        self._end_trial()
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
