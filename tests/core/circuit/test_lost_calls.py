"""Calls that nobody can end any more: they are found, and no others."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from tests.support.breaker_state import counts, ended

from recloser import Breaker, LoosePermit, Permit
from recloser._circuit.lost_calls import lost_calls
from recloser._circuit.streams import Stream, Streams


def test_a_permit_that_only_the_table_has_is_lost(breaker: Breaker) -> None:
    kept = breaker.admit_strict(Permit)
    breaker.admit_strict(Permit)

    assert breaker.metrics().in_flight == 1
    assert isinstance(kept, Permit)
    kept.success()
    assert ended(breaker) == (1, 0, 0, 1)


def test_no_call_is_lost_whose_permit_somebody_has(breaker: Breaker) -> None:
    kept: list[Any] = [breaker.admit_strict(Permit) for _ in range(5)]
    kept += [breaker.acquire() for _ in range(5)]
    kept += [breaker.acquire(label="export") for _ in range(5)]
    kept += [breaker.admit(LoosePermit)]
    kept[0].mark()
    kept[6].mark()
    kept[7].pieces()

    assert not lost_calls(breaker._circuit)
    breaker.open()  # they are of another generation now
    assert not lost_calls(breaker._circuit)
    assert breaker.metrics().in_flight == 16


def test_where_references_are_not_counted_no_call_is_lost(
    breaker: Breaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on PyPy."""
    monkeypatch.setattr("recloser._circuit.lost_calls._count_references", None)
    kept = breaker.acquire()
    breaker.admit_strict(Permit)

    assert lost_calls(breaker._circuit) == []
    assert not kept.ended


def test_a_lost_call_does_not_keep_a_breaker_in_its_registry(breaker: Breaker) -> None:
    breaker.admit_strict(Permit)

    assert breaker.is_spare(breaker.clock())


def holding(breaker: Breaker) -> Generator[None, None, None]:
    with breaker:
        yield


async def waiting(breaker: Breaker) -> None:
    async with breaker:
        await Pause()


class Pause:
    def __await__(self) -> Generator[None, None, None]:
        yield


def test_blocks_that_go_on_are_not_lost(breaker: Breaker) -> None:
    generator, coroutine = holding(breaker), waiting(breaker)
    next(generator)
    coroutine.send(None)
    with ExitStack() as stack, breaker:
        stack.enter_context(breaker)
        assert breaker.metrics().in_flight == 4

    assert breaker.metrics().in_flight == 2
    next(generator, None)
    with suppress(StopIteration):
        coroutine.send(None)
    assert counts(breaker)["success"] == 4


def test_a_block_is_lost_with_the_function_that_never_left_it(
    breaker: Breaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CPython runs signal handlers at the begin of `__exit__`. One that raises ends the block."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    def call() -> None:
        with breaker:
            pass

    monkeypatch.setattr(Breaker, "__exit__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        call()
    monkeypatch.undo()

    assert breaker.metrics().in_flight == 0
    with breaker:
        assert breaker.metrics().in_flight == 1
    assert ended(breaker) == (1, 0, 0, 1)


def test_what_is_noted_of_calls_that_are_not_in_flight_is_dropped(breaker: Breaker) -> None:
    """An exception at the end of a call may leave it behind."""
    labelled, streaming = breaker.acquire("export"), breaker.acquire()
    streaming.pieces()
    calls, tokens = breaker._calls, {labelled.token, streaming.token}
    for token in tokens:
        calls.take(token)

    assert {*lost_calls(breaker._circuit)} == tokens
    breaker.metrics()

    assert calls.streams is not None
    assert not calls.streams.by_token
    assert breaker._circuit.explained is not None
    assert not breaker._circuit.explained.kinds


def test_what_is_noted_of_a_call_that_is_not_in_flight_is_lost_as_well(breaker: Breaker) -> None:
    """If a signal handler struck between the note and the call, or the other way round."""
    circuit = breaker._circuit
    assert lost_calls(circuit) == []

    circuit.explain_any().kinds[5] = ("export", None)
    assert lost_calls(circuit) == [5]

    circuit.explain_any().kinds.clear()
    assert lost_calls(circuit) == []


def test_a_stream_that_is_noted_of_a_call_that_is_not_in_flight_is_lost_as_well(
    breaker: Breaker,
) -> None:
    circuit = breaker._circuit
    circuit.calls.streams = Streams(breaker.policy)

    circuit.calls.streams.by_token[7] = Stream(0.0, 0.1)

    assert lost_calls(circuit) == [7]
