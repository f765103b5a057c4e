"""Latency that is explained by something known of the call: a label, or the size of its work.

A prompt of 16,000 tokens takes longer than one of 500, and that is no evidence about the callee. So
each label, or octave of sizes, has a ratio: how many times the typical latency its calls take. A
latency is divided by the ratio before it is judged and learned, and is then called comparable.
Threshold, histogram and limit work on comparable latencies.

The model is ln(latency) = base + ln(ratio) + chance. Each answer corrects both, by its residual:

    base    It follows quickly, because a callee that becomes slower is slower for all labels. It is
            used here only. The threshold does not follow it, so a slow callee stays visible.
    ratio   It follows slowly, and the more slowly, the more of the calls are of its kind. So it learns
            how a label differs from the others, and hardly ever how slow the callee is. If there are
            calls without a label, their ratio is 1, and the others are relative to it.

While there is a suspicion, or the breaker is not closed, ratios follow much more slowly still.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import exp, inf, isfinite, log

from recloser._circuit import votes
from recloser._circuit.baseline import Baseline
from recloser._circuit.counts import Counts
from recloser._circuit.histogram import median
from recloser._circuit.hopeless import hopeless_if_few
from recloser._circuit.in_flight import InFlight, Timing
from recloser._circuit.kinds import LONG_POLL, NOTHING, Kind, Level
from recloser._circuit.votes import Ending, Vote, vote_of
from recloser._outcome import Outcome
from recloser._policy import Policy
from recloser._stall import StallWatch

# What is learned of all kinds together that have no place of their own.
_OTHER = NOTHING
# Each key tells this many kinds apart. All further ones share the kind `_OTHER`. The calls to a language
# model may have six sizes, each with five limits of the answer, with and without a stream.
_MOST_KINDS = 64
# A kind is known after `_FIRST` answers; after `_FIRST_IN_TROUBLE` if some of them came during trouble.
# The median of eight is wrong by 13 % where sigma is 0.3. That is far less than a threshold is away.
_FIRST, _FIRST_IN_TROUBLE = 8, 24
# Parts of its residual by which one answer corrects the base and the ratio.
_OF_BASE, _OF_RATIO, _OF_RATIO_IN_TROUBLE = 0.1, 0.02, 0.004
# A residual counts as no more than that, in units of ln(seconds): a factor of 2.7.
_FAR = 1.0
# Shares of the calls are averaged over one to two times this many calls.
_MEMORY = 1000.0
# Something becomes known late of a call that lasted for the part `_LATE` of the slow threshold before.
# If that is so for more than the share `_OFTEN` of the calls, a call in flight of which nothing is known
# may still be of any kind that has at least the share `_NOT_RARE`.
_LATE = 0.5
_OFTEN, _NOT_RARE = 0.05, 0.02
# This many unlabelled latencies are looked at in one go.
_SAMPLE = 16
# Slow thresholds between two checks of the calls that may take longer than others.
_CHECK_EVERY = 1.0 / 32.0
_SHORTEST = 1e-6  # seconds
_ANSWERED = (votes.GOOD, votes.SLOW, votes.CAME_BACK)


class Explained:
    """The kinds of the calls of one key, and how long calls of each kind take.

    It is made with the first call of a key of which something is known.

    Attributes:
        kinds: The kind of each call in flight of which something is known, by token.
        longest_answer: The longest latency of any kind while the baseline is not known, in seconds.
        check_at: When a call that may take longer than others can be overdue; seconds.
        policy: The limits.
    """

    __slots__ = (
        "_answers",
        "_base",
        "_baseline",
        "_calls",
        "_explained_late",
        "_first_unlabelled",
        "_levels",
        "_unlabelled",
        "check_at",
        "kinds",
        "longest_answer",
        "policy",
    )

    def __init__(self, baseline: Baseline, policy: Policy) -> None:
        self._baseline = baseline
        self.policy = policy
        self.kinds: dict[int, Kind] = {}
        self.check_at = inf
        self.forget()

    def forget(self) -> None:
        """Forget what was learned."""
        self._levels: dict[Kind, Level] = {}
        # ln(typical comparable latency in seconds) of late; None while unknown.
        self._base: float | None = None
        # Latencies of the first calls without a label, as ln(seconds), if a label is the yardstick
        # until they are known; None otherwise.
        self._first_unlabelled: list[float] | None = None
        # Of late: calls without a kind, calls explained only after they began, and all calls.
        self._unlabelled = min(float(self._baseline.count), _MEMORY)
        self._explained_late = 0.0
        self._calls = self._unlabelled
        self._answers = self._baseline.count
        self.longest_answer = self._baseline.longest_answer

    # The ratio of a call

    def ratio(self, kind: Kind) -> float:
        """How many times the typical latency its calls take; infinite while that is unknown."""
        level = self._levels.get(self._known_as(kind))
        if level is None or level.first is not None or kind[0] == LONG_POLL:
            return inf
        return exp(level.log_ratio)

    def _known_as(self, kind: Kind) -> Kind:
        is_one_more = kind not in self._levels and len(self._levels) >= _MOST_KINDS
        return _OTHER if is_one_more else kind

    def is_long_poll(self, token: int) -> bool:
        """Whether a call in flight is a long poll."""
        return self.kinds.get(token, NOTHING)[0] == LONG_POLL

    def ratio_in_flight(self, token: int) -> float:
        """By how much a call in flight may take longer than the threshold; infinite if unknown."""
        kind = self.kinds.get(token)
        if kind is None:
            return self.patience
        ratio = self.ratio(kind)
        if ratio < inf and self._known_as(kind) is _OTHER:
            return max(ratio, self._longest_usual(None))  # it may be like any other
        patience = self._patience_for(kind[0])
        if ratio < inf:
            return max(ratio, patience) if patience > 1.0 else ratio
        return patience if patience > 1.0 else inf

    @property
    def patience(self) -> float:
        """By how much a call in flight of which nothing is known may take longer; >= 1.

        Where the sizes of many calls become known at their end only, it may be of any usual kind.
        """
        return self._patience_for(None)

    def _patience_for(self, label: str | None) -> float:
        """The same for a call of which only the label is known; None for none."""
        return 1.0 if self._explained_late <= _OFTEN * self._calls else self._longest_usual(label)

    def _longest_usual(self, label: str | None) -> float:
        """The highest ratio of the usual kinds with a label, or of all for None; >= 1."""
        rare = _NOT_RARE * self._calls
        usual = [
            kind
            for kind, level in self._levels.copy().items()
            if level.calls >= rare and (label is None or kind[0] == label)
        ]
        return max([1.0, *filter(isfinite, map(self.ratio, usual))])

    @property
    def longest(self) -> float:
        """The highest ratio of the calls in flight that is known, >= 1."""
        kinds = set(self.kinds.copy().values())
        return max([self.patience, *filter(isfinite, map(self.ratio, kinds))])

    def slow_after(self, ratio: float) -> float:
        """The slow threshold of calls with a ratio, in seconds."""
        policy = self.policy
        slow = max(self._baseline.threshold * ratio, policy.slow_floor)
        return min(slow, policy.slow_ceiling)

    def slow_after_token(self, token: int) -> float:
        """After how many seconds a call in flight is overdue; infinite for a long poll."""
        if self.is_long_poll(token):
            return inf
        if not self._baseline.known:
            # A label says that such calls may take long, whatever is known of others.
            label = self.kinds.get(token, NOTHING)[0]
            known = not label or any(label == each for each, _ in self._levels)
            return self.hopeless_at_first() if known else self.policy.slow_ceiling
        return self.slow_after(self.ratio_in_flight(token))

    def hopeless_at_first(self) -> float:
        """As `Baseline.hopeless_at_first`, by the answers to calls of all kinds."""
        return hopeless_if_few(self.longest_answer, self._answers, self.policy.slow_ceiling)

    # Calls in flight that may take longer than others

    def may_take_longer(self, token: int, call: Timing, now: float) -> bool:
        """Whether a call is not overdue, though others would be."""
        is_waiting = token in self.kinds and call.answered == inf
        return is_waiting and call.started + self.slow_after_token(token) > now

    def note_late(self, token: int, kind: Kind, calls: InFlight, now: float) -> None:
        """Note the kind of a call that began before; from now on its end is a decision."""
        call = None if kind == NOTHING else calls.voting.pop(token, None)
        if kind == NOTHING or (call is None and token not in calls):
            self.kinds.pop(token, None)  # it has ended meanwhile
            return
        self.kinds[token] = kind
        timing = calls.answering.get(token) if call is None else call
        if timing is not None:
            waited = min(timing.answered, now) - timing.started
            if waited > _LATE * self._baseline.threshold:
                self._explained_late += 1.0
        if call is not None:
            self.watch(token, call, calls)

    def rename(self, before: int, token: int, calls: InFlight) -> None:
        """Note that a call in `voting` has another token now."""
        kind = self.kinds.pop(before, None)
        if kind is not None and (call := calls.voting.pop(token, None)) is not None:
            self.kinds[token] = kind
            self.watch(token, call, calls)

    def watch(self, token: int, call: Timing, calls: InFlight) -> None:
        """Watch a call removed from `voting` here: it is not overdue with the others."""
        calls.note_answering(token, call)
        due = call.started + self.slow_after_token(token)
        self.check_at = min(self.check_at, due)

    def take_overdue(self, calls: InFlight, now: float) -> Iterator[tuple[int, Timing]]:
        """Remove the watched calls that are overdue, oldest first."""
        if now < self.check_at and self._baseline.known:
            return
        self.check_at, check_at = -inf, inf  # check again if the caller takes only some
        for token, call in calls.answering.copy().items():
            if token not in self.kinds or call.answered < inf:
                continue
            due = call.started + self.slow_after_token(token)
            if due > now:
                # Not too often: each check looks at all of them.
                soonest = now + _CHECK_EVERY * self._baseline.threshold
                check_at = min(check_at, max(due, soonest))
            elif calls.answering.pop(token, None) is not None:
                yield token, call
        self.check_at = check_at

    # The end of a call

    def vote(
        self, ending: Ending, calls: InFlight, counts: Counts, stalls: StallWatch, *, calm: bool
    ) -> Vote:
        """End a call in flight as `vote_of` does, and make its latency comparable.

        A call of an unknown kind has no vote if it was answered within `Policy.slow_ceiling`.

        Args:
            ending: How it ended.
            calls: The calls in flight.
            counts: Where it is counted.
            stalls: Reports for how long the process stood still.
            calm: Whether there is no trouble: the breaker is closed, and there is no suspicion.
        """
        kind = self.kinds.pop(ending.token, None)
        if kind is None:
            answered = ending.outcome is Outcome.SUCCESS
            ratio = 1.0 if answered else self.patience
            vote = vote_of(ending, calls, counts, self.slow_after(ratio), stalls)
            ending.waited /= ratio
            if vote in _ANSWERED:
                self._count_answer(ending.latency)
                self.learn_unlabelled((ending.latency,), ending.now)
            return vote
        ratio, is_poll = self.ratio(kind), kind[0] == LONG_POLL
        if (call := calls.answering.get(ending.token)) is not None and call.answered == inf:
            # It was watched and has not begun to answer: it may have hung.
            calls.voting[ending.token] = calls.answering.pop(ending.token)
        slow_after = inf if is_poll else self.slow_after(ratio)
        vote = vote_of(ending, calls, counts, slow_after, stalls)
        if vote in _ANSWERED and not is_poll:
            self._count_answer(ending.latency)
            self._learn(kind, log(max(ending.latency, _SHORTEST)), calm=calm)
        # How long it waited in vain says nothing if it is not known how long such calls take.
        ending.waited /= ratio
        if ratio < inf:
            ending.latency /= ratio
        elif vote is votes.GOOD:
            return votes.UNKNOWN
        if vote is votes.GOOD:  # also where it took less than `Policy.slow_floor`
            ending.latency = min(ending.latency, self._baseline.threshold)
        return vote

    def _count_answer(self, latency: float) -> None:
        if not self._baseline.known:
            self._answers += 1
            self.longest_answer = max(self.longest_answer, latency)

    def _learn(self, kind: Kind, latency: float, *, calm: bool) -> None:
        """Learn from the answer to a call of a kind; its latency as ln(seconds)."""
        kind = self._known_as(kind)
        level = self._levels.get(kind)
        if level is None:
            level = self._levels[kind] = Level()
        level.calls += 1.0
        self._count(1.0)
        base = self._base
        if base is None:
            base = self._begin(level, latency)
        if level.first is not None:
            self._introduce(level, level.first, latency, base, calm=calm)
            return
        residual = _cut(latency - base - level.log_ratio)
        # The first answers of a key, or of a kind, weigh more.
        self._base = base + max(_OF_BASE, 1.0 / self._calls) * residual
        gain = max(_OF_RATIO, 1.0 / max(level.calls, _FIRST)) if calm else _OF_RATIO_IN_TROUBLE
        level.log_ratio += gain * (1.0 - level.calls / self._calls) * residual

    def _begin(self, level: Level, latency: float) -> float:
        """The base before the first answer: what was known, or the first kind is the yardstick."""
        self._base = latency
        if self._baseline.count:
            (typical,) = self._baseline.history().quantiles(0.5)
            self._base = log(typical)
        else:
            level.first = None
            self._first_unlabelled = []
        return self._base

    def _introduce(
        self, level: Level, first: list[float], latency: float, base: float, *, calm: bool
    ) -> None:
        first.append(latency)
        level.in_trouble |= not calm
        if len(first) < (_FIRST_IN_TROUBLE if level.in_trouble else _FIRST):
            return
        level.log_ratio = log_ratio = median(first) - base
        level.first = None
        if not level.in_trouble:
            self._baseline.learn(exp(each - log_ratio) for each in first)

    def learn_unlabelled(self, latencies: Sequence[float], now: float) -> None:
        """Learn from good calls of which nothing is known; latencies in seconds."""
        calls = len(latencies)
        self._unlabelled += calls
        self._count(calls)
        base = self._base
        if base is None:
            return
        # The step is odd: if calls of two kinds alternate, an even step would sample only one kind.
        sample = [log(max(each, _SHORTEST)) for each in latencies[:: calls // _SAMPLE | 1]]
        if self._first_unlabelled is not None:
            self._first_unlabelled += sample
            if len(self._first_unlabelled) >= _FIRST:
                self._make_yardstick(self._first_unlabelled, base, now)
            return
        residuals = [_cut(latency - base) for latency in sample]
        residual = sum(residuals) / len(residuals)
        self._base = base + (1.0 - (1.0 - _OF_BASE) ** calls) * residual

    def _make_yardstick(self, first: list[float], base: float, now: float) -> None:
        """From now on, calls without a label have the ratio 1."""
        self._base, self._first_unlabelled = median(first), None
        for level in self._levels.values():
            level.log_ratio += base - self._base
        baseline = self._baseline
        if not baseline.known:
            baseline.reset()
            baseline.learn(map(exp, first))
        elif 2.0 * self._unlabelled < self._calls:
            baseline.shift(exp(self._base - base), now)

    def _count(self, calls: float) -> None:
        self._calls += calls
        if self._calls <= 2.0 * _MEMORY:
            return
        self._calls *= 0.5
        self._unlabelled *= 0.5
        self._explained_late *= 0.5
        for kind, level in [*self._levels.items()]:
            level.calls *= 0.5
            if level.calls < 1.0 and len(self._levels) >= _MOST_KINDS:
                del self._levels[kind]  # another one may need the place


def _cut(residual: float) -> float:
    return min(max(residual, -_FAR), _FAR)
