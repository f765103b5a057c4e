"""How a fleet grows: workers, the delay of the store, and what is lost on the way to it."""

from __future__ import annotations

from dataclasses import replace
from math import inf, log10

from benchmarks.detection.simulator import Clock
from benchmarks.fleet.cases import Case, Figures, Options, Part, Results, Section, mean, spread
from benchmarks.fleet.network import Network
from benchmarks.fleet.outage import openings, tickets
from benchmarks.fleet.traffic import Traffic, dying
from benchmarks.fleet.workers import contenders, faults

WORKERS = (8, 64, 200, 10_000)
_RATE = 2_000.0
# When the callee dies, when it is well again, and when the run ends; with very many workers, it is
# sooner, since each second of them takes seconds. Probes are counted from so much later on.
_USUAL, _SHORT, _MANY = (40.0, 60.0, 70.0), (20.0, 32.0, 36.0), 1_000
_SETTLED, _IDLE = 6.0, 10.0
_TOOK = 0.02


def cases(options: Options) -> list[Case]:
    found: list[Case] = []
    for number in WORKERS:
        usual = Case(part="growth", what="", workers=number, rate=_RATE, delay=0.02)
        many = number > _MANY
        if many and options.quick:
            continue
        # Of very many workers, a run takes minutes: so only these.
        delays, losses = ((0.02, 0.2), (0.5,)) if many else ((0.002, 0.02, 0.2), (0.1, 0.5))
        found += [replace(usual, delay=delay) for delay in delays]
        found += [replace(usual, lost=lost) for lost in losses]
        if not many:
            found.append(replace(usual, failing=0.05))
    return [replace(case, what=_what(case)) for case in found]


def _what(case: Case) -> str:
    words = [f"{1000 * case.delay:g} ms"]
    words += [f"{100 * case.lost:g} % of rings lost"] if case.lost else []
    words += [f"{100 * case.failing:g} % of operations fail"] if case.failing else []
    return ", ".join(words)


def play(case: Case, seed: int) -> Figures:
    clock = Clock()
    network = Network(clock, seed, delay=case.delay, lost=case.lost, failing=case.failing)
    everyone = contenders(case.entrant, case.workers, clock, network, seed)
    start, end, over = _SHORT if case.workers > _MANY else _USUAL
    traffic = Traffic(clock, everyone, case.rate, over, dying(start, end, _TOOK), seed)
    network.schedule = traffic.schedule
    counts: list[int] = []
    for at in (start - _IDLE, start, end, over - 0.001):
        traffic.at(at, lambda: counts.append(network.data.total))
    record = traffic.run()
    firsts = sorted(openings(everyone, start, end))
    return {
        "first": firsts[0] - start if firsts else inf,
        "most": firsts[int(0.99 * len(firsts))] - start if firsts else inf,
        "all": firsts[-1] - start if len(firsts) == len(everyone) else inf,
        "opened": 100.0 * len(firsts) / len(everyone),
        "wasted": record.wasted(start, end),
        "probes": record.peak(start + _SETTLED, end),
        "tickets": tickets(network.data, start + _SETTLED, end),
        "served": record.answered(end, over),
        "idle": (counts[1] - counts[0]) / _IDLE,
        "busy": (counts[2] - counts[1]) / (end - start),
        "early": sum(at < start for each in everyone for at in each.openings),
        "faults": faults(everyone),
    }


def report(results: Results) -> Section:
    head = ["workers", "store", "first opens, s", "99 % do, s", "all do, s", "wasted"]
    head += ["probes at once", "served after, %", "operations/s idle", "of a worker"]
    head += ["in the outage", "of a worker"]
    rows: list[list[str]] = []
    section = Section([(head, rows)])
    for case, runs in results.items():
        rows.append(
            [
                f"{case.workers:,}",
                case.what,
                *(spread(runs, each, 2) for each in ("first", "most", "all")),
                spread(runs, "wasted"),
                spread(runs, "probes"),
                f"{mean(runs, 'served'):.1f}",
                *_operations(case, runs, "idle"),
                *_operations(case, runs, "busy"),
            ]
        )
        name = f"{case.workers:,} workers, {case.what}"
        idle = mean(runs, "idle") / case.workers
        section.at_most(f"{name}: operations/s of an idle worker", 2.0, idle)
        over = max(run["probes"] - run["tickets"] for run in runs)
        section.at_most(f"{name}: probes more than tickets", 0.0, max(over, 0.0))
        section.at_most(f"{name}: openings before", 0.0, mean(runs, "early"))
        section.at_most(f"{name}: faults of our own", 0.0, mean(runs, "faults"))
    return section


def _operations(case: Case, runs: list[Figures], name: str) -> tuple[str, str]:
    each = mean(runs, name)
    return f"{each:,.0f}", f"{each / case.workers:.2f}"


# Of the picture: its size, where it begins, and the ends of its axes in powers of ten.
_WIDTH, _HEIGHT, _LEFT, _BASE = 720, 360, 70, 300
_X, _Y = (0.7, 4.2), (-2.0, 5.0)
_LINES = (
    ("most", "#c8433a", "s until 99 % refuse"),
    ("wasted", "#e0a72e", "calls wasted"),
    ("busy", "#3b6ea5", "operations/s in the outage"),
    ("idle", "#9aa4b0", "operations/s idle"),
)


def picture(results: Results) -> str:
    """How time, waste and load grow with the number of workers, at a delay of 20 ms."""
    shown = {c.workers: runs for c, runs in results.items() if c.what == "20 ms"}
    parts = [
        f'<text x="{_LEFT}" y="20" font-size="15">2,000 calls/s, store of 20 ms, by the number of workers</text>'
    ]
    for power in range(int(_Y[0]), int(_Y[1]) + 1):
        y = _place(power, _Y, _BASE, 40.0)
        parts.append(
            f'<path d="M{_LEFT} {y:.0f}H{_WIDTH - 20}" stroke="#ddd"/>'
            f'<text x="{_LEFT - 8}" y="{y + 4:.0f}" text-anchor="end">{10.0**power:,g}</text>'
        )
    for number in shown:
        x = _place(log10(number), _X, _LEFT, _WIDTH - 20.0)
        parts.append(f'<text x="{x:.0f}" y="318" text-anchor="middle">{number:,}</text>')
    for place, (name, colour, text) in enumerate(_LINES):
        points = [
            (
                _place(log10(number), _X, _LEFT, _WIDTH - 20.0),
                _place(log10(max(mean(runs, name), 0.01)), _Y, _BASE, 40.0),
            )
            for number, runs in shown.items()
            if mean(runs, name) < inf
        ]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'
            f'<text x="{_LEFT + 160 * place}" y="345" fill="{colour}">{text}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'font-family="sans-serif" font-size="12"><rect width="{_WIDTH}" height="{_HEIGHT}" '
        f'fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _place(value: float, ends: tuple[float, float], low: float, high: float) -> float:
    return low + (high - low) * (value - ends[0]) / (ends[1] - ends[0])


PART = Part(
    "growth",
    "How it grows",
    "A callee gets 2,000 calls/s of all workers together. It dies at 40 s for 20 s (of "
    "10,000 workers, at 20 s for 12 s), and calls fail after 20 ms. Each operation of the store takes as long as stated, and a ring of the bell so "
    "long on average; a share of the rings or of the operations is lost. Workers refuse from their "
    "first opening on. *Idle* are the 10 s before the outage.",
    cases,
    play,
    report,
    picture,
)
