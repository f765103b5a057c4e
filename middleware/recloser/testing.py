"""Tools for tests: a clock that the test moves, a listener that keeps its transitions, and chaos.

    clock = ManualClock()
    registry = Registry(clock=clock, random=no_jitter)
    open_breaker(registry["payments"])
    clock.advance(30)

`recloser_adapters.pytest` has the fixtures for pytest.
"""

from __future__ import annotations

from collections.abc import Callable

from recloser._breaker import Breaker
from recloser._chaos import Chaos, ChaosError, Plan
from recloser._events import Transition
from recloser._registry import Registry
from recloser.hints import check_registry, knows_names

__all__ = [
    "Chaos",
    "ChaosError",
    "ManualClock",
    "RecordingListener",
    "chaos",
    "no_jitter",
    "open_breaker",
]


class ManualClock:
    """A clock that only `advance` moves; pass it as `clock=`.

    Args:
        start: The first time that it shows, in seconds.

    Attributes:
        now: The time that it shows, in seconds.
    """

    def __init__(self, start: float = 0.0) -> None:
        self.now: float = start

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the time forward by some seconds; a negative number moves it back."""
        self.now += seconds


class RecordingListener:
    """A listener that keeps all transitions.

    Attributes:
        transitions: The transitions so far, oldest first.
    """

    def __init__(self) -> None:
        self.transitions: list[Transition] = []

    def on_transition(self, transition: Transition) -> None:
        """Keep a transition."""
        self.transitions.append(transition)


def no_jitter() -> float:
    """Return a constant instead of a random number; pass it as `random=` to make waits exact."""
    return 0.5


def open_breaker(breaker: Breaker) -> None:
    """Open a breaker until the test calls its `half_open()` or `reset()`."""
    breaker.open("opened by a test")


@knows_names
def chaos(
    registry: Registry,
    key: str,
    *,
    fail: float = 0.0,
    hang: float = 0.0,
    slow: float = 0.0,
    hang_for: float = 30.0,
    slow_by: float = 1.0,
    for_: float = 300.0,
    seed: int | None = None,
    sleep: Callable[[float], object] | None = None,
) -> Chaos:
    """Make a share of the calls of a key fail, hang or be slow, for tests and game days.

        with chaos(registry, "payments", fail=0.3, seed=1) as made:
            ...
        print(made.injected)

    A call is admitted and measured as any other; a fault happens in place of the callee. A call that
    fails or hangs is not made: it raises `ChaosError`, which for a client is also the error of its
    library. A slow call is made after its delay. Faults reach web requests through both middlewares,
    functions with `@breaker` and `breaker.call`, and the clients of httpx, httpx2, requests and
    aiohttp. They do not reach `with breaker:` blocks, `acquire()`, generators and `Failover`.

    It is also a decorator of functions and coroutine functions, and has `start()` and `stop()`.

    Args:
        registry: Holds the breakers.
        key: A key, or a pattern with `*`, `?` and `[...]`.
        fail: The share of calls that fail at once, 0.0-1.0.
        hang: The share of calls that hang, and then fail, 0.0-1.0.
        slow: The share of calls that are slow, 0.0-1.0.
        hang_for: How long a hang lasts, 0.001-86400 s. A client with `cut_off=True` ends it earlier.
        slow_by: The delay of a slow call, 0.001-86400 s.
        for_: After how long it ends by itself, in seconds of the registry's clock, 0.001-86400.
        seed: Of the random numbers: the same calls in the same order get the same faults.
        sleep: Is called with the seconds instead of a wait, such as `ManualClock.advance`.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A share or a time is out of range, or there is no share above 0.
        RuntimeError: By `start()`, or at the begin of the block: `RECLOSER_CHAOS=1` is not in the
            environment of this process.
    """
    check_registry(registry, Registry)
    plan = Plan(
        key=key,
        fail=fail,
        hang=hang,
        slow=slow,
        hang_for=hang_for,
        slow_by=slow_by,
        for_=for_,
    )
    return Chaos(registry, plan, seed=seed, sleep=sleep)
