"""Registry: a bounded mapping from key to breaker, and the policy of each key."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from random import random as default_random
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, cast

from recloser._breaker import Breaker
from recloser._environment import allowed
from recloser._identity import reduced
from recloser._listeners import Listeners
from recloser._locks import new_lock, within
from recloser._overrides import checked_share
from recloser._places import Places
from recloser._policies import Policies, check_policy
from recloser._policy import Policy
from recloser._reporting import Reporting
from recloser._special_keys import OVERFLOW_KEY, mode_of
from recloser._state import Mode, State
from recloser.hints import belong, check_function, knows_names

if TYPE_CHECKING:
    from recloser._fleet.fleet import Fleet
    from recloser._fleet.store import Store

# What cannot be changed later.
_FIXED = frozenset({"policies", "clock", "random", "max_keys"})
_NO_POLICIES: Mapping[str, Policy] = MappingProxyType({})
belong(("policy", "policies", "clock", "random", "max_keys", "store"), "Registry({}=...)")


class Registry(Reporting):
    """The breakers of one process, made on first use.

    At most `max_keys` are kept. A further key evicts one that was little used (see `_places.py`), but
    none that has calls in flight, and none that is limited, open or half-open before it was left
    alone for `Policy.max_open_for`. What was opened by hand without a time stays. Only some breakers
    are checked. If none of them may be evicted, the new key gets the shared breaker of
    `OVERFLOW_KEY`, which refuses nothing and is not counted in `max_keys`. Evictions and overflows
    are counted.

    A key never has two breakers: one that was evicted while it was in use, by a decorated function
    for example, is found again.

    A copy is the same registry. Pickled and sent to another process, it has the same settings there,
    except for listeners, and a state of its own; see `_identity.py`.

    Args:
        policy: The policy of every key that `policies` does not name; None for `Policy()`.
        policies: From a key, or a pattern of keys with `*`, `?` and `[...]`, to a policy. The exact
            key is looked up first, then the patterns in their order, then the beginnings of the key
            up to a space: the policy of `api.example.org` is that of `api.example.org chat`, too.
        clock: Returns monotonic seconds.
        random: Returns uniform numbers in 0.0-1.0, for jitter.
        max_keys: Maximum number of breakers, >= 1.
        mode: The mode of breakers whose policy names none. `RECLOSER_MODE` in the environment is the
            strictest that it can be.
        enforce_share: The share of callers that breakers refuse whose policy names none, 0.0-1.0; see
            `Breaker.enforce_share`.
        store: What its worker shares with others, so that they have one opinion of each key: the path
            of a file for SQLite, for the workers of one host; a URL such as `redis://cache:6379/0`
            for Redis or Valkey; or a `recloser.fleet.Store`. None: it decides alone.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: `max_keys` is below 1, `enforce_share` is not in 0.0-1.0, or `mode` is unknown, here
            or in the environment.

    Attributes:
        get: Returns the breaker of a key, or None if there is none. It costs one dict look-up.
        evicted: Number of breakers that were dropped to make room.
        overflowed: Number of look-ups that got the shared breaker.
    """

    # So that a setting with a typo in it is an error.
    __slots__ = (
        "__weakref__",
        "_breakers",
        "_clock",
        "_evicted",
        "_lock",
        "_max_keys",
        "_mode",
        "_places",
        "_policies",
        "_random",
        "_share",
        "_store",
        "evicted",
        "get",
        "overflowed",
    )

    @knows_names
    def __init__(
        self,
        policy: Policy | None = None,
        *,
        policies: Mapping[str, Policy] = _NO_POLICIES,
        clock: Callable[[], float] = time.perf_counter,
        random: Callable[[], float] = default_random,
        max_keys: int = 1000,
        mode: Mode | str = Mode.ENFORCE,
        enforce_share: float = 1.0,
        store: Store | str | os.PathLike[str] | None = None,
    ) -> None:
        if isinstance(max_keys, bool) or not isinstance(max_keys, int):
            raise TypeError(f"max_keys must be a whole number >= 1, not {max_keys!r}")
        if max_keys < 1:
            raise ValueError(f"max_keys must be a whole number >= 1, not {max_keys!r}")
        check_function("clock", clock)
        check_function("random", random)
        self._policies = Policies(policy, policies)
        self._clock = clock
        self._random = random
        self._max_keys = max_keys
        self._mode = allowed(mode)
        self._share = checked_share(enforce_share)
        self._listeners = Listeners(clock, self)
        self._breakers: dict[str, Breaker] = {}
        self.get: Callable[[str], Breaker | None] = self._breakers.get
        self._places = Places(max_keys)
        # Breakers that were evicted, as long as somebody uses them.
        self._evicted: weakref.WeakValueDictionary[str, Breaker] = weakref.WeakValueDictionary()
        self._lock = new_lock()
        self.evicted: int = 0
        self.overflowed: int = 0
        self._store = store
        if store is not None:
            # Imported here: who is alone needs none of it.
            from recloser._fleet.fleet import join

            self._listeners.fleet = join(self, store, random)
        _registries.add(self)

    @property
    def fleet(self) -> Fleet | None:
        """The fleet that it is in; None without a store."""
        return cast("Fleet | None", self._listeners.fleet)

    def __copy__(self) -> Self:
        """A copy is the same registry: there is one state per key."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        settings: dict[str, Any] = {
            "policy": self._policies.default,
            "policies": self._policies.exact,
            "clock": self._clock,
            "random": self._random,
            "max_keys": self._max_keys,
            "mode": self._mode,
            "enforce_share": self._share,
        }
        if self.fleet is not None and isinstance(self._store, (str, os.PathLike)):
            settings["store"] = self._store  # an open store cannot be sent
        if self._random is default_random:
            # With its generator, all processes would draw the same numbers.
            del settings["random"]
        return reduced(self, settings)

    def __setattr__(self, name: str, value: object) -> None:
        if name in _FIXED:
            raise AttributeError(
                f"{name} of a registry cannot be changed, because its breakers have it already: "
                f"write Registry({name}=...) where it is made"
            )
        super().__setattr__(name, value)

    def __getitem__(self, key: str) -> Breaker:
        """The breaker of a key. It is made on the first look-up.

        Raises:
            TypeError: The key is not a str.
        """
        breaker = self._breakers.get(key)
        return breaker if breaker is not None else self._make(key)

    def with_policy(self, key: str, policy: Policy) -> Breaker:
        """The breaker of a key. If it is made now, it has this policy.

        It is for keys that are made from others, and whose policy no user can name.

        Raises:
            TypeError: The key is not a str.
        """
        breaker = self._breakers.get(key)
        return breaker if breaker is not None else self._make(key, policy)

    def discard(self, breaker: Breaker) -> None:
        """Drop a breaker that is not needed any more, in whatever state it is."""
        within(self._lock, self._discard, breaker)

    def _discard(self, breaker: Breaker) -> None:
        if self._breakers.get(breaker.key) is breaker:
            breaker.detach()
            del self._breakers[breaker.key]
            self._places.leave(breaker.key)
        elif self._evicted.get(breaker.key) is breaker:
            del self._evicted[breaker.key]

    def _make(self, key: str, policy: Policy | None = None) -> Breaker:
        if not isinstance(key, str):
            raise TypeError(f"key must be a str, not {key!r}")
        return within(self._lock, self._make_alone, key, policy)

    def _make_alone(self, key: str, policy: Policy | None) -> Breaker:
        breaker = self._breakers.get(key)
        if breaker is not None:
            return breaker
        breaker = self._evicted.get(key)
        if key != OVERFLOW_KEY:
            if not self._has_place():
                return self._overflow() if breaker is None else breaker
            self._places.enter(key, keep=breaker is not None)
        if breaker is None:
            policy = policy if policy is not None else self.policy_for(key)
            breaker = Breaker(
                key,
                policy,
                clock=self._clock,
                random=self._random,
                mode=self._mode_for(key, policy),
                enforce_share=self._share_for(policy),
                _listeners=self._listeners,
            )
        # A finalizer that ran meanwhile may have made it.
        breaker = self._breakers.setdefault(key, breaker)
        if self._listeners.fleet is not None:
            self._listeners.fleet.made(key)
        return breaker

    def _has_place(self) -> bool:
        if len(self._breakers) - (OVERFLOW_KEY in self._breakers) < self._max_keys:
            return True
        key = self._places.vacate(self._breakers, self._clock())
        if key is None:
            return False
        # In this order: interrupted in between, it has its place still, or is found as evicted.
        evicted = self._breakers[key]
        evicted.detach()
        self._evicted[key] = evicted
        self._breakers.pop(key)
        self.evicted += 1
        return True

    def _overflow(self) -> Breaker:
        self.overflowed += 1
        self._listeners.warn(
            OVERFLOW_KEY,
            "%d breakers (max_keys) are in use, and no key can lose its place: "
            "calls of further keys are not guarded",
            self._max_keys,
        )
        return self[OVERFLOW_KEY]

    def _mode_for(self, key: str, policy: Policy) -> Mode:
        return mode_of(key, self._mode if policy.mode is None else policy.mode)

    def _share_for(self, policy: Policy) -> float:
        return self._share if policy.enforce_share is None else policy.enforce_share

    def policy_for(self, key: str) -> Policy:
        """The policy of a key: its own, or that of a pattern or beginning, or the default."""
        return self._policies.of(key)

    @property
    def named(self) -> tuple[str, ...]:
        """The keys and patterns of keys that have a policy of their own."""
        return tuple(self._policies.exact)

    def breakers(self) -> list[Breaker]:
        """All breakers, in no particular order; also those that were evicted and are in use."""
        return within(self._lock, self._all)

    def _all(self) -> list[Breaker]:
        kept = self._breakers
        evicted = [each for key, each in self._evicted.items() if key not in kept]
        return [*kept.values(), *evicted]

    def __iter__(self) -> Iterator[Breaker]:
        return iter(self.breakers())

    def __len__(self) -> int:
        return len(self._breakers)

    def __contains__(self, key: object) -> bool:
        return key in self._breakers

    @property
    def policy(self) -> Policy:
        """The policy of every key that has none of its own.

        To set it also changes the breakers that have it; they keep what they have learned.
        """
        return self._policies.default

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self.set_policy("*", policy)

    def set_policy(self, key: str, policy: Policy) -> None:
        """Replace the policy of a key, or of a pattern of keys, from now on.

        Breakers keep what they have learned. A breaker that was given a policy of its own, by
        `Breaker.policy` or because it stands for a wait, keeps that unless it is named by its key.
        A mode or share that was set by hand stays, unless the old policy and the new one differ in it.

        Args:
            key: A key, or a pattern with `*`, `?` and `[...]`, which comes before all other patterns
                from now on; `*` alone for `policy`.
            policy: The policy.

        Raises:
            TypeError: The key is not a str, or the policy not a Policy.
        """
        check_policy(key, policy)
        for breaker, old, new in within(self._lock, self._set_policy, key, policy):
            if new is old or (breaker.policy is not old and breaker.key != key):
                continue
            old = breaker.policy
            breaker.adopt(new)
            if new.mode != old.mode:
                breaker.mode = self._mode_for(breaker.key, new)
            if new.enforce_share != old.enforce_share:
                breaker.enforce_share = self._share_for(new)

    def _set_policy(self, key: str, policy: Policy) -> list[tuple[Breaker, Policy, Policy]]:
        """Set it; return all breakers with their policies before and after, those made until now."""
        of, breakers = self._policies.of, self._all()
        before = [of(each.key) for each in breakers]
        self._policies.set(key, policy)
        return [(each, old, of(each.key)) for each, old in zip(breakers, before, strict=True)]

    @property
    def max_keys(self) -> int:
        """Maximum number of breakers."""
        return self._max_keys

    @property
    def clock(self) -> Callable[[], float]:
        """The clock of all its breakers, in monotonic seconds."""
        return self._clock

    @property
    def mode(self) -> Mode:
        """The mode of breakers whose policy names none. Setting it also changes the existing ones.

        `RECLOSER_MODE` in the environment is the strictest that it can be.
        """
        return self._mode

    @mode.setter
    def mode(self, mode: Mode | str) -> None:
        self._mode = allowed(mode)
        for breaker in self.breakers():
            breaker.mode = self._mode_for(breaker.key, breaker.policy)

    @property
    def enforce_share(self) -> float:
        """The share of callers that breakers refuse whose policy names none, 0.0-1.0.

        Setting it also changes the existing ones.
        """
        return self._share

    @enforce_share.setter
    def enforce_share(self, share: float) -> None:
        self._share = checked_share(share)
        for breaker in self.breakers():
            breaker.enforce_share = self._share_for(breaker.policy)

    def __repr__(self) -> str:
        shut = sum(breaker.state is not State.CLOSED for breaker in self.breakers())
        return f"<Registry {len(self)} of {self._max_keys} keys, {shut} not closed>"


_registries: weakref.WeakSet[Registry] = weakref.WeakSet()


def _after_fork() -> None:
    # Another thread of the parent may have held a lock. No thread here would ever release it.
    for registry in list(_registries):
        registry._lock = new_lock()
        for breaker in registry.breakers():
            breaker.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
