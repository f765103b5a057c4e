"""Calls that their callers gave up: how many in a row show that the callee does not answer at all.

One caller that leaves says nothing. But if all leave, after a time in which normal calls would have
been answered, and nothing comes back in between, then nothing will. Time-outs around a guarded call
look like this: `asyncio.wait_for`, `asyncio.timeout`, `anyio.fail_after`.

Each call adds the negative logarithm of the share of normal calls that take longer than its caller
waited. So callers that leave early add nothing, however many they are. Any answer ends the run, and a
call that began before an answer came says nothing: the callee does answer, and the caller left for
another reason. Of ten replicas that race, nine are cancelled.

Programs also cancel calls that are not needed any more, one after another: a search as you type cancels
the search before. So where it is known that the callee answers, nothing must come back for a while.
"""

from __future__ import annotations

from math import inf, log

from recloser._circuit.evidence import FLOOR
from recloser._circuit.votes import LEFT, Ending

# Before the first answer it is not known how long calls take. Then this share of them is taken to last
# longer than the caller waited: ten calls in a row are needed if it waited long, else sixteen. When
# answers are known, one more of each kind is added to them (Laplace's rule of succession).
_IF_UNKNOWN, _IF_UNKNOWN_AND_SHORT = 0.25, 0.42
# A call says nothing if more than this share of normal calls takes longer.
_USUAL = 0.5
# Before the first answer, a caller that leaves within `_LONG` seconds says nothing: it may be a client
# that never waits, such as a prefetch. It does say something where the program itself cut the call
# off, always after about the same time, as a time-out does: within this ratio. On a machine with much
# to do, time-outs of 30 ms came after 30 to 90 ms.
_LONG = 1.0
_ALIKE = 4.0
# Or this many calls in a row must be given up: of several who type, one has an answer sooner.
_MANY = 100
# A probe that is given up is as bad as the calls before it, if its caller waited for this part of
# what the least patient of them did.
_AS_LONG = 0.5

WHILE = 10.0
"""Where calls were answered before, no answer must come for this many seconds. A user who types into a
search box cancels call after call, but stops within that time to look at what was found. Such callers
wait only for a short time each, so they lose little meanwhile. A caller that waits for longer than that
says something at once."""


class GivenUp:
    """Calls in a row that were given up, while nothing came back.

    Attributes:
        calls: Number of calls.
        first_token: Token of the first of them.
        level: Evidence that nothing comes back, in nats.
        since: When the first of them began, in seconds.
        shortest: Seconds that the least patient caller waited.
    """

    __slots__ = ("_longest", "calls", "first_token", "level", "shortest", "since")

    def __init__(self) -> None:
        self._begin(0, inf)

    def _begin(self, token: int, since: float) -> None:
        self.calls = 0
        self.first_token = token
        self.since = since
        self.level = 0.0
        self.shortest = inf
        self._longest = 0.0

    def add(self, ending: Ending, answers: float, share_above: float, slow: float) -> None:
        """Count a call that was given up, if that says anything.

        Args:
            ending: How it ended.
            answers: Number of answers of which the latency is remembered.
            share_above: Share of these that took longer than the caller waited, 0.0-1.0.
            slow: Share of slow calls that is normal, 0.0-1.0.
        """
        waited = ending.waited
        if not answers and waited < _LONG and not self._is_like_a_time_out(ending):
            return
        longer = _IF_UNKNOWN if waited >= _LONG else _IF_UNKNOWN_AND_SHORT
        if answers:
            longer = (answers * share_above + 1.0) / (answers + 2.0)
            longer = slow + (1.0 - slow) * longer
        if longer > _USUAL:
            return
        if not self.calls:
            self._begin(ending.token, ending.now - ending.took)
        self.calls += 1
        self.level -= log(max(longer, FLOOR))
        self.shortest = min(self.shortest, waited)
        self._longest = max(self._longest, waited)

    def are_enough(self, now: float, answers: float, threshold: float, calls: int) -> bool:
        """Whether the calls show that nothing comes back.

        Args:
            now: Seconds.
            answers: As for `add`.
            threshold: The evidence that is enough, in nats.
            calls: The least number of calls.
        """
        if self.level < threshold or self.calls < calls:
            return False
        return not answers or self.calls >= _MANY or now - self.since >= WHILE

    def take_back(self) -> None:
        """Count less: the program cancels calls because others have ended, so those say nothing.

        Two calls are taken back, because a race is not always seen as one. A time-out that looks like
        one by chance then costs three calls more.
        """
        left = max(self.calls - 2, 0)
        self.level *= left / max(self.calls, 1)
        self.calls = left

    def _is_like_a_time_out(self, ending: Ending) -> bool:
        if ending.rule == LEFT:
            return False
        shortest = min(self.shortest, ending.waited)
        if max(self._longest, ending.waited) > _ALIKE * shortest:
            self._begin(ending.token, ending.now - ending.took)
        return True

    def is_as_long(self, waited: float) -> bool:
        """Whether a caller that waited for `waited` seconds was as patient as the others."""
        return waited >= _AS_LONG * self.shortest
