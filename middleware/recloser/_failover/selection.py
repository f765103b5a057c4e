"""Selection: which provider of a call is tried next.

Providers are tried in order. The first one whose breaker admits the call gets it. A provider whose
breaker is limited is used while there is room, and skipped otherwise. There are three exceptions:

- A provider that asked for a pause is put behind all others until the pause is over: to skip it
  refuses nobody. One 429 is enough for that, but not for its breaker to open. So with a single
  provider, nothing is held back.
- The first probe after an opening is the one most likely to fail. A call that may not be repeated
  would be lost with it. So in such a call, a provider that is due for its first probe is put last.
- If no provider admits the call, the least bad one can be tried all the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Generic, TypeVar

from recloser._admission import Refused, Unguarded
from recloser._breaker import Breaker
from recloser._errors import BreakerOpenError
from recloser._failover.provider import Provider
from recloser._failover.report import Fate, Record
from recloser._failover.settings import Settings
from recloser._permit import LoosePermit, Permit, voteless
from recloser._state import Mode, State

T = TypeVar("T")

Choice = tuple[Provider[T], Permit, bool]
"""A provider, the permit of its breaker, and whether it is the least bad one."""

# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_CLOSED, _LIMITED, _OPEN = State.CLOSED, State.LIMITED, State.OPEN
# Rules that open a breaker for another reason than bad calls: the provider asked for a pause, or an
# operator opened the breaker.
_PAUSES = frozenset({"retry_after", "quota", "manual"})


class Memory:
    """What one `Failover` remembers about its providers from call to call.

    Times are seconds of the registry's clock. Each change is one store into a dict, so threads need
    no lock.

    Attributes:
        called_at: From a provider's key to the start of the last call that it got.
        served_at: From a provider's key to the start of the last call that it served.
    """

    __slots__ = ("called_at", "served_at")

    def __init__(self) -> None:
        self.called_at: dict[str, float] = {}
        self.served_at: dict[str, float] = {}


class Selection(Generic[T]):
    """Chooses the providers of one call, one after the other.

    Args:
        settings: The settings of the failover.
        memory: The memory of the failover.
        providers: All providers, as listed.
        record: Gets the providers that are skipped; None if the call is not reported.
        repeatable: Whether the call may be sent twice.
        prefer: The key of the provider to try first; None for no preference.

    Raises:
        ValueError: `prefer` is not the key of a provider.

    Attributes:
        chosen: The provider of the next attempt; None if there is none. The loop over the attempts
            reads it and sets it to None.
        attempts_left: How many further attempts the call may have.
    """

    __slots__ = (
        "_held_back",
        "_refusing",
        "_untried",
        "attempts_left",
        "chosen",
        "memory",
        "record",
        "repeatable",
        "settings",
    )

    def __init__(
        self,
        settings: Settings,
        memory: Memory,
        providers: Iterable[Provider[T]],
        record: Record | None,
        *,
        repeatable: bool,
        prefer: str | None,
    ) -> None:
        self.settings: Settings = settings
        self.memory: Memory = memory
        self.record: Record | None = record
        self.repeatable: bool = repeatable
        self.attempts_left: int = settings.max_attempts
        self.chosen: Choice[T] | None = None
        self._untried = list(providers)
        if settings.order == "weighted":
            self._untried.sort(key=self._draw, reverse=True)
        if prefer is not None:
            self._put_first(prefer)
        self._refusing: list[tuple[Provider[T], Breaker]] = []
        self._held_back: set[str] = set()

    def _draw(self, provider: Provider[T]) -> float:
        # Efraimidis and Spirakis 2006: sorting by log(u) / w draws each place at random by weight
        # from the providers that are left.
        if not provider.weight:
            return -math.inf
        return math.log(1.0 - self.settings.random()) / provider.weight

    def _put_first(self, key: str) -> None:
        keys = [each.key for each in self._untried]
        if key not in keys:
            raise ValueError(f"prefer must be one of {sorted(keys)!r}, not {key!r}")
        self._untried.insert(0, self._untried.pop(keys.index(key)))

    # The next provider

    def choose(self) -> bool:
        """Choose the provider of the next attempt.

        Returns:
            Whether there is one. If so, it is in `chosen`.
        """
        if not self.attempts_left:
            return False
        settings = self.settings
        while self._untried:
            provider = self._untried.pop(0)
            key = provider.key
            breaker = settings.registry[key]
            if self._untried and key not in self._held_back and self._hold_back(key, breaker):
                self._held_back.add(key)
                self._untried.append(provider)
                continue
            admission: Permit | Refused | Unguarded = breaker.admit(LoosePermit)
            if isinstance(admission, Refused):
                self._refusing.append((provider, breaker))
                if self.record is not None:
                    self.record.pass_over(key, Fate.REFUSED, admission.error())
                continue
            if isinstance(admission, Unguarded):
                admission = _without_vote(breaker, settings)
            self.memory.called_at[key] = admission.started
            self.attempts_left -= 1
            self.chosen = provider, admission, False
            return True
        return settings.when_all_open == "least_bad" and self._choose_least_bad()

    def _hold_back(self, key: str, breaker: Breaker) -> bool:
        """Whether to put a provider behind the others, and record it."""
        if breaker.asked_pause > 0.0 and breaker.retry_after <= 0.0:
            fate = Fate.PAUSED
        elif breaker.state is _OPEN and self._is_kept_for_others(key, breaker):
            fate = Fate.HELD_BACK
        else:
            return False
        if self.record is not None:
            self.record.pass_over(key, fate)
        return True

    def _is_kept_for_others(self, key: str, breaker: Breaker) -> bool:
        """Whether this call would be the first probe of an open provider and must not be.

        A call that may be repeated can be the probe. Any call can be the probe if no other provider
        is left, or if this provider has had no call for `probe_wait` seconds. Otherwise a provider
        would never be used again if no call may be repeated.
        """
        if self.repeatable or breaker.mode is not Mode.ENFORCE or breaker.retry_after > 0.0:
            return False
        now = self.settings.clock()
        return now - self.memory.called_at.setdefault(key, now) < self.settings.probe_wait

    def _choose_least_bad(self) -> bool:
        """Choose among the providers that refused.

        The one that served a call most recently is chosen. Among those that never did, it is the
        one that may be probed soonest, then the first in order. A paused provider is never chosen,
        nor is one that has as many calls as it can take: one more makes all of them slower. The
        call has no vote: the breaker decides about a recovery only by its own probes.
        """
        served_at = self.memory.served_at
        ranks = [
            (served_at.get(provider.key, -math.inf), -breaker.retry_after, -index)
            for index, (provider, breaker) in enumerate(self._refusing)
            if _is_worth_a_try(breaker)
        ]
        if not ranks:
            return False
        provider, breaker = self._refusing.pop(-max(ranks)[2])
        self.attempts_left -= 1
        self.chosen = provider, _without_vote(breaker, self.settings), True
        return True

    def refusal(self) -> BreakerOpenError:
        """The refusal with the shortest wait, for a call that no provider gets."""
        return min((breaker.refusal() for _, breaker in self._refusing), key=_wait)

    # The providers that can take over: the time limit of an attempt depends on them

    def count_healthy(self) -> int:
        """How many providers that were not tried yet have a closed breaker and ask for no pause."""
        breakers = [self.settings.registry[each.key] for each in self._untried]
        return sum(each.state is _CLOSED and not each.asked_pause for each in breakers)

    def count_least_bad(self) -> int:
        """How many providers that refused can be tried as the least bad one."""
        if self.settings.when_all_open != "least_bad":
            return 0
        return sum(_is_worth_a_try(breaker) for _, breaker in self._refusing)

    def takeover_in(self, key: str) -> float:
        """Seconds until a better provider can take over from one that is not healthy.

        A provider is better if it served a call more recently. It can take over when its breaker
        admits a probe, or at once if it can be tried as the least bad one.

        Returns:
            0.0 or more; infinite if there is no such provider, or if the breaker of `key` is
            closed.
        """
        settings, served_at = self.settings, self.memory.served_at
        if settings.registry[key].state is _CLOSED:
            return math.inf
        since = served_at.get(key, -math.inf)
        least_bad = settings.when_all_open == "least_bad"
        others = [(provider.key, settings.registry[provider.key]) for provider in self._untried]
        if least_bad:
            others += [(provider.key, breaker) for provider, breaker in self._refusing]
        waits = [
            0.0
            if least_bad and _is_worth_a_try(breaker)
            else max(breaker.retry_after, breaker.asked_pause)
            for other, breaker in others
            if served_at.get(other, -math.inf) > since
        ]
        return min(waits, default=math.inf)


def _without_vote(breaker: Breaker, settings: Settings) -> Permit:
    """A permit for a call that the breaker does not count."""
    permit = voteless(breaker, LoosePermit)
    permit.started = settings.clock()
    return permit


def _is_worth_a_try(breaker: Breaker) -> bool:
    """Whether a provider that is refused can be the least bad one."""
    refusal = breaker.refusal()
    rule = refusal.reason.rule if refusal.reason is not None else ""
    # A limited breaker refuses more calls than the provider can take, except if it is sick: then
    # one call is sent now and then.
    return rule not in _PAUSES and (refusal.state is not _LIMITED or rule == "sick")


def _wait(refusal: BreakerOpenError) -> float:
    return refusal.retry_after
