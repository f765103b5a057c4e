"""Orders: what a fleet has decided about a key, as far as it concerns one worker.

They hold for a short time, and are renewed as long as the worker hears from the fleet. When they are
over, the worker decides alone again, from the state that it is in.
"""

from __future__ import annotations

from math import inf

from recloser._state import State

# Orders that are over are kept for this many seconds more, from the first call that sees it: a process
# that was stopped and goes on asks the fleet before it sends a probe that is not its turn.
_GRACE = 1.0


class Orders:
    """What holds for the calls of one worker.

    Args:
        state: The state that the fleet is in; never `CLOSED`.

    Attributes:
        state: As given.
        until: When they are over, unless they are renewed; seconds.
        places: How many calls of this worker may be in flight at a time: probes while half-open,
            any calls while limited.
        ticket_until: A probe may begin before this time, while open; seconds.
    """

    __slots__ = ("_over_since", "places", "state", "ticket_until", "until")

    def __init__(self, state: State) -> None:
        self.state = state
        self.until = -inf
        self.places = 0.0
        self.ticket_until = -inf
        self._over_since = inf

    def renew(self, until: float) -> None:
        """Let them hold until a time in seconds."""
        self.until = until
        self._over_since = inf

    def check(self, now: float) -> bool:
        """Whether they hold at `now` seconds; note when they were first found to be over."""
        if now < self.until:
            return True
        self._over_since = min(self._over_since, now)
        return now - self._over_since < _GRACE

    def take_ticket(self, now: float) -> bool:
        """Take the right to send a probe at `now` seconds; return whether there was one."""
        valid, self.ticket_until = now < self.ticket_until, -inf
        return valid
