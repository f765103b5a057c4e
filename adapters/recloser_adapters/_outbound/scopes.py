"""Scopes: what waits for a 429, and how many keys a host may have.

Health belongs to a key: a host, a model. A wait belongs to less: to a credential and a model, or a
credential and a route. The 429 of one tenant, model or route must not refuse the calls of the
others. So it is no vote at the breaker of the key. It goes to a breaker of its own, whose key names
the scope: `api.openai.com gpt-4o (credential 3f9a1c02)`.

That breaker is an ordinary one, made at the first 429 of its scope. So the rules for pauses are those
of the core: growing pauses, the evidence that all calls of the scope are asked to wait, probes,
metrics, reasons, events. It is asked at admission while its scope has something to wait for, and is
told only whether a call was asked to wait or not: health is not its business.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace

from recloser import Breaker, LoosePermit, Refused, Registry, State

_MOST_PARTS = 128  # parts that the keys of one host may have, such as models
_MOST_HOSTS = 256  # hosts of which the parts are remembered
_MOST_WAITS = 128  # scopes that wait at a time
# Each 429 is outweighed by so many calls that were served, as in the core's evidence.
_OWED, _MOST_OWED = 2, 16
_KEPT = 60.0  # seconds that a scope is kept after its wait, if no call comes
_SWEEP_EVERY = 10.0  # seconds
# A probe that was not asked to wait within this time was served, in seconds. A 429 comes at once;
# the answer to a probe may take a minute.
_SERVED_AFTER = 1.0


class Wait:
    """One scope that has been asked to wait.

    Attributes:
        key: The key that the scope is a part of.
        breaker: Holds the pauses.
        owed: How many calls must be served until it is forgotten.
        used_at: When it was asked last, in seconds of the registry's clock.
    """

    __slots__ = ("breaker", "key", "owed", "used_at")

    def __init__(self, key: str, breaker: Breaker) -> None:
        self.key = key
        self.breaker = breaker
        self.owed = 0
        self.used_at = 0.0

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to wait for, and enough calls were served."""
        breaker = self.breaker
        return self.owed <= 0 and breaker.state is State.CLOSED and not breaker.asked_pause


class Scopes:
    """The scopes of one registry, shared by all its clients.

    Attributes:
        waits: The scopes that wait, by name. Empty most of the time, so that admission has nothing
            to ask.
        keys: The same, by key and name.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry: Callable[[], Registry | None] = weakref.ref(registry)
        self._clock = registry.clock
        self._parts: dict[str, dict[str, str]] = {}
        self.waits: dict[str, Wait] = {}
        self.keys: dict[str, dict[str, Wait]] = {}
        self._sweep_at = 0.0

    def __reduce__(self) -> tuple[Callable[[Registry], Scopes], tuple[Registry | None]]:
        # A copy is that of the copied registry.
        return scopes_of, (self._registry(),)

    # Keys

    def key(self, host: str, part: str) -> str:
        """The key of a host and a part; that of the host if it has too many parts already."""
        if not part:
            return host
        parts = self._parts.get(host)
        if parts is None:
            if len(self._parts) >= _MOST_HOSTS:
                self._parts.pop(next(iter(self._parts)), None)
            parts = self._parts.setdefault(host, {})
        key = parts.get(part)
        if key is None:
            if len(parts) >= _MOST_PARTS:
                return host
            key = parts[part] = f"{host} {part}"
        return key

    # Waits

    def admit(self, name: str) -> LoosePermit | Refused | None:
        """Ask whether a scope lets a call pass; None if it has nothing to wait for.

        It refuses during the wait only. When that is over, all calls may pass, as the callee said,
        and the first one decides whether the scope waits again.

        The permit is to be ended by `served` or `asked`, or by `ignore`.
        """
        wait = self.waits.get(name)
        if wait is None:
            return None
        wait.used_at = self._clock()
        breaker = wait.breaker
        if breaker.state is State.HALF_OPEN and breaker.metrics().in_flight:
            return None
        admission = breaker.admit(LoosePermit)
        if isinstance(admission, LoosePermit):
            admission.mark()  # for how long a call takes is not its business
            return admission
        return admission if isinstance(admission, Refused) else None

    def asked(
        self,
        name: str,
        permit: LoosePermit | None,
        of: Breaker,
        retry_after: float | None,
        *,
        quota: bool,
    ) -> None:
        """Note that a call was asked to wait. If too many scopes wait already, it is not noted.

        Args:
            name: The scope.
            permit: What `admit` gave; None if the scope had nothing to wait for.
            of: The breaker of the key. Its policy limits waits.
            retry_after: Seconds that were asked for; None if none were.
            quota: Whether money or quota is used up.
        """
        wait = self.waits.get(name) or self._begin(name, of)
        if wait is None:
            return
        # Each time, because another thread may just have dropped the last scope of the key.
        self.keys.setdefault(wait.key, {})[name] = wait
        wait.owed = min(wait.owed + _OWED, _MOST_OWED)
        wait.used_at = self._clock()
        if permit is None:
            if wait.breaker.retry_after:
                return  # it waits already
            admission = wait.breaker.admit(LoosePermit)
            if not isinstance(admission, LoosePermit):
                return
            permit = admission
        permit.throttled(retry_after, quota=quota)

    def served(self, name: str, permit: LoosePermit) -> None:
        """Note that a call was answered, and not asked to wait."""
        permit.success()
        wait = self.waits.get(name)
        if wait is not None:
            wait.owed -= 1
            if wait.is_over:
                self._end(name, wait)

    def _begin(self, name: str, of: Breaker) -> Wait | None:
        if len(self.waits) >= _MOST_WAITS:
            self._sweep(self._clock())
            if len(self.waits) >= _MOST_WAITS:
                return None
        policy = of.policy
        ceiling = min(policy.slow_ceiling, _SERVED_AFTER)
        policy = replace(
            policy,
            slow_ceiling=ceiling,
            slow_floor=min(policy.slow_floor, ceiling),
            half_open_requests=1,  # see `admit`
        )
        registry = self._registry()
        if registry is None:
            return None
        breaker = registry.with_policy(name, policy)
        if breaker.key != name:
            return None  # the registry is full, and this one is shared
        return self.waits.setdefault(name, Wait(of.key, breaker))

    def _end(self, name: str, wait: Wait) -> None:
        self.waits.pop(name, None)
        names = self.keys.get(wait.key)
        if names is not None:
            names.pop(name, None)
            if not names:
                self.keys.pop(wait.key, None)

    def tidy(self) -> None:
        """Forget the scopes whose time is over, from time to time."""
        now = self._clock()
        if now >= self._sweep_at:
            self._sweep(now)

    def _sweep(self, now: float) -> None:
        """Forget the scopes whose time is over."""
        self._sweep_at = now + _SWEEP_EVERY
        for name, wait in self.waits.copy().items():
            breaker = wait.breaker
            left = max(breaker.retry_after, breaker.asked_pause)
            if wait.is_over:
                self._end(name, wait)
            elif not left and now - wait.used_at >= _KEPT:
                self._end(name, wait)
                # It may be open, and no call would ever close it.
                registry = self._registry()
                if registry is not None:
                    registry.discard(breaker)


_all: weakref.WeakKeyDictionary[Registry, Scopes] = weakref.WeakKeyDictionary()


def scopes_of(registry: Registry) -> Scopes:
    """The scopes of a registry, made on first use."""
    scopes = _all.get(registry)
    if scopes is None:
        scopes = _all.setdefault(registry, Scopes(registry))
    return scopes
