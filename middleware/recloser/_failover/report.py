"""The report of a failover call: which provider served it, and why the others did not.

`on_delivery` gets a `Delivery`, which has one `Leg` per provider. A `Record` collects the legs
during the call.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from recloser._errors import BreakerOpenError
from recloser._outcome import Outcome
from recloser._redaction import seen, shown


class Fate(enum.Enum):
    """How a call ended at one provider."""

    SERVED = "served"
    """The answer reached the caller, or the first chunk of a stream did."""
    FAILED = "failed"
    """The provider failed."""
    TIMED_OUT = "timed_out"
    """The attempt was cancelled at its time limit. The provider may have executed the request."""
    UNREACHABLE = "unreachable"
    """Nothing was sent: the connection failed, or an error occurred on this side before that."""
    THROTTLED = "throttled"
    """The provider asked for a later call (HTTP 429)."""
    REFUSED = "refused"
    """The provider's breaker refused the call. Nothing was sent, and no attempt was used up."""
    PAUSED = "paused"
    """The provider was put last: it had asked for a pause that is not over."""
    REJECTED = "rejected"
    """The provider rejected the credentials or the model (HTTP 401, 402, 403, 404). It carried out
    nothing."""
    BARRED = "barred"
    """The provider was put last: it had rejected the credentials or the model of late."""
    SLOW = "slow"
    """The provider was put last: its answers are far slower than usual."""
    HELD_BACK = "held_back"
    """The provider was put last: this call would be its first probe, which often fails, and the
    call may not be repeated."""
    IGNORED = "ignored"
    """The call itself was wrong (a 4xx, a mistake of the caller). It is no evidence about the
    provider, and another provider would not help."""
    CANCELLED = "cancelled"
    """The caller went away."""
    OUTPACED = "outpaced"
    """Another attempt at the same call was faster, and this one was cancelled for it."""

    @classmethod
    def of(cls, outcome: Outcome, *, sent: bool) -> Fate:
        """The fate of an attempt with this outcome; `sent`: the request may have been sent."""
        if sent or outcome is Outcome.CANCELLED:
            return _FATE_OF_OUTCOME[outcome]
        return cls.UNREACHABLE


_FATE_OF_OUTCOME = {
    Outcome.SUCCESS: Fate.SERVED,
    Outcome.FAILURE: Fate.FAILED,
    Outcome.THROTTLED: Fate.THROTTLED,
    Outcome.IGNORED: Fate.IGNORED,
    Outcome.CANCELLED: Fate.CANCELLED,
}

# Attempts. Those of the first kind are wasted: the caller did not get what was sent and perhaps paid.
_WASTED = frozenset(
    {
        Fate.FAILED,
        Fate.TIMED_OUT,
        Fate.THROTTLED,
        Fate.REJECTED,
        Fate.CANCELLED,
        Fate.OUTPACED,
    }
)
_SENT = _WASTED | {Fate.SERVED, Fate.IGNORED}

# The text after the provider's key in `str(leg)`.
_WORDS = {
    Fate.SERVED: "served",
    Fate.FAILED: "failed",
    Fate.TIMED_OUT: "timed out",
    Fate.UNREACHABLE: "was not reached",
    Fate.THROTTLED: "was throttled",
    Fate.REFUSED: "was refused",
    Fate.PAUSED: "had asked for a pause",
    Fate.REJECTED: "rejected the credentials or the model",
    Fate.BARRED: "had rejected the credentials or the model",
    Fate.SLOW: "answers slowly",
    Fate.HELD_BACK: "was kept for a call that may be repeated",
    Fate.IGNORED: "rejected the call",
    Fate.CANCELLED: "was cancelled",
    Fate.OUTPACED: "was slower than another attempt",
}


@dataclass(frozen=True, slots=True)
class Leg:
    """The part of one provider in one call.

    Attributes:
        key: The provider's key.
        fate: How the call ended there.
        duration: Seconds spent there, >= 0; 0.0 if nothing was sent.
        error: The exception that was raised, the refusal of the breaker, or the name of a bad
            answer, such as `HTTP 502`. None without an error.
    """

    key: str
    fate: Fate
    duration: float = 0.0
    error: BaseException | str | None = None

    def __str__(self) -> str:
        spent = f" after {_seconds(self.duration)}" if self.duration else ""
        why = f" ({_reason(self.error)})" if self.error is not None else ""
        return f"{self.key!r} {_WORDS[self.fate]}{spent}{why}"


def _seconds(value: float) -> str:
    # To the millisecond: nobody reads 5.5e-05 s, nor needs it.
    return f"{round(value, 3):.3g} s"


def _reason(error: BaseException | str) -> str:
    if isinstance(error, BreakerOpenError):
        rule = error.reason.rule if error.reason is not None else error.state.value
        return f"{rule}, {_seconds(error.retry_after)} more"
    return shown(seen(error))  # a message may hold secrets, and str() of a foreign error may raise


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of the answer that the caller got; None for what is not.

    Attributes:
        model: The name of the model, as the provider was asked for it.
        request_id: The provider's own name of the request, for its support.
        input_tokens: How many tokens the provider counted in the request.
        output_tokens: How many it counted in its answer.
    """

    model: str | None = None
    request_id: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


NO_ANSWER = Answer()


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one call was served, or why it was not.

    Attributes:
        served_by: The key of the provider whose answer reached the caller; None if there is none.
        legs: One for each time that a provider was tried or skipped, in order.
        duration: Seconds from the start of the call to its answer (the first chunk of a stream) or
            to its failure.
        answer: What is known of the answer: a transport fills it, and it is empty otherwise.
    """

    served_by: str | None
    legs: tuple[Leg, ...]
    duration: float
    answer: Answer = NO_ANSWER

    @property
    def sends(self) -> int:
        """How often the call was sent: how many providers may have got it."""
        return sum(leg.fate in _SENT for leg in self.legs)

    @property
    def wasted_sends(self) -> int:
        """How many of the sends gave the caller no answer. Each of them may have been paid."""
        return sum(leg.fate in _WASTED for leg in self.legs)

    def __str__(self) -> str:
        head = f"served by {self.served_by!r}" if self.served_by is not None else "not served"
        others = [str(leg) for leg in self.legs if leg.fate is not Fate.SERVED]
        return f"{head} in {_seconds(self.duration)}" + "".join(f"; {leg}" for leg in others)


class AttemptWatch(Protocol):
    """What is told how one attempt ended, such as a span of a trace; see `Failover`.

    Both methods are called on the call's thread. What they raise is counted as a fault.
    """

    def ended(self, leg: Leg) -> object:
        """The attempt has ended: its answer goes to the caller now, or the call goes on without it."""

    def reported(self, answer: Answer) -> object:
        """Nothing more will be known. Called once, after `ended`.

        For the answer of a transport that is when its body has ended.
        """


class Record:
    """The legs of one call during the call.

    Args:
        on_delivery: Called with the report when the call is over; None if nobody wants it.
        on_fault: Called with a place and an error if a hook raises.
        clock: Monotonic seconds.
        started: When the call began, in seconds of the clock.
        on_attempt: Called with each attempt when it begins; None if nobody wants to know.
    """

    __slots__ = (
        "_clock",
        "_duration",
        "_legs",
        "_on_attempt",
        "_on_delivery",
        "_on_fault",
        "_place",
        "_served_by",
        "_started",
        "_watch",
    )

    def __init__(
        self,
        on_delivery: Callable[[Delivery], object] | None,
        on_fault: Callable[[str, BaseException], None],
        clock: Callable[[], float],
        started: float,
        on_attempt: Callable[[Any], AttemptWatch | None] | None = None,
    ) -> None:
        self._on_delivery = on_delivery
        self._on_attempt = on_attempt
        self._on_fault = on_fault
        self._clock = clock
        self._started = started
        self._legs: list[Leg] = []
        self._place = 0
        self._served_by: str | None = None
        self._duration = 0.0
        # Of the attempt that began last.
        self._watch: AttemptWatch | None = None

    def pass_over(self, key: str, fate: Fate, error: BaseException | None = None) -> None:
        """Add the leg of a provider that was skipped."""
        self._legs.append(Leg(key, fate, error=error))

    def begin_attempt(self, attempt: object = None) -> None:
        """Keep the place of an attempt that begins now, and tell `on_attempt`.

        Its leg is added when it ends. By then the next provider has been chosen, and the skipped
        ones before that have legs already. Those must come after this leg.
        """
        self._place = len(self._legs)
        if self._on_attempt is not None:
            try:
                self._watch = self._on_attempt(attempt)
            except Exception as fault:
                self._on_fault("on_attempt", fault)

    def begin_second(self, attempt: object) -> AttemptWatch | None:
        """Tell `on_attempt` of an attempt that runs beside another one; return what watches it."""
        if self._on_attempt is not None:
            try:
                return self._on_attempt(attempt)
            except Exception as fault:
                self._on_fault("on_attempt", fault)
        return None

    def end_second(self, leg: Leg, watch: AttemptWatch | None) -> None:
        """Add the leg of an attempt that ran beside another one, and tell its watch."""
        self._legs.append(leg)
        if leg.fate is Fate.SERVED:
            self._served_by = leg.key
        if watch is not None:
            try:
                watch.ended(leg)
                watch.reported(NO_ANSWER)
            except Exception as fault:
                self._on_fault("on_attempt", fault)

    def end_attempt(
        self, key: str, fate: Fate, started: float, error: BaseException | str | None
    ) -> None:
        """Add the leg of the attempt that began last.

        Args:
            key: The key of the provider.
            fate: How the attempt ended.
            started: When it began, in seconds of the clock.
            error: As for `Leg`.
        """
        spent = 0.0 if fate is Fate.UNREACHABLE else max(self._clock() - started, 0.0)
        leg = Leg(key, fate, spent, error)
        self._legs.insert(self._place, leg)
        watch = self._watch
        if watch is not None:
            try:
                watch.ended(leg)
            except Exception as fault:
                self._on_fault("on_attempt", fault)
            if fate is not Fate.SERVED:
                self._tell_watch(NO_ANSWER)

    def _tell_watch(self, answer: Answer) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            try:
                watch.reported(answer)
            except Exception as fault:
                self._on_fault("on_attempt", fault)

    def conclude(self, served_by: str | None) -> None:
        """Note how the call ended: no further attempt is made."""
        self._served_by = served_by or self._served_by
        self._duration = max(self._clock() - self._started, 0.0)

    def deliver(self, served_by: str | None) -> None:
        """Call `on_delivery` with the report at the end of the call; contain what it raises."""
        self.conclude(served_by)
        self.tell(NO_ANSWER)

    def tell(self, answer: Answer) -> None:
        """Call `on_delivery` with the report of a call that is concluded; contain what it raises."""
        self._tell_watch(answer)
        if self._on_delivery is None:
            return
        try:
            self._on_delivery(Delivery(self._served_by, tuple(self._legs), self._duration, answer))
        except Exception as fault:
            self._on_fault("on_delivery", fault)
