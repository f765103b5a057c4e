"""What a scenario is, what it yields, and what it is held to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from statistics import fmean

from benchmarks.everyday.key import Key
from recloser import State

REFUSED = "good calls refused, %"
CHANGES = "changes of state"


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on one figure.

    Attributes:
        figure: Its name in `Result.figures`.
        bound: The highest value allowed, or the lowest if `least`; None if it is only shown.
        least: Whether the bound is the lowest value allowed.
        always: Whether every run is held to it, and not the mean of the runs.
    """

    figure: str
    bound: float | None
    least: bool = False
    always: bool = False

    def met(self, value: float) -> bool:
        if self.bound is None:
            return True
        return value >= self.bound if self.least else value <= self.bound

    def __str__(self) -> str:
        if self.bound is None:
            return f"{self.figure}: no goal"
        return f"{self.figure}: {'>=' if self.least else '<='} {self.bound:g}"


REFUSED_2 = Goal(REFUSED, 2.0)


@dataclass(frozen=True, slots=True)
class Result:
    """What one run yields.

    Attributes:
        calls: Calls that arrived while it was measured.
        good: Calls that ended well, or would have.
        good_refused: Those of them that were refused.
        changes: Changes of state, all of them.
        openings: Changes from a state that admits calls to open.
        limitings: Changes away from closed.
        state: The state at the end.
        figures: Further figures, by name.
        variant: The variant of the scenario; "" if it has none.
    """

    calls: int
    good: int
    good_refused: int
    changes: int
    openings: int
    limitings: int
    state: str
    figures: dict[str, float] = field(default_factory=dict[str, float])
    variant: str = ""

    def __getitem__(self, figure: str) -> float:
        if figure == REFUSED:
            return 100 * self.good_refused / self.good if self.good else 0.0
        return float(self.changes) if figure == CHANGES else self.figures[figure]


def result(key: Key, variant: str = "", figures: dict[str, float] | None = None) -> Result:
    """Return what a key counted since its last `measure`, and further figures by name."""
    tally = key.tally
    transitions = key.contender.transitions[tally.first :]
    return Result(
        tally.calls,
        tally.good,
        tally.good_refused,
        len(transitions),
        sum(
            t.after is State.OPEN and t.before not in (State.OPEN, State.HALF_OPEN)
            for t in transitions
        ),
        sum(t.before is State.CLOSED for t in transitions),
        key.state.value,
        figures or {},
        variant,
    )


Play = Callable[[float, int], Result]
"""Runs one variant with one seed."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named scenario.

    Attributes:
        name: The name of its row.
        group: The heading of its table.
        play: Runs it.
        goals: What it is held to.
        variants: The variants of a full run, such as factors of latency.
        quick: Those of a quick run; None for the same, an empty tuple to leave it out.
    """

    name: str
    group: str
    play: Play
    goals: tuple[Goal, ...]
    variants: tuple[float, ...] = (0.0,)
    quick: tuple[float, ...] | None = None

    def chosen(self, *, quick: bool) -> tuple[float, ...]:
        return self.quick if quick and self.quick is not None else self.variants


@dataclass(frozen=True, slots=True)
class Judged:
    """A goal and what was measured for it.

    Attributes:
        goal: The goal.
        mean: Mean over all runs.
        low: The lowest value.
        high: The highest value.
        worst: The variant with the worst mean, "" if there is one variant only.
        missed: The variants that missed the goal.
        of: How many variants there are.
    """

    goal: Goal
    mean: float
    low: float
    high: float
    worst: str
    missed: tuple[str, ...]
    of: int

    @property
    def met(self) -> bool:
        return not self.missed

    def as_dict(self) -> dict[str, object]:
        return {**asdict(self), "met": self.met}


def judge(goal: Goal, results: list[Result]) -> Judged:
    """Compare the runs of one scenario with a goal, variant by variant."""
    values: dict[str, list[float]] = {}
    for one in results:
        values.setdefault(one.variant, []).append(one[goal.figure])
    extreme = min if goal.least else max

    def told(variant: str) -> float:
        return extreme(values[variant]) if goal.always else fmean(values[variant])

    every = [value for of_variant in values.values() for value in of_variant]
    return Judged(
        goal,
        fmean(every),
        min(every),
        max(every),
        extreme(values, key=told) if len(values) > 1 else "",
        tuple(variant for variant in values if not goal.met(told(variant))),
        len(values),
    )
