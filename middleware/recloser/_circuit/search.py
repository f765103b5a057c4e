"""The search for the limit: how it is lowered and raised while calls are slow but come back.

Load is told from sickness by an experiment, see `load.py`: if the number of calls in flight does not
vary by itself, the limit is halved for one round. If nobody was refused before that, what the
experiment took is given back after it. A callee that was sick is an experiment by itself: if single
calls become mild, and many calls are not, there are too many.
"""

from __future__ import annotations

from copy import copy

from recloser._circuit.load import Load
from recloser._circuit.new_normal import Usual
from recloser._circuit.refusals import Refusals
from recloser._circuit.round import Finding, Round

# How the limit changes per round. `_MORE` undoes what `_LESS` did.
_HALVED = 0.5
_LESS = 0.8
_MORE = 1.25
# If calls come back, twice as many as at the beginning are let through: an everyday queue passes.
DOUBLED = 2.0
# Below this limit, it is no longer halved to find out anything. Load that is not ours is possible.
FEW = 3.0
# The least limit. If that is still too much, there are pauses between the calls. And the widest.
LEAST, WIDEST = 1.0, 1e6
# If nobody is refused, calls must be slow for this many seconds before the limit is lowered to find out:
# a queue may be over before that, and its length varies meanwhile, which tells as much. With 2 s, a
# healthy server with a load of 0.9 refused one call in 300.
_SLOW_FOR = 10.0
# If it is sure that there are too many calls, and they are very slow for this many seconds, the limit is
# lowered for good: others are refused, in other processes, because of ours.
_SEVERE_FOR = 4.0


class Search:
    """The part of a limit that finds it.

    Args:
        size: Calls that may be in flight at first, >= 1.
        calm: Seconds without a refusal after which it ends if calls are fast.
        usual: What was usual before calls became slow.
        token: Token of the next call.
        now: Seconds.

    Attributes:
        size: Calls that may be in flight.
        level: Median latency of the last round, in seconds; 0.0 before.
        load: Whether the callee has too many calls.
        peak: Most calls in flight so far.
        varies: Whether the number of calls in flight is `size` on average only. It then varies by about
            the square root of `size`.
    """

    __slots__ = (
        "_before_trial",
        "_calm",
        "_ends_at_once",
        "_high",
        "_is_sick",
        "_mild_alone",
        "_refusals",
        "_returns",
        "_round",
        "_severe_since",
        "_slow_since",
        "_usual",
        "_widest",
        "level",
        "load",
        "peak",
        "size",
        "varies",
    )

    def __init__(self, size: float, calm: float, usual: Usual, token: int, now: float) -> None:
        self.size = self._widest = size
        self.varies = False
        self.level = 0.0
        self.load = Load()
        self.peak = 0
        self._calm = calm
        self._usual = usual
        self._high = usual.high  # calls up to this many seconds are not slow
        self._returns = 0.0  # calls that each fast answer lets in; 0.0 once the load has returned
        self._ends_at_once = False
        self._is_sick = False
        self._mild_alone = False  # whether single calls were mild, and many were not slow yet
        self._severe_since = self._slow_since = now
        self._refusals = Refusals(now)
        # The limit and the refusals before it was lowered only to find out whether that helps; None
        # otherwise.
        self._before_trial: tuple[float, Refusals] | None = None
        self._round = Round(token)

    @property
    def refuses(self) -> bool:
        """Whether more calls were refused of late than by chance."""
        return self._refusals.are_some

    @property
    def _in_use(self) -> float:
        """How many calls were in flight in the round that was judged last."""
        return (self._round.in_flight if self.varies else 0.0) or self.size

    def _end_trial(self) -> None:
        """Give back what the trial of a lower limit took, if nobody was refused before it."""
        if self._before_trial is not None:
            size, self._refusals = self._before_trial
            self.size = max(self.size, size)
            self._before_trial = None

    def _judge_fast(self, now: float) -> Finding:
        self._severe_since = self._slow_since = now
        is_calm = now - self._refusals.last >= self._calm
        if self.refuses and not is_calm:
            if not self._returns:
                self.size = max(self.size * _MORE, self.size + 1.0)
        elif self._ends_at_once or self.peak <= FEW or is_calm:
            return Finding.EASED
        return Finding.NOTHING

    def _judge_slow(self, helped: bool | None, threshold: float, now: float) -> Finding:
        self._ends_at_once, self._returns = False, 0.0
        overloaded = self._refusals.are_many
        if self._mild_alone:  # and now they are not, as there are more of them
            self._mild_alone = False
            self.load.is_likely = self.load.is_sure = True
        self._is_sick = self._is_sick and not self.load.is_sure
        if self._is_sick or (not self.load.is_likely and (helped is False or self.size <= FEW)):
            self._is_sick = True
            self._refuse_nobody()  # fewer calls are no help
            return Finding.SICK
        if not self.load.is_likely:
            if overloaded:
                self._reduce(_HALVED)
            elif now - self._slow_since >= _SLOW_FOR:
                self._try_lower()
        elif helped is False:
            self.load.count_useless()
            self.size = max(self.size, _HALVED * self._widest) * _MORE
        else:
            if overloaded or self._round.peak > LEAST:
                self.load.useless = 0
            else:  # one call at a time is slow, and nobody else waits
                self.load.count_useless()
            if self.level < self._usual.severe:
                self._severe_since = now
            if overloaded and self.size <= LEAST:
                return Finding.SICK
            if overloaded:
                self._reduce(max(min(threshold / self.level, _LESS), _HALVED))
            elif self.load.is_sure and now - self._severe_since >= _SEVERE_FOR:
                self._severe_since = now
                self._reduce(_HALVED)
            elif now - self._severe_since >= _SLOW_FOR:
                # The number of calls in flight may have risen because of the latency.
                self._severe_since = now
                self._try_lower()
        return Finding.NOTHING

    def _try_lower(self) -> None:
        """Lower the limit only to find out whether that helps: nobody was refused before."""
        self._before_trial = self.size, copy(self._refusals)
        self._reduce(_HALVED)

    def _refuse_nobody(self) -> None:
        # Not without end, if nobody was refused: this may go on for many rounds.
        self.size = max(self.size, self._widest, DOUBLED * self._round.peak)

    def _reduce(self, ratio: float) -> None:
        self.load.lowered(self._in_use, self.level)
        self._widest = DOUBLED * self.size
        self.size = max(min(self.size, self._round.peak) * ratio, LEAST)
