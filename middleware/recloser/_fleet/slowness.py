"""Slowness: a store that answers, but too late for what is to be decided, counts as one that fails.

What the fleet knows of a key is as old as a round through all keys takes. With a slow store and many
keys that are ill at once, probes and a slow start wait for it again and again, and the calls that are
refused meanwhile are more than what a fleet saves. Then each worker decides alone.
"""

from __future__ import annotations

from math import inf

from recloser._fleet.store import StoreError

# A store is too slow if a round takes longer than this many seconds. Ten keys were dead for 30 s, 8
# workers had 100 calls/s: with rounds of 1 s a fleet served more of the calls of the next 20 s than the
# same workers alone (85 % and 76 %), with rounds of 2 s as many, and with rounds of 4 s 52 %.
_TOO_LONG = 1.5
# Nor is it any use if a worker makes more than this many calls of a key itself meanwhile: it sees more than
# it hears. With three keys and rounds of 1.2 s, 8 workers with 30 calls/s served 82 %, and 72 % alone; with
# 100 calls/s 80 % and 86 %. A round that is shorter than `_SHORT` seconds is always quick enough: with one
# key, an operation of 0.2 s.
_CALLS, _SHORT = 3.0, 0.6
# The store is quick enough again once a round would take less than this part of that time.
_QUICK = 0.5
# It stays too slow for at least `_PAUSE` seconds. That doubles each time, up to `_PAUSE_LONGEST`, and
# begins anew once the store was quick enough for `_FORGIVEN` seconds.
_PAUSE, _PAUSE_LONGEST, _FORGIVEN = 5.0, 60.0, 120.0


class Slowness:
    """Whether the store of a worker is too slow.

    Attributes:
        since: Since when it is, in seconds; infinite while it is not.
    """

    def __init__(self) -> None:
        self.since = inf
        self._ended_at = -inf
        self._pause = _PAUSE

    def judge(self, seconds: float, keys: int, asked: float, now: float) -> None:
        """Judge the store after a turn, or after it was tried.

        Args:
            seconds: How long a round through all keys takes, or would take.
            keys: How many these are.
            asked: How many calls this worker makes of each of them, per second.
            now: Seconds.

        Raises:
            StoreError: It is too slow.
        """
        too_long = min(max(_CALLS / max(asked, 1e-3), _SHORT), _TOO_LONG)
        if self.since == inf:
            if seconds <= too_long:
                return
            forgiven = now - self._ended_at >= _FORGIVEN
            self._pause = _PAUSE if forgiven else min(2.0 * self._pause, _PAUSE_LONGEST)
            self.since = now
        elif seconds <= _QUICK * too_long and now - self.since >= self._pause:
            self.since, self._ended_at = inf, now
            return
        raise StoreError(f"it is slow: with {keys} keys it would be asked for {seconds:.2g} s")
