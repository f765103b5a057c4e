"""Obeying: one worker's breaker does what its fleet has decided."""

from __future__ import annotations

from math import inf
from zlib import crc32

from recloser._circuit.following import FollowingCircuit
from recloser._circuit.orders import Orders
from recloser._circuit.pooled import DIVIDED
from recloser._circuit.transitions import rule_of_fleet
from recloser._events import Reason
from recloser._fleet.facts import KeyFact
from recloser._fleet.known_key import KnownKey
from recloser._fleet.member_state import MemberState
from recloser._state import State

# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_CLOSED, _OPEN, _HALF_OPEN = State.CLOSED, State.OPEN, State.HALF_OPEN

HOLD = 3.0
"""Orders hold for this many seconds after the last turn of the worker that did not fail."""
ASKED_OVER = 5.0
"""The calls of a worker are averaged over this many seconds."""
# This many more calls of each worker are assumed: so one without calls of late gets a part, too.
_ASSUMED = 2.0
BY_HAND = frozenset({"manual", "reset"})
"""Rules of changes by hand."""


def obey(shared: MemberState, key: str, now: float) -> None:
    """Let the breaker of a key do what is known of it at `now` seconds."""
    found, known = shared.circuit_of(key), shared.known(key)
    if found is not None and known.fact is not None:
        breaker, circuit = found
        breaker.in_turn(now, _obey, circuit, known, known.fact, shared.name, now)


def _obey(circuit: FollowingCircuit, known: KnownKey, fact: KeyFact, me: str, now: float) -> None:
    if fact.state is _CLOSED:
        # While a worker hears nothing, it decides alone. What it has decided holds until it hears that
        # most of the others are closed. If only its own way to the callee is broken, it opens again.
        closes = circuit.has_followed or (fact.overrules and known.heard_at >= known.unheard_since)
        if closes:
            known.unheard_since = inf
        stands_alone = closes and fact.reason.rule == DIVIDED and circuit.stand_alone(now)
        if (closes and not stands_alone) or (fact.is_over and fact.by_hand):
            _close(circuit, fact, now)
        if fact.expected is not None:
            circuit.expect(*fact.expected, now)
    if fact.is_over:
        circuit.stop_watching()
    else:
        circuit.watch(fact.one_in)
    if fact.state is _CLOSED:
        return
    age = max(now - known.heard_at, 0.0)
    orders = circuit.orders
    if orders is None or orders.state is not fact.state:
        orders = Orders(fact.state)
    orders.renew(now + HOLD)
    has_ticket = fact.tickets is None or me in fact.tickets
    if fact.state is _OPEN:
        left = fact.wait + fact.ticket - age
        orders.ticket_until = now + left if has_ticket and left > 0.0 else -inf
    elif fact.state is _HALF_OPEN:
        orders.places = fact.places if has_ticket else 0
    else:
        orders.places = part_of(fact, known.asked, f"{me} {known.epoch}")
    wait, size = max(fact.wait - age, 0.0), max(fact.size / fact.workers, 1.0)
    circuit.follow(orders, reason_of(fact), wait, size, now)


def _close(circuit: FollowingCircuit, fact: KeyFact, now: float) -> None:
    if fact.by_hand == "reset":
        circuit.reset(now, reason_of(fact))
        return
    if fact.learned is not None:
        circuit.learn_from(fact.learned, now, anew=True)
    circuit.follow_closing(reason_of(fact), now)


def part_of(fact: KeyFact, asked: float, salt: str) -> int:
    """How many permits of a limit are one worker's: in proportion to its calls.

    What is left over after whole permits goes to some of the workers by chance, and to others after
    the next news.

    Args:
        fact: The limit.
        asked: How many calls come to the worker, per second.
        salt: A text that differs for each worker and each decision.
    """
    mine = asked * ASKED_OVER + _ASSUMED
    everybody = fact.demand * ASKED_OVER + _ASSUMED * fact.workers
    part = fact.permits * min(mine / everybody, 1.0)
    whole = int(part)
    return whole + (crc32(salt.encode()) / 2**32 < part - whole)


def reason_of(fact: KeyFact) -> Reason:
    """The reason of a change that the fleet has decided."""
    reason = fact.reason
    sentence = reason.sentence
    if reason.rule not in BY_HAND:
        sentence = f"the fleet of {fact.workers} workers: {sentence}"
    return Reason(rule_of_fleet(fact.state), sentence, reason.numbers, reason.by)
