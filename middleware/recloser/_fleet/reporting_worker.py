"""What the leader of a key knows of its workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from recloser._circuit.divided import Divided
from recloser._circuit.pooled import PooledCall
from recloser._events import Reason
from recloser._state import State

# As a plain global: to look up a member of an enum takes 60 ns on Python 3.11.
_OPEN = State.OPEN
# Of some workers no call has ended yet. At least this many calls must have come to them before that shows
# that none of them is well: good calls often take longer than failures do.
_HEARD = 5.0
_TOLD_WITHIN = 1.0  # seconds until workers have told of the first calls of a watch
# Workers whose last calls were good get tickets first, then those of which no call is known: if some
# are cut off, the others show how the callee is. A worker with less than the part `_ASKS` of the calls of
# an average worker comes last: it would keep its ticket for long.
_HOPES, _ASKS = {True: 2, None: 1, False: 0}, 0.1
# A worker is waited for during `_LATEST` seconds; or during `_LATEST_PACES` times the time between two
# reports, if that is longer.
_LATEST, _LATEST_PACES = 1.0, 4.0


class ReportingWorker:
    """What a leader knows of one worker.

    Attributes:
        written: When its last report was written, in seconds.
        calls: The calls of it that have begun, by its tokens: the token and the call here.
        earlier: Its tokens of calls in flight that have begun before the watch.
        alone: The state that it has decided alone; "" for none.
        why: Why it has.
        asked: How many calls came to it of late, per second.
    """

    __slots__ = ("alone", "asked", "calls", "earlier", "why", "written")

    def __init__(self) -> None:
        self.written = 0.0
        self.calls: dict[int, tuple[int, PooledCall]] = {}
        self.earlier: set[int] = set()
        self.alone = self.why = ""
        self.asked = 0.0

    def is_silent(self, now: float, pace: float) -> bool:
        """Whether it has said nothing for so long that it is not waited for any more.

        Args:
            now: Seconds.
            pace: Seconds between two reports.
        """
        return now - self.written > max(_LATEST, _LATEST_PACES * pace)


def most_are_closed(seen: Mapping[str, ReportingWorker], workers: int) -> bool:
    """Whether most workers have told that they are closed, and at least one that it is not."""
    closed = sum(not each.alone for each in seen.values())
    return closed < len(seen) and 2 * closed > workers


def most_are_open(
    seen: Mapping[str, ReportingWorker],
    workers: int,
    divided: Divided,
    demand: float,
    passed: float,
) -> Reason | None:
    """Why to open for all, if most workers have opened alone and no other one is well; None if not.

    Args:
        seen: The workers that have reported.
        workers: How many workers there are.
        divided: What is known of their calls.
        demand: How many calls all workers want to make, per second.
        passed: Seconds since the watch began.
    """
    alone = [each for each in seen.values() if each.alone == _OPEN.value]
    others = workers - len(alone)
    if len(alone) < 2 or len(alone) <= others:
        return None
    well = [divided.is_well(name) for name, each in seen.items() if not each.alone]
    unknown = others - well.count(False)
    calls = demand * max(passed - _TOLD_WITHIN, 0.0)
    if True in well or (unknown and calls * unknown / workers < _HEARD):
        return None
    numbers = {"workers": float(workers), "alone": float(len(alone))}
    sentence = f"{len(alone)} of {workers} workers have opened alone; one: {alone[0].why}"
    return Reason("failures", sentence, numbers)


def probers(
    seen: Mapping[str, ReportingWorker], divided: Divided, random: Callable[[], float]
) -> list[str]:
    """The workers that may send probes, in the order in which they get a ticket.

    Args:
        seen: The workers that have reported.
        divided: What is known of their calls.
        random: Returns uniform numbers in 0.0-1.0.
    """
    least = _ASKS * sum(each.asked for each in seen.values()) / max(len(seen), 1)

    def place(name: str) -> tuple[int, float]:
        each = seen[name]
        hope = _HOPES[divided.is_well(name)] if each.asked >= least else 0
        return -hope, -each.asked * (0.5 + random())

    return sorted((name for name, each in seen.items() if not each.alone), key=place)
