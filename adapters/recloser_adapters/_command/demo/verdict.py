"""What it means: the figures of the summary, and whether all went as it should."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from recloser_adapters._command.demo.plan import ARMS, BARE, GUARDED, NEIGHBOURS, SICK
from recloser_adapters._command.demo.story import Call, Story, Stretch

# Seconds within which a refusal must be there, 99 of 100 times, on a machine that also runs the
# rest of the show. It takes a millisecond or two; the callers of the other app wait for three
# seconds.
AT_ONCE = 0.1
# A machine may be too busy for that. Two processes must get the processor before a refusal is there,
# so it may take twice as long as two of them waited for it, as the load did, 99 of 100 times.
WAITS = 4
# Of the calls that the app without a breaker wastes in a bout, the share that may be wasted
# before it opens.
SPARED = 0.25


@dataclass(frozen=True, slots=True)
class Bout:
    """One illness of the upstream. Times are seconds; None where it did not happen.

    Attributes:
        phase: What it was.
        seconds: How long it lasted.
        opened_after: From its beginning to the opening.
        wasted_before_opening: Calls sent before the opening, for nothing.
        wasted_on_probes: Calls sent after it, for nothing.
        refused: Calls refused at once.
        closed_after: From the upstream's recovery to the closing.
        bare_wasted: Calls wasted by the app without a breaker.
        bare_well_after: From the recovery to the last call that it still wasted.
    """

    phase: str
    seconds: float
    opened_after: float | None
    wasted_before_opening: int
    wasted_on_probes: int
    refused: int
    closed_after: float | None
    bare_wasted: int
    bare_well_after: float


@dataclass(frozen=True, slots=True)
class Expectation:
    """Something that should have come true, and whether it did."""

    promise: str
    met: bool
    found: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The summary of a show.

    Attributes:
        bouts: One for each illness.
        refusal_p50: Median latency of the refusals in seconds, None without any.
        refusal_p99: Latency that 99 % of them stayed below.
        neighbours_well: By app, the share of the other routes' calls that were answered well.
        waited: By app, the seconds that callers waited for nothing, summed.
        calls: By app, how many there were.
        expectations: What should have come true.
    """

    bouts: list[Bout]
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
        """Return it as what JSON can hold; times are seconds, shares 0.0-1.0."""
        return {"ok": not self.failed, **asdict(self)}


def judge(story: Story) -> Verdict:
    """Return the summary of a show that is over."""
    bouts = [_bout(story, stretch) for stretch in story.stretches if stretch.bad]
    refusals = sorted(call.seconds for call in story.calls if call.refused)
    p50, p99 = _quantile(refusals, 0.5), _quantile(refusals, 0.99)
    mine = {arm: [call for call in story.calls if call.arm == arm] for arm in ARMS}
    return Verdict(
        bouts=bouts,
        refusal_p50=p50,
        refusal_p99=p99,
        neighbours_well={arm: _share_well(mine[arm]) for arm in ARMS},
        waited={arm: sum(call.seconds for call in mine[arm] if call.wasted) for arm in ARMS},
        calls={arm: len(mine[arm]) for arm in ARMS},
        expectations=[
            *(each for bout in bouts for each in _of_bout(bout)),
            _of_refusals(p99, _quantile(sorted(story.late), 0.99)),
            *_of_the_healthy(story),
        ],
    )


def _bout(story: Story, stretch: Stretch) -> Bout:
    end = stretch.end if stretch.end is not None else story.now
    opened, closed = story.opened(stretch), story.closed(stretch)
    calls = story.sent_in(stretch)
    wasted = [call for call in calls if call.wasted]
    before = sum(opened is None or call.sent <= opened for call in wasted)
    bare = [call for call in story.sent_in(stretch, BARE) if call.wasted]
    return Bout(
        phase=stretch.phase,
        seconds=end - stretch.begin,
        opened_after=None if opened is None else opened - stretch.begin,
        wasted_before_opening=before,
        wasted_on_probes=len(wasted) - before,
        refused=sum(call.refused for call in calls),
        closed_after=None if closed is None else closed - end,
        bare_wasted=len(bare),
        bare_well_after=max([0.0, *(call.ended - end for call in _still_wasted(story, stretch))]),
    )


def _still_wasted(story: Story, stretch: Stretch) -> list[Call]:
    """Calls of the bare app, to any route, that were wasted by a bout though it was over."""
    over = stretch.end if stretch.end is not None else story.now
    following = story.stretches[story.stretches.index(stretch) + 1 :][:1]
    # What is cut off by the next bout belongs to that.
    until = following[0].end if following and following[0].end is not None else story.now
    wasted = (call for call in story.calls if call.arm == BARE and call.wasted)
    return [call for call in wasted if stretch.begin <= call.sent and over <= call.ended < until]


def _of_bout(bout: Bout) -> list[Expectation]:
    allowed = max(1, round(SPARED * bout.bare_wasted))
    opened = bout.opened_after
    closed = bout.closed_after
    return [
        Expectation(
            f"{bout.phase}: it opens",
            opened is not None,
            "it did not" if opened is None else f"after {opened:.2f} s",
        ),
        Expectation(
            f"{bout.phase}: it wastes at most {allowed} calls by then",
            bout.wasted_before_opening <= allowed,
            f"{bout.wasted_before_opening}",
        ),
        Expectation(
            f"{bout.phase}: it closes when that is over",
            closed is not None,
            "it did not" if closed is None else f"after {closed:.2f} s",
        ),
    ]


def _of_refusals(p99: float | None, late: float | None) -> Expectation:
    allowed = max(AT_ONCE, WAITS * (late or 0.0))
    return Expectation(
        f"it refuses within {allowed * 1000:.0f} ms, 99 times of 100",
        p99 is not None and p99 <= allowed,
        "nothing was refused" if p99 is None else f"{p99 * 1000:.1f} ms",
    )


def _of_the_healthy(story: Story) -> list[Expectation]:
    refused = [call for call in story.calls if call.refused]
    early = sum(story.stretches[0].covers(call.sent) for call in refused)
    others = sum(call.route in NEIGHBOURS for call in refused)
    opened = {change.key for change in story.changes if change.key != SICK}
    return [
        Expectation("it refuses nobody before the first illness", early == 0, f"{early} refused"),
        Expectation(
            "it leaves the other routes alone",
            others == 0 and not opened,
            f"{others} refused, {', '.join(sorted(opened)) or 'none'} opened",
        ),
        Expectation(
            "it is closed at the end",
            story.state(SICK) == "closed",
            f"it is {story.state(SICK)}",
        ),
    ]


def _share_well(calls: list[Call]) -> float:
    others = [call.well for call in calls if call.route in NEIGHBOURS]
    return sum(others) / len(others) if others else 0.0


def _quantile(ordered: list[float], share: float) -> float | None:
    """The smallest value that at least this share lies at or below (nearest rank)."""
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def headline(verdict: Verdict) -> str:
    """Say it in one sentence."""
    wasted = sum(bout.wasted_before_opening + bout.wasted_on_probes for bout in verdict.bouts)
    bare = sum(bout.bare_wasted for bout in verdict.bouts)
    return (
        f"{wasted} calls wasted on the ill upstream instead of {bare}; callers waited "
        f"{verdict.waited[GUARDED]:.0f} s for nothing instead of {verdict.waited[BARE]:,.0f} s"
    )
