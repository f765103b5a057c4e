"""The table of `recloser status`: a line per key, worst first, and why.

A line is a list of pieces of text with their styles. Where rich is installed and the output is a
terminal the styles are shown; elsewhere only the text is.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite
from typing import Any, TypeAlias, cast

from recloser_adapters._command.dashboard_api import printable

Line: TypeAlias = list[tuple[str, str]]
Key: TypeAlias = Mapping[str, Any]

# The worst first. The sign tells the states apart without colours.
STATES: Mapping[str, tuple[str, str]] = {
    "open": ("■", "bold red"),
    "half_open": ("◐", "yellow"),
    "limited": ("◑", "cyan"),
    "closed": ("●", "green"),
}
_BY_BADNESS = tuple(STATES)
_HEADS = ("state", "for", "calls", "bad", "refused", "in flight", "p95", "key")
# Figures that are left out if there is no room for the keys, in this order.
_DISPENSABLE = ("calls", "p95", "in flight", "bad", "for")
_KEY_ROOM = 50  # columns; a longer key may be cut off
_INDENT = "    "


def lines_of(view: Mapping[str, Any], width: int | None = None) -> list[Line]:
    """Return the table.

    Args:
        view: What `GET /keys` of a dashboard answers.
        width: Columns of the terminal; None if lines may be as long as they are.
    """
    keys = worst_first(view["keys"])
    lines: list[Line] = [[(clipped(_whose(view, keys), width), "bold")]]
    if not keys:
        return [*lines, [("no calls yet", "dim")]]
    rows = _with_room_for_keys([_HEADS, *map(_cells, keys)], width)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines.append([(clipped(aligned(rows[0], widths), width), "dim")])
    for key, cells in zip(keys, rows[1:], strict=True):
        rest = aligned(cells, widths)[widths[0] :]
        state = clipped(cells[0].ljust(widths[0]), width)
        room = None if width is None else width - len(state)
        lines.append([(state, _style(key)), (clipped(rest, room), "")])
        for sentence, style in _sentences(key):
            lines += [[(each, style)] for each in wrapped(sentence, width)]
    return lines


def _with_room_for_keys(rows: list[tuple[str, ...]], width: int | None) -> list[tuple[str, ...]]:
    """Leave figures out until the keys fit: a key that is cut off cannot be given to a command."""
    room = max(len(row[-1]) for row in rows if len(row[-1]) <= _KEY_ROOM)
    for head in _DISPENSABLE:
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        if width is None or sum(widths[:-1]) + 2 * (len(widths) - 1) + room <= width:
            break
        gone = rows[0].index(head)
        rows = [row[:gone] + row[gone + 1 :] for row in rows]
    return rows


def cropped(lines: list[Line], height: int) -> list[Line]:
    """Return the lines that fit on a terminal. The worst keys come first, so the end is left out."""
    if len(lines) <= height:
        return lines
    return [*lines[: height - 1], [(f"… {len(lines) - height + 1} more lines", "dim")]]


def worst_first(keys: Iterable[Key]) -> list[Key]:
    """Return the keys, those first that need somebody to look at them."""
    return sorted(keys, key=_badness)


def _badness(key: Key) -> tuple[float, float, float, str]:
    state = key.get("state")
    place = float(_BY_BADNESS.index(state) if state in STATES else 0)
    if state != "closed" and _only_observes(key):
        # After those that refuse, and before those that have no reason to.
        place = len(_BY_BADNESS) - 1.5
    evidence, threshold = number(key, "evidence") or 0.0, number(key, "evidence_threshold") or 0.0
    share = evidence / threshold if threshold > 0.0 else 0.0
    return place, -share, -(number(key, "refused") or 0.0), key["key"]


def _only_observes(key: Key) -> bool:
    return bool(key.get("mode", "enforce") != "enforce")


def _style(key: Key) -> str:
    return STATES.get(str(key.get("state")), ("", ""))[1]


def _whose(view: Mapping[str, Any], keys: Sequence[Key]) -> str:
    facts = facts_in(view.get("view"))
    shut = [key for key in keys if key.get("state") != "closed"]
    refusing = [str(key.get("state")) for key in shut if not _only_observes(key)]
    counts = [f"{refusing.count(state)} {word(state)}" for state in STATES if state in refusing]
    if len(shut) > len(refusing):
        counts.append(f"{len(shut) - len(refusing)} would refuse")
    plural = "" if len(keys) == 1 else "s"
    parts = [f"{len(keys)} key{plural}", *(counts or ["all closed"])]
    if facts.get("mode", "enforce") != "enforce":
        parts.append(f"mode {facts['mode']}")
    up = number(facts, "uptime")
    whose = [
        str(facts["host"]) if "host" in facts else "",
        f"process {facts['pid']}" if "pid" in facts else "",
        f"up {age(up)}" if up is not None else "",
    ]
    return printable(f"{', '.join(filter(None, whose))}: {', '.join(parts)}".removeprefix(": "))


def word(state: str) -> str:
    """Return the name of a state as people read it."""
    return state.replace("_", "-")


def _cells(key: Key) -> tuple[str, ...]:
    state = str(key.get("state"))
    sign = STATES.get(state, ("?", ""))[0]
    bad = (number(key, "failures") or 0.0) + (number(key, "slow") or 0.0)
    limit, p95 = number(key, "limit"), number(key, "p95")
    in_flight = _count(number(key, "in_flight"))
    cells = (
        f"{sign} {word(state)}",
        age(number(key, "since")),
        _count(number(key, "calls")),
        _count(bad),
        _count(number(key, "refused")),
        in_flight if limit is None else f"{in_flight} of {limit:.0f}",
        "-" if not p95 else _latency(p95),
        str(key["key"]),
    )
    return tuple(map(printable, cells))


def aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Return a row: the first cell on the left, figures on the right of theirs, then the name."""
    first, *figures, name = cells
    aligned = (cell.rjust(width) for cell, width in zip(figures, widths[1:-1], strict=True))
    return "  ".join([first.ljust(widths[0]), *aligned, name])


def _sentences(key: Key) -> Iterator[tuple[str, str]]:
    """What is said below a row: why it is not closed, what it would do, what was done by hand."""
    explained, mode = str(key.get("explain") or ""), key.get("mode", "enforce")
    suspected = (number(key, "evidence") or 0.0) > 0.0
    if explained and (key.get("state") != "closed" or suspected or mode != "enforce"):
        yield printable(explained), "dim"
    spared, good = number(key, "spared"), number(key, "spared_good")
    if spared:
        yield (
            f"{spared:,.0f} calls would have been refused; {good or 0.0:,.0f} of them were answered "
            "well",
            "dim",
        )
    share = number(key, "enforce_share")
    if share is not None and share < 1.0:
        yield f"enforced for {share:.0%} of the callers", "dim"
    for override in held(key):
        yield override, "magenta"


def held(key: Key) -> Iterator[str]:
    """Yield a sentence for each thing that was changed by hand and holds: until when, who and why."""
    for each in map(facts_in, key.get("overrides") or ()):
        state, mode = each.get("state"), each.get("mode")
        share, left = number(each, "enforce_share"), number(each, "left")
        what = [str(what).replace("_", "-") for what in (state, mode) if what]
        what += [f"enforced for {share:.0%} of the callers"] if share is not None else []
        ends = "does not expire" if left is None else f"ends in {age(left)}"
        who, why = each.get("by"), each.get("reason")
        yield printable(
            f"by hand: {', '.join(what) or each.get('what', 'changed')}, {ends}"
            f", since {age(number(each, 'age'))}"
            f"{f', by {who}' if who else ''}{f': {why}' if why else ''}"
        )


def wrapped(sentence: str, width: int | None) -> list[str]:
    """Return the lines of a sentence below a row."""
    if width is None:
        return [_INDENT + sentence]
    return textwrap.wrap(
        sentence,
        max(width, 2 * len(_INDENT)),
        initial_indent=_INDENT,
        subsequent_indent=_INDENT,
        break_on_hyphens=False,
    )


def clipped(text: str, width: int | None) -> str:
    """Return as much of a text as there is room for."""
    if width is None or len(text) <= width:
        return text
    return f"{text[: width - 1]}…" if width > 0 else ""


def facts_in(value: object) -> Mapping[str, Any]:
    """Return an object of an answer; an empty one for anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def number(facts: Mapping[str, Any], name: str) -> float | None:
    """Return a number of an answer; None if it has no finite number of that name."""
    value = facts.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        return None
    return value


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _latency(seconds: float) -> str:
    if seconds >= 10.0:
        return f"{seconds:.0f} s"
    return f"{seconds:.1f} s" if seconds >= 1.0 else f"{seconds * 1000:.0f} ms"


def age(seconds: float | None) -> str:
    """Return a duration in one unit, such as `12 min`; `-` for None."""
    if seconds is None:
        return "-"
    for unit, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"
