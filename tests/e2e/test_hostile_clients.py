"""Ten clients that break the protocol, leave, or are slow: they harm nobody else, whatever serves.

Each server has an app in each framework that it can serve, and all are asked at the same time.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks.soak.hostile import ATTACKS, Attackers, Target
from benchmarks.soak.servers import KINDS, Running, missing, running
from benchmarks.soak.users import Request, ask_many, request_of
from tests.support.waiting import until

# Requests of others while they attack, and rounds of all attacks by each attacker, at least.
OTHERS = 1000
ROUNDS = 0.5
# Seconds: for how long a slow client keeps a connection. A sync worker serves nobody meanwhile.
PATIENCE, PATIENCE_OF_ONE = 0.5, 0.05
# Seconds until all is served again, from the healing on.
RECOVERY = 15.0

servers = [
    pytest.param(
        kind,
        marks=pytest.mark.skipif(bool(missing(kind)), reason=f"not installed: {missing(kind)}"),
    )
    for kind in KINDS
]


@pytest.fixture(params=servers)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    """A running server; the parameter is its kind."""
    with running(request.param, tmp_path) as started:
        yield started


def _target(server: Running) -> Target:
    kind = KINDS[server.kind]
    patience = PATIENCE if kind.overlaps else PATIENCE_OF_ONE
    return Target(server.port, server.apps, patience, kind.spared)


def _requests(apps: tuple[str, ...], seed: int) -> Iterator[Request]:
    chance = random.Random(seed)
    while True:
        yield request_of(chance.choice(apps), chance)


def _at_rest(server: Running) -> bool:
    breakers = server.described()["breakers"].values()
    return not any(each["in_flight"] for each in breakers)


def _blamed(server: Running) -> dict[str, Any]:
    """What the breakers hold against handlers that did nothing wrong."""
    return {
        key: each
        for key, each in server.described()["breakers"].items()
        if each["failures"] or each["refused"] or each["state"] != "closed"
    }


def test_ten_hostile_clients_refuse_nobody_else(server: Running) -> None:
    target = _target(server)
    assert not ask_many(server.port, _requests(server.apps, 1), 500).wrong  # it learns

    with Attackers(target) as made:
        tally = ask_many(server.port, _requests(server.apps, 2), OTHERS)
        until(lambda: sum(made.values()) >= ROUNDS * 10 * len(ATTACKS), "they have attacked")

    assert min(made.values()) > 0
    assert (tally.asked, tally.refused, dict(tally.wrong)) == (OTHERS, 0, {})
    until(lambda: _at_rest(server), "no call is in flight")
    assert _blamed(server) == {}
    assert server.described()["faults"] == 0


def test_hostile_clients_do_not_keep_a_breaker_open(server: Running) -> None:
    """They come at the worst moment: it is open, and the next call is a probe."""
    app = server.apps[0]
    upload = Request("POST", f"/{app}/outage", b"x", "application/octet-stream")

    def serves() -> bool:
        return not ask_many(server.port, itertools.repeat(upload), 5, users=1).wrong

    server.break_down(True)
    until(lambda: ask_many(server.port, itertools.repeat(upload), 5).refused > 0, "it refuses")
    with Attackers(_target(server), names=("takes_a_probe",)):
        server.break_down(False)
        healed = time.monotonic()
        until(serves, "all are served again")

    assert time.monotonic() - healed < RECOVERY
