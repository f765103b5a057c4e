"""The journal: what the calls of one key do in one worker, while a fleet watches the key.

A fleet has one circuit for a key, run by the worker that leads it. It must see the calls of all
workers as they were, the good ones too: sums of what each worker suspects say nothing, since each of
them looks only at its own worst moments. So each worker writes down when calls begin and how they end.

Of many calls, one in `one_in` is written down. The circuit of the fleet then sees the same mixture at
a lower rate.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from recloser._circuit.in_flight import WAITING, InFlight
from recloser._outcome import Outcome

# Entries between two reports. More are not written down: a report must stay small.
_MOST = 512

_SUCCESS, _IGNORED = Outcome.SUCCESS, Outcome.IGNORED


class Begun(NamedTuple):
    """A call has begun.

    Attributes:
        token: Its token in its worker.
        at: When, in seconds.
    """

    token: int
    at: float


class Ended(NamedTuple):
    """A call has ended.

    Attributes:
        token: Its token in its worker.
        at: When, in seconds.
        outcome: How. A call that says nothing about the callee is `IGNORED`.
        latency: Seconds until the answer began, or until the end.
        wait: Seconds of the pause that the callee asked for; 0.0 for none.
        rule: As in `Ending`.
        what: What failed, in one short line without secrets.
    """

    token: int
    at: float
    outcome: Outcome
    latency: float
    wait: float = 0.0
    rule: str = ""
    what: str = ""


class Journal:
    """What calls do, until it is taken.

    Args:
        one_in: One call in this many is written down, >= 1.
        refused: Number of calls that were refused until now.

    Attributes:
        one_in: As given; it may be changed.
        refused: Number of calls that had been refused when it was taken last; see `Counts`.
        last_was_bad: Whether the last call that said something was bad.
    """

    __slots__ = ("_begun", "_entries", "_new", "last_was_bad", "one_in", "refused")

    def __init__(self, one_in: int, refused: int) -> None:
        self.one_in = one_in
        self.refused = refused
        self.last_was_bad = False
        self._entries: list[Begun | Ended] = []
        # Calls that have begun: of which the fleet knows, and of which it does not know yet.
        self._begun: set[int] = set()
        self._new: dict[int, float] = {}

    @property
    def open(self) -> tuple[int, ...]:
        """The tokens of the calls that have not ended yet, and whose end will be told."""
        return tuple(self._begun)

    def begin_with(self, calls: InFlight) -> None:
        """Note the calls that are in flight already. Of these, only the end is told."""
        known = [*calls.voting.copy().items(), *calls.overdue.copy().items()]
        tokens = [
            token for token, call in known if token % self.one_in == 0 and call.answered == inf
        ]
        self._begun.update(tokens[:_MOST])

    def begin(self, token: int, at: float) -> None:
        """Note that a call has begun at `at` seconds."""
        if token in self._begun:
            return  # it is told when it ends, see `begin_with`
        if token % self.one_in == 0 and len(self._entries) + len(self._new) < _MOST:
            self._new[token] = at

    def end(self, ended: Ended) -> None:
        """Note the end of a call. Of a call that was not written down, nothing is."""
        token = ended.token
        began = self._new.pop(token, None)
        if began is not None:
            self._entries.append(Begun(token, began))
        elif token in self._begun:
            self._begun.discard(token)
        else:
            return
        self._entries.append(ended)

    def rename(self, before: int, token: int, at: float) -> None:
        """Note that a call has another token, since it began later than it seemed."""
        if self._new.pop(before, None) is not None:
            self._new[token] = at
        elif before in self._begun:
            self.end(Ended(before, at, _IGNORED, 0.0))
            self._new[token] = at

    def give_back(self, entries: list[Begun | Ended]) -> None:
        """Take back entries that could not be told."""
        self._entries[:0] = entries

    def take(self, calls: InFlight, now: float) -> list[Begun | Ended]:
        """Take what is written down, in the order of time, at `now` seconds.

        Calls that wait for their own caller have not begun for the callee. Calls that have begun to
        answer have ended for it: a stream lasts as long as it lasts.
        """
        entries, self._entries = self._entries, []
        for token, at in [*self._new.items()]:
            call = calls.voting.get(token)
            if call is not None and call.answered == WAITING:
                continue
            del self._new[token]
            self._begun.add(token)
            entries.append(Begun(token, at))
        for token in [*self._begun]:
            if token in calls.voting or token in calls.overdue:
                continue
            call = calls.answering.get(token) or calls.outdated_call(token)
            if call is None:
                self._begun.discard(token)
                entries.append(Ended(token, now, _IGNORED, 0.0))
            elif WAITING < call.answered < inf:
                self._begun.discard(token)
                latency = max(call.answered - call.started, 0.0)
                entries.append(Ended(token, call.answered, _SUCCESS, latency))
        entries.sort(key=_when)
        return entries


def _when(entry: Begun | Ended) -> float:
    return entry.at
