"""The pauses that a callee asks for, by a 429 or a Retry-After that is no failure.

One tenant's limit must not refuse the calls of all others. So a breaker opens only if all callers
are asked to wait, by the evidence. Until when the last one was asked is known at once: that is for
callers that have another callee, see `_failover/selection.py`.
"""

from __future__ import annotations

from math import log

from recloser._policy import Policy

# If a callee asks for a pause and names no time: seconds of the first one.
_FIRST_PAUSE = 1.0
# The usual share of calls that a callee asks to wait: before the first calls, at most, and how many
# calls it is averaged over. If it asks all callers to wait, it asks `_ALL_ASKED` of them.
_FIRST_ASKED, _MOST_ASKED, _ASKED_OVER, _ALL_ASKED = 0.02, 0.5, 200.0, 0.9


class Pauses:
    """What one callee that asks callers to wait has asked for.

    Attributes:
        until: Until when it last asked to wait, in seconds; 0.0 if it has served a call since then.
    """

    __slots__ = ("_evidence", "_latest", "_length", "_usual", "until")

    def __init__(self) -> None:
        self.until = 0.0
        # Nats for "all callers are asked to wait, and not only some".
        self._evidence = 0.0
        self._usual = _FIRST_ASKED
        # Seconds of the last pause without a time.
        self._length = 0.0
        # Calls with a higher token began after the last pause was asked for.
        self._latest = 0

    def ask(self, token: int, latest: int, now: float, wait: float, policy: Policy) -> None:
        """Note until when a call was asked to wait.

        If it names no time, pauses grow: each one is twice as long as the one before, until a call
        is served.

        Args:
            token: The token of the call.
            latest: The highest token so far.
            now: Seconds.
            wait: Seconds that the callee asked for; 0.0 if it named none.
            policy: Its `max_open_for` limits a pause without a time.
        """
        if not wait and (token <= self._latest or now < self.until):
            return  # it says no more than the call before
        if not wait:
            wait = self._length = longer_pause(self._length, policy)
        self._latest = latest
        self.until = max(self.until, now + wait)

    def are_for_all(self, threshold: float) -> bool:
        """Count a call that was asked to wait; return whether all callers are, by the evidence.

        It is judged like failures, by the share of such calls that is usual for the key.

        Args:
            threshold: The evidence that is enough, in nats. After it was enough, it begins anew.
        """
        self._evidence = max(self._evidence + log(_ALL_ASKED / self._usual), 0.0)
        self._usual = min(self._usual + (1.0 - self._usual) / _ASKED_OVER, _MOST_ASKED)
        if self._evidence < threshold:
            return False
        self._evidence = 0.0
        return True

    def served(self, calls: int) -> None:
        """Count calls that were answered, not asked to wait."""
        self._evidence = max(self._evidence + calls * log(1.0 - _ALL_ASKED), 0.0)
        self._usual = max(self._usual * (1.0 - 1.0 / _ASKED_OVER) ** calls, _FIRST_ASKED)

    def end(self, token: int) -> None:
        """End the pause if a call with this token, which was served, began after it was asked for."""
        if token > self._latest:
            self.until = self._length = 0.0


def longer_pause(before: float, policy: Policy) -> float:
    """Seconds of the next pause if the callee names no time: twice as long as the one before.

    Args:
        before: Seconds of the pause before; 0.0 if this is the first one.
        policy: Its `max_open_for` is the longest.
    """
    return min(max(2.0 * before, _FIRST_PAUSE), policy.max_open_for)
