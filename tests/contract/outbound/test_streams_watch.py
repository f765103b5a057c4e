"""The watch of a stream, without a client: how it ends, and for how long a piece is awaited."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from tests.support.breaker_state import votes

from recloser import LoosePermit, Policy, Registry
from recloser.testing import ManualClock, no_jitter

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.streams import StreamWatch

EVENT = b'data: {"a": 1}\n\n'


def watch_in(registry: Registry, **settings: Any) -> StreamWatch:
    permit = registry["k"].admit(LoosePermit)
    assert isinstance(permit, LoosePermit)
    settings = {"awaited": True, "cuts_off": False, "errors": False, **settings}
    return StreamWatch(permit, "text/event-stream", "", **settings)


@pytest.mark.parametrize(
    ("awaited", "data", "vote"),
    [
        (True, b"", "cancelled"),
        (True, b": a comment\n\n", "cancelled"),
        (True, EVENT, "successes"),
        (False, b"", "successes"),
    ],
)
def test_a_close_before_the_first_piece_is_a_caller_that_leaves_unless_nothing_was_awaited(
    registry: Registry, awaited: bool, data: bytes, vote: str
) -> None:
    watch = watch_in(registry, awaited=awaited)
    watch.chunk(data)
    assert watch.decided is (data == EVENT)

    watch.closed()

    assert votes(registry["k"].metrics()) == {vote: 1}


@pytest.mark.parametrize("settings", [{"cuts_off": False}, {"cuts_off": True, "awaited": False}])
def test_where_nothing_is_cut_off_a_piece_is_awaited_without_end(
    registry: Registry, settings: dict[str, bool]
) -> None:
    watch = watch_in(registry, **settings)

    assert not watch.cuts_off
    assert (watch.patience, watch.longest_wait) == (inf, inf)


def test_the_first_piece_is_awaited_as_long_as_the_call_may_take_and_each_other_one_anew(
    registry: Registry, clock: ManualClock
) -> None:
    watch = watch_in(registry, cuts_off=True)
    ceiling = Policy().slow_ceiling

    clock.advance(10.0)
    assert watch.patience == pytest.approx(ceiling - 10.0)
    assert watch.longest_wait == ceiling
    clock.advance(2.0 * ceiling)
    assert watch.patience == 0.0

    watch.chunk(EVENT)
    clock.advance(50.0)
    assert watch.patience == registry["k"].piece_timeout  # its caller does not wait
    watch.asked()
    clock.advance(1.0)
    assert watch.patience == pytest.approx(registry["k"].piece_timeout - 1.0)
    clock.advance(1000.0)
    assert watch.patience == 0.0


def test_by_a_clock_that_fails_nothing_is_cut_off() -> None:
    broken: list[bool] = []

    def clock() -> float:
        if broken:
            raise OSError
        return 1000.0

    registry = Registry(clock=clock, random=no_jitter)
    watch = watch_in(registry, cuts_off=True)
    broken.append(True)

    assert watch.patience == inf
    assert registry.faults == 1
    broken.clear()
    watch.closed()
