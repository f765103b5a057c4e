"""The table of `recloser fleet status`: the keys that are watched or not closed, and the workers."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from recloser_adapters._command.dashboard_api import printable
from recloser_adapters._command.table import (
    STATES,
    Line,
    age,
    aligned,
    clipped,
    facts_in,
    number,
    word,
    wrapped,
)
from recloser_adapters._fleet_json import short_name

_HEADS = ("state", "for", "next probe", "limit", "key")
_WATCHED = ("◌", "green")
_BY_BADNESS = (*STATES, "watched")
_NAMED = 3  # workers in a sentence; there may be hundreds


def lines_of_fleet(view: Mapping[str, Any], width: int | None = None) -> list[Line]:
    """Return the table.

    Args:
        view: What `GET /fleet` of a dashboard answers, or the same of a store.
        width: Columns of the terminal; None if lines may be as long as they are.
    """
    keys = sorted(_facts(view.get("keys")), key=lambda key: (_place(key), str(key.get("key"))))
    workers = _facts(view.get("workers"))
    lines: list[Line] = [[(each, "bold")] for each in _under(_head(view, keys, workers), 4, width)]
    if view.get("connected") is False:
        lines += [[(each, "bold red")] for each in wrapped(_trouble(view), width)]
    if keys:
        lines += _key_lines(keys, width)
    lines += _worker_lines(workers, width)
    return lines


def _facts(value: object) -> list[Mapping[str, Any]]:
    return (
        [facts_in(each) for each in cast("list[object]", value)] if isinstance(value, list) else []
    )


def _state(key: Mapping[str, Any]) -> str:
    state = str(key.get("state"))
    return "watched" if state == "closed" and key.get("watched") else state


def _place(key: Mapping[str, Any]) -> int:
    state = _state(key)
    return _BY_BADNESS.index(state) if state in _BY_BADNESS else 0


def _head(
    view: Mapping[str, Any],
    keys: Sequence[Mapping[str, Any]],
    workers: Sequence[Mapping[str, Any]],
) -> str:
    hosts = len({worker.get("host") for worker in workers})
    alive = number(view, "alive") or len(workers)
    parts = [f"{_plural(int(alive), 'worker')}{f' on {hosts} hosts' if hosts > 1 else ''}"]
    states = [_state(key) for key in keys]
    shut = [f"{states.count(each)} {word(each)}" for each in STATES if each != "closed"]
    parts += [each for each in shut if not each.startswith("0 ")] or ["all closed"]
    watched = states.count("watched")
    parts += [f"{watched} watched"] if watched else []
    disagree = {name for key in keys for name in facts_in(key.get("alone"))}
    parts += [f"{_plural(len(disagree), 'worker')} disagree"] if len(disagree) > 1 else []
    parts += ["1 worker disagrees"] if len(disagree) == 1 else []
    garbage = number(view, "garbage")
    parts += [f"{_plural(int(garbage), 'text')} of others ignored"] if garbage else []
    return printable(f"{view.get('place', 'fleet')}: {', '.join(parts)}")


def _trouble(view: Mapping[str, Any]) -> str:
    for_ = number(view, "failing_for")
    why = view.get("last_failure")
    if not why:
        return "not connected yet: it joins its fleet with its first call"
    since = f" for {age(for_)}" if for_ is not None else ""
    return printable(
        f"the store fails{since}: {why}; this worker decides alone, and all of this is old"
    )


def _key_lines(keys: Sequence[Mapping[str, Any]], width: int | None) -> Iterator[Line]:
    rows = [_HEADS, *map(_cells, keys)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    yield [(clipped(aligned(rows[0], widths), width), "dim")]
    for key, cells in zip(keys, rows[1:], strict=True):
        state = clipped(cells[0].ljust(widths[0]), width)
        rest = aligned(cells, widths)[widths[0] :]
        room = None if width is None else width - len(state)
        yield [(state, _sign(_state(key))[1]), (clipped(rest, room), "")]
        for sentence, style in _sentences(key):
            for each in wrapped(printable(sentence), width):
                yield [(each, style)]


def _sign(state: str) -> tuple[str, str]:
    return _WATCHED if state == "watched" else STATES.get(state, ("?", ""))


def _cells(key: Mapping[str, Any]) -> tuple[str, ...]:
    state, limit, left = _state(key), number(key, "limit"), number(key, "retry_after")
    probe = "-"
    if state == "open":
        probe = "never" if left is None else "now" if left == 0.0 else age(left)
    cells = (
        f"{_sign(state)[0]} {word(state)}",
        age(number(key, "since")),
        probe,
        "-" if limit is None else f"{limit:.0f}",
        str(key.get("key")),
    )
    return tuple(map(printable, cells))


def _sentences(key: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is said below a row: why, who leads and probes, who disagrees, and who did it by hand."""
    reason, leader, state = key.get("reason"), key.get("leader"), _state(key)
    if reason:
        yield str(reason), "dim"
    told = [f"led by {short_name(leader)}"] if leader else []
    if state in ("open", "half_open"):
        probers = key.get("probers")
        if probers is None:
            told.append("each worker may probe")
        elif probers:
            told.append(f"{_named(probers)} may probe")
    if told:
        yield "; ".join(told), "dim"
    alone = facts_in(key.get("alone"))
    if alone:
        states = sorted({word(str(each)) for each in alone.values()})
        verb = "disagrees: it is" if len(alone) == 1 else "disagree: they are"
        yield f"{_named(alone)} {verb} {' or '.join(states)}", "yellow"
    if key.get("by") and str(key["by"]) not in str(reason):
        yield f"by hand, by {key['by']}", "magenta"


def _worker_lines(workers: Sequence[Mapping[str, Any]], width: int | None) -> Iterator[Line]:
    """A line for each worker that leads or disagrees, and one for the others of each host."""
    if not workers:
        return
    told: list[tuple[str, str, str]] = []
    quiet: dict[str, list[int]] = {}
    for worker in sorted(workers, key=_host_and_pid):
        host, pid = _host_and_pid(worker)
        leads = [str(each) for each in worker.get("leads") or ()]
        alone = facts_in(worker.get("alone"))
        does = [f"leads {', '.join(leads)}"] if leads else []
        does += [f"disagrees: {key} is {word(str(state))}" for key, state in alone.items()]
        if does:
            told.append((host, str(pid), "; ".join(does)))
        else:
            quiet.setdefault(host, []).append(pid)
    told += [(host, ", ".join(map(str, pids)), "") for host, pids in quiet.items()]
    hosts = max(4, *(len(host) for host, *_ in told)) if told else 4
    first = max([7, *(len(pid) for _, pid, does in told if does)])
    yield [(clipped(f"{'host'.ljust(hosts)}  process", width), "dim")]
    for host, listed, said in told:
        text = f"{host.ljust(hosts)}  {listed.ljust(first) if said else listed}  {said}"
        yield from ([(each, "")] for each in _under(printable(text.rstrip()), hosts + 2, width))


def _under(text: str, indent: int, width: int | None) -> Iterable[str]:
    """Wrap a row, with what follows its first column below each other."""
    if width is None or len(text) <= width:
        return [text]
    room = max(width, indent + 10)
    return textwrap.wrap(
        text, room, subsequent_indent=" " * indent, break_on_hyphens=False, drop_whitespace=True
    )


def _host_and_pid(worker: Mapping[str, Any]) -> tuple[str, int]:
    return str(worker.get("host") or worker.get("name")), int(number(worker, "pid") or 0)


def _named(names: Iterable[object]) -> str:
    each = sorted(short_name(name) for name in names)
    more = len(each) - _NAMED
    listed = each[:_NAMED] + ([f"{more} more"] if more > 0 else [])
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"


def _plural(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
