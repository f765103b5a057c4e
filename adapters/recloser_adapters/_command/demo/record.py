"""The record of a run: its events, and the figures that the screens and results need."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recloser_adapters._command.demo.plan import AFFECTED, ARMS, GUARDED, HEALTHY, PATIENCE

# The states in which a breaker is not sure that the callee is unhealthy.
SERVING = ("closed", "limited")
# Seconds without a refusal after which everybody is let through again.
CALM = 1.0
# Seconds for which a busy moment of the machine can still be seen in latencies that were judged.
BUSY_FOR = 2.0


@dataclass(frozen=True, slots=True)
class Call:
    """One request from the view of its caller. Times are seconds since the load began."""

    arm: str
    route: str
    sent: float
    seconds: float
    outcome: str

    @property
    def refused(self) -> bool:
        """Whether a breaker refused it."""
        return self.outcome == "refused"

    @property
    def well(self) -> bool:
        """Whether the caller got a good answer within `PATIENCE`."""
        return self.outcome == "good" and self.seconds <= PATIENCE

    @property
    def wasted(self) -> bool:
        """Whether it was admitted in vain: it failed, was lost, or took too long."""
        return not self.well and not self.refused

    @property
    def ended(self) -> float:
        """When the caller got its answer."""
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
class ObservedPhase:
    """One phase of the upstream as it was observed; `end` is None while it lasts."""

    name: str
    begin: float
    end: float | None = None

    @property
    def bad(self) -> bool:
        """Whether the upstream was unhealthy."""
        return self.name != HEALTHY

    def covers(self, at: float) -> bool:
        """Whether a time is within the phase."""
        return self.begin <= at and (self.end is None or at < self.end)


@dataclass(slots=True)
class Record:
    """All events of a run so far.

    Attributes:
        late: For each request of the load, how many seconds late it was sent. This is how long a
            process waits for the processor.
        late_until: The same, with the time at which the load reported it.
    """

    now: float = 0.0
    over: bool = False
    phases: list[ObservedPhase] = field(default_factory=list[ObservedPhase])
    changes: list[Change] = field(default_factory=list[Change])
    calls: list[Call] = field(default_factory=list[Call])
    late: list[float] = field(default_factory=list[float])
    late_until: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    keys: Sequence[Mapping[str, Any]] = ()
    waiting: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(ARMS, 0))
    _recent: deque[Call] = field(default_factory=deque[Call])

    def add(self, event: Mapping[str, Any]) -> None:
        """Add an event of the load."""
        self.now = max(self.now, event["at"])
        match event["event"]:
            case "phase":
                if self.phases:
                    self.phases[-1].end = event["at"]
                self.phases.append(ObservedPhase(event["phase"], event["at"]))
            case "transition":
                facts = (event[name] for name in ("key", "before", "after", "reason"))
                self.changes.append(Change(event["at"], *facts))
            case "keys":
                self.keys = event["keys"]
            case "calls":
                self._add_calls(Call(*call) for call in event["calls"])
                self.waiting = event["waiting"]
                if not self.over:
                    self.late += event["late"]
                    self.late_until.append((event["at"], max(event["late"], default=0.0)))
            case "over":
                self.over = True
                self.phases[-1].end = event["at"]
            case other:
                raise ValueError(f"unknown event {other!r}")

    def _add_calls(self, calls: Any) -> None:
        for call in calls:
            self._recent.append(call)
            if not self.over:
                # A run that is kept up for days must not keep every call in memory.
                self.calls.append(call)
        while self._recent and self._recent[0].ended < self.now - 1.0:
            self._recent.popleft()

    @property
    def phase(self) -> str:
        """The present phase of the upstream."""
        return self.phases[-1].name if self.phases else HEALTHY

    def last_second(self, arm: str) -> tuple[int, int, int]:
        """Return how many calls of the last second were good, wasted and refused."""
        mine = [call for call in self._recent if call.arm == arm]
        well = sum(call.well for call in mine)
        refused = sum(call.refused for call in mine)
        return well, len(mine) - well - refused, refused

    def state(self, key: str, at: float | None = None) -> str:
        """Return the state of a key at a time, by default now."""
        state = "closed"
        for change in self.changes:
            if change.key == key and (at is None or change.at <= at):
                state = change.after
        return state

    def first(self, phase: ObservedPhase, *states: str) -> float | None:
        """Return when the affected route's breaker first got one of some states in a phase."""
        for change in self.changes:
            if phase.covers(change.at) and change.key == AFFECTED and change.after in states:
                return change.at
        return None

    def latest_send(self, before: float) -> float:
        """Return by how many seconds at most the load sent its requests late shortly before a time."""
        recent = (
            late for at, late in self.late_until if before - BUSY_FOR <= at <= before + BUSY_FOR
        )
        return max(recent, default=0.0)

    def recovered(self, phase: ObservedPhase) -> float | None:
        """Return from when on everybody was let through in the good phase after a bad one.

        None if somebody was refused at its end, or the breaker was open or half-open.
        """
        following = self.phases.index(phase) + 1
        if following == len(self.phases):
            return None
        good = self.phases[following]
        end = self.now if good.end is None else good.end
        if self.state(AFFECTED, end) not in SERVING:
            return None
        since = good.begin
        for change in self.changes:
            if good.covers(change.at) and change.key == AFFECTED and change.before not in SERVING:
                since = change.at
        refused = max([0.0, *(call.sent for call in self.sent_in(good) if call.refused)])
        return None if refused > end - CALM else max(since, refused)

    def sent_in(
        self, phase: ObservedPhase, arm: str = GUARDED, route: str = AFFECTED
    ) -> list[Call]:
        """Return the calls to a route of an app that were sent in a phase."""
        return [
            call
            for call in self.calls
            if call.arm == arm and call.route == route and phase.covers(call.sent)
        ]
