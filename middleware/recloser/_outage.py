"""Outage: what is known of one outage of one key, from the trip to the recovery."""

from __future__ import annotations

from math import ceil, inf, sqrt

from recloser._policy import Policy

# Slow answers remembered: a median of so many is as good as one of all.
_REMEMBERED = 64
# An outage that was over at the first look, within seconds, was a run of bad calls.
_MOMENTARY = 5.0


class Outage:
    """The probes of one outage, and what they said so far.

    Recovery goes like TCP's slow start: a window of one probe at a time, and each good probe
    widens it by one. A round of probes begins with `look` and ends by closing or by opening again.

    Attributes:
        began: When the breaker opened, in seconds.
        last_token: The last permit given out that was no probe.
        run: Bad calls in the run that opened it; 0 if that was not what did.
        first_look: Whether no round of probes was lost yet.
        slow_since: Since when nothing but latency has been wrong, in seconds; infinite while more
            is, or nothing is known.
        window: Probes let through at a time.
        good: Good probes of this round.
        bad: Bad probes of this round.
        returned: Latencies of slow probes that did come back since then, in seconds.
    """

    __slots__ = (
        "_policy",
        "_slow_probes",
        "bad",
        "began",
        "first_look",
        "good",
        "last_token",
        "returned",
        "run",
        "slow_since",
        "window",
    )

    def __init__(self, policy: Policy, began: float, last_token: int, run: int) -> None:
        self._policy = policy
        self.began = began
        self.last_token = last_token
        self.run = run
        self.first_look = True
        self.slow_since = inf
        self._slow_probes = 0
        self.returned: list[float] = []
        self.look(1)

    def look(self, window: int) -> None:
        """Begin a round of probes, `window` at a time."""
        self.window = window
        self.good = 0
        self.bad = 0

    def vote_good(self, concurrency: int) -> bool:
        """Count a good probe; tell whether that makes a recovery.

        Args:
            concurrency: Calls that used to be in flight at a time: the window must have got there.
        """
        self.good += 1
        self.window += 1
        return self.good >= self._needed() and self.window > concurrency

    def vote_bad(self, now: float, *, slow: bool) -> bool:
        """Count a bad probe; tell whether the outage goes on."""
        self.bad += 1
        if slow:
            self._slow_probes += 1
            self.slow_since = min(self.slow_since, now)
        else:
            self.note_failure()
        tolerated = max(self._policy.half_open_requests, self.good + self.bad) - self._needed()
        lost = self.bad > tolerated or (self.good == 0 and self.window == 1)
        self.first_look = self.first_look and not lost
        return lost

    def note_failure(self) -> None:
        """Something failed: it is not only slow."""
        self.slow_since = inf
        self._slow_probes = 0
        self.returned.clear()

    def came_back(self, latency: float) -> None:
        """Note that a slow probe came back after `latency` seconds."""
        self.returned.append(latency)
        if len(self.returned) > _REMEMBERED:
            del self.returned[: _REMEMBERED // 2]
            self._slow_probes //= 2

    def _needed(self) -> int:
        policy = self._policy
        decisive = max(policy.half_open_requests, self.good + self.bad)
        # Rounded first: 0.8 * 5 must need four, not five, whatever floats make of it.
        return ceil(round(policy.success_rate_threshold * decisive, 9))

    def was_momentary(self, now: float) -> bool:
        """Whether it was over before it could be told from a run of bad calls."""
        return self.run > 0 and self.first_look and now - self.began < _MOMENTARY

    def new_normal(self, now: float) -> float | None:
        """The median latency (s) to accept as the new normal, None while there is no such thing.

        Only if latency is all that is wrong, for `latency_patience` by now, and if the probes did
        come back: late answers to hung probes are what tells slow from dead.
        """
        policy = self._policy
        returned = self.returned
        if (
            now - self.slow_since < policy.latency_patience
            or len(returned) < policy.min_failures
            # The last one may still be on its way.
            or len(returned) < policy.success_rate_threshold * (self._slow_probes - 1)
        ):
            return None
        median = sorted(returned)[len(returned) // 2]
        return median if median <= policy.slow_ceiling else None

    def time_to_next_look(self, now: float, rate: float) -> float:
        """Seconds between two looks, by the square-root law of inventory theory.

        Looking every w seconds wastes 1/w calls a second for the rest of the outage and refuses
        rate * w / 2 good calls after it. With L the length of the outage the sum is least at
        w = sqrt(2 * L / rate). An outage is expected to be of the typical length or, when it has
        outlived that, to last as long again as it did.

        Args:
            now: Seconds.
            rate: Calls asked for per second; 0.0 when unknown.
        """
        policy = self._policy
        length = max(now - self.began, policy.typical_outage)
        wait = sqrt(2.0 * length / rate) if rate > 0.0 else policy.max_open_for
        return min(max(wait, policy.open_for), policy.max_open_for)
