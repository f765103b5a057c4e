"""A member of a fleet: one worker's part in it, one turn after the other.

It has no thread and no clock: the thread that runs it passes the time in (`worker.py`), and so does a
simulation. All that it does with the store, it does within a turn. A call never waits for it.

What calls tell it, they leave in two lists: keys with a suspicion, and changes of state. A turn works
them off, reads what the others have decided, reports what the calls did, and decides what this worker
leads.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from math import exp, inf
from typing import TYPE_CHECKING
from zlib import crc32

from recloser._circuit.following import FollowingCircuit
from recloser._circuit.journal import Begun
from recloser._circuit.orders import Orders
from recloser._circuit.pooled import PooledCircuit
from recloser._events import Reason, Transition
from recloser._fleet.facts import (
    KeyFact,
    ModeFact,
    key_name,
    key_of,
    key_of_mode,
    mode_name,
)
from recloser._fleet.incident import Incident
from recloser._fleet.keeping import Keeping
from recloser._fleet.reports import Report
from recloser._fleet.status import FleetStatus, key_status, worker_status
from recloser._fleet.store import Store, StoreError
from recloser._stall import StallWatch
from recloser._state import Mode, State

if TYPE_CHECKING:
    from recloser._fleet.breakers import AnyBreaker, Breakers
    from recloser._overrides import Override

# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_CLOSED, _LIMITED = State.CLOSED, State.LIMITED
_OPEN, _HALF_OPEN = State.OPEN, State.HALF_OPEN

# Seconds between two beats, and after which a worker without one is gone.
_BEAT_EVERY, _BEAT_LIVES = 5.0, 16.0
# Seconds between two looks at the news, if the bell does not ring: usually, and while a key is not closed.
_POLL, _POLL_SOON = 1.0, 0.25
# Seconds between two reports, of up to so many workers; of more, it is longer in proportion.
_PACE, _PACED = 0.05, 64
# Orders hold for so many seconds after the worker has heard of its fleet.
_HOLD = 3.0
# After a lease is over, each worker waits up to so many seconds before it takes the lead.
_TAKE_OVER = 0.3
# Facts live for so many seconds after the last word about them.
_LIVES, _LIVES_BY_HAND = 120.0, 30 * 86_400.0
# After a store has failed: the first and the longest pause, and how long its news count as known.
_RETRY, _RETRY_LATEST = 0.1, 1.0
_KNOWN_FOR = 1.0
# After a watch that has shown nothing, the same worker asks for no other one for so long; doubling.
_COOL, _COOL_LONGEST = 3.0, 60.0
_BY_HAND = {"manual", "reset"}
# A beat names at most so many keys. Of a larger fleet, a worker does not know who the others are.
_TOLD, _SHOWN = 20, 100
# The calls of a worker are counted over some seconds, and so many are assumed before.
_ASKED_OVER, _ASSUMED = 5.0, 2.0


class Key:
    """What a member knows of one key.

    Attributes:
        fact: What the fleet has decided; None if nothing is known.
        epoch: The epoch of that.
        heard_at: When it was written, in seconds of this worker's clock.
        incident: The incident, if this worker leads it.
        report_at: When the next report is due, in seconds.
        cool_until: Before this time no watch is asked for; seconds.
        cool: For how long that was.
        asked: How many calls came of late, per second.
        take_over_at: When to take the lead, if the leader's lease is over.
    """

    __slots__ = (
        "asked",
        "cool",
        "cool_until",
        "epoch",
        "fact",
        "heard_at",
        "incident",
        "report_at",
        "reported_at",
        "take_over_at",
    )

    def __init__(self) -> None:
        self.fact: KeyFact | None = None
        self.epoch = 0
        self.heard_at = -inf
        self.incident: Incident | None = None
        self.report_at = -inf
        self.asked = 0.0
        self.reported_at = -inf
        self.cool = _COOL
        self.cool_until = -inf
        self.take_over_at = inf


class Member:
    """One worker's part in a fleet.

    Args:
        registry: Its breakers.
        store: What it shares with the other workers.
        new_name: Makes a name for this worker that no other one has.
        random: Returns uniform numbers in 0.0-1.0.

    Attributes:
        name: The name of this worker; another one after a fork.
        store: As given.
        workers: How many workers are alive, as far as is known.
        failures: How often the store has failed.
        failing_since: Since when the store fails, in seconds; infinite while it works.
        last_failure: What it said last.
        garbage: How many texts in the store were none of ours.
    """

    def __init__(
        self,
        registry: Breakers,
        store: Store,
        new_name: Callable[[], str],
        random: Callable[[], float],
    ) -> None:
        self._registry = registry
        self.store = store
        self._new_name = new_name
        self._random = random
        self._begin()

    def _begin(self) -> None:
        """Begin as a new worker, of which the fleet knows nothing yet."""
        self.name = self._new_name()
        self.workers = 1
        self._others: dict[str, str] = {}
        self.failures = 0
        self.failing_since = inf
        self.last_failure = ""
        self.garbage = 0
        self._retry_at = -inf
        self._retry = _RETRY
        self._heard_at = -inf  # when the store last did what it was asked to
        self._version, self._life = 0, ""
        self._polled_at = self._beat_at = -inf
        self._keys: dict[str, Key] = {}
        self._modes: dict[str, ModeFact | None] = {}
        self._stalls = StallWatch(lambda: 0.0)
        self._keeping = Keeping(self._random)
        # What calls leave here, in their threads: one operation on a deque is atomic.
        self._suspicious: dict[str, None] = {}
        self._changes: deque[Transition] = deque(maxlen=10_000)
        self._overrides: deque[tuple[str, Override, bool]] = deque(maxlen=1_000)
        self._made: deque[str] = deque(maxlen=10_000)
        self.rung = False

    # What calls leave

    def suspect(self, key: str) -> bool:
        """Note that a key is suspicious; return whether that is new."""
        if key in self._suspicious:
            return False
        self._suspicious[key] = None
        return True

    def note_change(self, transition: Transition) -> bool:
        """Note a change of state; return whether the fleet must know of it soon."""
        if transition.reason.rule.startswith("fleet_"):
            return False
        self._changes.append(transition)
        return True

    def note_override(self, key: str, override: Override, ended: bool) -> None:
        """Note that the mode of a breaker was changed by hand."""
        self._overrides.append((key, override, ended))

    def note_made(self, key: str) -> None:
        """Note that there is a breaker for a key."""
        self._made.append(key)

    def after_fork(self) -> None:
        """Begin as another worker in a forked process. Its breakers have forgotten their orders."""
        made = [*self._keeping.names, *self._made]
        self._begin()
        self._made.extend(made)

    def leave(self, now: float) -> None:
        """Keep what was learned, and leave the fleet; it does not raise."""
        with suppress(StoreError):
            self._keeping.keep_all(self._registry, self.store, now)
            for key in self._keys.values():
                key.incident = None
            self.store.leave(self.name)
        self._heard_at = -inf
        self._give_up_news(now)

    @property
    def is_connected(self) -> bool:
        """Whether the store works."""
        return self.failing_since == inf and self._heard_at > -inf

    def status(self) -> FleetStatus:
        """What this worker knows of its fleet."""
        now = self._registry.clock()
        return FleetStatus(
            self.store.place,
            self.name,
            self.is_connected,
            {name: worker_status(name, text) for name, text in [*self._others.items()]},
            {
                name: key_status(name, key.fact, max(now - key.heard_at, 0.0))
                for name, key in [*self._keys.items()]
                if key.fact is not None and not key.fact.is_over
            },
            self.failures,
            self.last_failure,
            self.garbage,
        )

    # A turn

    def turn(self, now: float) -> float:
        """Do what is due at `now` seconds; return for how many seconds there is nothing to do."""
        if now < self._retry_at:
            self._give_up_news(now)
            return self._retry_at - now
        try:
            wait = self._turn(now)
        except StoreError as error:
            self._note_failure(str(error), now)
            self._give_up_news(now)
            return self._retry_at - now
        self._note_success(now)
        return wait

    def _note_failure(self, what: str, now: float) -> None:
        self.failures += 1
        self.last_failure = what
        if self.failing_since == inf:
            self.failing_since = now
            self._registry.warn(
                "store",
                f"the store at {self.store.place} fails ({what}): until it works again, "
                "this worker decides alone",
            )
        self._retry_at = now + self._retry * (0.75 + 0.5 * self._random())
        self._retry = min(2.0 * self._retry, _RETRY_LATEST)

    def _note_success(self, now: float) -> None:
        if self.failing_since < inf:
            lost = now - self.failing_since
            self._registry.warn(
                "store again", f"the store at {self.store.place} works again, after {lost:.3g} s"
            )
            self.failing_since = inf
        self._retry = _RETRY
        self._heard_at = now

    def _give_up_news(self, now: float) -> None:
        """Decide alone, since nothing is heard from the fleet any more."""
        if now - self._heard_at < _KNOWN_FOR:
            return
        for name, key in self._keys.items():
            if key.incident is not None or key.fact is not None:
                key.incident = key.fact = None
                breaker, circuit = self._circuit_of(name)
                if breaker is not None and circuit is not None:
                    breaker.in_turn(now, circuit.decide_alone)
                    breaker.in_turn(now, circuit.stop_watching)

    def _turn(self, now: float) -> float:
        if now - self._beat_at >= _BEAT_EVERY:
            self._beat(now)
        busy = any(key.fact is not None and not key.fact.is_over for key in self._keys.values())
        if self.rung or now - self._polled_at >= (_POLL_SOON if busy else _POLL) - 1e-6:
            if self.rung:
                self._hurry()
            self.rung = False
            self._read_news(now)
        self._work_off(now)
        wait = _POLL
        for name, key in [*self._keys.items()]:
            wait = min(wait, self._work_on(name, key, now))
        self._keeping.turn(self._registry, self.store, now)
        return min(wait, self._polled_at + _POLL - now, self._beat_at + _BEAT_EVERY - now)

    def _hurry(self) -> None:
        """Look at once at what others have sent about probes."""
        for key in self._keys.values():
            if key.incident is not None and key.incident.circuit.state in (_OPEN, _HALF_OPEN):
                key.report_at = -inf

    @property
    def pace(self) -> float:
        """Seconds between two reports of a key that is watched."""
        return _PACE * max(self.workers / _PACED, 1.0)

    def _beat(self, now: float) -> None:
        leads = [name for name, key in self._keys.items() if key.incident is not None]
        host, pid, _ = (*self.name.split("/"), "", "")[:3]
        about = {
            "host": host,
            "pid": int(pid) if pid.isdigit() else 0,
            "leads": leads[:_TOLD],
            "alone": self._alone(),
        }
        self.workers = max(self.store.beat(self.name, json.dumps(about), _BEAT_LIVES), 1)
        if self.workers <= _SHOWN:
            self._others = self.store.workers()
        self._beat_at = now
        for key in self._keys.values():
            if key.incident is not None:
                key.incident.workers, key.incident.pace = self.workers, self.pace

    def _alone(self) -> dict[str, str]:
        """The keys about which this worker has decided alone, with their states."""
        states = [(name, self._circuit_of(name)[1]) for name in self._keys]
        return {
            name: circuit.state.value
            for name, circuit in states[:_TOLD]
            if circuit is not None and circuit.state is not _CLOSED and circuit.orders is None
        }

    # News

    def _read_news(self, now: float) -> None:
        news = self.store.news(self._version)
        if news.life != self._life and self._life:
            # The store has lost what it had. Epochs only grow, so what is known here is written anew.
            news = self.store.news(0)
        self._version, self._life = news.version, news.life
        self._polled_at = now
        for fact in news.facts:
            name, mode = key_of(fact.name), key_of_mode(fact.name)
            try:
                if name is not None:
                    self._hear(name, fact.epoch, KeyFact.from_text(fact.text), now - fact.age, now)
                elif mode is not None:
                    self._hear_mode(mode, ModeFact.from_text(fact.text), fact.age, now)
            except ValueError as error:
                self.garbage += 1
                self._registry.fault("garbage in the store", error)

    def _hear(self, name: str, epoch: int, fact: KeyFact, written: float, now: float) -> None:
        key = self._keys.setdefault(name, Key())
        if epoch <= key.epoch and key.fact is not None:
            return
        key.epoch = max(epoch, key.epoch)
        if fact.leader == self.name:
            if key.incident is not None:
                return
            # This worker led it, and has given up meanwhile: somebody must take the lead.
            key.take_over_at = now
        elif key.incident is not None:
            key.incident = None  # another worker has taken the lead
        key.fact, key.heard_at, key.take_over_at = fact, written, min(key.take_over_at, inf)
        self._obey(name, key, now)

    def _circuit_of(self, name: str) -> tuple[AnyBreaker | None, FollowingCircuit | None]:
        breaker = self._registry.get(name)
        return breaker, None if breaker is None else breaker.following

    def _is_alone(self, name: str) -> bool:
        """Whether this worker has decided alone that a key is not closed."""
        circuit = self._circuit_of(name)[1]
        return circuit is not None and circuit.state is not _CLOSED and circuit.orders is None

    def _obey(self, name: str, key: Key, now: float) -> None:
        """Let the breaker of a key do what the fleet has decided."""
        breaker, circuit = self._circuit_of(name)
        fact = key.fact
        if breaker is None or circuit is None or fact is None:
            return
        breaker.in_turn(now, self._obey_decided, circuit, key, fact, now)

    def _obey_decided(self, circuit: FollowingCircuit, key: Key, fact: KeyFact, now: float) -> None:
        age = max(now - key.heard_at, 0.0)
        if fact.is_over:
            if circuit.orders is not None or fact.by_hand:
                self._obey_closing(circuit, fact, now)
            circuit.stop_watching()
            return
        circuit.watch(fact.one_in)
        if fact.state is _CLOSED:
            if circuit.orders is not None:
                self._obey_closing(circuit, fact, now)
            return
        orders = circuit.orders
        if orders is None or orders.state is not fact.state:
            orders = Orders(fact.state)
        orders.renew(now + _HOLD)
        wait = max(fact.wait - age, 0.0)
        if fact.state is _OPEN:
            has_ticket = fact.tickets is None or self.name in fact.tickets
            left = fact.wait + fact.ticket - age
            orders.ticket_until = now + left if has_ticket and left > 0.0 else -inf
        elif fact.state is _HALF_OPEN:
            may = fact.tickets is None or self.name in fact.tickets
            orders.places = fact.places if may else 0
        else:
            orders.places = self._part(key, fact)
        size = max(fact.size / fact.workers, 1.0)
        circuit.follow(orders, _reason_of(fact), wait, size, now)

    def _part(self, key: Key, fact: KeyFact) -> int:
        """How many permits of a limit are this worker's: in proportion to its calls.

        What is left over after whole permits goes to some of the workers by chance, and to others
        after the next news.
        """
        mine = key.asked * _ASKED_OVER + _ASSUMED
        all_ = fact.demand * _ASKED_OVER + _ASSUMED * fact.workers
        part = fact.permits * min(mine / all_, 1.0)
        whole = int(part)
        chance = crc32(f"{self.name} {key.epoch}".encode()) / 2**32
        return whole + (chance < part - whole)

    def _obey_closing(self, circuit: FollowingCircuit, fact: KeyFact, now: float) -> None:
        if fact.by_hand == "reset":
            circuit.reset(now, _reason_of(fact))
            return
        if fact.learned is not None:
            circuit.learn_from(fact.learned, now, anew=True)
        circuit.follow_closing(_reason_of(fact), now)

    # Work

    def _work_off(self, now: float) -> None:
        """Work off what calls have left."""
        while self._made:
            name = self._made.popleft()
            self._keeping.note_made(name)
            if (key := self._keys.get(name)) is not None and key.fact is not None:
                self._obey(name, key, now)
            if (mode := self._modes.get(name)) is not None and not mode.ended:
                self._obey_mode(name, mode, 0.0)
        while self._overrides:
            self._tell_mode(*self._overrides[0], now)
            self._overrides.popleft()
        while self._changes:
            change = self._changes[0]
            name = change.key
            if change.reason.rule in _BY_HAND:
                self._lead_by_hand(change, now)
            elif change.after is not _CLOSED:
                self._suspicious[name] = None
                self._keys.setdefault(name, Key()).report_at = -inf
            self._changes.popleft()
        for name in [*self._suspicious]:
            del self._suspicious[name]
            key = self._keys.setdefault(name, Key())
            is_watched = key.fact is not None and not key.fact.is_over
            if not is_watched and self.workers > 1 and now >= key.cool_until:
                self._begin_watch(name, key, now)

    def _begin_watch(self, name: str, key: Key, now: float) -> None:
        breaker, circuit = self._circuit_of(name)
        if breaker is None or circuit is None:
            return
        pooled = breaker.in_turn(now, PooledCircuit, name, circuit, self.workers, self._stalls, now)
        self._lead(name, key, pooled, now)

    def _lead(
        self, name: str, key: Key, pooled: PooledCircuit, now: float, by_hand: str = ""
    ) -> None:
        incident = Incident(self.name, pooled, self.workers, self._random, now)
        incident.by_hand, incident.pace = by_hand, self.pace
        if by_hand:
            incident.decide((), now)
        fact = incident.news(now)
        if fact is not None:
            key.incident = incident
            self._tell(name, key, fact, now)

    def _tell(self, name: str, key: Key, fact: KeyFact, now: float) -> bool:
        """Tell the fleet what this worker has decided as its leader; return whether it leads."""
        lives = _LIVES + (fact.wait if fact.wait < inf else _LIVES_BY_HAND)
        epoch = key.epoch + 1
        if self.store.swap(key_name(name), key.epoch, epoch, fact.as_text(), lives):
            key.epoch, key.fact, key.heard_at = epoch, fact, now
            if key.incident is not None:
                key.incident.tell(fact, now)
            self._obey(name, key, now)
            return True
        # Another worker leads, or has acted by hand meanwhile.
        key.incident, key.fact = None, None
        there = self.store.get(key_name(name))
        if there is not None:
            try:
                fact = KeyFact.from_text(there.text)
            except ValueError as error:
                self.garbage += 1
                self._registry.fault("garbage in the store", error)
                key.epoch = max(key.epoch, there.epoch)
                return False
            self._hear(name, there.epoch, fact, now - there.age, now)
        return False

    def _work_on(self, name: str, key: Key, now: float) -> float:
        """Do what is due for one key; return for how many seconds there is nothing to do."""
        fact, incident = key.fact, key.incident
        if fact is None or fact.is_over:
            if incident is None and now - key.heard_at > _LIVES and not self._is_alone(name):
                self._forget(name, key)
            return inf
        breaker, circuit = self._circuit_of(name)
        if circuit is not None and circuit.orders is not None:
            circuit.orders.renew(now + _HOLD)
        if incident is None and self._leads_nobody(key, fact, now):
            self._take_over(name, key, fact, now)
            return self.pace
        probes = circuit is not None and circuit.state is _HALF_OPEN
        pace = self.pace if fact.state is not _OPEN or probes else max(self.pace, _POLL_SOON)
        if now >= key.report_at - 1e-6:
            key.report_at = now + pace
            report = self._report(key, breaker, circuit, now)
            if incident is not None:
                self._decide(name, key, incident, report, now)
            elif report is not None:
                self.store.send(name, report.as_text())
                if report.entries and fact.state in (_OPEN, _HALF_OPEN):
                    self.store.ring()  # a probe has begun or ended
        wait = key.report_at - now
        if incident is not None and incident.circuit.state is _OPEN:
            wait = min(wait, max(incident.circuit.probe_at - now, self.pace))
        return max(wait, 0.0)

    def _forget(self, name: str, key: Key) -> None:
        del self._keys[name]

    def _leads_nobody(self, key: Key, fact: KeyFact, now: float) -> bool:
        over = key.heard_at + fact.lease
        if now < over and key.take_over_at == inf:
            return False
        if key.take_over_at == inf:
            key.take_over_at = now + _TAKE_OVER * self._random()
        return now >= key.take_over_at

    def _take_over(self, name: str, key: Key, fact: KeyFact, now: float) -> None:
        key.take_over_at = inf
        breaker, circuit = self._circuit_of(name)
        if breaker is None or circuit is None:
            key.heard_at = now  # this worker has no call of that key: another one will
            return
        pooled = breaker.in_turn(now, PooledCircuit, name, circuit, self.workers, self._stalls, now)
        wait = max(fact.wait - (now - key.heard_at), 0.0)
        pooled.go_on(fact.state, wait, fact.size, fact.reason, now)
        self._lead(name, key, pooled, now, "" if fact.by_hand != "open" else "open")

    def _report(
        self, key: Key, breaker: AnyBreaker | None, circuit: FollowingCircuit | None, now: float
    ) -> Report | None:
        if breaker is None or circuit is None:
            return None
        entries, refused, has_open = breaker.in_turn(now, circuit.take_journal, now)
        passed, key.reported_at = max(now - key.reported_at, 1e-3), now
        kept = exp(-passed / _ASKED_OVER)
        begun = sum(isinstance(entry, Begun) for entry in entries)
        key.asked = kept * key.asked + (1.0 - kept) * (begun + refused) / passed
        alone = why = ""
        if circuit.state is not _CLOSED and circuit.orders is None:
            alone = circuit.state.value
            why = "" if circuit.reason is None else circuit.reason.sentence
        if not (entries or refused or has_open or alone):
            return None
        return Report(
            worker=self.name,
            written=now,
            entries=tuple(entries),
            refused=refused,
            rate=circuit.counts.rate,
            alone=alone,
            why=why,
        )

    def _decide(
        self, name: str, key: Key, incident: Incident, mine: Report | None, now: float
    ) -> None:
        reports = [] if mine is None else [mine]
        for text, age in self.store.receive(name):
            try:
                reports.append(Report.from_text(text, now - age))
            except ValueError as error:
                self.garbage += 1
                self._registry.fault("garbage in the store", error)
        state = incident.circuit.state
        incident.decide(reports, now)
        if incident.is_over:
            changed = key.fact is not None and incident.has_changed
            key.cool = _COOL if changed else min(2.0 * key.cool, _COOL_LONGEST)
            key.cool_until = now + key.cool
            closing = incident.closing(now)
            key.incident = None
            self._tell(name, key, closing, now)
            return
        if incident.circuit.state is not state:
            key.report_at = now + self.pace
        fact = incident.news(now)
        if fact is not None:
            self._tell(name, key, fact, now)

    # By hand

    def _lead_by_hand(self, change: Transition, now: float) -> None:
        name = change.key
        breaker, circuit = self._circuit_of(name)
        if breaker is None or circuit is None:
            return
        key = self._keys.setdefault(name, Key())
        pooled = breaker.in_turn(now, PooledCircuit, name, circuit, self.workers, self._stalls, now)
        reason = change.reason
        if reason.rule == "reset":
            self._close_by_hand(name, key, "reset", reason, now)
        elif change.after is _CLOSED:
            self._close_by_hand(name, key, "close", reason, now)
        elif change.after is _OPEN:
            pooled.open_by_hand(now, circuit.probe_at, reason)
            self._lead(name, key, pooled, now, "open")
        else:
            pooled.half_open_by_hand(now, reason)
            self._lead(name, key, pooled, now, "half_open")

    def _close_by_hand(self, name: str, key: Key, how: str, reason: Reason, now: float) -> None:
        key.incident = None
        fact = KeyFact(
            state=_CLOSED, leader="", lease=0.0, reason=reason, by_hand=how, workers=self.workers
        )
        for _ in range(3):  # somebody else may be faster, but an operator has the last word
            if self._tell(name, key, fact, now):
                return
            key.incident = None

    def _tell_mode(self, name: str, override: Override, ended: bool, now: float) -> None:
        fact = ModeFact(
            mode="" if override.mode is None else override.mode.value,
            share=override.enforce_share,
            left=max(override.until - now, 0.0),
            reason=override.reason,
            by=override.by,
            ended=ended,
        )
        known = self._modes.get(name)
        if _is_same(known, fact):
            return
        for _ in range(3):
            there = self.store.get(mode_name(name))
            epoch = 0 if there is None else there.epoch
            lives = min(fact.left, _LIVES_BY_HAND) + _LIVES
            if self.store.swap(mode_name(name), epoch, epoch + 1, fact.as_text(), lives):
                self._modes[name] = fact
                return

    def _hear_mode(self, name: str, fact: ModeFact, age: float, now: float) -> None:
        if _is_same(self._modes.get(name), fact):
            return
        self._modes[name] = fact
        self._obey_mode(name, fact, age)

    def _obey_mode(self, name: str, fact: ModeFact, age: float) -> None:
        breaker = self._registry.get(name)
        if breaker is None:
            return
        if fact.ended:
            breaker.end_override(fact.reason, fact.by)
        elif fact.left > age:
            breaker.override(
                None if not fact.mode else Mode(fact.mode),
                enforce_share=fact.share,
                for_=None if fact.left == inf else fact.left - age,
                reason=fact.reason,
                by=fact.by,
            )


def _is_same(known: ModeFact | None, fact: ModeFact) -> bool:
    """Whether two facts say the same, apart from the time that is left."""
    if known is None:
        return False
    return (known.mode, known.share, known.reason, known.by, known.ended) == (
        fact.mode,
        fact.share,
        fact.reason,
        fact.by,
        fact.ended,
    )


def _reason_of(fact: KeyFact) -> Reason:
    """The reason of a change that the fleet has decided."""
    reason = fact.reason
    if fact.by_hand and reason.rule in _BY_HAND:
        sentence = reason.sentence
    else:
        sentence = f"the fleet of {fact.workers} workers: {reason.sentence}"
    return Reason(f"fleet_{fact.state.value}", sentence, reason.numbers, reason.by)
