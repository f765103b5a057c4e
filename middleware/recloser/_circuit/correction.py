"""Correction: how far the present run of bad calls corrects the shares that were learned.

Both limits and the weight below are a compromise: the more is explained by the present run, the
rarer are false openings, and the later an outage is noticed.
"""

from __future__ import annotations

# The runs of one key differ. So the learned share of bad calls is corrected by the present run, and
# a longer run corrects it more. At first the learned share weighs like `_SPREAD` bad calls. It is
# surer the more failures it was learned from, so each `_FAILED_PER_SPREAD` of them add one, up to
# `_MOST_SPREAD`. Slow calls add none: keys whose slow calls come in runs would open more often.
# With 14 for good, a key where 20 % fail took 123 calls to notice that 60 % do; now 53.
_SPREAD = 14.0
_FAILED_PER_SPREAD = 100.0
_MOST_SPREAD = 60.0
# The share of good calls in a run is corrected to no less than this part of the usual one.
_LEAST_GOOD = 0.5
# However often calls failed in runs, no more than this share of them is normal. So where all calls
# fail, it opens after ln(N) / ln(1 / 0.45) calls, 18 by default. Without it, that took 107 calls of a
# key that stays bad with 0.8, and 970 after a hundred blips that were learned as runs. The price is
# that such a key opens by chance 350 times in a million calls: 18 of its calls in a row fail once in
# 4,700. With 0.75, these were 6 times, and an outage took 48 calls.
_MOST_FAILED = 0.45


def spread(failed: float) -> float:
    """How many bad calls the learned shares weigh, if `failed` failed calls were learned."""
    return min(_SPREAD + failed / _FAILED_PER_SPREAD, _MOST_SPREAD)


def corrected(slow: float, failed: float, this_run: float, accepted: float) -> tuple[float, float]:
    """Correct the usual shares of slow and of failed calls.

    Args:
        slow: Share of slow calls, 0.0-1.0.
        failed: Share of failed calls, 0.0-1.0.
        this_run: How many times as often as usual calls are bad in the present run.
        accepted: Share of failed calls outside of any run, 0.0-1.0.
    """
    usual = min(slow + failed, 0.99)
    scale = min(this_run, (1.0 - _LEAST_GOOD * (1.0 - usual)) / usual)
    scale *= usual / (slow + failed)
    return scale * slow, min(scale * failed, max(_MOST_FAILED, accepted))
