"""Recovery: the probes of one outage, when they are sent, and when the outage is over."""

from __future__ import annotations

import enum
from copy import copy
from math import ceil, inf, sqrt

from recloser._circuit import votes
from recloser._circuit.crowding import Crowding
from recloser._circuit.giving_way import GivingWay
from recloser._circuit.in_flight import InFlight
from recloser._circuit.named_waits import NamedWaits
from recloser._circuit.new_normal import FAST_CALLS, Answers, Usual
from recloser._circuit.outliving import Outliving
from recloser._circuit.pauses import PART, longer_pause
from recloser._circuit.share_test import ShareTest
from recloser._circuit.votes import Ending, Vote
from recloser._policy import Policy

# An outage that ended with the first round of probes, within this many seconds, may have been a run
# of bad calls by chance.
_MOMENTARY = 5.0
# If the breaker opens again within this many seconds, the callee had not recovered, and the time with
# slow answers continues. Without this, a lasting step during which the breaker closed twice took
# three times `latency_patience`.
_RELAPSE = 5.0
# The same for a callee that was slow before: slow and fast times may alternate for long.
_SLOW_AGAIN = 30.0
# If a round was lost although some probes were good, the callee was seen to fail a share of its calls.
# So the later rounds of the outage need less evidence for that. At 60 % of failures, each round let
# a hundred calls through; how many probes in a row must be good is not changed.
_ODDS_AFTER = 0.27
# Each good probe widens the window by this much until enough probes were good: after one round
# trip, a window of one is a window of five. If the window doubled, as in TCP's slow start, a key
# with 2,000 calls a second took half a second longer to recover. If it tripled, one outage harmed
# 960 calls there instead of 850.
_WIDENING = 4


class Step(enum.Enum):
    """What the vote of one more call of an outage leads to."""

    NOTHING = "nothing"
    """There is nothing to decide."""
    UNDECIDED = "undecided"
    """The round is not decided, but slow answers may be the new normal: check that."""
    LOST = "lost"
    """Too many probes of the round were bad."""
    RECOVERED = "recovered"
    """Enough probes were good."""


class Recovery:
    """One outage: its probes, and what they showed so far.

    It lasts from the opening, or from the limit where calls were only slow, to the closing.

    At first one probe may be in flight at a time, and each good probe allows more. A round of probes
    begins with `begin_round`. It ends when the breaker closes or opens again.

    "Trouble" in the code is the same time, also while limited. Where a callee relapses soon, the trouble
    goes on: then its answers and `slow_since` are those of the outage before.

    Attributes:
        began: When the breaker opened or was limited, in seconds.
        ended: When it closed, in seconds; infinite before.
        slow_since: If this outage is a relapse, when the trouble began; else equal to `began`. In
            seconds.
        first_token: Token of the first suspicious call. Earlier calls do not count in the outage.
        run: Bad calls of the suspicion that opened the breaker; 0 if it opened for another reason.
        giving_way: When a call may begin although others that wait for their client have the places.
        first_round: Whether no round of probes was lost yet.
        window: Places that good probes have earned, >= 1.
        spare: Places beside those of the window or the limit; see `count_silent`.
        silent: Calls in a row that ended and said nothing.
        alive: While limited, answers in a row that say nothing of the latency.
        bad: Bad probes of this round.
        answers: The latencies of the calls since the first suspicious one.
        crowding: Whether probes fail only because there are several at a time.
        share: The test of the share of good probes of this round.
        waits: The waits that the callee has named while nobody was served.
        was_slow: Whether it began with slow calls, not with failed ones.
        peak: Most probes of this round in flight at a time.
        outliving: The probes that have outlived those that failed, and count as good.
    """

    __slots__ = (
        "_alone_until",
        "_enough_good",
        "_fails_a_share",
        "_pause",
        "_policy",
        "alive",
        "answers",
        "bad",
        "began",
        "crowding",
        "ended",
        "first_round",
        "first_token",
        "giving_way",
        "outliving",
        "peak",
        "run",
        "share",
        "silent",
        "slow_since",
        "spare",
        "waits",
        "was_slow",
        "window",
    )

    def __init__(
        self,
        policy: Policy,
        began: float,
        first_token: int,
        run: int,
        before: Recovery | None = None,
        enough_good: float = 0.5,
    ) -> None:
        self._policy = policy
        self._enough_good = enough_good
        self.began = began
        soon = _SLOW_AGAIN if before is not None and before.was_slow else _RELAPSE
        relapsed = before is not None and began - before.ended < soon
        self.slow_since: float = before.slow_since if before is not None and relapsed else began
        self.ended: float = inf
        self.first_token = first_token
        self.run = run
        self.first_round = True
        self._fails_a_share = False
        self._alone_until = 0  # the last probe that was alone when it was counted before its end
        self.was_slow: bool = False
        self._pause = 0.0  # seconds of the last pause without a time
        self.waits = NamedWaits()
        # A relapse is the same trouble, so its answers go on like its time.
        self.answers: Answers = (
            before.answers if before is not None and relapsed else Answers(policy, began)
        )
        self.crowding: Crowding = before.crowding if before is not None and relapsed else Crowding()
        self.giving_way = GivingWay()
        self.outliving = Outliving(first_token)
        self.begin_round(1)

    def adopt(self, policy: Policy, enough_good: float) -> None:
        """Go on by another policy; the share of good probes counts from the next round on."""
        self._policy, self._enough_good = policy, enough_good
        self.answers.policy = policy

    def begin_round(self, window: int) -> None:
        """Begin a round of probes, `window` at a time."""
        self.window = window
        self.peak = 0
        self.spare = self.silent = self.alive = 0
        self.bad = 0
        odds = _ODDS_AFTER if self._fails_a_share else 1.0
        self.share = ShareTest(self._enough_good, odds)
        self.outliving.counted.clear()

    @property
    def places(self) -> int:
        """How many probes may be in flight: `window`, and `spare` ones for probes that said nothing."""
        return self.window + self.spare

    def count_silent(self, places: float) -> None:
        """Count a call that ended and said nothing.

        If as many in a row do as there are places, the places double. So if callers leave again and
        again before there is an answer, there is soon a place for each of them: what is not known to
        be dead refuses nobody. A callee that is dead costs no more: one bad probe opens again.

        Args:
            places: How many calls may be in flight at a time.
        """
        self.silent += 1
        if self.silent >= places:
            self.spare += self.silent
            self.silent = 0

    @property
    def good(self) -> int:
        """Good probes of this round."""
        return self.share.good

    def vote(self, vote: Vote, ending: Ending, concurrency: int, normal_bad_rate: float) -> Step:
        """Take a vote into account, and return what it leads to.

        Args:
            vote: The vote of the call.
            ending: How the call ended.
            concurrency: Usual number of calls in flight. The window must exceed it before it closes.
            normal_bad_rate: Share of bad calls that is normal, 0.0-1.0. Fewer probes must be good then.
        """
        self.silent = 0
        if not ending.wait and ending.token >= self.first_token:
            self.waits.forget()
        if vote is votes.HUNG:
            self.share.slow += 1
            return self._vote_bad(ending.token)
        if vote is votes.ANSWERING or vote is votes.ALIVE:
            return self._vote_good(concurrency, normal_bad_rate, ending.token)
        is_probe = vote in (votes.GOOD, votes.SLOW, votes.FAILED)
        if not is_probe and ending.token < self.first_token:
            return Step.NOTHING  # the call began before the outage, so it is no evidence about it
        failed = vote in (votes.FAILED, votes.LOST)
        self.answers.add(inf if failed else ending.latency, ending.now)
        if vote is votes.GOOD:
            return self._vote_good(concurrency, normal_bad_rate, ending.token)
        if is_probe:
            if vote is votes.FAILED:
                self.share.failed += 1
            elif self.tolerates_slowness:
                return self._vote_good(concurrency, normal_bad_rate, ending.token)
            else:
                self.share.slow += 1
            return self._vote_bad(ending.token)
        # An answer to a call that was overdue or outdated: the callee is slow, but not dead.
        return Step.NOTHING if failed else Step.UNDECIDED

    @property
    def tolerates_slowness(self) -> bool:
        """Whether a slow probe is good: calls failed, and now it answers.

        If it is slow, a limit deals with that. So a probe has time until its answer is hopeless.
        """
        return self.run > 0 and not self.was_slow

    @property
    def is_crowded(self) -> bool:
        """Whether calls fail because there are too many: a limit helps more than no call at all."""
        return not self.was_slow and self.good > 0 and self.crowding.is_sure

    def outlive(self, calls: InFlight, now: float) -> None:
        """Count the probes that have outlived those that failed; it closes when one was answered."""
        for token in self.outliving.count(calls, now):
            self.silent = 0
            self.crowding.add(alone=self.peak <= 1, good=True)
            self._alone_until = token if self.peak <= 1 else self._alone_until
            self.share.good += 1
            self.window = _wider(self.window, enough=False)

    def _vote_good(self, concurrency: int, normal_bad_rate: float, token: int) -> Step:
        self.outliving.note_answered(token)
        if token > self.outliving.latest:  # else it was counted before
            self.crowding.add(alone=self.peak <= 1, good=True)
            self.share.good += 1
        enough = self._is_enough(self.good, self.share, normal_bad_rate)
        self.window = _wider(self.window, enough=enough)
        if self.was_slow:  # the load then returns by a limit, which ends at the first slow calls
            return Step.RECOVERED if self.good >= FAST_CALLS else Step.NOTHING
        return Step.RECOVERED if enough and self.window > concurrency else Step.NOTHING

    def _vote_bad(self, token: int) -> Step:
        self.note_bad(token)
        self.crowding.add(alone=self.peak <= 1, good=False)
        lost = self.share.is_enough is False or (self.good == 0 and self.window == 1)
        self.first_round = self.first_round and not lost
        self._fails_a_share = self._fails_a_share or (lost and self.good > 0)
        return Step.LOST if lost else Step.UNDECIDED

    def note_bad(self, token: int) -> None:
        """Count a bad probe."""
        self.bad += 1
        self.take_back(token)

    def take_back(self, token: int) -> None:
        """Note a probe that was not answered well: it may have been counted as good before its end."""
        if self.outliving.take_back(token):
            self.crowding.take_back(alone=token <= self._alone_until)
            self.share.good -= 1
            self.window = max(self.window - _WIDENING, 1)

    def needed(self, concurrency: int, normal_bad_rate: float) -> int:
        """How many probes of this round must be good to end it, if no more are bad.

        Args:
            concurrency: As for `vote`.
            normal_bad_rate: As for `vote`.
        """
        if self.was_slow:
            return FAST_CALLS
        good, window, enough, share = self.good, self.window, False, copy(self.share)
        while not enough or window <= concurrency:
            good += 1
            share.good += 1
            enough = self._is_enough(good, share, normal_bad_rate)
            window = _wider(window, enough=enough)
        return good

    def _is_enough(self, good: int, share: ShareTest, normal_bad_rate: float) -> bool:
        """Whether `good` good probes are enough, apart from the size of the window."""
        probes = good + self.bad
        return good >= self._enough(normal_bad_rate, probes) or (
            probes >= self._policy.half_open_requests and share.is_enough is True
        )

    def _enough(self, normal_bad_rate: float, probes: int) -> int:
        """How many of some probes must be good, apart from the size of the window."""
        policy = self._policy
        share = policy.success_rate_threshold * (1.0 - normal_bad_rate)
        # Rounded first, because of floating-point errors: 0.8 * 5 must need four, not five.
        return max(ceil(round(share * max(policy.half_open_requests, probes), 9)), 1)

    def is_patient(self, now: float) -> bool:
        """Whether calls have been slow for so long that it may be normal."""
        return now - self.slow_since >= self._policy.latency_patience

    def next_pause(self, longest: float) -> float:
        """Seconds of the pause for a callee that asks for one and names no time: they grow.

        Args:
            longest: The longest pause without a time, in seconds.
        """
        policy = self._policy
        self._pause = min(longer_pause(self._pause, policy), longest)
        return min(max(self._pause, policy.open_for), policy.max_open_for)

    def believe(self, named: float, now: float, since: float = inf, least: float = 0.0) -> float:
        """For how many seconds to send no probe, since the callee named a wait; see `named_waits.py`.

        Once a share was served, it is the same part as of a pause that names no time.
        """
        part = PART if self._fails_a_share else 1.0
        return self.waits.believe(named, now, min(since, now), part, least)

    def was_momentary(self, now: float) -> bool:
        """Whether the outage was so short that it may have been a run of bad calls by chance."""
        return self.run > 0 and self.first_round and now - self.began < _MOMENTARY

    def new_normal(
        self,
        now: float,
        usual: Usual,
        missing: int,
        rate: float,
        patience: float | None,
        answer_takes: float = 0.0,
        *,
        limited: bool = False,
    ) -> float | None:
        """The latency in seconds to accept as the new normal; None while there is none.

        Args:
            now: Seconds.
            usual: What was usual before calls became slow.
            missing: Number of overdue calls that have not ended.
            rate: Calls per second, refused ones included; 0.0 if unknown.
            patience: As for `Answers.new_normal`.
            answer_takes: Seconds until the next probe is answered at the latest, if the next chance
                to accept a latency is then; 0.0 if it is when the probe is sent.
            limited: As for `Answers.new_normal`.
        """
        # Accept at the last chance before `latency_patience` ends, not at the first one after it.
        age = now - self.slow_since + self.time_to_next_probe(now, rate) + answer_takes
        # The time since the trouble began is none for which the old latency was known.
        known_for = max(usual.known_for - (now - self.slow_since), 0.0)
        usual = usual._replace(known_for=known_for)
        return self.answers.new_normal(now, usual, missing, age, patience, limited=limited)

    def time_to_next_probe(self, now: float, rate: float) -> float:
        """Seconds between two rounds of probes, by the square-root law of inventory theory.

        A probe every w seconds wastes 1/w calls a second for the rest of the outage, and
        rate * w / 2 good calls are refused after it. If the rest lasts L seconds, the sum is least
        at w = sqrt(2 * L / rate). The rest is expected to last `typical_outage`. If the outage has
        lasted longer already, the rest is expected to last as long again. Young outages are probed
        sooner, after their own age: many are over in a second.

        Args:
            now: Seconds.
            rate: Calls per second, refused ones included; 0.0 if unknown.
        """
        policy = self._policy
        age = now - self.began
        length = max(age, policy.typical_outage)
        wait = sqrt(2.0 * length / rate) if rate > 0.0 else policy.max_open_for
        return min(max(min(wait, age), policy.open_for), policy.max_open_for)


def _wider(window: int, *, enough: bool) -> int:
    """The window after one more good probe; `enough` if no more are needed for the decision."""
    # Once enough probes were good, the window only limits how fast the load returns.
    return window + (window if enough else _WIDENING)
