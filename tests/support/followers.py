"""A worker of a fleet that gets its orders from a test."""

from __future__ import annotations

from math import inf

from tests.support.fleets import Worker, World

from recloser import Permit, Reason, State
from recloser._circuit.following import FollowingCircuit
from recloser._circuit.orders import Orders

WHY = Reason("fleet_open", "the others say so")
FOR_LONG = 1e6  # seconds


def trained() -> Worker:
    """One that knows that 0.1 s is normal; no fleet gives it orders but the test."""
    worker = World(1).workers[0]
    worker.due_at = inf
    return worker


def learn_labels(worker: Worker) -> None:
    """Let it learn that an "export" takes ten seconds and a "list" takes 0.1 s."""
    for _ in range(100):
        for label, latency in (("export", 10.0), ("list", 0.1)):
            permit = worker.breaker.acquire(label=label)
            worker.clock.advance(latency)
            permit.success()


def circuit_of(worker: Worker) -> FollowingCircuit:
    circuit: FollowingCircuit = worker.breaker.following
    return circuit


def follow(
    worker: Worker,
    state: State,
    *,
    wait: float = 1.0,
    size: float = 4.0,
    places: float = 1,
    ticket_until: float = -inf,
    until: float = FOR_LONG,
) -> Orders:
    orders = Orders(state)
    orders.renew(until)
    orders.places, orders.ticket_until = places, ticket_until
    now = worker.clock.now
    worker.breaker.in_turn(now, circuit_of(worker).follow, orders, WHY, wait, size, now)
    return orders


def fail(permit: Permit | None) -> None:
    assert permit is not None
    permit.failure()


def admitted(worker: Worker, calls: int) -> list[Permit]:
    """The permits of so many calls, as far as they get one."""
    permits = [worker.breaker.try_acquire() for _ in range(calls)]
    return [permit for permit in permits if permit is not None]
