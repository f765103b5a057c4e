"""Chaos: calls of a key that fail, hang or are slow on purpose, for tests and game days.

A fault is injected where the callee would be called: the call is admitted, its permit is a real one,
and the breaker measures a failure, a hang or a long latency as it would measure those of a callee.
The callee itself is not called (a slow call is, after its delay).

It costs nothing while there is none: `Listeners.chaos` is None then, and only calls that are admitted
by a decision look at it. While there is one, all calls of its registry are.
"""

from __future__ import annotations

import enum
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Self

from recloser._admission import Injected
from recloser._permit import Permit
from recloser.hints import check_function, wrong

if TYPE_CHECKING:
    from recloser._registry import Registry

ALLOWED = "RECLOSER_CHAOS"
"""The variable of the environment without which nothing is injected."""


class Kind(enum.Enum):
    """What happens to a call."""

    FAIL = "fail"
    HANG = "hang"
    SLOW = "slow"


class ChaosError(Exception):
    """An injected fault: the call was not made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is injected.

    Attributes:
        key: A key, or a pattern with `*`, `?` and `[...]`.
        fail: The share of calls that fail at once, 0.0-1.0.
        hang: The share of calls that hang, and then fail.
        slow: The share of calls that are slow, and then are made.
        hang_for: How long a hang lasts, in seconds.
        slow_by: The delay of a slow call, in seconds.
        for_: After how many seconds it ends by itself.
    """

    key: str
    fail: float
    hang: float
    slow: float
    hang_for: float
    slow_by: float
    for_: float

    def __post_init__(self) -> None:
        if not isinstance(self.key, str):
            raise wrong("key", "a str", self.key)
        for name in ("fail", "hang", "slow"):
            _check_number(name, getattr(self, name), 0.0, 1.0)
        for name in ("hang_for", "slow_by", "for_"):
            _check_number(name, getattr(self, name), 0.001, 86400.0)
        if not 0.0 < self.fail + self.hang + self.slow <= 1.0:
            raise ValueError(
                "fail, hang and slow must be above 0 and at most 1 in all, not "
                f"{self.fail + self.hang + self.slow:g}: write fail=0.3 for 30 % of the calls"
            )

    def __str__(self) -> str:
        shares = ((self.fail, "fail"), (self.hang, "hang"), (self.slow, "are slow"))
        said = ", ".join(f"{share:.3g} of the calls {what}" for share, what in shares if share)
        return f"chaos in {self.key!r}: {said}, on purpose"


def _check_number(name: str, value: object, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number from {low:g} to {high:g}, not {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{name} must be a number from {low:g} to {high:g}, not {value!r}")


def check_allowed() -> None:
    """Check that faults may be injected in this process.

    Raises:
        RuntimeError: `RECLOSER_CHAOS` is not 1 in the environment.
    """
    if os.environ.get(ALLOWED, "").strip().lower() not in ("1", "true", "yes", "on"):
        raise RuntimeError(
            f"chaos would make calls fail, and this process does not allow it: set {ALLOWED}=1 in "
            "its environment, for tests and game days only"
        )


class Chaos:
    """Faults that are injected into the calls of a key; `recloser.testing.chaos` makes it.

    Attributes:
        plan: What is injected.
        injected: How many calls have failed, hung or been slow on purpose.
        calls: How many calls it has looked at.
    """

    def __init__(
        self,
        registry: Registry,
        plan: Plan,
        *,
        seed: int | None,
        sleep: Callable[[float], object] | None,
    ) -> None:
        if sleep is not None:
            check_function("sleep", sleep)
        self._registry = registry
        self._seed = seed
        self._sleep = sleep
        self._draw = random.Random(seed)
        self._until = 0.0
        self.plan: Plan = plan
        self.calls: int = 0
        self.injected: dict[str, int] = {kind.value: 0 for kind in Kind}

    @property
    def is_active(self) -> bool:
        """Whether faults are injected now."""
        now = self._registry.clock()
        return self in self._registry.listeners.chaos_now and now < self._until

    def start(self) -> None:
        """Begin to inject faults, until `stop()`, or until `for_` seconds have passed.

        Raises:
            RuntimeError: The environment does not allow it, or it has been started already.
        """
        check_allowed()
        listeners = self._registry.listeners
        if self.is_active:
            raise RuntimeError(f"{self.plan} has been started already")
        self.stop()  # if it has ended by itself and no call has come since
        self._draw.seed(self._seed)
        self._until = self._registry.clock() + self.plan.for_
        listeners.chaos = (*listeners.chaos_now, self)
        for breaker in self._registry:
            breaker.stop_quick()
        self._tell(f"begins, for {self.plan.for_:g} s at most")

    def stop(self) -> None:
        """Inject no more faults. Calls that hang go on to do so."""
        listeners = self._registry.listeners
        if self not in listeners.chaos_now:
            return
        listeners.chaos = tuple(each for each in listeners.chaos_now if each is not self) or None
        self._tell(f"ends: {', '.join(f'{n} {what}' for what, n in self.injected.items())}")

    def _tell(self, what: str) -> None:
        self._registry.warn(f"{self.plan} {what}", f"{self.plan}; it {what}")

    # What happens to a call

    def inject(self, permit: Permit, now: float) -> Injected | None:
        """The fault of a call that was admitted; None if it has none."""
        key = permit.breaker.key
        if now >= self._until:
            self.stop()
            return None
        if key != self.plan.key and not fnmatchcase(key, self.plan.key):
            return None
        self.calls += 1
        plan, drawn = self.plan, self._draw.random()
        for kind, share in ((Kind.FAIL, plan.fail), (Kind.HANG, plan.hang), (Kind.SLOW, plan.slow)):
            if drawn < share:
                self.injected[kind.value] += 1
                seconds = {Kind.FAIL: 0.0, Kind.HANG: plan.hang_for, Kind.SLOW: plan.slow_by}[kind]
                error = None if kind is Kind.SLOW else ChaosError(f"{key}: a call {_DOES[kind]}")
                return Injected(permit, seconds, error, self._sleep or time.sleep, self._sleep)
            drawn -= share
        return None

    def told(self, key: str, now: float) -> str:
        """What `explain()` says of it before the state of a key; "" if that is not concerned."""
        if now >= self._until or not (key == self.plan.key or fnmatchcase(key, self.plan.key)):
            return ""
        return f"{self.plan}, for {self._until - now:.3g} s more; "

    # As a context manager and a decorator

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.stop()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Inject faults while a function runs, plain or async."""
        import functools
        import inspect

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return await function(*args, **kwargs)

            return awaited
        check_function("function", function)

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return called

    def __repr__(self) -> str:
        return f"<{self.plan}>"


_DOES = {Kind.FAIL: "failed on purpose", Kind.HANG: "hung on purpose"}
