"""Keeping: what was learned about each key outlives the workers that have learned it.

Now and then each worker adds what it has learned to what is kept in the store. A worker that is new
begins with that, so a deployment or a restart forgets nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any

from recloser._circuit.learned import Learned
from recloser._fleet.facts import FORMAT, learned_name, plain_of
from recloser._fleet.store import Store

if TYPE_CHECKING:
    from recloser._fleet.breakers import Breakers

# Each key is kept at most so often, and all keys of a worker together at most so often; seconds.
_KEPT_EVERY, _ONE_EVERY = 60.0, 3.0
# So many new keys are asked for in one turn.
_AT_ONCE = 10
# The first time it is soon: many workers live for less than a minute.
_FIRST_AFTER = 5.0
# What is kept lives for so many seconds after it was kept last: a week.
_LIVES = 7 * 86_400.0
# What was kept weighs half as much after so many seconds, so that it is forgotten some day.
_HALVED_AFTER = 300.0


class Keeping:
    """What one worker keeps, and what it has taken over.

    Args:
        random: Returns uniform numbers in 0.0-1.0, so that workers do not all keep at one time.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._next_at = -inf
        self._due: dict[str, float] = {}  # by key: when it is kept next, in seconds
        self._new: dict[str, None] = {}

    @property
    def names(self) -> list[str]:
        """The keys that it knows of."""
        return [*self._due, *self._new]

    def note_made(self, name: str) -> None:
        """Note that a key is new in this worker."""
        self._new[name] = None

    def turn(self, registry: Breakers, store: Store, now: float) -> None:
        """Take over what is known of new keys, and keep what is due.

        Raises:
            StoreError: The store does not work.
        """
        for name in [*self._new][:_AT_ONCE]:
            self._take_over(registry, store, name, now)
            del self._new[name]
            self._due[name] = now + _FIRST_AFTER * (1.0 + self._random())
        if now < self._next_at or not self._due:
            return
        name = min(self._due, key=self._due.__getitem__)
        if now < self._due[name]:
            self._next_at = self._due[name]
            return
        self._next_at = now + _ONE_EVERY
        if registry.get(name) is None:
            del self._due[name]
            return
        self._due[name] = now + _KEPT_EVERY * (0.75 + 0.5 * self._random())
        self._keep(registry, store, name, now)

    def keep_all(self, registry: Breakers, store: Store, now: float) -> None:
        """Keep what was learned about all keys, since this worker ends."""
        for name in [*self._due]:
            self._keep(registry, store, name, now)

    def _take_over(self, registry: Breakers, store: Store, name: str, now: float) -> None:
        breaker = registry.get(name)
        circuit = None if breaker is None else breaker.following
        if breaker is None or circuit is None:
            return
        fact = store.get(learned_name(name))
        if fact is None:
            return
        try:
            learned = Learned.from_plain(plain_of(fact.text).get("learned"))
        except ValueError as error:
            registry.fault("garbage in the store", error)
            return
        if circuit.detector.baseline.known:
            return  # it was evicted and is used again
        breaker.in_turn(now, _teach, circuit, learned, now)

    def _keep(self, registry: Breakers, store: Store, name: str, now: float) -> None:
        breaker = registry.get(name)
        circuit = None if breaker is None else breaker.following
        if breaker is None or circuit is None:
            return
        learned: Learned = breaker.in_turn(now, circuit.learned, now)
        if learned.calls < circuit.policy.min_history:
            return
        fact = store.get(learned_name(name))
        before = 0 if fact is None else fact.epoch
        if fact is not None:
            try:
                kept = Learned.from_plain(plain_of(fact.text).get("learned"))
                learned = kept.times(0.5 ** (fact.age / _HALVED_AFTER)).plus(learned)
            except ValueError:
                pass  # it is replaced
        plain: dict[str, Any] = {"format": FORMAT, "learned": learned.as_plain()}
        text = json.dumps(plain, separators=(",", ":"))
        # If another worker was faster, this one is kept the next time.
        store.swap(learned_name(name), before, before + 1, text, _LIVES, loud=False)


def _teach(circuit: Any, learned: Learned, now: float) -> None:
    if not circuit.detector.baseline.known:
        circuit.learn_from(learned, now, anew=False)
