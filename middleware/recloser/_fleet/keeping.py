"""Keeping: what was learned about each key outlives the workers that have learned it.

Now and then each worker adds what it has learned to what is kept in the store. What it has added
before is taken out, so each live worker counts once, with what it knows now. A worker that is new
begins with the sum, so a deployment or a restart forgets nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import inf
from typing import Any

from recloser._circuit.following import FollowingCircuit
from recloser._circuit.learned import Learned
from recloser._fleet.facts import FORMAT, learned_name, number_of, plain_of, whole_of
from recloser._fleet.member_state import MemberState
from recloser._fleet.store import Store

# A key is kept about every `_KEPT_EVERY` seconds. A worker keeps at most one key in `_ONE_EVERY` seconds.
_KEPT_EVERY, _ONE_EVERY = 60.0, 5.0
# A worker that has seen fewer calls than this share of `Policy.min_history` keeps nothing yet. Many
# workers with few calls each know enough together.
_WORTH_KEEPING = 0.25
# At most this many new keys are asked for in one turn.
_AT_ONCE = 10
# The first time it is soon: many workers live for less than a minute.
_FIRST_AFTER = 5.0
# Seconds that what is kept lives in the store after it was last written: a week.
_LIVES = 7 * 86_400.0
# Seconds in which the share of workers that are gone halves in the sum. A live worker adds what it knows
# again each time.
_HALVED_AFTER = 300.0
# A worker that ends tries this often. Where many end at once, each must wait for the others.
_LAST_TRIES = 20


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is kept of one key.

    Attributes:
        since: Which sum it is: one number for as long as it was only added to, 0-2**32.
        halvings: How often all that it holds has been halved since then, >= 0.0.
        learned: The sum itself; or, of what a worker remembers, its own part.
    """

    since: int
    halvings: float
    learned: Learned

    @classmethod
    def of(cls, text: str, age: float) -> _Kept:
        """What a text says that was written `age` seconds ago.

        Raises:
            ValueError: It is something else.
        """
        given = plain_of(text)
        try:
            since, halvings = whole_of(given, "since"), number_of(given, "halvings")
        except KeyError as error:
            raise ValueError(f"{error} is missing") from error
        kept = cls(since, halvings, Learned.from_plain(given.get("learned")))
        return kept.halved(age / _HALVED_AFTER)

    def halved(self, times: float) -> _Kept:
        """The same, where each call counts for less."""
        return _Kept(self.since, self.halvings + times, self.learned.times(0.5**times))

    def without(self, part: _Kept | None) -> _Kept:
        """Without what was added to it before, if it was."""
        if part is None or part.since != self.since or part.halvings > self.halvings:
            return self
        part = part.halved(self.halvings - part.halvings)
        return _Kept(self.since, self.halvings, self.learned.minus(part.learned))

    def as_text(self) -> str:
        """As JSON."""
        plain: dict[str, Any] = {
            "format": FORMAT,
            "since": self.since,
            "halvings": round(self.halvings, 6),
            "learned": self.learned.as_plain(),
        }
        return json.dumps(plain, separators=(",", ":"))


class Keeping:
    """What one worker keeps, and what it has taken over.

    Args:
        shared: What the parts of the member share.
    """

    def __init__(self, shared: MemberState) -> None:
        self._shared = shared
        self._next_at = -inf
        self._due: dict[str, float] = {}  # by key: when it is kept next, in seconds
        self._new: dict[str, None] = {}
        self._parts: dict[str, _Kept] = {}  # by key: what it has added

    @property
    def keys(self) -> list[str]:
        """The keys that it knows of."""
        return [*self._due, *self._new]

    def note_made(self, key: str) -> None:
        """Note that a key is new in this worker."""
        self._new[key] = None

    def turn(self, now: float) -> None:
        """Take over what is known of new keys, and keep what is due.

        Raises:
            StoreError: The store does not work.
        """
        random = self._shared.random  # so that workers do not all keep at one time
        for key in [*self._new][:_AT_ONCE]:
            self._take_over(key, now)
            del self._new[key]
            self._due[key] = now + _FIRST_AFTER * (1.0 + random())
        if now < self._next_at or not self._due:
            return
        key = min(self._due, key=self._due.__getitem__)
        if now < self._due[key]:
            self._next_at = self._due[key]
            return
        self._next_at = now + _ONE_EVERY
        if self._shared.registry.get(key) is None:
            del self._due[key]
            self._parts.pop(key, None)
            return
        self._due[key] = now + _KEPT_EVERY * (0.75 + 0.5 * random())
        self._keep(key, now)

    def keep_all(self, now: float) -> None:
        """Keep what was learned about all keys, since this worker ends."""
        for key in [*self._due]:
            for _ in range(_LAST_TRIES):
                if self._keep(key, now):
                    break

    def _take_over(self, key: str, now: float) -> None:
        found = self._shared.circuit_of(key)
        if found is None:
            return
        breaker, circuit = found
        try:
            learned = known_to_all(self._shared.store, key)
        except ValueError as error:
            self._shared.registry.fault("garbage in the store", error)
            return
        if learned is None or circuit.detector.baseline.known:
            return  # nothing is kept, or it was evicted and is used again
        breaker.in_turn(now, _teach, circuit, learned, now)

    def _keep(self, key: str, now: float) -> bool:
        """Add what this worker knows; False if another one did at the same moment."""
        found, store = self._shared.circuit_of(key), self._shared.store
        if found is None:
            return True
        breaker, circuit = found
        learned: Learned = breaker.in_turn(now, circuit.learned, now)
        few, own = circuit.policy.min_history, circuit.counts.successes
        if learned.calls < few and own < _WORTH_KEEPING * few:
            return True  # or what was taken over would be added again by each worker that is new
        fact = store.get(learned_name(key))
        before = 0 if fact is None else fact.epoch
        part = whole = _Kept(int(self._shared.random() * 2**32), 0.0, learned)
        if fact is not None:
            try:
                kept = _Kept.of(fact.text, fact.age)
            except ValueError:
                pass  # it is replaced
            else:
                rest = kept.without(self._parts.get(key))
                part = _Kept(rest.since, rest.halvings, learned)
                whole = _Kept(rest.since, rest.halvings, rest.learned.plus(learned))
        # If another worker was faster, this one is kept the next time.
        text = whole.as_text()
        if not store.swap(learned_name(key), before, before + 1, text, _LIVES, loud=False):
            return False
        self._parts[key] = part
        return True


def known_to_all(store: Store, key: str) -> Learned | None:
    """What all workers together have learned of a key; None for nothing.

    Raises:
        StoreError: The store does not work.
        ValueError: What is kept is none of ours.
    """
    fact = store.get(learned_name(key))
    # Not halved: this is the only source of a new worker, however old it is.
    return None if fact is None else _Kept.of(fact.text, 0.0).learned


def _teach(circuit: FollowingCircuit, learned: Learned, now: float) -> None:
    if not circuit.detector.baseline.known:
        circuit.learn_from(learned, now, anew=False)
