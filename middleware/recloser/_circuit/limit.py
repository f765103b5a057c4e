"""The limit: how many calls may be in flight while calls are slow but come back.

Slow answers have two causes that look alike from outside. Either there are too many calls: they wait
for each other, and with fewer of them each one is faster. Or the callee is sick: each call is slow,
however few there are. What tells them apart is whether latency rises with the number of calls in
flight. That number is noted for each call. If it does not vary by itself, it is made to: the limit is
halved for one round.

    load       The limit follows the callee: fewer calls while they are slow and fewer calls make
               them faster, more calls otherwise. Nobody is refused whom the callee could serve.
    sickness   The limit ends. A latency that is high, but not absurd, is the new normal.

By Little's law, calls in flight = calls per second * latency. Where more calls in flight are only
slower, no more calls per second are served.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable, Sequence
from math import ceil, inf, log

# Answers of a round: with fewer, the median says too little; more take too long.
_FEWEST, _MOST = 8, 32
# Number of answers from which is judged whether latency rises with the calls in flight.
_REMEMBERED = 64
# Latency rises with the calls in flight if it rises by at least the first power of their number, and
# it does not if it rises by less than the second: it is 1 for a full queue and 0 for a sick callee.
_RISES, _FLAT = 0.5, 0.2
# Least spread of the logarithm of the calls in flight that tells anything: one half of ln(2) is the
# spread of two rounds of which one has half as many.
_SPREAD = 0.25
# How the limit changes per round.
_HALVED = 0.5
_LESS = 0.8
_MORE = 1.25
_DOUBLED = 2.0  # after a recovery, until calls are slow for the first time
# Where calls fail because there are too many, so much of the limit is left.
_SHED = 0.75
# Share of failures in a round from which on calls fail because there are too many.
_SHEDS = 0.2
# When the first call comes back, the callee is not dead: a little more room than what was in flight
# lets an everyday queue pass.
_COMES_BACK = 2.0
# The share of calls that are refused is averaged over so many calls. Up to the first share, the limit
# is none; from the second on, there are more calls than the callee can serve for long, so that a
# shorter queue refuses no more of them.
_AVERAGED = 64.0
_UNBOUND = 0.02
_OVERLOAD = 0.1
# Below this limit, it is no longer halved to find out anything.
_FEW = 3.0
# The least limit. Below one, it means pauses between calls.
_LEAST = 0.05
# After so many reductions in a row that did not make calls faster, it is no load.
_USELESS = 3
# If nobody is refused, so many answers are looked at before the limit is lowered to find out.
_ENOUGH_PAIRS = 32
# Silence for so many typical latencies: nothing comes back.
_MUTE = 8.0


class Finding(enum.Enum):
    """What a round says."""

    NOTHING = "nothing"
    """The search goes on."""
    EASED = "eased"
    """Calls are fast, and nobody was refused of late."""
    SICK = "sick"
    """Calls are slow, however many are in flight."""
    FAILING = "failing"
    """Most calls fail or do not come back, however few are in flight."""


class Limit:
    """The number of calls that may be in flight, and the search for it.

    Args:
        size: Calls that may be in flight at first, > 0.
        calm: Seconds without a refusal after which it ends if calls are fast.
        token: Token of the next call.
        now: Seconds.
        is_new: Whether it begins with a suspicion, and not with a recovery.
        is_alive: Whether calls come back.
        is_first: Whether it is the first one for a while. It then ends at once if calls are fast.
        severe: Seconds from which on a latency is so high that more room is no help.
        began: Tokens of the calls in flight, oldest first, if none of them has come back.

    Attributes:
        size: Calls that may be in flight.
        began: When it began, in seconds.
        level: Median latency of the last round, in seconds; 0.0 before.
        latest: The highest token of a call that came back.
        is_load: Whether latency was seen to rise with the calls in flight.
    """

    __slots__ = (
        "_answers",
        "_before",
        "_calm",
        "_ended_at",
        "_first",
        "_in_flight",
        "_is_sick",
        "_late",
        "_ends_at_once",
        "_pairs",
        "_peak",
        "_bound_at",
        "_refused",
        "_severe",
        "_since",
        "_starts",
        "_waits_for_first",
        "_useless",
        "_widest",
        "began",
        "is_load",
        "latest",
        "level",
        "size",
        "succeeded",
    )

    def __init__(
        self,
        size: float,
        calm: float,
        token: int,
        now: float,
        *,
        is_new: bool,
        is_alive: bool,
        is_first: bool,
        severe: float,
        began: Iterable[int] = (),
    ) -> None:
        self.size = size * _COMES_BACK if is_new and is_alive else size
        self.began = now
        self.level = 0.0
        self.latest = 0
        self.is_load = False
        self._calm = calm
        self._waits_for_first = is_new and not is_alive
        self._ends_at_once = is_new and is_first
        self._starts = not is_new
        self._is_sick = False
        self._useless = 0
        self._widest = size
        self._ended_at = now
        self._bound_at = now
        self._refused = 0.0  # the share of calls that are refused
        self._severe = severe
        # Calls in flight when a call began, by its token.
        self._in_flight = {other: number for number, other in enumerate(began, 1)}
        # Calls in flight and latency of the last answers, as logarithms.
        self._pairs: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)
        # Limit and level before the last reduction; None once it was compared.
        self._before: tuple[float, float] | None = None
        self.succeeded = is_alive
        self._begin_round(token)

    def _begin_round(self, token: int) -> None:
        self._first = token
        self._since = inf
        self._answers: list[float] = []
        self._late: set[int] = set()
        self._peak = 0

    # Admission

    def admits(self, token: int, running: int, now: float) -> bool:
        """Whether one more call may begin.

        Args:
            token: Its token.
            running: Calls in flight.
            now: Seconds.
        """
        self._refused -= self._refused / _AVERAGED
        self._peak = max(self._peak, running + 1)
        if running < self.size and (self.size >= 1.0 or self._is_its_turn(now)):
            self._in_flight[token] = running + 1
            return True
        self._refused += 1.0 / _AVERAGED
        if self._refused > _UNBOUND:
            self._bound_at = now
        return False

    def _is_its_turn(self, now: float) -> bool:
        """Whether a limit below one has room: 0.25 is one call in a quarter of the time."""
        return now - self._ended_at >= self.level * (1.0 / self.size - 1.0)

    def wait(self, running: int) -> float:
        """Seconds until a call may be admitted, about; >= 0."""
        return 0.0 if running < self.size else self.level

    def is_mute(self, now: float, threshold: float) -> bool:
        """Whether nothing has come back for so long that the callee does not answer any more."""
        return now - self._ended_at > _MUTE * max(self.level, threshold)

    # The end of a call

    def ended(self, token: int, latency: float, now: float, threshold: float, *, ok: bool) -> Finding:
        """Count a call that ended after `latency` seconds.

        Args:
            token: Its token.
            latency: Seconds.
            now: Seconds.
            threshold: The slow threshold, in seconds.
            ok: Whether it was answered; otherwise it failed.
        """
        in_flight = self._in_flight.pop(token, 0)
        if ok:
            self.succeeded = True
            self._ended_at = now
            self.latest = max(self.latest, token)
            if self._waits_for_first:
                self._waits_for_first = False
                if latency < self._severe:
                    self.size *= _COMES_BACK
        if in_flight and latency > 0.0 and (ok or latency > threshold):
            self._pairs.append((log(in_flight), log(latency)))
        if token < self._first:
            return Finding.NOTHING
        self._begin_to_count(now)
        self._late.discard(token)
        self._answers.append(latency if ok else inf)
        return self._judge_if_complete(token, threshold, now)

    def is_late(self, token: int, now: float, threshold: float) -> Finding:
        """Count a call that is overdue, though it may still come back."""
        if token < self._first:
            return Finding.NOTHING
        self._begin_to_count(now)
        self._late.add(token)
        return self._judge_if_complete(token, threshold, now)

    def shed(self) -> None:
        """Lower the limit: calls fail because there are too many."""
        self.size *= _SHED
        self.succeeded = False

    def _begin_to_count(self, now: float) -> None:
        if self._since == inf:
            self._since = now

    def _judge_if_complete(self, token: int, threshold: float, now: float) -> Finding:
        answers = len(self._answers)
        enough = max(_FEWEST, min(ceil(self.size), _MOST))
        if answers < enough or now <= self._since:
            return Finding.NOTHING
        finding = self._judge(threshold, now)
        self._begin_round(max(token, *self._in_flight, 0) + 1)
        return finding

    def _judge(self, threshold: float, now: float) -> Finding:
        answers, late = sorted(self._answers), len(self._late)
        failed = sum(answer == inf for answer in answers) / len(answers)
        if failed > 0.5:
            if self.size <= _FEW:
                return Finding.FAILING
            self.size *= _SHED
            return Finding.NOTHING
        # Calls that are late will take longer than those that were answered.
        self.level = answers[min((len(answers) + late) // 2, round(len(answers) * (1 - failed)) - 1)]
        if late > len(answers) and answers[-1] <= threshold:  # calls are fast, or hang
            return Finding.FAILING
        helped = self._compare()
        self.is_load = self.is_load or helped is True
        if self.level <= threshold:
            return self._judge_fast(now, failed)
        self._ends_at_once = self._starts = False
        if failed > _SHEDS:
            self.size *= _SHED
        elif self._is_sick or (helped is False and not self.is_load):
            self._is_sick = True
            self.size = max(_COMES_BACK * self.size, self._widest)  # fewer calls are no help
            return Finding.SICK
        elif helped is False:
            self._useless += 1
            self.is_load = self._useless < _USELESS
            self.size = max(self.size, 0.5 * self._widest) * _MORE
        elif self.is_load:
            self._useless = 0
            if self._refused > _OVERLOAD:
                self._reduce(max(min(threshold / self.level, _LESS), _HALVED))
        elif self.size <= _FEW:
            return Finding.SICK
        elif self._refused > _OVERLOAD or len(self._pairs) >= _ENOUGH_PAIRS:
            self._reduce(_HALVED)
        return Finding.NOTHING

    def _reduce(self, ratio: float) -> None:
        self._before = self.size, self.level
        self._widest = _COMES_BACK * self.size
        self.size = max(min(self.size, self._peak) * ratio, _LEAST)

    def _compare(self) -> bool | None:
        """Whether fewer calls in flight are faster; None if that is not known."""
        before, self._before = self._before, None
        if before is None:
            return rises(self._pairs)
        size, level = before
        fell = log(self.level / level) <= _RISES * log(self.size / size)
        return fell or rises(self._pairs) is True


    def _judge_fast(self, now: float, failed: float) -> Finding:
        bound = self._refused > _UNBOUND
        if failed > _SHEDS and bound:
            self.size *= _SHED
        elif bound:
            more = _DOUBLED if self._starts else _MORE
            self.size = max(self.size * more, min(self.size + 1.0, 2.0 * self.size))
        elif self._ends_at_once or now - self._bound_at >= self._calm:
            return Finding.EASED
        return Finding.NOTHING


def rises(pairs: Sequence[tuple[float, float]]) -> bool | None:
    """Whether latency rises with the calls in flight; None if their number hardly varied.

    Args:
        pairs: Logarithms of the calls in flight when a call began, and of its latency.
    """
    total = len(pairs)
    if total < _FEWEST:
        return None
    mean_x = sum(x for x, _ in pairs) / total
    mean_y = sum(y for _, y in pairs) / total
    spread = sum((x - mean_x) ** 2 for x, _ in pairs)
    if spread < total * _SPREAD**2:
        return None
    slope = sum((x - mean_x) * (y - mean_y) for x, y in pairs) / spread
    return True if slope >= _RISES else False if slope < _FLAT else None
