"""Families: the names, the help texts and the labels of what Prometheus gets, as one table.

Two things are made of it: the text of a scrape, directly, and the objects that other exporters of
prometheus-client ask a collector for. Those take some 4 µs for each of thirty lines of a key, and the
text a twentieth of that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from prometheus_client.core import Metric

from recloser import Mode, State
from recloser_adapters.prometheus._figures import PLACE, Row, Rows

Changes = dict[tuple[str, str, str], int]
"""How often a key changed its state: by label, state before and state after."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of each key: what follows the name of the family, further labels, and the column."""

    column: str
    suffix: str = ""
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name (without `_total`), its type, its help, and the lines of each key."""

    name: str
    kind: Literal["counter", "gauge", "summary"]
    help: str
    lines: tuple[Line, ...]
    key: str = "key"  # the name of the label that has the key

    @property
    def title(self) -> str:
        """The name in the lines of the text format."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


def _one(column: str, kind: Literal["counter", "gauge"]) -> tuple[Line, ...]:
    return (Line(column, "_total" if kind == "counter" else ""),)


def _each(label: str, *columns: tuple[str, str], suffix: str = "") -> tuple[Line, ...]:
    return tuple(Line(column, suffix, ((label, value),)) for value, column in columns)


FAMILIES = (
    Family(
        "recloser_state",
        "gauge",
        "Number of processes whose breaker of this key is in this state.",
        _each("state", *((state.value, state.value) for state in State)),
    ),
    Family(
        "recloser_mode",
        "gauge",
        "Number of processes whose breaker of this key is in this mode.",
        _each("mode", *((mode.value, mode.value) for mode in Mode)),
    ),
    Family(
        "recloser_calls",
        "counter",
        "Calls that were made, by outcome. Slow ones count by their outcome.",
        _each(
            "outcome",
            ("success", "successes"),
            ("failure", "failures"),
            ("throttled", "throttled"),
            ("ignored", "ignored"),
            ("cancelled", "cancelled"),
            suffix="_total",
        ),
    ),
    Family(
        "recloser_slow_calls",
        "counter",
        "Answered calls that took longer than the slow threshold at that time.",
        _one("slow", "counter"),
    ),
    Family(
        "recloser_refused",
        "counter",
        "Calls that were refused, or would have been if it were not only observed.",
        _one("refused", "counter"),
    ),
    Family(
        "recloser_spared",
        "counter",
        "Calls that were refused in observation only, so they were made.",
        _one("spared", "counter"),
    ),
    Family(
        "recloser_spared_good",
        "counter",
        "Those of recloser_spared_total that were answered well.",
        _one("spared_good", "counter"),
    ),
    Family(
        "recloser_in_flight",
        "gauge",
        "Calls that have begun and not ended.",
        _one("in_flight", "gauge"),
    ),
    Family(
        "recloser_limit",
        "gauge",
        "Calls that are admitted at a time; absent while nothing limits them.",
        _one("limit", "gauge"),
    ),
    Family(
        "recloser_call_duration_seconds",
        "summary",
        "Latency of calls: the quantiles of good calls of late, and the sum and number of all"
        " answered and failed ones.",
        (
            *(
                Line(column, "", (("quantile", quantile),))
                for quantile, column in (("0.5", "p50"), ("0.95", "p95"), ("0.99", "p99"))
            ),
            Line("latency_sum", "_sum"),
            Line("count", "_count"),
        ),
    ),
    Family(
        "recloser_slow_threshold_seconds",
        "gauge",
        "Latency above which a call is slow.",
        _one("slow_threshold", "gauge"),
    ),
    Family(
        "recloser_evidence_ratio",
        "gauge",
        "Evidence that calls are no longer normal; at 1 the breaker acts.",
        _one("evidence_ratio", "gauge"),
    ),
    Family(
        "recloser_normal_bad_ratio",
        "gauge",
        "Share of bad calls that is normal for this key.",
        _one("normal_bad_rate", "gauge"),
    ),
    Family(
        "recloser_retry_after_seconds",
        "gauge",
        "Time until a call may be admitted; 0 if one would be admitted now.",
        _one("retry_after", "gauge"),
    ),
    Family(
        "recloser_since_seconds",
        "gauge",
        "Time since the last change of state; absent before the first one.",
        _one("since", "gauge"),
    ),
    Family(
        "recloser_enforce_share",
        "gauge",
        "Share of the callers for whom refusals hold, 0-1.",
        _one("enforce_share", "gauge"),
    ),
)

# What boards for resilience4j chart, as Micrometer names it. Its window is recent calls; ours is all
# calls of the process. A limited breaker admits calls, so it is `closed` there.
RESILIENCE4J = (
    Family(
        "resilience4j_circuitbreaker_state",
        "gauge",
        "The states of the circuit breaker (1 for the present one).",
        _each(
            "state",
            *(
                (name, f"r4j_{name}")
                for name in ("closed", "open", "half_open", "disabled", "metrics_only")
            ),
        ),
        key="name",
    ),
    Family(
        "resilience4j_circuitbreaker_calls_seconds",
        "summary",
        "Total number of calls by kind; the sum of the latency stands with the successful ones.",
        (
            Line("latency_sum", "_sum", (("kind", "successful"),)),
            Line("successes", "_count", (("kind", "successful"),)),
            Line("failures", "_count", (("kind", "failed"),)),
            Line("ignored", "_count", (("kind", "ignored"),)),
        ),
        key="name",
    ),
    Family(
        "resilience4j_circuitbreaker_not_permitted_calls",
        "counter",
        "Total number of not permitted calls.",
        _each("kind", ("not_permitted", "refused"), suffix="_total"),
        key="name",
    ),
    Family(
        "resilience4j_circuitbreaker_buffered_calls",
        "gauge",
        "The number of buffered calls.",
        _each("kind", ("successful", "successes"), ("failed", "failures")),
        key="name",
    ),
    Family(
        "resilience4j_circuitbreaker_slow_calls",
        "gauge",
        "The number of slow successful calls.",
        _each("kind", ("successful", "slow")),
        key="name",
    ),
    Family(
        "resilience4j_circuitbreaker_failure_rate",
        "gauge",
        "The failure rate in percent; -1 while there were no calls.",
        _one("r4j_failure_rate", "gauge"),
        key="name",
    ),
    Family(
        "resilience4j_circuitbreaker_slow_call_rate",
        "gauge",
        "The rate of slow calls in percent; -1 while there were no calls.",
        _one("r4j_slow_rate", "gauge"),
        key="name",
    ),
)


def _percent(row: Row, column: str) -> float:
    count = row[PLACE["count"]]
    return 100.0 * row[PLACE[column]] / count if count else -1.0


def _r4j_state(row: Row) -> str:
    """The state of resilience4j that says most of what processes are in."""
    if row[PLACE["disabled"]] and not row[PLACE["enforce"]] + row[PLACE["observe"]]:
        return "disabled"
    if row[PLACE["observe"]] and not row[PLACE["enforce"]]:
        return "metrics_only"
    for state in ("open", "half_open"):
        if row[PLACE[state]]:
            return state
    return "closed"


def value_of(row: Row, column: str) -> float:
    """A number of a row: a column, or one of resilience4j that is made of columns."""
    place = PLACE.get(column)
    if place is not None:
        return row[place]
    if column == "r4j_failure_rate":
        return _percent(row, "failures")
    if column == "r4j_slow_rate":
        return _percent(row, "slow")
    return 1 if _r4j_state(row) == column.removeprefix("r4j_") else 0


def families_of(compat: str | None) -> tuple[Family, ...]:
    """The families that are exported."""
    return FAMILIES if compat is None else FAMILIES + RESILIENCE4J


CHANGES = Family(
    "recloser_transitions",
    "counter",
    "Changes of state since this exporter was made.",
    (),
)


def metrics_of(
    rows: Rows, changes: Changes, totals: dict[str, float], families: tuple[Family, ...]
) -> Iterator[Metric]:
    """The objects of prometheus-client, for other exporters than ours."""
    for family in families:
        metric = Metric(family.name, family.help, family.kind)
        for line in family.lines:
            for label, row in rows.items():
                value = value_of(row, line.column)
                if isfinite(value):
                    labels = {family.key: label, **dict(line.labels)}
                    metric.add_sample(family.name + line.suffix, labels, value)
        yield metric
    metric = Metric(CHANGES.name, CHANGES.help, CHANGES.kind)
    for (label, before, after), count in changes.items():
        labels = {"key": label, "from": before, "to": after}
        metric.add_sample(CHANGES.title, labels, count)
    yield metric
    for name, (kind, text) in TOTALS.items():
        metric = Metric(name, text, kind)
        metric.add_sample(f"{name}_total" if kind == "counter" else name, {}, totals.get(name, 0))
        yield metric


def text_of(
    rows: Rows, changes: Changes, totals: dict[str, float], families: tuple[Family, ...]
) -> str:
    """All of it in the text format of Prometheus (version 0.0.4)."""
    quoted = [(_quoted(label), row) for label, row in rows.items()]
    parts: list[str] = []
    for family in families:
        parts.append(f"# HELP {family.title} {family.help}\n# TYPE {family.title} {family.kind}\n")
        parts.extend(_lines(family, line, quoted) for line in family.lines)
    parts.append(f"# HELP {CHANGES.title} {CHANGES.help}\n# TYPE {CHANGES.title} counter\n")
    parts.extend(
        f'{CHANGES.title}{{key="{_quoted(label)}",from="{before}",to="{after}"}} {count}\n'
        for (label, before, after), count in changes.items()
    )
    for name, (kind, text) in TOTALS.items():
        title = f"{name}_total" if kind == "counter" else name
        parts.append(f"# HELP {title} {text}\n# TYPE {title} {kind}\n{title} {totals[name]}\n")
    return "".join(parts)


def _lines(family: Family, line: Line, quoted: list[tuple[str, Row]]) -> str:
    head = f'{family.name}{line.suffix}{{{family.key}="'
    tail = '"' + "".join(f',{name}="{value}"' for name, value in line.labels) + "}"
    place = PLACE.get(line.column)
    if place is None:
        values = ((label, value_of(row, line.column)) for label, row in quoted)
        return "".join([f"{head}{label}{tail} {value!r}\n" for label, value in values])
    if line.column in MAY_BE_INFINITE:
        quoted = [(label, row) for label, row in quoted if isfinite(row[place])]
    return "".join([f"{head}{label}{tail} {row[place]!r}\n" for label, row in quoted])


MAY_BE_INFINITE = frozenset({"limit", "slow_threshold", "since"})


def _quoted(label: str) -> str:
    return label.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


TOTALS: dict[str, tuple[Literal["counter", "gauge"], str]] = {
    "recloser_keys": ("gauge", "Number of keys that have a breaker."),
    "recloser_evicted": ("counter", "Breakers that were dropped to make room for others."),
    "recloser_overflowed": ("counter", "Calls for which there was no room for a breaker."),
    "recloser_faults": ("counter", "Faults that were contained: in listeners, key functions, us."),
}
