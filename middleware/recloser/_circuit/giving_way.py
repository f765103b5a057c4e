"""Giving way: a call that waits for its own client gives its place to the next call.

So a client that sends slowly, or never, holds neither a probe nor a place under a limit. Where it
sends in the end, there is a call more than there are places. So the next calls are let through one at
a time: one for each answer, which shows that the callee can serve it, and without an answer one after a
pause. The pause grows with the number of calls that wait: they may all go on at the same moment.
"""

from __future__ import annotations

from math import inf

# The pause for each call that waits, and the longest pause; seconds.
_PAUSE, _LONGEST = 0.1, 1.0


class GivingWay:
    """When a call may begin although calls that wait for their client have all the places.

    Attributes:
        latest: When the latest call began that took a place or was given one, in seconds.
    """

    __slots__ = ("_answers", "latest")

    def __init__(self) -> None:
        self.latest = -inf
        self._answers = 0

    def next_at(self, waiting: int) -> float:
        """When the next call may begin if there is no answer until then, in seconds.

        Args:
            waiting: Number of calls that wait for their client.
        """
        return self.latest + min(_PAUSE * waiting, _LONGEST)

    def let_through(self, waiting: int, answers: int, now: float, allowed: float = 0.0) -> bool:
        """Let one more call begin if it may; return whether it may.

        Args:
            waiting: Number of calls that wait for their client.
            answers: A number that differs after each answer.
            now: Seconds.
            allowed: While no more calls than this wait, others may begin without a pause.
        """
        if not waiting:
            return False
        if waiting > allowed and answers == self._answers and now < self.next_at(waiting):
            return False
        self._answers = answers
        self.latest = now
        return True
