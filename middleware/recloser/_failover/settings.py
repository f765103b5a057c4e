"""The settings of a `Failover`. They are checked once, at construction, and never change."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from recloser._classify_error import ask_policy, classify_error
from recloser._failover.report import AttemptWatch, Delivery
from recloser._outcome import Outcome
from recloser._registry import Registry
from recloser.hints import check_function, check_registry, meant

Order = Literal["listed", "weighted"]
WhenAllOpen = Literal["refuse", "least_bad"]

MOST_HEDGED = 0.05
"""The largest share of calls that may be sent twice. Dean and Barroso (2013) pay 2-5 % more calls for
the tail; more than that is load, and load makes tails."""


# Without `eq` and `repr`: nothing uses them, and they are a third of the class's import time.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Settings:
    """The settings of one `Failover`. See its documentation for their meaning.

    Raises:
        ValueError: A value is out of range.
        TypeError: A value is of the wrong type.
    """

    registry: Registry
    order: Order
    max_attempts: int
    time_budget: float | None
    patience: float
    probe_wait: float
    when_all_open: WhenAllOpen
    classify: Callable[[BaseException], Outcome]
    nothing_sent: Callable[[BaseException], bool]
    on_delivery: Callable[[Delivery], object] | None
    on_attempt: Callable[[Any], AttemptWatch | None] | None = None
    random: Callable[[], float]
    hedge: float = 0.0
    # The clock of the registry. It is kept here because each call reads it several times.
    clock: Callable[[], float] = field(init=False)

    def __post_init__(self) -> None:
        check_registry(self.registry, Registry)
        _check_choice("order", self.order, get_args(Order))
        _check_choice("when_all_open", self.when_all_open, get_args(WhenAllOpen))
        if isinstance(self.max_attempts, bool) or not isinstance(self.max_attempts, int):
            raise TypeError(f"max_attempts must be an int, not {type(self.max_attempts).__name__}")
        check_range("max_attempts", self.max_attempts, 1, 1000)
        if self.time_budget is not None:
            check_range("time_budget", self.time_budget, 0.001, 86400.0)
        check_range("hedge", self.hedge, 0.0, MOST_HEDGED)
        check_range("patience", self.patience, 1.0, 1000.0)
        check_range("probe_wait", self.probe_wait, 0.0, 86400.0)
        check_function("classify", self.classify)
        check_function("nothing_sent", self.nothing_sent)
        check_function("random", self.random)
        if self.on_delivery is not None:
            check_function("on_delivery", self.on_delivery)
        if self.on_attempt is not None:
            check_function("on_attempt", self.on_attempt)
        object.__setattr__(self, "clock", self.registry.clock)

    def outcome_of(self, key: str, error: BaseException) -> Outcome:
        """Classify an error by the policy of the breaker that counts it, or by the user's `classify`.

        If `classify` fails, the fault is counted, and the default rule is used instead.
        """
        said = ask_policy(self.registry[key].policy, error, self.registry.fault)
        if said is not None:
            return said
        if not isinstance(error, Exception):
            # A cancelled call is never the provider's fault, so the user's rule is not called.
            return classify_error(error)
        try:
            outcome = self.classify(error)
            if isinstance(outcome, Outcome):
                return outcome
            raise TypeError(f"classify must return an Outcome, not {outcome!r}")
        except Exception as fault:
            self.registry.fault("classify", fault)
            return classify_error(error)

    def is_unsent(self, error: BaseException) -> bool:
        """Whether an error proves, by the user's `nothing_sent`, that the request was never sent.

        If `nothing_sent` fails, the fault is counted, and the answer is False.
        """
        try:
            return self.nothing_sent(error) is True
        except Exception as fault:
            self.registry.fault("nothing_sent", fault)
            return False


def check_range(name: str, value: object, low: float, high: float) -> None:
    """Check that a setting is a finite number from `low` to `high`, both included.

    Raises:
        TypeError: The value is not a number.
        ValueError: The value is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not (low <= number <= high and math.isfinite(number)):
        raise ValueError(f"{name} must be finite and in {low:g}-{high:g}, not {value!r}")


def _check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        hint = meant(value, allowed)
        raise ValueError(f"{name} must be one of {allowed!r}, not {value!r}{hint}")
