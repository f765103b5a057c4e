"""B. Lasting steps: from one moment on every answer takes a factor longer, for good."""

from __future__ import annotations

from benchmarks.everyday.key import Key
from benchmarks.everyday.latencies import lognormal
from benchmarks.everyday.scenario import (
    CHANGES,
    REFUSED,
    REFUSED_2,
    Goal,
    Play,
    Result,
    Scenario,
    result,
)

FLAPS = "B. Lasting steps: none flaps"
SPARSE = "B. Lasting steps on keys with few calls: 24 hours from the step on"

BASE = 0.05  # seconds
SIGMAS = (0.2, 0.5)
RATES = (0.02, 0.05, 0.1, 0.3, 0.5, 1.0, 5.0, 10.0, 50.0, 200.0, 500.0)
FACTORS = tuple(tenths / 10 for tenths in range(13, 101))
QUICK_FACTORS = (1.5, 2.5, 3.0, 3.5, 4.0, 4.5, 6.0, 10.0)
_QUICK_RATES = (0.02, 0.1, 0.5, 5.0, 50.0)
_SPARSE_RATES = tuple(rate for rate in RATES if rate <= 0.5)
_SPARSE_FACTORS = tuple(factor for factor in FACTORS if factor >= 3.0)
_QUICK_SPARSE_FACTORS = tuple(factor for factor in QUICK_FACTORS if factor >= 3.0)
_WARM_UP = 1000  # calls
_CLOSED_FOR_GOOD = "minutes until closed for good"


def watched(rate: float) -> int:
    """Calls watched for flapping: those of two hours, at most 20,000, but at least 2,000."""
    return round(min(max(7200.0 * rate, 2_000.0), 20_000.0))


def _flaps(rate: float, sigma: float) -> Play:
    def play(factor: float, seed: int) -> Result:
        key, slower = Key(seed), lognormal(BASE * factor, sigma)
        key.play(lognormal(BASE, sigma), rate, calls=_WARM_UP)
        key.play(slower, rate, calls=round(max(200.0, 600.0 * rate)))
        key.measure()
        key.play(slower, rate, calls=watched(rate))
        return result(key, f"{factor:g}x")

    return play


def closed_for_good_after(key: Key) -> float:
    """Minutes from the last `measure` until it was closed and stayed so; infinite if it is not."""
    if not key.changes:
        return 0.0
    last = key.contender.transitions[-1]
    if last.after.value != "closed":
        return float("inf")
    return (last.at - key.tally.since) / 60.0


def _sparse(rate: float, sigma: float) -> Play:
    def play(factor: float, seed: int) -> Result:
        key = Key(seed)
        key.play(lognormal(BASE, sigma), rate, calls=_WARM_UP)
        key.measure()
        key.play(lognormal(BASE * factor, sigma), rate, 24 * 3600.0)
        minutes = closed_for_good_after(key)
        return result(key, f"{factor:g}x", {_CLOSED_FOR_GOOD: minutes})

    return play


def scenarios() -> list[Scenario]:
    """Return the scenarios of this part. The factor is the variant."""
    # The second goal: a breaker that stayed as it is and refused would not flap either.
    never = (Goal(CHANGES, 0.0, always=True), REFUSED_2)
    sparse = (Goal(REFUSED, 3.0), Goal(_CLOSED_FOR_GOOD, 90.0, always=True))
    flaps = [
        Scenario(
            f"{rate:g}/s, sigma {sigma}",
            FLAPS,
            _flaps(rate, sigma),
            never,
            FACTORS,
            QUICK_FACTORS if rate in _QUICK_RATES else (),
        )
        for rate in RATES
        for sigma in SIGMAS
    ]
    return flaps + [
        Scenario(
            f"24 h at {rate:g}/s, sigma {sigma}",
            SPARSE,
            _sparse(rate, sigma),
            sparse,
            _SPARSE_FACTORS,
            _QUICK_SPARSE_FACTORS,
        )
        for rate in _SPARSE_RATES
        for sigma in SIGMAS
    ]
