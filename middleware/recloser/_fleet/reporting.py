"""Reporting: what a member does for each key that is watched, the most urgent one first.

A store may be slow: an operation of 0.1 s on each of ten keys takes a second or more. So a turn ends as
soon as it has taken `_TURN` seconds, and the next one, with the time that it is then, goes on with the
keys that are waited for most.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from recloser._circuit.following import FollowingCircuit
from recloser._circuit.journal import Begun
from recloser._fleet.breakers import AnyBreaker
from recloser._fleet.facts import KeyFact
from recloser._fleet.known_key import KnownKey
from recloser._fleet.leading import Leading
from recloser._fleet.member_state import ROUNDING, MemberState
from recloser._fleet.obeying import ASKED_OVER, HOLD
from recloser._fleet.reports import Report, of_late
from recloser._fleet.store import StoreError
from recloser._state import State

# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_OPEN, _HALF_OPEN = State.OPEN, State.HALF_OPEN
# After this many seconds, a turn begins no further key: it works on all its keys with the time at which
# it began. With operations of 1 ms, that is enough for about ten keys.
_TURN = 0.02
# Seconds between two reports while a key is open: they only tell how many calls were refused.
_REFUSED = 0.25
# Each measured time has this weight in the average. A time above `_TAKES` seconds counts as `_TAKES`: each
# of its operations ends within 0.25 s, so the process itself stood still.
_MEASURED, _TAKES = 0.2, 0.75
# A leader that looks for probes does so from this many seconds before it is time to probe.
_SOON = 1.0
# What is known of a key is forgotten this many seconds after the last word about it.
_FORGOTTEN = 120.0

Found = tuple[AnyBreaker, FollowingCircuit] | None


class Reporting:
    """What a member does for the keys that are watched.

    Args:
        shared: What the parts of the member share.
        leading: What it does for the keys that it leads.
        clock: Returns seconds, also within a turn.

    Attributes:
        takes: How long the work on one key takes in the store, in seconds, averaged.
    """

    def __init__(self, shared: MemberState, leading: Leading, clock: Callable[[], float]) -> None:
        self._shared = shared
        self._leading = leading
        self._clock = clock
        self.takes = 0.0

    @property
    def watched(self) -> int:
        """How many keys are watched."""
        return sum(known.is_watched for known in self._shared.keys.values())

    @property
    def asked(self) -> float:
        """How many calls this worker makes of late of each key that is watched, per second."""
        every = [known.asked for known in self._shared.keys.values() if known.is_watched]
        return sum(every) / max(len(every), 1)

    def turn(self, now: float) -> float:
        """Do what is due at `now` seconds; return for how many seconds there is nothing to do.

        Raises:
            StoreError: The store does not work.
        """
        due, wait = list[tuple[int, float, str]](), inf
        for key, known in [*self._shared.keys.items()]:
            left = self._look_at(key, known, now)
            if left <= 0.0:
                due.append((self._urgency(key, known, now), known.reported_at, key))
            else:
                wait = min(wait, left)
        due.sort()
        for place, (_, _, key) in enumerate(due):
            known = self._shared.keys[key]
            if known.fact is None or known.fact.is_over:
                continue
            before = self._clock()
            if place and not 0.0 <= before - now < _TURN:
                return 0.0
            wait = min(wait, self._work_on(key, known, known.fact, now))
            took = min(max(self._clock() - before, 0.0), _TAKES)
            self.takes += _MEASURED * (took - self.takes)
        return wait

    def _look_at(self, key: str, known: KnownKey, now: float) -> float:
        """Do what needs no store; return in how many seconds there is something to do in it."""
        fact, shared = known.fact, self._shared
        if fact is None or fact.is_over:
            is_asked = known.unheard_since == inf or shared.circuit_of(key) is None
            if is_asked and now - known.heard_at > _FORGOTTEN and now >= known.cool_until:
                del shared.keys[key]
            return inf
        found = shared.circuit_of(key)
        if found is not None and found[1].orders is not None:
            found[1].orders.renew(now + HOLD)
        if known.incident is None and self._leading.may_take_over(known, fact, now):
            return 0.0
        return 0.0 if known.report_at - now <= ROUNDING else self._due_in(known, now)

    def _due_in(self, known: KnownKey, now: float) -> float:
        """In how many seconds the next report is due, or a probe if this worker leads."""
        left, incident = known.report_at - now, known.incident
        if incident is not None and incident.circuit.state is _OPEN:
            left = min(left, max(incident.circuit.probe_at - now, self._shared.pace))
        return left

    def _urgency(self, key: str, known: KnownKey, now: float) -> int:
        """Who waits for what is to be done for a key; the lowest number comes first.

        Probes and a slow start end an outage, and each step of them waits for the one before. A key
        that is open only tells how many calls it refuses.
        """
        found, incident = self._shared.circuit_of(key), known.incident
        if known.rings or (found is not None and found[1].state is _HALF_OPEN):
            return 0
        if incident is not None:
            circuit = incident.circuit
            return 3 if circuit.state is _OPEN and circuit.probe_at > now + _SOON else 1
        return 3 if known.fact is not None and known.fact.state is _OPEN else 2

    def _work_on(self, key: str, known: KnownKey, fact: KeyFact, now: float) -> float:
        """Do what is due for one key; return for how many seconds there is nothing to do."""
        shared = self._shared
        found = shared.circuit_of(key)
        if known.incident is None and self._leading.may_take_over(known, fact, now):
            self._leading.take_over(key, known, fact, now)
            return shared.pace
        probes = found is not None and found[1].state is _HALF_OPEN
        pace = shared.pace_of(known, now)
        if fact.state is _OPEN and not probes:
            pace = max(shared.pace, _REFUSED)
        known.report_at = now + pace
        report = None if found is None else self._report(known, *found, now)
        try:
            reports = self._exchange(key, known, report, now)
        except StoreError:
            if report is not None and found is not None:
                breaker, own = found
                breaker.in_turn(now, own.give_back, [*report.entries], report.refused)
            raise
        self._leading.decide(key, known, reports, now)
        return max(self._due_in(known, now), 0.0)

    def _exchange(
        self, key: str, known: KnownKey, report: Report | None, now: float
    ) -> list[Report]:
        """Tell the leader what calls did; if this worker leads, return what all workers tell."""
        reports = [] if report is None else [report]
        probes = known.fact is not None and known.fact.state in (_OPEN, _HALF_OPEN)
        if known.incident is not None:
            reports += self._leading.receive(key, now)
        elif report is not None:
            self._shared.store.send(key, report.as_text())
            # A report with entries then tells that a probe has begun or ended.
            known.rings = known.rings or (probes and bool(report.entries))
        if known.rings:
            self._shared.store.ring()
            known.rings = False
        return reports

    def _report(
        self, known: KnownKey, breaker: AnyBreaker, circuit: FollowingCircuit, now: float
    ) -> Report | None:
        entries, refused, still_open = breaker.in_turn(now, circuit.take_journal, now)
        passed, known.reported_at = max(now - known.reported_at, 1e-3), now
        begun = sum(isinstance(entry, Begun) for entry in entries)
        known.asked = of_late(known.asked, begun + refused, passed, ASKED_OVER)
        alone, reason = circuit.alone, circuit.reason
        if not (entries or refused or still_open or alone):
            return None
        return Report(
            worker=self._shared.name,
            written=now,
            entries=tuple(entries),
            open=still_open,
            refused=refused,
            alone=alone,
            why=reason.sentence if alone and reason is not None else "",
        )
