"""The pictures: each is drawn from a play."""

from __future__ import annotations

from collections import Counter

from benchmarks.pictures.plays import Play, failures, outage, recovery
from benchmarks.pictures.svg import WIDTH, Axis, Picture
from recloser import State

_STATES = {
    "closed": "closed",
    "limited": "limited",
    "open": "open",
    "half_open": "half-open",
}
_LEFT = 52.0
_RIGHT = WIDTH - 12.0


def _band(picture: Picture, y: float, across: Axis, play: Play) -> None:
    changes = [(max(change.at, across.low), change.after) for change in play.changes]
    picture.states(y, across, [(across.low, State.CLOSED), *changes])


def latency() -> Picture:
    """Latency over time, the slow threshold, what is refused, and the states."""
    play = outage()
    picture = Picture(
        "Latencies of calls before, during and after 20 s in which they hang: the breaker limits "
        "after 0.3 s, opens after 1.7 s, sends single probes, and lets all calls through again "
        "one second after the end.",
        300,
    )
    across = Axis(20.0, 60.0, _LEFT, _RIGHT)
    up = Axis(0.02, 4.0, 210.0, 12.0, logarithmic=True)
    shown = [call for call in play.calls if across.low <= call.begun <= across.high]
    answered = [call for call in shown if call.fate is not None]
    for kind, good in (("good", True), ("bad", False)):
        picture.dots(
            kind,
            [
                (across(call.begun), up(call.fate.latency))
                for call in answered
                if call.fate is not None and call.fate.good is good
            ],
        )
    picture.dots(
        "refused", [(across(call.begun), up.start - 6) for call in shown if call.fate is None], 1.2
    )
    picture.line("threshold", [(across(call.begun), up(call.threshold)) for call in answered[::8]])
    picture.axes(
        across,
        up,
        {20: "20 s", 30: "30 s", 40: "40 s", 50: "50 s", 58: "58 s"},
        {0.03: "30 ms", 0.1: "0.1 s", 0.3: "0.3 s", 1.0: "1 s", 3.0: "3 s"},
    )
    _band(picture, 232, across, play)
    picture.legend(262, {"good": "good", "bad": "gave up after 3 s", "refused": "refused"})
    picture.legend(284, {**_STATES})
    picture.line("threshold", [(330, 257), (350, 257)])
    picture.text(356, 262, "slow threshold")
    return picture


def evidence() -> Picture:
    """Evidence by call: it comes and goes while a few fail, and adds up when all do."""
    play = failures()
    made = [call for call in play.calls if call.fate is not None]
    opened = next(n for n, call in enumerate(made) if call.evidence >= 1.0)
    shown = made[opened - 150 : opened + 1]
    picture = Picture(
        "Evidence after each call. While four calls in a hundred fail, it rises at a failure and "
        "falls again. When all fail, the sixth failure in a row opens the breaker.",
        270,
    )
    across = Axis(0, len(shown) + 2, _LEFT, _RIGHT)
    up = Axis(0.0, 1.0, 200.0, 16.0)
    picture.line("threshold", [(across.start, up(1.0)), (across.end, up(1.0))])
    picture.text(across.start + 6, up(1.0) + 16, "enough to open: one chance in a million calls")
    picture.line("evidence", [(across(n), up(call.evidence)) for n, call in enumerate(shown)])
    for kind, good in (("good", True), ("bad", False)):
        picture.dots(
            kind,
            [
                (across(n), up.start + 26)
                for n, call in enumerate(shown)
                if call.fate is not None and call.fate.good is good
            ],
            1.2 if good else 2.6,
        )
    picture.axes(across, up, {}, {0.0: "none", 0.5: "half", 1.0: "all"})
    picture.text(across.start, up.start + 16, "call by call")
    picture.legend(258, {"good": "good call", "bad": "failed call"})
    return picture


def share() -> Picture:
    """What became of the calls of each half second around a recovery."""
    play = recovery()
    picture = Picture(
        "Calls of each half second. All fail from 20 s on: the breaker opens, sends single probes, "
        "and when the callee is well at 30 s, several at a time, and then all calls pass.",
        280,
    )
    across = Axis(18.0, 36.0, _LEFT, _RIGHT)
    up = Axis(0.0, 1.0, 190.0, 12.0)
    width = 0.5
    counted: dict[int, Counter[str]] = {}
    for call in play.calls:
        kind = "refused" if call.fate is None else "good" if call.fate.good else "bad"
        counted.setdefault(int(call.begun / width), Counter())[kind] += 1
    for number, kinds in sorted(counted.items()):
        begun, floor = number * width, 0.0
        if not across.low <= begun < across.high:
            continue
        for kind in ("good", "bad", "refused"):
            part = kinds[kind] / kinds.total()
            left, top, bottom = across(begun), up(floor + part), up(floor)
            picture.bar(kind, left, top, across(begun + width) - left - 0.6, bottom - top)
            floor += part
    ticks = {20: "20 s", 25: "25 s", 30: "30 s", 35: "35 s"}
    picture.axes(
        across, up, {float(at): words for at, words in ticks.items()}, {0: "0 %", 1: "100 %"}
    )
    _band(picture, 212, across, play)
    picture.legend(244, {"good": "answered well", "bad": "failed", "refused": "refused at once"})
    picture.legend(266, {**_STATES})
    return picture


_PLACES = {"closed": (12, 20), "limited": (300, 20), "open": (300, 150), "half_open": (12, 150)}
_BOX = (168, 56)
# From, to, and the two ends of the arrow.
ARROWS = {
    ("closed", "limited"): ((180, 40), (298, 40)),
    ("limited", "closed"): ((300, 58), (182, 58)),
    ("limited", "open"): ((400, 76), (400, 148)),
    ("open", "limited"): ((424, 150), (424, 78)),
    ("open", "half_open"): ((300, 168), (182, 168)),
    ("half_open", "open"): ((180, 188), (298, 188)),
    ("half_open", "closed"): ((96, 150), (96, 78)),
    ("closed", "open"): ((182, 70), (304, 148)),
    ("half_open", "limited"): ((176, 148), (298, 70)),
}
_MEANING = {
    "closed": "all calls pass",
    "limited": "as many as it can serve",
    "open": "all are refused",
    "half_open": "1, 4, then 16 probes",
}


def states(arrows: set[tuple[str, str]]) -> Picture:
    """The four states and the changes between them that are given."""
    picture = Picture("The four states, and the changes that a breaker makes by itself.", 226)
    for state, (x, y) in _PLACES.items():
        picture.parts.append(
            f'<rect class="box {state}" x="{x}" y="{y}" width="{_BOX[0]}" height="{_BOX[1]}" rx="8"/>'
        )
        picture.text(x + _BOX[0] / 2, y + 24, _STATES[state], "middle")
        picture.text(x + _BOX[0] / 2, y + 43, _MEANING[state], "middle")
    for pair in sorted(arrows):
        (x1, y1), (x2, y2) = ARROWS[pair]
        length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
        dx, dy = (x2 - x1) / length, (y2 - y1) / length
        picture.line("arrow", [(x1, y1), (x2 - 5 * dx, y2 - 5 * dy)])
        picture.parts.append(
            f'<path class="head" d="M{x2:.1f} {y2:.1f}'
            f"L{x2 - 8 * dx - 4 * dy:.1f} {y2 - 8 * dy + 4 * dx:.1f}"
            f'L{x2 - 8 * dx + 4 * dy:.1f} {y2 - 8 * dy - 4 * dx:.1f}z"/>'
        )
    return picture
