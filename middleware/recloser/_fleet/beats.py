"""Beats: a worker says that it is alive, and counts who is."""

from __future__ import annotations

from math import inf

from recloser._fleet.member_state import ROUNDING, MemberState

# Seconds between two beats, and after which a worker without one is gone: it may miss two, not three.
_EVERY, _LIVES = 5.0, 16.0
# The seconds between them if the bell has rung since the last one, as there may be a new worker; and while
# a worker that believes to be alone suspects something.
_AGAIN = 2.0
# Of a larger fleet than this, a worker does not know who the others are. One more makes no difference
# there, and if all start at once, each would wake all others.
_SHOWN = 100


class Beats:
    """When a worker says that it is alive, and what it has heard of the others then.

    A worker is alone only if a count says so that is newer than what it suspects, and than the last
    ring of the bell.

    Args:
        shared: What the parts of the member share.

    Attributes:
        at: When the last beat was, in seconds; -inf for never.
        others: The workers that are alive, each with the text of its last beat.
    """

    def __init__(self, shared: MemberState) -> None:
        self._shared = shared
        self._is_owed = False  # whether the bell has rung since the last one
        self._again_at = inf  # when to count again, since others come back to the store; in seconds
        self.at = -inf
        self.others: dict[str, str] = {}

    def turn(self, now: float, *, rung: bool, suspects: bool) -> None:
        """Beat if that is due at `now` seconds.

        Args:
            now: Seconds.
            rung: Whether the bell has rung since the last turn.
            suspects: Whether this worker suspects something that was not worked off yet.

        Raises:
            StoreError: The store does not work.
        """
        self._is_owed = self._is_owed or rung
        if self.wait(now, suspects=suspects) > ROUNDING:
            return
        is_new = self.at == -inf
        self.beat(now)
        if is_new and self._shared.workers <= _SHOWN:
            self._shared.store.ring()  # so that the others know at once that there is one more

    def beat(self, now: float) -> None:
        """Beat at `now` seconds, and count.

        Raises:
            StoreError: The store does not work.
        """
        shared = self._shared
        shared.workers = max(shared.store.beat(shared.name, shared.about(), _LIVES), 1)
        if shared.workers <= _SHOWN:
            self.others = shared.store.workers()
        self.at, self._is_owed = now, False
        if now >= self._again_at - ROUNDING:
            self._again_at = inf
        for known in shared.keys.values():
            if known.incident is not None:
                known.incident.workers, known.incident.pace = shared.workers, shared.pace

    def count_again(self, at: float) -> None:
        """Beat at `at` seconds, too: the store has failed, and until then the others come back to it.

        The first one that comes back may find none of them there: they were silent for too long.
        """
        self._again_at = at

    def wait(self, now: float, *, suspects: bool) -> float:
        """Seconds from `now` until the next one; `suspects` as above."""
        doubts = suspects and self._shared.workers < 2
        if doubts and self._is_owed:
            return 0.0
        soon = doubts or self._is_owed or self._shared.misses_others
        return min(self.at + (_AGAIN if soon else _EVERY), self._again_at) - now
