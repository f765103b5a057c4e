"""Selection: which provider of a call is tried next.

Providers are tried in order. The first one whose breaker admits the call gets it. There are exceptions:

- A provider that asked for a pause is put behind all others until the pause is over: to skip it
  refuses nobody. One 429 is enough for that, but not for its breaker to open. So with a single
  provider, nothing is held back. The same holds for one that rejected the credentials or the model.
- A provider that answers far more slowly than usual (its breaker is limited) is put behind all others
  as well, but for one call now and then. It is not sick, and a slow answer is not asked for twice.
- The first probe after an opening is the one most likely to fail. A call that may not be repeated
  would be lost with it. So in such a call, a provider that is due for its first probe is put last.
- If no provider admits the call, the least bad one can be tried all the same.

A call that names a model is counted by a breaker of its provider and model. The breaker of the
provider itself is for calls that name none, for connections that fail, and for operators: while it is
not closed, it decides about all models.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Generic, TypeVar

from recloser._admission import Refused, Unguarded
from recloser._breaker import Breaker
from recloser._errors import BreakerOpenError
from recloser._failover.call import Call
from recloser._failover.memory import Memory
from recloser._failover.provider import Provider
from recloser._failover.report import Fate, Record
from recloser._failover.settings import Settings
from recloser._failover.time_limits import NEARLY, attempt_limit, least_bad_limit
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


class Selection(Generic[T]):
    """Chooses the providers of one call, one after the other.

    Args:
        settings: The settings of the failover.
        memory: The memory of the failover.
        providers: All providers, as listed.
        record: Gets the providers that are skipped; None if the call is not reported.
        call: What is known of the call.

    Attributes:
        call: What is known of the call.
        cut_off: Attempts of this call that were cut off: the key of the breaker, and the seconds.
        chosen: The provider of the next attempt; None if there is none. The loop over the attempts
            reads it and sets it to None.
        attempts_left: How many further attempts the call may have.
    """

    __slots__ = (
        "_held_back",
        "_providers",
        "_refusing",
        "_untried",
        "attempts_left",
        "call",
        "chosen",
        "cut_off",
        "memory",
        "record",
        "settings",
    )

    def __init__(
        self,
        settings: Settings,
        memory: Memory,
        providers: Iterable[Provider[T]],
        record: Record | None,
        call: Call,
    ) -> None:
        self.settings: Settings = settings
        self.memory: Memory = memory
        self.record: Record | None = record
        self.call: Call = call
        self.attempts_left: int = settings.max_attempts
        self.chosen: Choice[T] | None = None
        self.cut_off: list[tuple[str, float]] = []
        only = call.only
        self._providers = [each for each in providers if only is None or each.key == only]
        self._untried = [*self._providers]
        if settings.order == "weighted":
            self._untried.sort(key=self._draw, reverse=True)
        if call.prefer is not None:
            # Stable: the others keep their order.
            self._untried.sort(key=lambda each: each.key != call.prefer)
        self._refusing: list[tuple[Provider[T], Breaker]] = []
        self._held_back: set[str] = set()

    def _draw(self, provider: Provider[T]) -> float:
        # Efraimidis and Spirakis 2006: sorting by log(u) / w draws each place at random by weight
        # from the providers that are left.
        if not provider.weight:
            return -math.inf
        return math.log(1.0 - self.settings.random()) / provider.weight

    def breaker_of(self, key: str) -> Breaker:
        """The breaker that counts this call at a provider."""
        registry, model = self.settings.registry, self.call.model
        whole = registry[key]
        if model is None or whole.state is not _CLOSED:
            return whole
        return registry[f"{key} {model}"]

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
            breaker = self.breaker_of(key)
            if self._untried and key not in self._held_back and self._hold_back(key, breaker):
                self._held_back.add(key)
                self._untried.append(provider)
                continue
            admission = self._ask(breaker)
            if isinstance(admission, Refused):
                self._refusing.append((provider, breaker))
                if self.record is not None:
                    self.record.pass_over(key, Fate.REFUSED, admission.error())
                continue
            if isinstance(admission, Unguarded):
                admission = _without_vote(breaker, settings)
            self.memory.called_at[key] = admission.started
            self.memory.cut_offs.begun(breaker.key, admission.started)
            self.attempts_left -= 1
            self.chosen = provider, admission, False
            return True
        return settings.when_all_open == "least_bad" and self._choose_least_bad()

    def has_second(self, key: str) -> bool:
        """Whether a healthy provider could get an attempt beside the one at the provider `key`."""
        return bool(self.attempts_left and self._second_of(key))

    def _second_of(self, key: str) -> list[Provider[T]]:
        if len(self._providers) == 1:
            return self._providers if self._is_healthy(key) else []
        return [each for each in self._untried if self._is_healthy(each.key)]

    def choose_second(self, key: str) -> Choice[T] | None:
        """Choose the provider of an attempt that runs beside the one at the provider `key`.

        It is a healthy one that was not tried; of a single provider, it is that one again.

        Returns:
            The provider and its permit; None if there is none.
        """
        for provider in self._second_of(key):
            admission = self._ask(self.breaker_of(provider.key))
            if not isinstance(admission, Permit):
                continue
            self._untried = [each for each in self._untried if each is not provider]
            self.memory.called_at[provider.key] = admission.started
            self.memory.cut_offs.begun(admission.breaker.key, admission.started)
            self.attempts_left -= 1
            return provider, admission, False
        return None

    def _ask(self, breaker: Breaker) -> Permit | Refused | Unguarded:
        """Ask a breaker for admission of the call."""
        call = self.call
        # Calls of the usual kind are the yardstick for all others, so nothing is said of them: until
        # eight calls of a kind were answered, a call of it that hangs is no evidence.
        if (call.label is None and call.size is None) or self.memory.is_usual_kind(
            breaker.key, call.label, call.size
        ):
            return breaker.admit(LoosePermit)
        return breaker.admit_labelled(call.label, call.size)

    def _hold_back(self, key: str, breaker: Breaker) -> bool:
        """Whether to put a provider behind the others, and record it."""
        if breaker.asked_pause > 0.0 and breaker.retry_after <= 0.0:
            fate = Fate.PAUSED
        elif self.memory.is_rejected(key, self.call.model, self.settings.clock()):
            fate = Fate.BARRED
        elif breaker.state is _LIMITED and self.memory.is_slow(breaker.key, self.settings.clock()):
            fate = Fate.SLOW
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
        if self.call.repeatable or breaker.mode is not Mode.ENFORCE or breaker.retry_after > 0.0:
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
        return sum(self._is_healthy(each.key) for each in self._untried)

    def _is_healthy(self, key: str) -> bool:
        breaker = self.breaker_of(key)
        return (
            breaker.state is _CLOSED
            and not breaker.asked_pause
            and not self.memory.is_rejected(key, self.call.model, self.settings.clock())
        )

    def _usual_elsewhere(self) -> float:
        """Seconds that hardly any such call takes at a healthy provider that was not tried yet."""
        call = self.call
        usual: list[float] = []
        for each in self._untried:
            if not self._is_healthy(each.key):
                continue
            breaker, label, size = self.breaker_of(each.key), call.label, call.size
            if self.memory.is_usual_kind(breaker.key, label, size):
                label = size = None
            usual.append(breaker.timeout_for(label, size))  # infinite if it is not known
        return min(usual, default=math.inf)

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
        if self.breaker_of(key).state is _CLOSED:
            return math.inf
        since = served_at.get(key, -math.inf)
        least_bad = settings.when_all_open == "least_bad"
        others = [(provider.key, self.breaker_of(provider.key)) for provider in self._untried]
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

    # How long an attempt may take

    def limit(
        self,
        key: str,
        permit: Permit,
        left: float,
        patience: float | None,
        *,
        is_least_bad: bool,
    ) -> float:
        """Seconds that an attempt may take; infinite if nothing limits it.

        Args:
            key: The key of its provider.
            permit: Its permit.
            left: Seconds left for the call, > 0; infinite without a time budget.
            patience: Instead of the setting `patience`; None for the setting.
            is_least_bad: Whether the provider was chosen as the least bad one.
        """
        settings, others, breaker = self.settings, self.attempts_left, permit.breaker
        if is_least_bad:
            least_bad = min(self.count_least_bad(), others)
            return least_bad_limit(left, least_bad, breaker.policy.slow_ceiling)
        healthy = min(self.count_healthy(), others)
        if patience is None:
            patience = settings.patience
        elsewhere = math.inf if breaker.knows_latency else self._usual_elsewhere()
        return attempt_limit(
            left,
            slow=breaker.slow_threshold,
            hopeless=self.memory.cut_offs.hopeless_after(permit, patience, elsewhere),
            healthy=healthy,
            takeover_in=self.takeover_in(key) if others and not healthy else math.inf,
        )

    def look_after(self, permit: Permit) -> float:
        """Seconds after which it may first be known that the provider of an attempt hangs.

        It is infinite if the attempt is not to be given up in favour of another provider.
        """
        if not self.call.repeatable or not self.count_healthy():
            return math.inf
        return self.memory.cut_offs.look_after(permit)

    def is_hopeless(self, permit: Permit, limit: float) -> bool:
        """Whether to give an attempt up now, because its limit has passed or the provider hangs.

        Nobody is cut off in favour of a provider that is not healthy.
        """
        if not min(self.count_healthy(), self.attempts_left):
            return False
        waited = self.settings.clock() - permit.started
        return waited >= NEARLY * limit or self.memory.cut_offs.hangs(permit, waited)


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
