"""The score of a run: harmed calls, openings, delays."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import asdict, dataclass, field
from statistics import fmean, median

from benchmarks.detection.simulator import Run, World

# Number of calls after which the baseline of a key has been learned.
LEARNED = 20_000
# Seconds until a new normal should be accepted: the default `latency_patience`.
PATIENCE = 120.0
# Seconds. An opening within this time after the end of a fault still belongs to the fault: its
# calls end late, and the breaker may open once more after it has closed.
_AFTERMATH = 5.0


@dataclass(slots=True)
class Score:
    """Sums over the runs of one contender in one scenario.

    A call is *bad* if a fault makes it fail or be slow. Everyday failures of a healthy service are
    not counted as bad, because every breaker admits them; they are in `everyday`. `unavoidable`
    counts the calls that even a breaker that knows all would harm, if it admits or refuses all
    calls of each second: the good calls among many bad ones, or the bad among many good ones.
    """

    runs: int = 0
    calls: int = 0
    good: int = 0
    bad: int = 0
    everyday: int = 0
    unavoidable: int = 0
    bad_admitted: int = 0
    good_refused: int = 0
    good_refused_after: int = 0
    healthy_calls: int = 0
    false_openings: int = 0
    learned_calls: int = 0
    learned_false_openings: int = 0
    refused_after_patience: int = 0
    openings: int = 0
    faults: int = 0
    noticed: int = 0
    wasted: list[int] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    harmed: list[int] = field(default_factory=list)
    recoveries: list[float] = field(default_factory=list)

    @property
    def harm(self) -> float:
        """(Bad calls admitted + good calls refused) / all calls, 0.0-1.0."""
        return (self.bad_admitted + self.good_refused) / max(self.calls, 1)

    @property
    def refused(self) -> float:
        """Share of the good calls that were refused, 0.0-1.0."""
        return self.good_refused / max(self.good, 1)

    @property
    def let_through(self) -> float:
        """Share of the bad calls that were admitted, 0.0-1.0."""
        return self.bad_admitted / max(self.bad, 1)

    @property
    def false_per_million(self) -> float:
        """False openings per million calls outside of faults."""
        return 1e6 * self.false_openings / max(self.healthy_calls, 1)

    def summary(self) -> dict[str, float | int | None]:
        """Return the figures for JSON."""
        figures = {
            name: value for name, value in asdict(self).items() if not isinstance(value, list)
        }
        return figures | {
            "harm": self.harm,
            "refused": self.refused,
            "let_through": self.let_through,
            "false_per_million": self.false_per_million,
            "wasted": median(self.wasted) if self.wasted else None,
            "wasted_mean": fmean(self.wasted) if self.wasted else None,
            "delay": median(self.delays) if self.delays else None,
            "harmed": fmean(self.harmed) if self.harmed else None,
            "recovery": fmean(self.recoveries) if self.recoveries else None,
        }

    def add(self, other: Score) -> None:
        """Add the sums of another score."""
        for name in self.__slots__:
            # The operator joins lists and adds counts.
            setattr(self, name, getattr(self, name) + getattr(other, name))


def score(world: World, run: Run) -> Score:
    """Score one run."""
    result = Score(runs=1, calls=len(world), bad=sum(world.bad), openings=len(run.openings))
    result.good = result.calls - result.bad
    for ending, bad, admitted in zip(world.endings, world.bad, run.admitted, strict=True):
        if bad:
            result.bad_admitted += admitted
        else:
            result.good_refused += not admitted
            result.everyday += ending == 1
    result.unavoidable = _unavoidable(world)
    result.healthy_calls = result.calls
    spans = [(fault.start, fault.end) for fault in world.faults]
    for number, (start, end) in enumerate(spans):
        following = spans[number + 1][0] if number + 1 < len(spans) else float("inf")
        _score_fault(result, world, run, start, end, following)
    false = [
        at
        for at in run.openings
        if not any(start <= at <= end + _AFTERMATH for start, end in spans)
    ]
    result.false_openings = len(false)
    if not spans and len(world) > LEARNED:
        result.learned_calls = len(world) - LEARNED
        result.learned_false_openings = sum(at >= world.starts[LEARNED] for at in false)
    if world.changed is not None:
        late = bisect_right(world.starts, world.changed + PATIENCE)
        result.refused_after_patience = run.admitted.count(0, late)
    return result


def _unavoidable(world: World) -> int:
    seconds: dict[int, list[int]] = {}
    for start, bad in zip(world.starts, world.bad, strict=True):
        seconds.setdefault(int(start), [0, 0])[bad] += 1
    return sum(min(counts) for counts in seconds.values())


def _score_fault(
    result: Score, world: World, run: Run, start: float, end: float, following: float
) -> None:
    first, last = bisect_left(world.starts, start), bisect_right(world.starts, end)
    until = bisect_left(world.starts, following)
    result.faults += 1
    result.healthy_calls -= last - first
    opening = next((at for at in run.openings if start <= at <= end), None)
    # A breaker that already refuses when the fault begins wastes no call. Its opening counts as a
    # false one.
    refusing = first < last and not run.admitted[first]
    stop = first if refusing else bisect_right(world.starts, end if opening is None else opening)
    result.wasted.append(sum(world.bad[i] & run.admitted[i] for i in range(first, min(stop, last))))
    if opening is not None:
        result.noticed += 1
        result.delays.append(opening - start)
    through = sum(world.bad[i] & run.admitted[i] for i in range(first, last))
    refused_after, recovered = 0, end
    for index in range(last, until):
        if not run.admitted[index] and not world.bad[index]:
            refused_after += 1
            recovered = world.starts[index]
    # All good calls refused before the next fault count, also those of a later false opening.
    result.good_refused_after += refused_after
    result.harmed.append(through + refused_after)
    result.recoveries.append(recovered - end)
