"""Leading: one worker decides for its fleet, as long as it leads a key."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from recloser._circuit.following import FollowingCircuit
from recloser._circuit.pooled import PooledCircuit
from recloser._events import Reason, Transition
from recloser._fleet.breakers import AnyBreaker
from recloser._fleet.facts import KeyFact, key_name
from recloser._fleet.incident import Incident
from recloser._fleet.keeping import known_to_all
from recloser._fleet.known_key import KnownKey
from recloser._fleet.member_state import LIVES_BY_HAND, TRIES_BY_HAND, MemberState
from recloser._fleet.obeying import obey
from recloser._fleet.reports import Report
from recloser._state import State

# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_CLOSED, _OPEN = State.CLOSED, State.OPEN
# After a lease is over, each worker waits a random time, up to this many seconds, and takes the lead.
_TAKE_OVER = 0.3
# Facts live for this many seconds after the last word about them; those by hand without an end longer.
_LIVES = 120.0

Hear = Callable[[str, int, KeyFact, float, float], None]
"""Takes what another worker has decided: key, epoch, fact, when it was written, and now; seconds."""


class Leading:
    """What a member does for the keys that it leads.

    Args:
        shared: What the parts of the member share.
        hear: Called with a fact of another worker that was faster.
    """

    def __init__(self, shared: MemberState, hear: Hear) -> None:
        self._shared = shared
        self._hear = hear

    # How it begins

    def begin_watch(self, key: str, known: KnownKey, now: float) -> None:
        """Ask all workers what their calls of a key do."""
        found = self._shared.circuit_of(key)
        if found is not None:
            self._lead(key, known, self._pooled(key, *found, now), now)

    def _pooled(
        self, key: str, breaker: AnyBreaker, circuit: FollowingCircuit, now: float
    ) -> PooledCircuit:
        shared, learned = self._shared, None
        if not circuit.detector.baseline.known:
            try:
                learned = known_to_all(shared.store, key)
            except ValueError as error:
                shared.note_garbage(error)
        return breaker.in_turn(
            now, PooledCircuit, key, circuit, shared.workers, shared.stalls, now, learned
        )

    def _lead(
        self, key: str, known: KnownKey, pooled: PooledCircuit, now: float, by_hand: str = ""
    ) -> None:
        shared = self._shared
        incident = Incident(shared.name, pooled, shared.workers, shared.random, now, by_hand)
        incident.pace = shared.pace
        if by_hand:
            incident.decide((), now)
        fact = incident.news(now)
        if fact is not None:
            known.incident = incident
            self._tell(key, known, fact, now)

    def may_take_over(self, known: KnownKey, fact: KeyFact, now: float) -> bool:
        """Whether the leader of a key has said nothing for too long, and it is this worker's turn.

        The first time after the lease is over, it chooses when that turn is.
        """
        if now < known.heard_at + fact.lease and known.take_over_at == inf:
            return False
        if known.take_over_at == inf:
            known.take_over_at = now + _TAKE_OVER * self._shared.random()
        return now >= known.take_over_at

    def take_over(self, key: str, known: KnownKey, fact: KeyFact, now: float) -> None:
        """Take the lead where another worker has left off."""
        known.take_over_at = inf
        found = self._shared.circuit_of(key)
        if found is None:
            known.heard_at = now  # this worker has no call of that key: another one will
            return
        pooled = self._pooled(key, *found, now)
        wait = max(fact.wait - (now - known.heard_at), 0.0)
        pooled.go_on(fact.state, wait, fact.size, fact.reason, now)
        self._lead(key, known, pooled, now, "open" if fact.by_hand == "open" else "")

    # What it decides

    def receive(self, key: str, now: float) -> list[Report]:
        """What other workers have reported of a key.

        Raises:
            StoreError: The store does not work.
        """
        shared, reports = self._shared, list[Report]()
        for text, age in shared.store.receive(key):
            try:
                reports.append(Report.from_text(text, now - age))
            except ValueError as error:
                shared.note_garbage(error)
        return reports

    def decide(self, key: str, known: KnownKey, reports: list[Report], now: float) -> None:
        """If this worker leads a key, decide by all reports, and tell what is new.

        Raises:
            StoreError: The store does not work. It is told the next time.
        """
        shared, incident = self._shared, known.incident
        if incident is None:
            return
        state = incident.circuit.state
        incident.decide(reports, now)
        if incident.watch.is_over:
            known.cool_down(now, founded=incident.watch.has_changed)
            closing = incident.closing(now)
            known.incident = None
            self._tell(key, known, closing, now)
            return
        if incident.circuit.state is not state:
            known.report_at = now + shared.pace
        elif state is _CLOSED and not incident.circuit.detector.evidence.idle:
            shared.hurry(known, now)
        fact = incident.news(now)
        if fact is not None:
            self._tell(key, known, fact, now)

    def _tell(self, key: str, known: KnownKey, fact: KeyFact, now: float) -> bool:
        """Tell the fleet; return whether no other worker was faster."""
        shared, text = self._shared, fact.as_text()
        lives = _LIVES + (fact.wait if fact.wait < inf else LIVES_BY_HAND)
        # By the version too: the time of the last fact about this key may be over, and nobody knows
        # its epoch any more.
        epoch = max(known.epoch, shared.version) + 1
        if shared.store.swap(key_name(key), known.epoch, epoch, text, lives):
            known.epoch = epoch
            self._told(key, known, fact, now)
            return True
        there = shared.store.get(key_name(key))
        if there is None:
            return False
        try:
            theirs = KeyFact.from_text(there.text)
        except ValueError as error:
            shared.note_garbage(error)
            theirs = None
        if theirs is None or there.epoch < known.epoch:
            # Garbage, or a store that has lost what is known here: this worker's word goes over it.
            known.epoch = epoch = max(epoch, there.epoch + 1)
            if shared.store.swap(key_name(key), there.epoch, epoch, text, lives):
                self._told(key, known, fact, now)
                return True
            return False
        # Another worker leads, or has acted by hand meanwhile.
        known.incident, known.fact = None, None
        self._hear(key, there.epoch, theirs, now - there.age, now)
        return False

    def _told(self, key: str, known: KnownKey, fact: KeyFact, now: float) -> None:
        known.take(fact, now, now)
        if known.incident is not None:
            known.incident.tell(fact, now)
        obey(self._shared, key, now)

    # By hand

    def act_by_hand(self, change: Transition, now: float) -> None:
        """Let all workers do what an operator has done in this one.

        Raises:
            StoreError: The store does not work.
        """
        key, reason = change.key, change.reason
        found = self._shared.circuit_of(key)
        if found is None:
            return
        known = self._shared.known(key)
        if change.after is _CLOSED:
            self._close_by_hand(
                key, known, "reset" if reason.rule == "reset" else "close", reason, now
            )
            return
        breaker, circuit = found
        pooled = self._pooled(key, breaker, circuit, now)
        if change.after is _OPEN:
            pooled.open_by_hand(now, circuit.probe_at, reason)
        else:
            pooled.half_open_by_hand(now, reason)
        for _ in range(TRIES_BY_HAND):
            self._lead(key, known, pooled, now, "open" if change.after is _OPEN else "half_open")
            if known.incident is not None:
                return

    def _close_by_hand(
        self, key: str, known: KnownKey, how: str, reason: Reason, now: float
    ) -> None:
        fact = KeyFact(
            state=_CLOSED,
            leader="",
            lease=0.0,
            reason=reason,
            by_hand=how,
            workers=self._shared.workers,
        )
        for _ in range(TRIES_BY_HAND):
            known.incident = None
            if self._tell(key, known, fact, now):
                return
