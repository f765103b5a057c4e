"""A fleet whose workers call from asyncio, uvloop and trio, on each engine."""

from __future__ import annotations

import pytest
from tests.support.event_loops import (
    LOOPS,
    WAYS,
    Call,
    Callee,
    call_until_both,
    call_until_met,
    run,
    two_workers,
)
from tests.support.stores import Place

from recloser import Registry, State


async def _outage(registries: list[Registry], call: Call) -> None:
    callee = Callee()
    await call_until_met(registries, callee, call)

    callee.is_well = False
    await call_until_both(registries, callee, call, State.OPEN)

    callee.is_well = True
    await call_until_both(registries, callee, call, State.CLOSED)
    assert [registry.faults for registry in registries] == [0, 0]


@pytest.mark.parametrize("call", WAYS, ids=lambda call: call.__name__)
@pytest.mark.parametrize("loop", LOOPS)
def test_both_workers_open_and_close_again(place: Place, loop: str, call: Call) -> None:
    with two_workers(place.open) as registries:
        run(loop, _outage, registries, call)
