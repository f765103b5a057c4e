"""What the leader of a key knows of one worker."""

from __future__ import annotations

from recloser._circuit.pooled import PooledCall

# A worker is waited for during `_LATEST` seconds; or during `_LATEST_PACES` times the time between two
# reports, if that is longer.
_LATEST, _LATEST_PACES = 1.0, 4.0


class ReportingWorker:
    """What a leader knows of one worker.

    Attributes:
        written: When its last report was written, in seconds.
        calls: The calls of it that have begun, by its tokens: the token and the call here.
        earlier: Its tokens of calls in flight that have begun before the watch.
        alone: The state that it has decided alone; "" for none.
        why: Why it has.
        asked: How many calls came to it of late, per second.
    """

    __slots__ = ("alone", "asked", "calls", "earlier", "why", "written")

    def __init__(self) -> None:
        self.written = 0.0
        self.calls: dict[int, tuple[int, PooledCall]] = {}
        self.earlier: set[int] = set()
        self.alone = self.why = ""
        self.asked = 0.0

    def is_silent(self, now: float, pace: float) -> bool:
        """Whether it has said nothing for so long that it is not waited for any more.

        Args:
            now: Seconds.
            pace: Seconds between two reports.
        """
        return now - self.written > max(_LATEST, _LATEST_PACES * pace)
