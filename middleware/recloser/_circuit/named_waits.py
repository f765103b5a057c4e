"""Named waits: for how long a wait is believed that a callee has named.

A 429 or a 503 may say when to come back (`Retry-After`). But the calls of one tenant may get that answer
in a row, or one instance of many may be down. Then the calls of all others would be refused in vain.
So a wait is believed for as long as all calls have asked for one so far. After that time one call looks
again: if it is served, the wait was not meant for all; if it asks again, the next look is after twice
as long. The looks end with the time that was named first. Where few calls come meanwhile, there is
little to lose, and a wait is believed as it is.
"""

from __future__ import annotations

from math import inf

FEW_REFUSED = 20.0
"""A wait is believed at once for as long as it refuses no more calls than this."""


class NamedWaits:
    """The waits that were named while nobody was served."""

    __slots__ = ("_since", "_until")

    def __init__(self) -> None:
        self._since = inf  # since when all have asked for a wait, in seconds
        self._until = inf  # the first time that was named and is not over, in seconds

    def look(self, now: float) -> tuple[bool, bool]:
        """Note that another call has asked for a wait.

        Returns:
            Whether it is a look, the first call after a wait or a part of it; and whether the time that
            was named is not over yet.
        """
        looks, goes_on = self._until < inf, now < self._until < inf
        if not goes_on:
            self._until = inf
        return looks, goes_on

    def believe(
        self, named: float, now: float, since: float, part: float, least: float = 0.0
    ) -> float:
        """For how many seconds to send no call, since another one has named a wait.

        Args:
            named: The seconds that it has named; 0.0 if it named none.
            now: Seconds.
            since: When the first of the calls that all asked for a wait ended, in seconds.
            part: How many times as long as all have asked for a wait it is believed, 0.0-1.0.
            least: Seconds for which it is believed at least, >= 0.0; infinite if that is all of it.
        """
        if not named:
            return 0.0
        self._since = min(self._since, since)
        if self._until <= now:  # it is over
            self._until = inf
        # Many callees name the same time throughout a maintenance.
        self._until = min(self._until, now + named)
        return min(self._until - now, max(part * (now - self._since), least))

    def forget(self) -> None:
        """Believe no earlier wait: not all calls have asked for one."""
        self._since = self._until = inf
