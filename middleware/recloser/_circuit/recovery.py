"""Outage: what is known of one outage of one key, from the trip to the recovery."""

from __future__ import annotations

from math import ceil, inf, sqrt

from recloser._policy import Policy

# An outage that was over at the first look, within seconds, was a run of bad calls.
_MOMENTARY = 5.0
# Opened again so soon, it was no recovery, and the patience with slow answers goes on: otherwise a
# lasting step that was taken for over twice took three times the patience.
_RELAPSE = 5.0
# By how much each good probe widens the window until enough of them were good: a round trip makes
# five of one. Doubled, as TCP's slow start does, it took a key with 2,000 calls a second half a
# second longer to recover; tripled, one outage harmed 960 calls there instead of 850.
_WIDENING = 4
# Answers whose median is how slow the callee is now: this many to twice as many.
_ANSWERS = 32
# Fewer answers have no median: of a 5x slow-down the first few to come back were taken for a 3x one.
_FEWEST = 16
# Up to the first of these multiples of the normal median a slower callee is served at once; from
# the second on that takes all of `latency_patience`. In between the patience grows with the third
# power: a lasting step of 3.5 cost 0.1 % of the calls, and a fault of 5 was refused for a minute.
_MILD = 3.4
_SEVERE = 4.5


class Outage:
    """The probes of one outage, and what they said so far.

    Recovery goes like TCP's slow start: a window of one probe at a time, and each good probe
    widens it. A round of probes begins with `look` and ends by closing or by opening again.

    Attributes:
        began: When the breaker opened, in seconds.
        ended: When it closed; infinite before.
        slow_since: When it opened first, if this outage is but a relapse.
        first_token: The permit of the first suspicious call. Calls before it say nothing.
        run: Bad calls in the run that opened it; 0 if that was not what did.
        first_look: Whether no round of probes was lost yet.
        window: Probes let through at a time.
        good: Good probes of this round.
        bad: Bad probes of this round.
        answers: How long the calls since the first suspicious one took, in seconds, oldest first;
            infinite for those that failed.
    """

    __slots__ = (
        "_answered_at",
        "_answers_since",
        "_policy",
        "answers",
        "bad",
        "began",
        "ended",
        "first_look",
        "first_token",
        "good",
        "run",
        "slow_since",
        "window",
    )

    def __init__(
        self,
        policy: Policy,
        began: float,
        first_token: int,
        run: int,
        before: Outage | None = None,
    ) -> None:
        self._policy = policy
        self.began = began
        relapsed = before is not None and began - before.ended < _RELAPSE
        self.slow_since: float = before.slow_since if before is not None and relapsed else began
        self.ended: float = inf
        self.first_token = first_token
        self.run = run
        self.first_look = True
        self.answers: list[float] = []
        self._answered_at = began
        self._answers_since = 0
        self.look(1)

    def look(self, window: int) -> None:
        """Begin a round of probes, `window` at a time."""
        self.window = window
        self.good = 0
        self.bad = 0

    def vote_good(self, concurrency: int, normal_bad_rate: float) -> bool:
        """Count a good probe; tell whether that makes a recovery.

        Args:
            concurrency: Calls that used to be in flight at a time: the window must have got there.
            normal_bad_rate: Share of bad calls that nobody expects to vanish, 0.0-1.0.
        """
        self.good += 1
        enough = self.good >= self._needed(normal_bad_rate)
        # As many as decide were good: what is left is only to let the callee warm up.
        self.window += self.window if enough else _WIDENING
        return enough and self.window > concurrency

    def vote_bad(self, normal_bad_rate: float) -> bool:
        """Count a bad probe; tell whether the outage goes on."""
        self.bad += 1
        decisive = max(self._policy.half_open_requests, self.good + self.bad)
        tolerated = decisive - self._needed(normal_bad_rate)
        lost = self.bad > tolerated or (self.good == 0 and self.window == 1)
        self.first_look = self.first_look and not lost
        return lost

    def _needed(self, normal_bad_rate: float) -> int:
        policy = self._policy
        decisive = max(policy.half_open_requests, self.good + self.bad)
        share = policy.success_rate_threshold * (1.0 - normal_bad_rate)
        # Rounded first: 0.8 * 5 must need four, not five, whatever floats make of it.
        return max(ceil(round(share * decisive, 9)), 1)

    def was_momentary(self, now: float) -> bool:
        """Whether it was over before it could be told from a run of bad calls."""
        return self.run > 0 and self.first_look and now - self.began < _MOMENTARY

    def answered(self, latency: float, now: float) -> None:
        """Note how long a call took, in seconds, infinite if it failed.

        Only of calls that began with the suspicion or later.
        """
        if self._is_stale(now):
            self.answers.clear()
            self._answers_since = 0
        self._answered_at = now
        self._answers_since += 1
        self.answers.append(latency)
        if len(self.answers) > 2 * _ANSWERS:
            del self.answers[:_ANSWERS]

    def _is_stale(self, now: float) -> bool:
        return now - self._answered_at > self._policy.max_open_for

    def new_normal(self, now: float, median: float, missing: int, rate: float) -> float | None:
        """The latency (s) to accept as the new normal, None while there is no such thing.

        Only if latency is all that is wrong, and if the calls do come back: late answers to
        overdue calls are what tells slow from dead.

        Args:
            now: Seconds.
            median: The typical latency before; seconds.
            missing: Overdue calls that have not come back.
            rate: Calls asked for per second.
        """
        policy = self._policy
        answers = self.answers
        total = len(answers) + missing
        if median <= 0.0 or total < _FEWEST or self._is_stale(now):
            return None
        came_back = sorted(answer for answer in answers if answer < inf)
        if len(came_back) < policy.success_rate_threshold * total:
            return None
        # What has not come back is slower than what has.
        level = came_back[min(total // 2, len(came_back) - 1)]
        severity = min(max(level / median - _MILD, 0.0) / (_SEVERE - _MILD), 1.0)
        # Not at the first look after the patience is over, but at the last one before.
        age = now - self.slow_since + self.time_to_next_look(now, rate)
        if level > policy.slow_ceiling or age < policy.latency_patience * severity**3:
            return None
        # On a quiet key patience alone would be a handful of probes.
        enough = severity < 1.0 or self._answers_since >= _ANSWERS
        return level if enough else None

    def is_severe(self, level: float, median: float) -> bool:
        """Whether a latency is so far from normal that it takes all the patience to accept it."""
        return level >= _SEVERE * median

    def share_above(self, threshold: float) -> float:
        """Share of the answers that took longer than a threshold in seconds, 0.0-1.0."""
        return sum(answer > threshold for answer in self.answers) / max(len(self.answers), 1)

    def time_to_next_look(self, now: float, rate: float) -> float:
        """Seconds between two looks, by the square-root law of inventory theory.

        Looking every w seconds wastes 1/w calls a second for the rest of the outage and refuses
        rate * w / 2 good calls after it. With L the length of the outage the sum is least at
        w = sqrt(2 * L / rate). An outage is expected to be of the typical length or, when it has
        outlived that, to last as long again as it did. Young outages are looked at sooner, after
        their own age: many are over in a second.

        Args:
            now: Seconds.
            rate: Calls asked for per second; 0.0 when unknown.
        """
        policy = self._policy
        age = now - self.began
        length = max(age, policy.typical_outage)
        wait = sqrt(2.0 * length / rate) if rate > 0.0 else policy.max_open_for
        return min(max(min(wait, age), policy.open_for), policy.max_open_for)
