"""Registry: key -> breaker, bounded; which policy a key gets."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from random import random as default_random
from threading import RLock
from types import MappingProxyType
from typing import Any, Self

from recloser._breaker import Breaker
from recloser._events import Listener
from recloser._listeners import Listeners
from recloser._locked_circuit import loose_circuits
from recloser._policy import Policy
from recloser._stall import StallWatch
from recloser._state import Mode, State

OVERFLOW_KEY = "<overflow>"
"""The key that is shared when `max_keys` breakers exist and none may be evicted."""
# Breakers looked at to find one to evict: Redis samples 5 of millions, and 10 are nearly exact.
_SAMPLE = 16
_NO_POLICIES: Mapping[str, Policy] = MappingProxyType({})


class Registry:
    """The breakers of one process, made on first use.

    At most `max_keys` exist. A further key evicts one that was little used of late, but never one
    that is open, half-open or has calls in flight. When none of those it looks at may go, the new
    key gets the breaker of `OVERFLOW_KEY`, which exists besides. Both are counted.

    Args:
        policy: The policy of every key that `policies` does not name.
        policies: Key, or pattern of keys with `*`, `?` and `[...]`, to policy. A key is looked up
            as it is first, then the patterns in their order.
        clock: Monotonic seconds.
        random: Uniform in 0.0-1.0, for jitter.
        max_keys: Breakers kept, >= 1.
        mode: The mode of new breakers.

    Raises:
        TypeError: A policy is no Policy, a key no str.
        ValueError: `max_keys` is below 1, or the mode unknown.

    Attributes:
        get: Finds the breaker of a key, or None if there is none, at the cost of a dict's look-up.
        evicted: Breakers dropped to make room.
        overflowed: Look-ups answered with the shared breaker.
    """

    def __init__(
        self,
        policy: Policy | None = None,
        *,
        policies: Mapping[str, Policy] = _NO_POLICIES,
        clock: Callable[[], float] = time.perf_counter,
        random: Callable[[], float] = default_random,
        max_keys: int = 1000,
        mode: Mode | str = Mode.ENFORCE,
    ) -> None:
        if isinstance(max_keys, bool) or not isinstance(max_keys, int):
            raise TypeError(f"max_keys must be a whole number from 1, not {max_keys!r}")
        if max_keys < 1:
            raise ValueError(f"max_keys must be a whole number from 1, not {max_keys!r}")
        if not isinstance(policies, Mapping):
            raise TypeError(f"policies must map str to Policy, not be {policies!r}")
        for name, function in (("clock", clock), ("random", random)):
            if not callable(function):
                raise TypeError(f"{name} must be a function, not {function!r}")
        for key, each in policies.items():
            if not isinstance(key, str) or not isinstance(each, Policy):
                raise TypeError(f"policies must map str to Policy, not {key!r} to {each!r}")
        if policy is not None and not isinstance(policy, Policy):
            raise TypeError(f"policy must be a Policy, not {policy!r}")
        self._policy = policy if policy is not None else Policy()
        self._exact = dict(policies)
        self._patterns = [
            (key, each) for key, each in policies.items() if any(char in key for char in "*?[")
        ]
        self._clock = clock
        self._random = random
        self._max_keys = max_keys
        self._mode = Mode(mode)
        self._listeners = Listeners(clock)
        self._breakers: dict[str, Breaker] = {}
        self.get: Callable[[str], Breaker | None] = self._breakers.get
        # Calls asked for of each key when eviction last came by.
        self._seen: dict[str, int] = {}
        # Reentrant: a finalizer, run by the collector inside of it, may ask for a breaker.
        self._lock = RLock()
        self.evicted: int = 0
        self.overflowed: int = 0
        _registries.add(self)

    def __copy__(self) -> Self:
        """A copy is the same registry: there is one state per key."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __getitem__(self, key: str) -> Breaker:
        """The breaker of a key, made if need be.

        Raises:
            TypeError: The key is no str.
        """
        breaker = self._breakers.get(key)
        return breaker if breaker is not None else self._make(key)

    def _make(self, key: str) -> Breaker:
        if not isinstance(key, str):
            raise TypeError(f"key must be a str, not {key!r}")
        with self._lock:
            breaker = self._breakers.get(key)
            if breaker is not None:
                return breaker
            shared = OVERFLOW_KEY in self._breakers
            if len(self._breakers) - shared >= self._max_keys and not self._evict_one():
                self.overflowed += 1
                if shared:
                    return self._breakers[OVERFLOW_KEY]
                key = OVERFLOW_KEY
            breaker = Breaker(
                key,
                self.policy_for(key),
                clock=self._clock,
                random=self._random,
                mode=self._mode,
                _listeners=self._listeners,
            )
            return self._breakers.setdefault(key, breaker)

    def _evict_one(self) -> bool:
        """Drop the least used of the first breakers in line; the others go to the end of it."""
        spare: str | None = None
        fewest = (0, 0)
        for _ in range(min(_SAMPLE, len(self._breakers))):
            key, breaker = next(iter(self._breakers.items()))
            asked = breaker.asked
            uses = (asked - self._seen.get(key, 0), asked)  # of late, and ever
            if breaker.is_spare and key != OVERFLOW_KEY and (spare is None or uses < fewest):
                spare, fewest = key, uses
                if not uses[0]:
                    break
            if self._breakers.pop(key, None) is not None:
                self._breakers[key] = breaker
            self._seen[key] = asked
        evicted = self._breakers.pop(spare, None) if spare is not None else None
        if spare is None or evicted is None:
            return False
        self._seen.pop(spare, None)
        # Somebody may hold on to it, a decorated function for one.
        loose_circuits.add(evicted)
        self.evicted += 1
        return True

    def policy_for(self, key: str) -> Policy:
        """The policy that a key gets: its own, else of the first pattern it fits, else the default."""
        policy = self._exact.get(key)
        if policy is not None:
            return policy
        for pattern, each in self._patterns:
            if fnmatchcase(key, pattern):
                return each
        return self._policy

    def breakers(self) -> list[Breaker]:
        """All breakers there are, in no particular order."""
        with self._lock:  # or one that is on its way to the end of the line would be missed
            return list(self._breakers.values())

    def __iter__(self) -> Iterator[Breaker]:
        return iter(self.breakers())

    def __len__(self) -> int:
        return len(self._breakers)

    def __contains__(self, key: object) -> bool:
        return key in self._breakers

    @property
    def clock(self) -> Callable[[], float]:
        """The clock of all its breakers, in monotonic seconds."""
        return self._clock

    @property
    def mode(self) -> Mode:
        """The mode of new breakers; setting it changes those that exist too."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode | str) -> None:
        self._mode = Mode(mode)
        for breaker in self.breakers():
            breaker.mode = self._mode

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Send the transitions of all breakers to a listener; call the result to stop."""
        return self._listeners.subscribe(listener)

    def fault(self, where: str, error: BaseException) -> None:
        """Count a fault around a call (a key function, say); log it, once a minute per place."""
        self._listeners.fault(where, error)

    @property
    def faults(self) -> int:
        """Faults of key functions, classifiers, listeners and handlers, and of our own."""
        return self._listeners.faults

    @property
    def strange_latencies(self) -> int:
        """Latencies ignored because they were negative, infinite or NaN."""
        return self._listeners.strange_latencies

    @property
    def stalls(self) -> StallWatch:
        """What tells whether this process stood still; all with this clock of the system's share it.

        asyncio loops in which calls are made beat it by themselves.
        """
        return self._listeners.stalls

    def __repr__(self) -> str:
        shut = sum(breaker.state is not State.CLOSED for breaker in self.breakers())
        return f"<Registry {len(self)} of {self._max_keys} keys, {shut} not closed>"


_registries: weakref.WeakSet[Registry] = weakref.WeakSet()


def _after_fork() -> None:
    # Another thread of the parent may have held a lock; nobody in this process would release it.
    for registry in list(_registries):
        registry._lock = RLock()
        for breaker in registry.breakers():
            breaker.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
