"""What a fleet has decided about a key, as a fact in the store.

It is a fact with its numbers, and not a command: each worker works out its own part of it. All times
are seconds from the moment of writing, since the clocks of the workers need not agree.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, cast

from recloser._circuit.learned import Learned
from recloser._events import Reason
from recloser._fleet.store import MAX_EPOCH, Fact
from recloser._state import State

FORMAT = 1
"""The version of the texts. A worker ignores facts of another one."""
# No text in a fact is longer; a reason is one sentence.
_LONGEST = 500
_STATES = {state.value: state for state in State}


def key_name(key: str) -> str:
    """The name of the fact about a key."""
    return f"key {key}"


def key_of(name: str) -> str | None:
    """The key that a fact is about; None if it is about no key."""
    return name[4:] if name.startswith("key ") else None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFact:
    """What a fleet has decided about one key.

    Attributes:
        state: The state of its circuit. While it is closed, the calls are watched.
        leader: The worker that runs its circuit; "" if it is closed and nobody watches any more.
        lease: Seconds from the writing for which the leader leads, if it says no more.
        reason: Why it is in that state.
        by_hand: What an operator has done, if that is why: `open`, `half_open`, `close` or `reset`.
        since: For how many seconds it has been in that state.
        wait: Seconds until the next probe, while open; infinite if it is open until changed by hand.
        size: How many calls may be in flight in the whole fleet, while limited.
        permits: How many calls the workers may have in flight in sum so that about `size` are: not
            each permit is in use at any time.
        demand: Calls per second of the whole fleet, refused ones included; 0.0 if unknown.
        workers: How many workers share the limit.
        tickets: Which workers may send a probe; None for all.
        ticket: Seconds for which a ticket is valid after the wait is over.
        places: How many probes each of them may have in flight.
        one_in: One call in this many is written down by the workers.
        overrules: Whether most workers have told that they are closed, while at least one is not. Then
            a worker closes that has decided alone while its store failed.
        expected: Shares of slow and of failed calls that are normal, 0.0-1.0, if the workers are to
            know that.
        learned: What was learned, if the workers are to know it.
    """

    state: State
    leader: str
    lease: float
    reason: Reason
    by_hand: str = ""
    since: float = 0.0
    wait: float = 0.0
    size: float = 0.0
    permits: float = 0.0
    demand: float = 0.0
    workers: int = 1
    tickets: tuple[str, ...] | None = ()
    ticket: float = 0.0
    places: int = 1
    one_in: int = 1
    overrules: bool = False
    expected: tuple[float, float] | None = None
    learned: Learned | None = None

    @property
    def is_over(self) -> bool:
        """Whether nobody watches the key any more."""
        return self.state is State.CLOSED and not self.leader

    @property
    def decision(self) -> tuple[object, ...]:
        """What workers must know at once when it changes; they can wait for the rest."""
        return self.state, self.tickets, self.places, self.one_in, self.by_hand, self.overrules

    def as_text(self) -> str:
        """As JSON."""
        reason = self.reason
        plain: dict[str, Any] = {
            "format": FORMAT,
            "state": self.state.value,
            "leader": self.leader,
            "lease": self.lease,
            "rule": reason.rule,
            "sentence": reason.sentence[:_LONGEST],
            "numbers": {
                name: number for name, number in reason.numbers.items() if isfinite(number)
            },
            "by": reason.by[:_LONGEST],
            "by_hand": self.by_hand,
            "since": round(self.since, 3),
            "wait": self.wait if self.wait < inf else None,
            "size": self.size,
            "permits": round(self.permits, 3),
            "demand": round(self.demand, 3),
            "workers": self.workers,
            "tickets": self.tickets,
            "ticket": round(self.ticket, 3),
            "places": self.places,
            "one_in": self.one_in,
            "overrules": self.overrules,
            "expected": self.expected,
            "learned": None if self.learned is None else self.learned.as_plain(),
        }
        return json.dumps(plain, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> KeyFact:
        """From JSON.

        Raises:
            ValueError: It is something else, or of another format.
        """
        given = plain_of(text)
        tickets = given.get("tickets")
        wait, learned = given.get("wait"), given.get("learned")
        try:
            return cls(
                state=_STATES[given["state"]],
                leader=str(given["leader"]),
                lease=number_of(given, "lease"),
                reason=Reason(
                    str(given["rule"]),
                    str(given["sentence"])[:_LONGEST],
                    _numbers_of(given["numbers"]),
                    str(given["by"])[:_LONGEST],
                ),
                by_hand=str(given["by_hand"]),
                since=number_of(given, "since"),
                wait=inf if wait is None else number_of(given, "wait"),
                size=number_of(given, "size"),
                permits=number_of(given, "permits"),
                demand=number_of(given, "demand"),
                workers=max(whole_of(given, "workers"), 1),
                tickets=None if tickets is None else tuple([str(each) for each in tickets]),
                ticket=number_of(given, "ticket"),
                places=whole_of(given, "places"),
                one_in=max(whole_of(given, "one_in"), 1),
                overrules=given["overrules"] is True,
                expected=_shares_of(given.get("expected")),
                learned=None if learned is None else Learned.from_plain(learned),
            )
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"this is not a fact about a key: {error!r}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeFact:
    """What overrides the mode of a key by hand.

    Attributes:
        mode: The mode; "" for the usual one.
        share: The share of callers that is refused, 0.0-1.0; None for the usual one.
        left: Seconds from the writing for which it lasts; infinite if it does not end by itself.
        reason: Why.
        by: Who it was.
        ended: Whether it has ended.
        ago: Seconds before the writing when it was said; more than 0.0 if it was written again.
    """

    mode: str = ""
    share: float | None = None
    left: float = inf
    reason: str = ""
    by: str = ""
    ended: bool = False
    ago: float = 0.0

    def as_text(self) -> str:
        """As JSON."""
        return json.dumps(
            {
                "format": FORMAT,
                "mode": self.mode,
                "share": self.share,
                "left": self.left if self.left < inf else None,
                "reason": self.reason[:_LONGEST],
                "by": self.by[:_LONGEST],
                "ended": self.ended,
                "ago": self.ago,
            }
        )

    @classmethod
    def from_text(cls, text: str) -> ModeFact:
        """From JSON.

        Raises:
            ValueError: It is something else, or of another format.
        """
        given = plain_of(text)
        share, left = given.get("share"), given.get("left")
        try:
            mode = str(given["mode"])
            if mode not in ("", "enforce", "observe", "disabled"):
                raise ValueError(f"unknown mode {mode!r}")
            return cls(
                mode=mode,
                share=None if share is None else min(number_of(given, "share"), 1.0),
                left=inf if left is None else number_of(given, "left"),
                reason=str(given["reason"])[:_LONGEST],
                by=str(given["by"])[:_LONGEST],
                ended=bool(given["ended"]),
                ago=number_of({"ago": 0.0, **given}, "ago"),
            )
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"this is not a fact about a mode: {error!r}") from error


def mode_name(key: str) -> str:
    """The name of the fact about the mode of a key."""
    return f"mode {key}"


def key_of_mode(name: str) -> str | None:
    """The key whose mode a fact is about; None if it is about no mode."""
    return name[5:] if name.startswith("mode ") else None


def learned_name(key: str) -> str:
    """The name of the quiet fact with what was learned about a key."""
    return f"learned {key}"


def plain_of(text: str) -> Mapping[str, Any]:
    """The mapping in a JSON text of our format.

    Raises:
        ValueError: It is something else.
    """
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"this is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise ValueError("this is not a mapping")
    mapping = cast("Mapping[str, Any]", given)
    if mapping.get("format") != FORMAT:
        raise ValueError(f"format {mapping.get('format')!r} is not {FORMAT}")
    return mapping


def check_epoch(fact: Fact) -> None:
    """Check the epoch of a fact in the news.

    Raises:
        ValueError: It is garbage.
    """
    if not 0 < fact.epoch <= MAX_EPOCH:
        raise ValueError(f"the epoch of {fact.name!r} is {fact.epoch}")


def _shares_of(plain: object) -> tuple[float, float] | None:
    if plain is None:
        return None
    slow, failed = cast("list[Any]", plain)
    shares = {"slow": slow, "failed": failed}
    return min(number_of(shares, "slow"), 1.0), min(number_of(shares, "failed"), 1.0)


def _numbers_of(plain: object) -> dict[str, float]:
    numbers = {
        str(name): float(each) for name, each in dict(cast("dict[object, Any]", plain)).items()
    }
    return {name: number for name, number in numbers.items() if isfinite(number)}


def number_of(given: Mapping[str, Any], name: str) -> float:
    """A finite number >= 0 in a mapping.

    Raises:
        ValueError: It is something else.
        KeyError: There is none.
    """
    value = given[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} is {value!r}")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"{name} is too large") from None
    if not (isfinite(number) and number >= 0.0):
        raise ValueError(f"{name} is {value!r}")
    return number


def whole_of(given: Mapping[str, Any], name: str) -> int:
    """A whole number in a mapping, 0 to 2**53 - 1: up to it, JSON keeps whole numbers exactly.

    Raises:
        ValueError: It is something else.
        KeyError: There is none.
    """
    number = int(number_of(given, name))
    if number >= 2**53:
        raise ValueError(f"{name} is {number}")
    return number
