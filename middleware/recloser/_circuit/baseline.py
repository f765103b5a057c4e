"""Baseline: the normal latency of one key, and the threshold above which a call is slow."""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, inf, log

from recloser._circuit.histogram import ExponentialHistogram
from recloser._circuit.hopeless import hopeless_after, hopeless_if_few, tail_share
from recloser._circuit.in_flight import NEVER
from recloser._circuit.new_normal import SEVERE, Usual
from recloser._policy import Policy

# Quantiles of the standard normal distribution at 0 and +1 standard deviation. The distance between
# them is one sigma. A few per cent of extreme calls hardly move either of them.
_MEDIAN = 0.5
_ONE_SIGMA = 0.8413
# How many calls a shifted distribution weighs. It is low, so that the next hundred calls can
# correct it.
_ASSUMED = 50.0
# What counts as high for this key: a latency that 5 % of the calls exceed.
_HIGH = 0.95


class Baseline:
    """Latencies of good calls in two generations, and the slow threshold computed from them.

    The threshold T is a z-score on log latency: T = m * exp(z * s) with m = q50 and
    s = ln(q84 / q50), kept within the policy's floors and ceilings. Location and scale are
    quantiles, because a mean and a standard deviation are moved by the outliers that they judge.
    Where the distribution is very wide, T is limited to `max_latency_ratio` medians. More calls are
    slow then. Their share is learned (see `Evidence`), so this alone does not open the breaker.

    Attributes:
        hopeless: After this many seconds an answer is hopeless; see `hopeless.py`. It is the ceiling
            until `known`: see `hopeless_at_first`.
        threshold: A latency above this is slow; seconds.
        median: The typical latency; seconds, 0.0 while nothing is known.
        policy: As given.
        reference: The typical latency one generation ago, in seconds; equal to `median` while
            there is only one generation. A gradual slow-down moves it later than the median. The
            threshold follows the lower of the two: when it followed the median alone, it rose
            with a slow-down that took ten minutes, and a third more bad calls were let through.
        sigma: Scale of the log latency; 0.0 while nothing is known.
    """

    __slots__ = (
        "_anchor",
        "_anchored_until",
        "_current",
        "_high",
        "_high_before",
        "_high_since",
        "_known_before",
        "_known_since",
        "_previous",
        "_since",
        "hopeless",
        "median",
        "policy",
        "reference",
        "sigma",
        "threshold",
    )

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._since = 0.0
        self.reset()

    def reset(self) -> None:
        """Forget everything. Until `min_history` calls are known, the ceiling is the only limit."""
        self._previous: ExponentialHistogram | None = None
        self._current = ExponentialHistogram()
        self.median = 0.0
        self.reference = 0.0
        self.sigma = 0.0
        self.threshold = self.hopeless = self.policy.slow_ceiling
        self._known_since = inf
        self._known_before = 0.0  # for how many seconds others have known it
        # A latency that was high at `_high_since`, and the one before that. Infinite: they stay.
        self._high = self._high_before = inf
        self._high_since = NEVER
        # The typical latency before a slower one was accepted, and until when it is remembered.
        self._anchor = 0.0
        self._anchored_until = NEVER

    def adopt(self, policy: Policy) -> None:
        """Judge by another policy from the next refresh on."""
        self.policy = policy
        if not self.known:
            self.threshold = self.hopeless = policy.slow_ceiling

    @property
    def known(self) -> bool:
        """Whether enough is known to judge latency."""
        return self.median > 0.0

    @property
    def count(self) -> int:
        """Number of latencies remembered."""
        return round(self._current.total + (self._previous.total if self._previous else 0))

    def hopeless_at_first(self) -> float:
        """Seconds after which an answer is hopeless, by the first few answers; see `hopeless.py`."""
        return hopeless_if_few(self.longest_answer, self.count, self.policy.slow_ceiling)

    @property
    def longest_answer(self) -> float:
        """The longest latency remembered, in seconds; 0.0 without any."""
        return self.history().quantiles(tail_share(0.0))[0]

    def usual(self, now: float) -> Usual:
        """What is usual, by which a slower latency is judged."""
        median = self.reference
        if now < self._anchored_until:
            median = min(median, self._anchor)
        (high,) = self.history().quantiles(_HIGH)
        known_for = max(now - self._known_since, 0.0)
        # For a latency of this length, the floor would be the slow threshold.
        floor = self.policy.slow_floor / self.policy.min_latency_ratio
        return Usual(median, min(high, self._high_before), known_for, floor)

    def accept(self, level: float, usual: Usual, now: float) -> None:
        """Move the distribution to a higher latency that was accepted as normal.

        If the latency is severe, what was high before is remembered. If not, the median before is
        remembered for a generation: otherwise a slow-down that comes bit by bit would never be
        noticed.

        Args:
            level: The accepted latency, in seconds.
            usual: What was usual before calls became slow.
            now: Seconds.
        """
        if usual.severity(level) >= 1.0:
            self._anchored_until = NEVER
            # A fault that was tolerated long enough was not usual: if its latency comes back after it is
            # over, that takes the patience again. So what it took is not high until a generation of
            # calls has passed.
            self._high, self._high_before, self._high_since = usual.high, usual.high, inf
        elif now >= self._anchored_until:
            self._anchor, self._anchored_until = usual.median, now + self.policy.history_span
            self._high = self._high_before = usual.high
        self.shift(level / self.median, now)

    def shift(self, ratio: float, now: float) -> None:
        """Multiply the distribution by `ratio`. New calls soon outweigh this assumption."""
        shifted = self.history()
        shifted.shift(ratio)
        self._previous = None
        self._current = ExponentialHistogram()
        self._current.merge(shifted, min(_ASSUMED / shifted.total, 1.0))
        self.refresh(now)

    def take_over(self, latencies: ExponentialHistogram, weight: float, known_for: float) -> None:
        """Add latencies that others have seen, each with a weight.

        Args:
            latencies: In seconds.
            weight: As how many calls each of them counts, > 0.
            known_for: For how many seconds they have judged latency.
        """
        self._current.merge(latencies, weight)
        self._known_before = known_for

    def learn(self, latencies: Iterable[float], weight: float = 1) -> None:
        """Add the latencies of good calls, in seconds, >= 0; each stands for `weight` calls."""
        self._current.add(latencies, weight)

    def refresh(self, now: float) -> bool:
        """Compute the threshold again, and start a new generation when the current one is full.

        Returns:
            True once: when an accepted latency has become like any other, so that the threshold may
            be much higher than before. What was learned of slow calls is then of another kind.
        """
        policy = self.policy
        history = self.history()
        total = history.total
        if not self.known:
            if total < policy.min_history:
                return False
            self._known_since = now - self._known_before
        self.median, one_sigma, high, tail = history.quantiles(
            _MEDIAN, _ONE_SIGMA, _HIGH, tail_share(total)
        )
        if now - self._high_since >= policy.latency_patience and now >= self._anchored_until:
            # A slow-down of ten minutes had become high by itself; not what was so minutes ago.
            self._high_before, self._high, self._high_since = self._high, high, now
        older = self._previous or history
        (self.reference,) = older.quantiles(_MEDIAN)
        z = policy.failure_threshold_z_score
        # Above 0: quantiles differ even within one bucket of the histogram.
        self.sigma = max(log(one_sigma / self.median), log(policy.min_latency_ratio) / z)
        ratio = min(exp(min(z * self.sigma, 700.0)), policy.max_latency_ratio)
        slow = min(self.median, self.reference) * ratio
        anchored = self._anchored_until > -inf
        if now < self._anchored_until:
            slow = min(slow, SEVERE * self._anchor)
        else:
            self._anchored_until = NEVER
        self.threshold = min(max(slow, policy.slow_floor), policy.slow_ceiling)
        self.hopeless = hopeless_after(self.threshold, tail, total, policy.slow_ceiling)
        if self._current.total >= policy.history_size:
            self._begin_generation(now)
        return anchored and self._anchored_until == -inf

    def _begin_generation(self, now: float) -> None:
        # A busy key fills a generation in half a second. Without a minimum time, it would forget
        # what is normal during a gradual slow-down.
        if now - self._since >= self.policy.history_span:
            self._previous = self._current
            self._current = ExponentialHistogram()
            self._since = now
            if self._high_since == inf:  # see accept()
                self._high_since = now

    def history(self) -> ExponentialHistogram:
        """Both generations in one new histogram."""
        merged = ExponentialHistogram()
        if self._previous is not None:
            merged.merge(self._previous)
        merged.merge(self._current)
        return merged

    def share_above(self, latency: float) -> float:
        """Share of the remembered calls that took longer than `latency` seconds, 0.0-1.0."""
        return self.history().share_above(latency)

    def z_score(self, latency: float) -> float:
        """Distance of a latency from the median, in standard deviations of log latency.

        It is 0.0 while nothing is known, and minus infinity for a latency of 0.
        """
        if not self.known:
            return 0.0
        return log(latency / self.median) / self.sigma if latency > 0.0 else -inf
