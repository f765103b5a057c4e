"""What a worker reports to the one that leads a key, as a text in its box."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import exp
from typing import Any, cast

from recloser._circuit.journal import Begun, Ended
from recloser._fleet.facts import FORMAT, number_of, plain_of, whole_of
from recloser._outcome import Outcome

PACE = 0.05
"""Seconds between two reports of a worker on a key that is watched; more in a large fleet."""
_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
_MOST = 2_000
_LONGEST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the calls of one key did in one worker since its last report.

    Attributes:
        worker: The worker.
        written: When it was written, in seconds of the reader's clock.
        entries: Begins and ends of calls in the order of time; seconds of the reader's clock.
        open: The tokens of calls in flight whose begin was told, or that began before the watch.
        refused: How many calls were refused.
        alone: The state that it has decided alone; "" if it has decided nothing alone.
        why: Why, in one sentence.
    """

    worker: str
    written: float
    entries: tuple[Begun | Ended, ...] = ()
    open: tuple[int, ...] = ()
    refused: int = 0
    alone: str = ""
    why: str = ""

    def as_text(self) -> str:
        """As JSON."""
        entries: list[list[Any]] = []
        for entry in self.entries:
            age = round(max(self.written - entry.at, 0.0), 4)
            if isinstance(entry, Begun):
                entries.append([entry.token, age])
            else:
                entries.append(
                    [
                        entry.token,
                        age,
                        entry.outcome.value,
                        round(entry.latency, 6),
                        entry.wait,
                        entry.rule,
                        entry.what[:_LONGEST],
                    ]
                )
        plain = {
            "format": FORMAT,
            "worker": self.worker,
            "entries": entries,
            "open": self.open,
            "refused": self.refused,
            "alone": self.alone,
            "why": self.why[:_LONGEST],
        }
        return json.dumps(plain, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str, written: float) -> Report:
        """From JSON.

        Args:
            text: The text.
            written: When it was written, in seconds of the reader's clock.

        Raises:
            ValueError: It is something else, or of another format.
        """
        given = plain_of(text)
        try:
            entries = tuple([_entry(each, written) for each in given["entries"][:_MOST]])
            return cls(
                worker=str(given["worker"]),
                written=written,
                entries=entries,
                open=tuple([_token(each) for each in cast("list[Any]", given["open"][:_MOST])]),
                refused=whole_of(given, "refused"),
                alone=str(given["alone"]),
                why=str(given["why"])[:_LONGEST],
            )
        except (KeyError, TypeError, IndexError, OverflowError) as error:
            raise ValueError(f"this is not a report: {error!r}") from error


def of_late(before: float, number: float, passed: float, over: float) -> float:
    """How many of something there are per second, averaged over the last seconds.

    Args:
        before: The average until now, per second.
        number: How many there were since then.
        passed: For how many seconds, > 0.
        over: The seconds over which it is averaged; what is older counts less and less.
    """
    kept = exp(-passed / over)
    return kept * before + (1.0 - kept) * number / passed


def _token(given: object) -> int:
    if type(given) is not int or given < 0:
        raise ValueError(f"a token is {given!r}")
    return given


def _entry(plain: object, written: float) -> Begun | Ended:
    fields = cast("list[Any]", plain)
    numbers: Mapping[str, Any] = dict(
        zip(("token", "age", "", "latency", "wait"), fields, strict=False)
    )
    token, at = whole_of(numbers, "token"), written - number_of(numbers, "age")
    if len(fields) == 2:
        return Begun(token, at)
    outcome, rule, what = _OUTCOMES[fields[2]], str(fields[5]), str(fields[6])
    latency, wait = number_of(numbers, "latency"), number_of(numbers, "wait")
    return Ended(token, at, outcome, latency, wait, rule, what)
