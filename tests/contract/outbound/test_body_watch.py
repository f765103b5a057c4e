"""The watch of a body, without a client: what ends the call, and how."""

from __future__ import annotations

from math import inf

import pytest
from tests.support.breaker_state import votes

from recloser import LoosePermit, Registry

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.body import BodyWatch, ReadingWatch


def call(registry: Registry) -> LoosePermit:
    permit = registry["k"].admit(LoosePermit)
    assert isinstance(permit, LoosePermit)
    return permit


@pytest.mark.parametrize(
    ("watching", "reads", "decided"), [(BodyWatch, False, True), (ReadingWatch, True, False)]
)
def test_only_a_watch_that_reads_may_change_its_mind(
    registry: Registry, watching: type[BodyWatch], reads: bool, decided: bool
) -> None:
    watch = watching(call(registry))

    assert watch.reads is reads
    assert watch.decided is decided
    assert watch.cuts_off is False
    assert (watch.patience, watch.longest_wait) == (inf, inf)


@pytest.mark.parametrize("way", ["eof", "closed"])
def test_the_end_and_the_close_of_a_good_answer_are_a_success(registry: Registry, way: str) -> None:
    watch = BodyWatch(call(registry))

    getattr(watch, way)()

    assert votes(registry["k"].metrics()) == {"successes": 1}


@pytest.mark.parametrize(("local", "vote"), [(False, "failures"), (True, "ignored")])
def test_an_error_while_it_is_read_is_a_failure_unless_it_is_the_callers_own(
    registry: Registry, local: bool, vote: str
) -> None:
    watch = BodyWatch(call(registry))

    watch.failed(ConnectionResetError(), local=local)

    assert votes(registry["k"].metrics()) == {vote: 1}


def test_an_error_is_the_callees_unless_it_is_said_to_be_local(registry: Registry) -> None:
    BodyWatch(call(registry)).failed(ConnectionResetError())

    assert votes(registry["k"].metrics()) == {"failures": 1}


def test_a_watch_that_does_not_read_leaves_the_chunks_alone(registry: Registry) -> None:
    watch, chunks = BodyWatch(call(registry)), [b"a"]

    assert watch.watched(chunks) is chunks
    watch.arrived(b"a")
    watch.asked()
    watch.chunk(b"a")

    assert registry["k"].metrics().in_flight == 1
    watch.closed()


def test_a_watch_that_reads_is_told_of_each_chunk_before_its_caller(registry: Registry) -> None:
    told: list[str] = []

    class Telling(ReadingWatch):
        __slots__ = ()

        def asked(self) -> None:
            told.append("asked")

        def chunk(self, data: bytes) -> None:
            told.append(f"chunk {data!r}")

    pieces = Telling(call(registry)).watched([b"a", b"b"])
    told.extend(f"caller {piece!r}" for piece in pieces)

    assert told == [
        *["asked", "chunk b'a'", "caller b'a'"],
        *["asked", "chunk b'b'", "caller b'b'"],
        "asked",
    ]
