"""The decisions of a failover: which provider is tried, for how long, and whether another may be.

Nothing here waits or sends. One `Attempts` follows one call; sync and async callers drive it alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from typing import TYPE_CHECKING, Generic, NamedTuple, Self, TypeVar

from recloser._breaker import Breaker
from recloser._errors import BreakerOpenError
from recloser._failover.attempt import Attempt
from recloser._failover.delivery import Delivery, Fate, Leg, Provider
from recloser._outcome import Outcome, classify_error
from recloser._registry import Registry
from recloser._state import Mode, State

if TYPE_CHECKING:
    from recloser._permit import Permit

T = TypeVar("T")

# Openings that are no verdict on health: the provider asked for the pause, or somebody decided it.
_PAUSED = frozenset({"retry_after", "quota", "manual"})
# The least a client is ever given; zero would mean "no limit" to some of them.
_SHORTEST = 0.001


class Rules(NamedTuple):
    """What one `Failover` was told; see there. And when each key last got a call, and served one."""

    registry: Registry
    clock: Callable[[], float]
    max_attempts: int
    time_budget: float
    patience: float
    probe_wait: float
    least_bad: bool
    classify: Callable[[BaseException], Outcome]
    nothing_sent: Callable[[BaseException], bool]
    on_delivery: Callable[[Delivery], object] | None
    admitted_at: dict[str, float]
    served_at: dict[str, float]


class Attempts(Generic[T]):
    """The attempts of one call, as an iterator; it ends when one has served or none is left.

    Raises:
        BreakerOpenError: On the first step, if every provider refuses; `retry_after` is the
            earliest of theirs.
    """

    __slots__ = (
        "_began",
        "_legs",
        "_next",
        "_number",
        "_place",
        "_put_last",
        "_refused",
        "_rules",
        "_untried",
        "repeatable",
    )

    def __init__(self, rules: Rules, providers: Iterable[Provider[T]], *, repeatable: bool) -> None:
        self._rules = rules
        self._untried = list(providers)
        self._began = rules.clock()
        self._legs: list[Leg] = []
        self._refused: list[tuple[Provider[T], Breaker]] = []
        self._put_last: set[str] = set()
        self._next: Attempt[T] | None = None
        self._number = 0
        # Where in the record the attempt that runs belongs: before those looked at after it.
        self._place = 0
        self.repeatable: bool = repeatable

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Attempt[T]:
        attempt, self._next = self._next, None
        if attempt is None:
            if self._number:
                raise StopIteration
            attempt = self._admit() or self._least_bad()
            if attempt is None:
                self._report(None)
                raise min((breaker.refusal() for _, breaker in self._refused), key=_retry_after)
        return attempt

    # What an attempt asks

    def line_up(
        self,
        attempt: Attempt[T],
        fate: Fate,
        error: BaseException | str | None,
        outcome: Outcome,
        sent: bool,
    ) -> bool:
        """Find who takes over, if the call may be repeated."""
        helps = outcome in (Outcome.FAILURE, Outcome.THROTTLED) and self.repeatable
        unsent = not sent and outcome is not Outcome.CANCELLED
        rules = self._rules
        if (
            not (helps or unsent)
            or self._number >= rules.max_attempts
            or self.time_left() <= _SHORTEST
        ):
            return False
        place = self._place
        self._next = self._admit() or self._least_bad()
        if self._next is None:
            return False
        if rules.on_delivery is not None:
            self._legs.insert(place, self._leg(attempt, fate, error))
            self._place += 1
        return True

    def conclude(self, attempt: Attempt[T], fate: Fate, error: BaseException | str | None) -> None:
        """The call is over: say how it went."""
        served_by = None
        if fate is Fate.SERVED:
            served_by = attempt.key
            self._rules.served_at[served_by] = attempt.permit.started
        if self._rules.on_delivery is not None:
            self._legs.insert(self._place, self._leg(attempt, fate, error))
            self._report(served_by)

    def classify(self, key: str, error: BaseException) -> Outcome:
        """Ask the user's classifier; a fault of it is counted, and the default serves."""
        rules = self._rules
        if isinstance(error, rules.registry[key].policy.ignore_errors):
            return Outcome.IGNORED
        if not isinstance(error, Exception):
            # A cancelled call is never an upstream's fault, whatever a classifier says.
            return classify_error(error)
        try:
            outcome = rules.classify(error)
            if isinstance(outcome, Outcome):
                return outcome
            raise TypeError(f"classify must return an Outcome, not {outcome!r}")
        except Exception as fault:
            rules.registry.fault("classify", fault)
            return classify_error(error)

    def was_not_sent(self, error: BaseException) -> bool:
        """Ask the user's rule; after a fault of it the call may have been sent."""
        try:
            return self._rules.nothing_sent(error) is True
        except Exception as fault:
            self._rules.registry.fault("nothing_sent", fault)
            return False

    def time_left(self) -> float:
        """Seconds of the time budget that are left, > 0: a little even when it is used up."""
        return max(self._began + self._rules.time_budget - self._rules.clock(), _SHORTEST)

    def threshold_of(self, key: str) -> float:
        """Seconds above which the provider's breaker calls a call slow."""
        return self._rules.registry[key].slow_threshold

    def limit_of(self, attempt: Attempt[T]) -> float:
        """Seconds for one attempt: what is normal for the provider, with patience."""
        rules = self._rules
        left = self.time_left()
        breaker = rules.registry[attempt.key]
        spare = rules.max_attempts - self._number
        if attempt.permit.breaker is not breaker:
            # Of open providers, none is worth cutting another off at what used to be normal.
            return left / (min(self._candidates(), spare) + 1)
        slow = breaker.slow_threshold
        limit = min(slow * rules.patience, max(slow, breaker.policy.slow_ceiling))
        tries = min(self._takers(), spare) + 1
        if tries == 1:
            # Who is well is not cut off for one that is not. A probe is, once one may be asked that
            # was well more recently.
            probes = spare > 0 and breaker.state is not State.CLOSED
            return min(left, max(limit, self._wait(attempt.key))) if probes else left
        if limit < left:
            return limit
        # Nothing learned yet, or little time: leave each of the others an equal part.
        share = left / tries
        return max(share, slow) if slow < left else share

    # Admission

    def _takers(self) -> int:
        """How many others are well."""
        registry = self._rules.registry
        return sum(registry[each.key].state is State.CLOSED for each in self._untried)

    def _admit(self) -> Attempt[T] | None:
        rules = self._rules
        while self._untried:
            provider = self._untried.pop(0)
            key = provider.key
            breaker = rules.registry[key]
            if breaker.state is State.OPEN and self._holds_back(provider, breaker):
                continue
            permit = breaker.try_acquire()
            if permit is not None:
                rules.admitted_at[key] = permit.started
                return self._attempt(provider, permit)
            self._refused.append((provider, breaker))
            if rules.on_delivery is not None:
                self._legs.append(Leg(key, Fate.REFUSED, error=breaker.refusal()))
        return None

    def _holds_back(self, provider: Provider[T], breaker: Breaker) -> bool:
        """Put a provider that wants its first probe last, if the probe must not be lost.

        The first probe after an opening is the likeliest of all calls to fail. One that may not be
        repeated would be lost with it, so it goes elsewhere, unless nobody has tried the
        provider for `probe_wait` or nobody else takes it.
        """
        rules = self._rules
        key = provider.key
        if self.repeatable or not self._untried or key in self._put_last:
            return False
        if breaker.mode is not Mode.ENFORCE or breaker.retry_after > 0.0:
            return False
        now = rules.clock()
        if now - rules.admitted_at.setdefault(key, now) >= rules.probe_wait:
            return False
        self._put_last.add(key)
        self._untried.append(provider)
        if rules.on_delivery is not None:
            self._legs.append(Leg(key, Fate.HELD_BACK))
        return True

    def _candidates(self) -> int:
        """How many that have refused could be called even so."""
        return sum(not _paused(breaker) for _, breaker in self._refused) * self._rules.least_bad

    def _wait(self, key: str) -> float:
        """Seconds until one could take over that was well after `key` was; infinite if none will."""
        rules = self._rules
        since = rules.served_at.get(key, -inf)
        others = [(provider, rules.registry[provider.key]) for provider in self._untried]
        if rules.least_bad:
            others += self._refused
        waits = [
            0.0 if rules.least_bad and not _paused(breaker) else breaker.retry_after
            for provider, breaker in others
            if rules.served_at.get(provider.key, -inf) > since
        ]
        return min(waits, default=inf)

    def _least_bad(self) -> Attempt[T] | None:
        """Of those who refuse, whoever gave the latest good answer; its breaker is not told."""
        rules = self._rules
        if not rules.least_bad:
            return None
        well_at = rules.served_at
        candidates = [
            (well_at.get(provider.key, -inf), -breaker.retry_after, -index)
            for index, (provider, breaker) in enumerate(self._refused)
            if not _paused(breaker)
        ]
        if not candidates:
            return None
        provider, breaker = self._refused.pop(-max(candidates)[2])
        voteless = Breaker(provider.key, breaker.policy, clock=rules.clock, mode=Mode.DISABLED)
        return self._attempt(provider, voteless.acquire())

    def _attempt(self, provider: Provider[T], permit: Permit) -> Attempt[T]:
        self._number += 1
        self._place = len(self._legs)
        return Attempt(self, provider, self._number, permit)

    # Records

    def _leg(self, attempt: Attempt[T], fate: Fate, error: BaseException | str | None) -> Leg:
        spent = 0.0
        if fate is not Fate.UNREACHABLE:
            spent = max(self._rules.clock() - attempt.permit.started, 0.0)
        return Leg(attempt.key, fate, spent, error)

    def _report(self, served_by: str | None) -> None:
        rules = self._rules
        if rules.on_delivery is None:
            return
        duration = max(rules.clock() - self._began, 0.0)
        try:
            rules.on_delivery(Delivery(served_by, tuple(self._legs), duration))
        except Exception as fault:
            rules.registry.fault("on_delivery", fault)


def _paused(breaker: Breaker) -> bool:
    """Whether a breaker that refuses does so for another reason than its health."""
    reason = breaker.refusal().reason
    return reason is not None and reason.rule in _PAUSED


def _retry_after(refusal: BreakerOpenError) -> float:
    return refusal.retry_after
