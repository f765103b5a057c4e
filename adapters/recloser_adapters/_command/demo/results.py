"""The results of a run: the figures of the summary, and the expectations that were met or not."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from recloser import Policy
from recloser_adapters._command.demo.plan import AFFECTED, ARMS, BARE, GUARDED, OTHER_ROUTES, SLOW
from recloser_adapters._command.demo.record import (
    CALM,
    SERVING,
    Call,
    Change,
    ObservedPhase,
    Record,
)

# Seconds that 99 % of the refusals may take, on a machine that also runs the rest of the demo. A
# refusal takes a millisecond or two. The callers of the other app wait for three seconds.
AT_ONCE = 0.1
# On a busy machine they may take longer. Two processes must get the processor for each refusal. The
# load measures how long one process waits, at the 99th percentile. The limit is twice the time that
# two processes wait: four waits.
WAITS = 4
# Seconds below which no answer is slow: the default of `Policy.slow_floor`.
SLOW_FROM = Policy().slow_floor
# The calls that may be wasted, as a share of those that the app without a breaker wastes in the same
# outage. Where calls are slow but come back, the breaker first finds out whether fewer are faster.
# The demo knows its upstream for some seconds only, and slow answers are refused no longer than that.
SPARED, SPARED_IF_LIMITED = 0.25, 1.0


@dataclass(frozen=True, slots=True)
class Outage:
    """One bad phase of the upstream. Times are in seconds; None if the event did not occur.

    Attributes:
        phase: The name of the phase.
        seconds: Its length.
        limited_after: Time from its beginning until the breaker limited the calls in flight.
        opened_after: Time from its beginning to the opening.
        wasted_before: Wasted calls that were sent before either.
        wasted_after: Wasted calls that were sent later, for example as probes.
        refused: Refused calls.
        recovered_after: Time from the upstream's recovery until everybody was let through again.
        bare_wasted: Calls that the app without a breaker wasted.
        bare_well_after: Time from the recovery to the last call that the app without a breaker
            wasted because of this phase.
    """

    phase: str
    seconds: float
    limited_after: float | None
    opened_after: float | None
    wasted_before: int
    wasted_after: int
    refused: int
    recovered_after: float | None
    bare_wasted: int
    bare_well_after: float


@dataclass(frozen=True, slots=True)
class Expectation:
    """One expectation, whether it was met, and what was measured."""

    promise: str
    met: bool
    found: str


@dataclass(frozen=True, slots=True)
class Results:
    """The results of a run.

    Attributes:
        outages: One per bad phase.
        refusal_p50: Median latency of the refusals in seconds; None without refusals.
        refusal_p99: 99th percentile of the latency of the refusals, in seconds.
        neighbours_well: Per app, the share of calls to the other routes that were answered well,
            0.0-1.0.
        waited: Per app, the sum of the seconds that callers waited in vain.
        calls: Per app, the number of calls.
        expectations: All expectations.
    """

    outages: list[Outage]
    refusal_p50: float | None
    refusal_p99: float | None
    neighbours_well: dict[str, float]
    waited: dict[str, float]
    calls: dict[str, int]
    expectations: list[Expectation]

    @property
    def failed(self) -> list[Expectation]:
        """The expectations that were not met."""
        return [each for each in self.expectations if not each.met]

    def as_json(self) -> dict[str, Any]:
        """Return the results as values for JSON. Times are in seconds, shares are 0.0-1.0."""
        figures = asdict(self)
        return {"ok": not self.failed, "bouts": figures.pop("outages"), **figures}


def evaluate(record: Record) -> Results:
    """Return the results of a run that is over."""
    outages = [_outage(record, phase) for phase in record.phases if phase.bad]
    refusals = sorted(call.seconds for call in record.calls if call.refused)
    p50, p99 = _quantile(refusals, 0.5), _quantile(refusals, 0.99)
    mine = {arm: [call for call in record.calls if call.arm == arm] for arm in ARMS}
    return Results(
        outages=outages,
        refusal_p50=p50,
        refusal_p99=p99,
        neighbours_well={arm: _share_well(mine[arm]) for arm in ARMS},
        waited={arm: sum(call.seconds for call in mine[arm] if call.wasted) for arm in ARMS},
        calls={arm: len(mine[arm]) for arm in ARMS},
        expectations=[
            *(each for outage in outages for each in _of_outage(outage)),
            _of_refusals(p99, _quantile(sorted(record.late), 0.99)),
            *_of_the_healthy(record),
        ],
    )


def _outage(record: Record, phase: ObservedPhase) -> Outage:
    end = phase.end if phase.end is not None else record.now
    limited, opened = record.first(phase, "limited"), record.first(phase, "open")
    acted, recovered = record.first(phase, "limited", "open"), record.recovered(phase)
    calls = record.sent_in(phase)
    wasted = [call for call in calls if call.wasted]
    before = sum(acted is None or call.sent <= acted for call in wasted)
    bare = [call for call in record.sent_in(phase, BARE) if call.wasted]
    return Outage(
        phase=phase.name,
        seconds=end - phase.begin,
        limited_after=None if limited is None else limited - phase.begin,
        opened_after=None if opened is None else opened - phase.begin,
        wasted_before=before,
        wasted_after=len(wasted) - before,
        refused=sum(call.refused for call in calls),
        recovered_after=None if recovered is None else recovered - end,
        bare_wasted=len(bare),
        bare_well_after=max([0.0, *(call.ended - end for call in _still_wasted(record, phase))]),
    )


def _still_wasted(record: Record, phase: ObservedPhase) -> list[Call]:
    """Calls to the bare app, to any route, that an outage wasted and that ended after it."""
    over = phase.end if phase.end is not None else record.now
    following = record.phases[record.phases.index(phase) + 1 :][:1]
    # A call that ends in the next outage belongs to that one.
    until = following[0].end if following and following[0].end is not None else record.now
    wasted = (call for call in record.calls if call.arm == BARE and call.wasted)
    return [call for call in wasted if phase.begin <= call.sent and over <= call.ended < until]


def _of_outage(outage: Outage) -> list[Expectation]:
    opened, limited = outage.opened_after, outage.limited_after
    # What is slow is limited at least. What never answers or fails is no use at all.
    acted = opened if outage.phase != SLOW or limited is None else limited
    share = SPARED if opened is not None else SPARED_IF_LIMITED
    allowed = max(1, round(share * outage.bare_wasted))
    wasted, recovered = outage.wasted_before + outage.wasted_after, outage.recovered_after
    return [
        Expectation(
            f"{outage.phase}: it {'limits the calls' if outage.phase == SLOW else 'opens'}",
            acted is not None,
            "it did not" if acted is None else f"after {acted:.2f} s",
        ),
        Expectation(
            f"{outage.phase}: it wastes at most {allowed} calls", wasted <= allowed, f"{wasted}"
        ),
        Expectation(
            f"{outage.phase}: it lets everybody through after the recovery",
            recovered is not None,
            "it did not" if recovered is None else f"after {recovered:.2f} s",
        ),
    ]


def _of_refusals(p99: float | None, late: float | None) -> Expectation:
    allowed = max(AT_ONCE, WAITS * (late or 0.0))
    return Expectation(
        f"99 % of refusals take at most {allowed * 1000:.0f} ms",
        p99 is not None and p99 <= allowed,
        "nothing was refused" if p99 is None else f"{p99 * 1000:.1f} ms",
    )


def _of_the_healthy(record: Record) -> list[Expectation]:
    refused = [call for call in record.calls if call.refused]
    early = sum(record.phases[0].covers(call.sent) for call in refused)
    others = sum(call.route in OTHER_ROUTES for call in refused)
    changed = {
        each.key for each in record.changes if each.key != AFFECTED and _unfounded(record, each)
    }
    state = record.state(AFFECTED)
    late = sum(call.sent > record.now - CALM for call in refused)
    return [
        Expectation("it refuses no call before the first outage", early == 0, f"{early} refused"),
        Expectation(
            "it does not affect the other routes",
            others == 0 and not changed,
            f"{others} refused, {', '.join(sorted(changed)) or 'none'} opened or limited",
        ),
        Expectation(
            "it refuses nobody at the end",
            state in SERVING and late == 0,
            f"{late} refused in the last second, it is {state.replace('_', '-')}",
        ),
    ]


def _unfounded(record: Record, change: Change) -> bool:
    """Whether a healthy route had no reason to change its state.

    Where the machine is so busy that its calls are slow, it may be limited, as long as the limit
    refuses nobody; it must never open.
    """
    if change.after not in SERVING:
        return True
    return WAITS * record.latest_send(change.at) < SLOW_FROM and change.after != "closed"


def _share_well(calls: list[Call]) -> float:
    others = [call.well for call in calls if call.route in OTHER_ROUTES]
    return sum(others) / len(others) if others else 0.0


def _quantile(ordered: list[float], share: float) -> float | None:
    """The smallest value with at least this share of the values at or below it (nearest rank)."""
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def conclusion(results: Results) -> list[str]:
    """Return whether it went as expected, and in the last line what it comes to, in 80 columns."""
    wasted = sum(outage.wasted_before + outage.wasted_after for outage in results.outages)
    bare = sum(outage.bare_wasted for outage in results.outages)
    figures = (
        f"Wasted with recloser: {wasted:,} calls and {results.waited[GUARDED]:,.0f} s. "
        f"Without: {bare:,} calls and {results.waited[BARE]:,.0f} s."
    )
    if results.failed:
        return [
            figures,
            f"{len(results.failed)} of {len(results.expectations)} expectations failed.",
        ]
    return ["Everything went as it should.", figures]
