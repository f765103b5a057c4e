"""The pauses that a callee asks for, by a 429 or a Retry-After that is no failure.

One tenant's limit must not refuse the calls of all others. So a breaker opens only if all callers
are asked to wait, by the evidence. There are three cases, and each is told from the others:

    usual      Some calls are asked to wait, as ever.
    a share    More are asked than before, and others are served meanwhile. A breaker that refuses them
               all loses those that are served. So this is a new normal, however large the share is.
    all        No call that begins during a pause is served. To wait costs nothing.

Until when the last one was asked is known at once: that is for callers that have another callee, see
`_failover/selection.py`.
"""

from __future__ import annotations

from math import inf, lgamma, log

from recloser._circuit.in_flight import InFlight
from recloser._circuit.outliving import OUTLIVES
from recloser._circuit.votes import Ending
from recloser._policy import Policy

# If a callee asks for a pause and names no time: seconds of the first pause. Each further one is twice as
# long.
_FIRST_PAUSE = 1.0
# Later ones are no longer than this part of the time for which nobody was served: if a share of the
# calls is asked, that many are refused in vain. Before, a key of which 80 % are asked was refused
# for most of the time, since each pause was twice as long as the one before.
PART = 0.25
# The usual share of calls that a callee asks to wait: before the first calls, at most, and how many
# calls it is averaged over. If it asks all callers to wait, it asks `_ALL_ASKED` of them.
_FIRST_ASKED, _MOST_ASKED, _ASKED_OVER, _ALL_ASKED = 0.02, 0.97, 200.0, 0.99
# How much likelier it must be that all are asked than that it is a share of which nothing is known.
# At least 4.5: four such calls in a row suffice. At most 33, reached after about forty calls: if even
# 95 % are asked to wait, one of forty is served in seven cases of eight. Between these bounds it grows
# with the calls that a pause refuses, since those are the cost of an error: one more call must be asked
# to wait for each three that are refused. The time that a callee names is no evidence. With four in a
# row wherever it was longer than 5 s, a key of which 80 % were asked to wait a minute refused nearly
# all calls that would have been served.
_LEAST_SURE, _SURE, _REFUSED_PER_SURE = 4.5, 33.0, 3.0
# If all are asked, this share of them is served all the same.
_SERVED_NEVERTHELESS = 0.001
# Answers during pauses are remembered for this many calls.
_REMEMBERED = 100.0


class Pauses:
    """What one callee that asks callers to wait has asked for.

    Args:
        served_at: When a call was served for the last time, in seconds; minus infinity for never.

    Attributes:
        until: Until when it last asked to wait, in seconds; 0.0 if it has served a call since then.
        asked_since: When the present run of calls that were asked to wait began, in seconds.
        served_at: As given, and kept up to date.
        since: Token of the newest call when the present run of pauses began. A run begins with the
            first request for a pause, and ends when a call is served that began after the latest one.
    """

    __slots__ = (
        "_asked",
        "_asked_to_wait",
        "_evidence",
        "_latest",
        "_length",
        "_rate",
        "_refused",
        "_run",
        "_served_meanwhile",
        "_usual",
        "asked_since",
        "served_at",
        "since",
        "until",
    )

    def __init__(self, served_at: float = -inf) -> None:
        self.until = 0.0
        self.since = 0
        self.served_at = served_at
        # Nats for "all callers are asked to wait, and not only as many as usual".
        self._evidence = 0.0
        self._usual = _FIRST_ASKED
        # Calls that were asked to wait, without those that began after a named pause was over; and
        # calls that were served although they began during a pause.
        self._asked_to_wait = self._served_meanwhile = 0.0
        # Seconds of the last pause, and of the last one without a time.
        self._asked = self._length = 0.0
        # Calls with a higher token began after the last pause was asked for.
        self._latest = 0
        # Calls since the evidence rose above zero, when it did, in seconds, and calls per second.
        self._run, self.asked_since, self._rate = 0.0, -inf, 0.0
        # Calls that the pauses which were for all refuse, about, since a call was served.
        self._refused = 0.0

    def judge(
        self,
        ending: Ending,
        latest: int,
        calls: InFlight,
        policy: Policy,
        rate: float,
    ) -> bool:
        """Note a call that was asked to wait; return whether all callers are, by the evidence.

        Args:
            ending: How the call ended.
            latest: The highest token so far.
            calls: The calls in flight.
            policy: As for `ask`.
            rate: Calls per second; 0.0 if unknown. Then it is that of the calls in the run.
        """
        now, took = ending.now, ending.took
        obeyed = self.is_over(now - took)
        self.ask(ending.token, latest, now, ending.wait, policy)
        if not self._evidence:
            self._run, self.asked_since = 0.0, now
        elif now > self.asked_since:
            self._rate = self._run / (now - self.asked_since)
        rate = max(rate, self._rate)
        if ending.rule == "quota" and self.served_at == -inf:
            # Nobody was ever served, so no call has money or quota left: to wait refuses none in vain.
            rate = 0.0
        alive = len(calls.outlive(self.since, now - OUTLIVES * took)) if took else 0
        return self.count_asked(log(policy.false_trip_interval), rate, alive, obeyed=obeyed)

    def ask(self, token: int, latest: int, now: float, wait: float, policy: Policy) -> None:
        """Note until when a call was asked to wait.

        If it names no time, pauses grow: each one is twice as long as the one before, until a call
        is served.

        Args:
            token: The token of the call.
            latest: The highest token so far.
            now: Seconds.
            wait: Seconds that the callee asked for; 0.0 if it named none.
            policy: Its `max_open_for` limits a pause without a time.
        """
        if self.until == 0.0:
            self.since = latest
        if not wait and (token <= self._latest or now < self.until):
            return  # it says no more than the call before
        if not wait:
            wait = self._length = longer_pause(self._length, policy)
        self._asked = wait
        self._latest = latest
        self.until = max(self.until, now + wait)

    def count_asked(self, threshold: float, rate: float, alive: int, *, obeyed: bool) -> bool:
        """Count a call that was asked to wait; return whether all callers are, by the evidence.

        It is judged like failures, by the share of such calls that is usual for the key. If that is
        enough, all callers may be asked, or a larger share of them than before. To find out costs a
        few calls; to wait in vain costs all that are refused meanwhile.

        Args:
            threshold: The evidence that is enough, in nats.
            rate: Calls per second; 0.0 if unknown.
            alive: Calls in flight that are not asked to wait: they have taken longer than that does.
            obeyed: Whether the call began when the pause that the callee had named was over.
        """
        self._run += 1.0
        if not obeyed:
            self._forget(1)
            self._asked_to_wait += 1.0
        self._evidence = max(self._evidence + log(_ALL_ASKED / self._usual), 0.0)
        self._expect(self._usual + (1.0 - self._usual) / _ASKED_OVER)
        if self._evidence < threshold:
            return False
        self._evidence = threshold
        asked, served = self._asked_to_wait, self._served_meanwhile + alive
        ratio = _log_ratio(asked, served)
        if 0.0 <= ratio < log(self._sure(rate)):
            return False
        self._evidence = 0.0
        if ratio < 0.0:
            self._expect(max(self._usual, asked / (asked + served)))
            return False
        self._refused += rate * self._asked
        return True

    def count_asked_again(self, wait: float, rate: float) -> bool:
        """Count that the first call after a pause for all is asked again; whether all callers are.

        At the end of a pause that was named, all are served again, if it was for all. So this is as
        likely to be one of a share, and the evidence must suffice for both pauses.

        Args:
            wait: Seconds that the callee asked for; 0.0 if it named none.
            rate: As for `judge`.
        """
        if not wait:
            return True  # it is a short one, see `longest`
        rate = max(rate, self._rate)
        if _log_ratio(self._asked_to_wait, self._served_meanwhile) < log(self._sure(rate)):
            return False
        self._refused += rate * self._asked
        return True

    def _sure(self, rate: float) -> float:
        """How many times likelier it must be that all callers are asked to wait than that some are."""
        refused = self._refused + rate * self._asked
        return min(max(_LEAST_SURE, refused / _REFUSED_PER_SURE), _SURE)

    def _expect(self, share: float) -> None:
        self._usual = min(max(share, _FIRST_ASKED), _MOST_ASKED)

    def served(self, calls: int, now: float) -> None:
        """Count calls that were answered until `now` seconds, not asked to wait."""
        self.served_at = max(self.served_at, now)
        self._evidence = max(self._evidence + calls * log(1.0 - _ALL_ASKED), 0.0)
        self._run += calls
        self._expect(self._usual * (1.0 - 1.0 / _ASKED_OVER) ** calls)
        self._forget(calls)

    def _forget(self, calls: int) -> None:
        kept = (1.0 - 1.0 / _REMEMBERED) ** calls
        self._asked_to_wait *= kept
        self._served_meanwhile *= kept

    def end(self, token: int, began: float = -inf) -> None:
        """End the pause if a call with this token, which was served, began after it was asked for.

        Args:
            token: Its token.
            began: When it began, in seconds.
        """
        if self.until and token > self.since and not self.is_over(began):
            self._served_meanwhile += 1.0
        if token > self._latest:
            self.until = self._length = self._refused = 0.0

    def is_over(self, began: float) -> bool:
        """Whether a call that began then, in seconds, began after the pause that was named."""
        return began >= self.until > 0.0 == self._length

    def longest(self, now: float) -> float:
        """The longest pause without a time, in seconds."""
        return max(_FIRST_PAUSE, PART * (now - self.served_at))


def longer_pause(before: float, policy: Policy) -> float:
    """Seconds of the next pause if the callee names no time: twice as long as the one before.

    Args:
        before: Seconds of the pause before; 0.0 if this is the first pause.
        policy: Its `max_open_for` is the longest.
    """
    return min(max(2.0 * before, _FIRST_PAUSE), policy.max_open_for)


def _log_ratio(asked: float, served: float) -> float:
    """The log of how many times likelier these calls are if all are asked than if a share is.

    The share is not known, so the second likelihood is the average over all shares.
    """
    share = lgamma(asked + 1.0) + lgamma(served + 1.0) - lgamma(asked + served + 2.0)
    all_asked = asked * log(1.0 - _SERVED_NEVERTHELESS) + served * log(_SERVED_NEVERTHELESS)
    return all_asked - share
