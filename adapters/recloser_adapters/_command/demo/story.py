"""What was seen: the events of a show, folded into figures that screens and verdicts read."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recloser_adapters._command.demo.plan import ARMS, GUARDED, HEALTHY, PATIENCE, SICK


@dataclass(frozen=True, slots=True)
class Call:
    """One request as its caller saw it: times are seconds since the load began."""

    arm: str
    route: str
    sent: float
    seconds: float
    outcome: str

    @property
    def refused(self) -> bool:
        """Whether it was refused at once by a breaker."""
        return self.outcome == "refused"

    @property
    def well(self) -> bool:
        """Whether the caller got what it wanted while it still wanted it."""
        return self.outcome == "good" and self.seconds <= PATIENCE

    @property
    def wasted(self) -> bool:
        """Whether it was let through for nothing: it failed, was lost, or took too long."""
        return not self.well and not self.refused

    @property
    def ended(self) -> float:
        """When the caller had its answer."""
        return self.sent + self.seconds


@dataclass(frozen=True, slots=True)
class Change:
    """One transition of one breaker."""

    at: float
    key: str
    before: str
    after: str
    reason: str


@dataclass(slots=True)
class Stretch:
    """One phase of the upstream as it really took place; `end` is None while it lasts."""

    phase: str
    begin: float
    end: float | None = None

    @property
    def bad(self) -> bool:
        """Whether the upstream was ill."""
        return self.phase != HEALTHY

    def covers(self, at: float) -> bool:
        """Whether a moment lies in it."""
        return self.begin <= at and (self.end is None or at < self.end)


@dataclass(slots=True)
class Story:
    """All that was seen so far.

    Attributes:
        late: Of each turn of the load, how many seconds after its time the load was at it. This is
            how long a process waits for the machine.
    """

    now: float = 0.0
    over: bool = False
    stretches: list[Stretch] = field(default_factory=list[Stretch])
    changes: list[Change] = field(default_factory=list[Change])
    calls: list[Call] = field(default_factory=list[Call])
    late: list[float] = field(default_factory=list[float])
    keys: Sequence[Mapping[str, Any]] = ()
    waiting: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(ARMS, 0))
    _recent: deque[Call] = field(default_factory=deque[Call])

    def fold(self, event: Mapping[str, Any]) -> None:
        """Take note of an event of the load."""
        self.now = max(self.now, event["at"])
        match event["event"]:
            case "phase":
                if self.stretches:
                    self.stretches[-1].end = event["at"]
                self.stretches.append(Stretch(event["phase"], event["at"]))
            case "transition":
                facts = (event[name] for name in ("key", "before", "after", "reason"))
                self.changes.append(Change(event["at"], *facts))
            case "keys":
                self.keys = event["keys"]
            case "calls":
                self._add(Call(*call) for call in event["calls"])
                self.waiting = event["waiting"]
                if not self.over:
                    self.late += event["late"]
            case "over":
                self.over = True
                self.stretches[-1].end = event["at"]
            case other:
                raise ValueError(f"unknown event {other!r}")

    def _add(self, calls: Any) -> None:
        for call in calls:
            self._recent.append(call)
            if not self.over:
                # A show kept up for days must not remember every call.
                self.calls.append(call)
        while self._recent and self._recent[0].ended < self.now - 1.0:
            self._recent.popleft()

    @property
    def phase(self) -> str:
        """What the upstream does now."""
        return self.stretches[-1].phase if self.stretches else HEALTHY

    def last_second(self, arm: str) -> tuple[int, int, int]:
        """Return how many calls ended well, wasted and refused within the last second."""
        mine = [call for call in self._recent if call.arm == arm]
        well = sum(call.well for call in mine)
        refused = sum(call.refused for call in mine)
        return well, len(mine) - well - refused, refused

    def state(self, key: str, at: float | None = None) -> str:
        """Return the state that a key was in at a moment, now by default."""
        state = "closed"
        for change in self.changes:
            if change.key == key and (at is None or change.at <= at):
                state = change.after
        return state

    def opened(self, stretch: Stretch) -> float | None:
        """Return when the ill route's breaker opened in a stretch, None if it did not."""
        return self._first(stretch.begin, stretch.end, "open")

    def closed(self, stretch: Stretch) -> float | None:
        """Return when it closed in the good stretch after a bad one, None if it did not."""
        following = self.stretches.index(stretch) + 1
        if following == len(self.stretches):
            return None
        good = self.stretches[following]
        return self._first(good.begin, good.end, "closed")

    def _first(self, begin: float, end: float | None, state: str) -> float | None:
        for change in self.changes:
            inside = begin <= change.at and (end is None or change.at < end)
            if inside and change.key == SICK and change.after == state:
                return change.at
        return None

    def sent_in(self, stretch: Stretch, arm: str = GUARDED, route: str = SICK) -> list[Call]:
        """Return the calls to a route of an app that were sent in a stretch."""
        return [
            call
            for call in self.calls
            if call.arm == arm and call.route == route and stretch.covers(call.sent)
        ]
