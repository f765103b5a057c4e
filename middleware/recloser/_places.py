"""Places: which keys keep their breaker where there are more keys than places.

To go by the last use alone would be wrong: anybody who makes up keys could push out every key that
is not asked just now. So a new key is on probation, and keys that were asked again are kept (S3-FIFO:
Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023). Probation has a tenth of
the places once the others are taken. A key that lost its place and is asked for again was no
one-time key, and is kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from recloser._breaker import Breaker

# How many breakers are checked to find one that can go. Redis samples 5 of millions of keys; 16 are
# nearly exact.
_CHECKED = 16
_PROBATION = 0.1
# So many keys that lost their place are remembered for each place. Each takes some 100 bytes.
_REMEMBERED = 4


class Places:
    """The order in which keys lose their place. The caller holds a lock.

    Args:
        places: How many there are.
    """

    __slots__ = ("_kept", "_lost", "_new", "_places", "_seen")

    def __init__(self, places: int) -> None:
        self._places = places
        self._new: deque[str] = deque()
        self._kept: deque[str] = deque()
        # `Breaker.asked` of kept keys when they were checked last.
        self._seen: dict[str, int] = {}
        # Hashes of keys that lost their place, oldest first.
        self._lost: dict[int, None] = {}

    def enter(self, key: str, *, keep: bool = False) -> None:
        """Give a place to a key.

        Args:
            key: The key.
            keep: Whether it is known that it is asked more than once.
        """
        known = self._lost.pop(hash(key), 0) is None
        (self._kept if keep or known else self._new).append(key)

    def leave(self, key: str) -> None:
        """Take the place of a key that is not needed any more. The time grows with the places."""
        self._seen.pop(key, None)
        for queue in (self._new, self._kept):
            if key in queue:
                queue.remove(key)

    def vacate(self, breakers: Mapping[str, Breaker], now: float) -> str | None:
        """Take the place of a key whose breaker can be dropped; None if none was found.

        Args:
            breakers: The breaker of each key.
            now: Seconds.

        Returns:
            The first key found that was not asked since the last check, or else the one of those
            checked that was asked least.
        """
        if not self._new and not self._kept:
            # Interrupted, or forked in the middle of a check by another thread.
            self._kept.extend(breakers)
        checked: list[tuple[str, int]] = []
        spare: tuple[str, int] | None = None
        fewest = 0
        try:
            for _ in range(min(_CHECKED, len(breakers))):
                on_probation = len(self._new) > _PROBATION * self._places or not self._kept
                queue = self._new if on_probation else self._kept
                if not queue:
                    break
                key = queue.popleft()
                breaker = breakers.get(key)
                if breaker is None:
                    continue
                asked = breaker.asked
                checked.append((key, asked))
                uses = asked - (on_probation or self._seen.get(key, 0))
                if breaker.is_spare(now) and (spare is None or uses < fewest):
                    spare, fewest = checked[-1], uses
                    if uses <= 0:
                        break
        finally:
            for each in checked:
                if each is not spare:
                    self._put_back(*each)
        if spare is None:
            return None
        key = spare[0]
        self._seen.pop(key, None)
        self._lost[hash(key)] = None
        if len(self._lost) > _REMEMBERED * self._places:
            del self._lost[next(iter(self._lost))]
        return key

    def _put_back(self, key: str, asked: int) -> None:
        if key not in self._seen and asked <= 1:
            self._new.append(key)
        else:
            self._kept.append(key)
            self._seen[key] = asked
