"""What a member of a fleet knows of one key."""

from __future__ import annotations

from math import inf

from recloser._fleet.facts import KeyFact
from recloser._fleet.incident import Incident
from recloser._state import State

# As a plain global: to look up a member of an enum takes 60 ns on Python 3.11.
_CLOSED = State.CLOSED
# Reports are more frequent for this many seconds after a watch has begun, or something bad was seen: then
# they matter most. So the last of 8 workers opened 33 ms after the first one; before, 59 ms (p99).
_HURRIES = 1.0
# After a watch that has shown nothing, the same worker asks for no other one for `_COOL` seconds. They
# double each time, up to `_COOL_LONGEST`.
_COOL, _COOL_LONGEST = 3.0, 60.0


class KnownKey:
    """What a member knows of one key.

    Attributes:
        fact: What the fleet has decided; None if nothing is known.
        epoch: The epoch of that.
        heard_at: When it was written, in seconds of this worker's clock.
        incident: The incident, if this worker leads it.
        hurries_until: Until when reports are more frequent, in seconds.
        report_at: When the next report is due, in seconds.
        reported_at: When the last one was made, in seconds.
        asked: How many calls came of late, per second.
        rings: Whether the bell is to be rung after the next report, so that the others report at once.
        unheard_since: When this worker opened or limited the key on its own while the store failed; in
            seconds, infinite if it did not.
        cool_until: Before this time no watch is asked for; seconds.
        take_over_at: When to take the lead, if the leader's lease is over; seconds.
    """

    __slots__ = (
        "_cool",
        "asked",
        "cool_until",
        "epoch",
        "fact",
        "heard_at",
        "hurries_until",
        "incident",
        "report_at",
        "reported_at",
        "rings",
        "take_over_at",
        "unheard_since",
    )

    def __init__(self) -> None:
        self.fact: KeyFact | None = None
        self.epoch = 0
        self.heard_at = self.hurries_until = -inf
        self.incident: Incident | None = None
        self.report_at = self.reported_at = -inf
        self.asked = 0.0
        self._cool = _COOL
        self.cool_until = -inf
        self.unheard_since = inf
        self.rings = False
        self.take_over_at = inf

    @property
    def is_watched(self) -> bool:
        """Whether the fleet watches it, or has decided something about it that holds."""
        return self.fact is not None and not self.fact.is_over

    @property
    def is_decided(self) -> bool:
        """Whether the fleet has decided that it is anything but closed."""
        return self.fact is not None and self.fact.state is not _CLOSED

    def take(self, fact: KeyFact, written: float, now: float) -> None:
        """Know from now on what the fleet has decided, written at `written` seconds."""
        if not self.is_watched:
            self.hurry(now)
        self.fact, self.heard_at = fact, written
        if fact.is_over and fact.by_hand:
            # A suspicion from before would write over it, and others would never hear of it.
            self.cool_down(now, founded=True)

    def hurry(self, now: float) -> None:
        """Report more often for a while."""
        self.hurries_until = now + _HURRIES

    def decided_unheard(self, at: float) -> None:
        """Note when, in seconds, this worker alone has opened or limited it; inf: it has closed it."""
        self.unheard_since = at
        if at < inf:
            self.cool_until = -inf  # the others are asked, however often it was in vain before

    def cool_down(self, now: float, *, founded: bool) -> None:
        """Ask for no watch for a while; for longer each time, if the last ones showed nothing."""
        self._cool = _COOL if founded else min(2.0 * self._cool, _COOL_LONGEST)
        self.cool_until = now + self._cool
