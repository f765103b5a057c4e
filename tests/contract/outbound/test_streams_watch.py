"""The watch of a stream, without a client: how it ends, and for how long a piece is awaited."""

from __future__ import annotations

import zlib
from math import inf
from typing import Any

import pytest
from tests.support.breaker_state import votes

from recloser import LoosePermit, Policy, Registry, State
from recloser.testing import ManualClock, no_jitter

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.streams import StreamWatch, is_stream

EVENT = b'data: {"a": 1}\n\n'
EVENTS, LINES, AWS = (
    "text/event-stream",
    "application/x-ndjson",
    "application/vnd.amazon.eventstream",
)
# One message of AWS: 12 bytes with two lengths, no headers, the payload, 4 bytes more.
AWS_EVENT = (24).to_bytes(4) + bytes(8) + b'{"a": 1}' + bytes(4)
AWS_ERROR = (
    (12 + 48 + 2 + 4).to_bytes(4)
    + (48).to_bytes(4)
    + bytes(4)
    + b"\x0d:message-type\x07\x00\x09exception"
    + b"\x0b:error-code\x07\x00\x07"
    + b"5000000"
    + b"{}"
    + bytes(4)
)


def watch_in(registry: Registry, **settings: Any) -> StreamWatch:
    permit = registry["k"].admit(LoosePermit)
    assert isinstance(permit, LoosePermit)
    settings = {"content_type": EVENTS, "encoding": "", "errors": False, **settings}
    return StreamWatch(permit, **settings)


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


@pytest.mark.parametrize(
    "settings", [{}, {"cuts_off": False}, {"cuts_off": True, "awaited": False}]
)
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


# Content types


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("text/event-stream", True),
        ("Text/Event-Stream;charset=utf-8", True),
        ("application/x-ndjson", True),
        ("application/jsonl", True),
        ("application/x-jsonlines", True),
        ("APPLICATION/VND.AMAZON.EVENTSTREAM", True),
        ("application/json", False),
        ("x/text/event-stream", False),
        ("", False),
    ],
)
def test_a_stream_is_known_by_its_content_type(content_type: str, expected: bool) -> None:
    assert is_stream(content_type) is expected


# Pieces


@pytest.mark.parametrize(
    ("content_type", "event"),
    [
        (EVENTS, EVENT),
        ("Text/Event-Stream; charset=utf-8", EVENT),
        (LINES, b'{"a": 1}\n'),
        ("Application/JSONL", b'{"a": 1}\n'),
        ("application/x-jsonlines", b'{"a": 1}\n'),
        (AWS, AWS_EVENT),
        ("Application/Vnd.Amazon.Eventstream", AWS_EVENT),
    ],
    ids=lambda said: said if isinstance(said, str) else "",
)
def test_the_first_piece_is_the_latency_in_each_format(
    registry: Registry, clock: ManualClock, content_type: str, event: bytes
) -> None:
    watch = watch_in(registry, content_type=content_type)
    clock.advance(0.25)
    watch.chunk(event[:7])
    clock.advance(0.25)
    watch.chunk(event[7:])
    clock.advance(5.0)
    assert watch.decided

    watch.eof()

    assert votes(registry["k"].metrics()) == {"successes": 1}
    assert registry["k"].metrics().mean == pytest.approx(0.5)


def test_a_sign_of_life_is_no_piece(registry: Registry) -> None:
    watch = watch_in(registry)

    watch.chunk(b'data: {"type": "ping"}\n\n: alive\n\n')

    assert not watch.decided
    watch.closed()
    assert votes(registry["k"].metrics()) == {"cancelled": 1}


def test_what_is_no_event_of_its_format_is_none(registry: Registry) -> None:
    for content_type in (LINES, AWS):
        watch = watch_in(registry, content_type=content_type)
        watch.chunk(b"xy")
        assert not watch.decided
        watch.closed()


@pytest.mark.parametrize(("encoding", "readable"), [("deflate", True), ("rot13", False)])
def test_a_compressed_stream_is_read_and_one_that_cannot_be_is_all_pieces(
    registry: Registry, clock: ManualClock, encoding: str, readable: bool
) -> None:
    packer = zlib.compressobj()
    packed = packer.compress(b": alive\n\n") + packer.flush(zlib.Z_SYNC_FLUSH)
    watch = watch_in(registry, encoding=encoding, must_begin=True)
    watch.chunk(packed)
    assert watch.decided is not readable

    watch.eof()

    assert votes(registry["k"].metrics()) == ({"failures": 1} if readable else {"successes": 1})


def test_a_stream_that_stalls_is_a_failure_in_each_of_its_gaps(
    registry: Registry, clock: ManualClock
) -> None:
    """Only while its caller waits for a piece."""
    for stalls in (False, True):
        watch = watch_in(registry)
        watch.asked()
        watch.chunk(EVENT)
        for _ in range(3):
            clock.advance(500.0)
            watch.asked()
            clock.advance(0.1)
            watch.chunk(EVENT)
        watch.asked()
        clock.advance(500.0 * stalls)
        watch.chunk(EVENT)
        watch.eof()

    assert votes(registry["k"].metrics()) == {"successes": 1, "failures": 1}


def test_the_gaps_of_streams_tell_how_long_a_piece_takes(
    registry: Registry, clock: ManualClock
) -> None:
    before = registry["k"].piece_timeout
    for _ in range(30):
        watch = watch_in(registry)
        for number in range(10):
            watch.asked()
            clock.advance(1.0 if number else 0.01)
            watch.chunk(EVENT)
        watch.eof()

    assert 10.0 < registry["k"].piece_timeout < before  # by the first piece it would be 4.0


def test_the_headers_are_the_answer_where_nothing_is_awaited(
    registry: Registry, clock: ManualClock
) -> None:
    permit = registry["k"].admit(LoosePermit)
    assert isinstance(permit, LoosePermit)
    clock.advance(0.25)
    watch = StreamWatch(permit, EVENTS, "", errors=False, awaited=False)
    clock.advance(50.0)
    watch.asked()
    watch.chunk(EVENT)
    watch.asked()
    clock.advance(5000.0)
    watch.chunk(EVENT)
    watch.eof()

    assert votes(registry["k"].metrics()) == {"successes": 1}
    assert registry["k"].metrics().mean == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("arrived", "mean"),
    [(EVENT, 0.25), (b": alive\n\n" + EVENT, 0.25), (b": alive\n\n", 0.5), (b"", 0.5)],
)
def test_what_has_arrived_and_is_not_read_yet_is_a_first_piece(
    registry: Registry, clock: ManualClock, arrived: bytes, mean: float
) -> None:
    watch = watch_in(registry)
    clock.advance(0.25)
    watch.arrived(arrived)
    assert watch.decided is (mean == 0.25)
    clock.advance(0.25)
    watch.chunk(arrived if EVENT in arrived else arrived + EVENT)
    watch.eof()

    assert registry["k"].metrics().mean == pytest.approx(mean)
    assert votes(registry["k"].metrics()) == {"successes": 1}


# Errors, and nothing at all


@pytest.mark.parametrize(
    ("content_type", "said"),
    [
        (EVENTS, b'data: {"error": {"code": 500}, "a": 1}\n\n'),
        (EVENTS, b'event: error\ndata: {"a": 1}'),
        (LINES, b'{"error": {"code": 500}, "a": 1}'),
        (AWS, AWS_ERROR),
    ],
    ids=["events", "event", "lines", "AWS"],
)
@pytest.mark.parametrize("errors", [True, False])
@pytest.mark.parametrize("begins", [True, False])
def test_an_error_ends_the_call_where_errors_count(
    registry: Registry, content_type: str, said: bytes, errors: bool, begins: bool
) -> None:
    watch = watch_in(registry, content_type=content_type, errors=errors, must_begin=begins)
    watch.chunk(said)

    watch.eof()
    watch.closed()

    assert votes(registry["k"].metrics()) == ({"failures": 1} if errors else {"successes": 1})


def test_the_first_error_counts_and_what_it_asks_for(registry: Registry) -> None:
    error = b'event: error\ndata: {"code": %d, "retry_after": %d}\n\n'
    for _ in range(4):
        watch = watch_in(registry, errors=True)
        watch.chunk(EVENT + error % (429, 50) + error % (500, 70))
        assert watch.decided
        watch.closed()

    assert votes(registry["k"].metrics()) == {"throttled": 4}
    assert registry["k"].retry_after == pytest.approx(50.0)


def test_after_an_error_what_follows_is_read_as_pieces(registry: Registry) -> None:
    watch = watch_in(registry, errors=True)

    watch.chunk(b'data: {"error": {"code": 500}}\n\n')
    assert not watch.decided
    watch.chunk(b'data: {"error": {"code": 500}}\n\n')

    assert watch.decided
    watch.closed()


@pytest.mark.parametrize(
    ("settings", "said", "vote"),
    [
        ({"must_begin": True}, b"", "failures"),
        ({"must_begin": True}, b": alive\n\n", "failures"),
        ({"must_begin": True}, b'data: {"type": "ping"}\n\n', "successes"),
        ({"must_begin": True}, EVENT.rstrip(), "successes"),
        ({"must_begin": True, "awaited": False}, b"", "successes"),
        ({"must_begin": False}, b"", "successes"),
        ({}, b"", "successes"),
    ],
)
def test_a_model_must_begin_to_answer(
    registry: Registry, settings: dict[str, bool], said: bytes, vote: str
) -> None:
    for _ in range(5):
        watch = watch_in(registry, **settings)
        watch.chunk(said)
        watch.eof()

    assert votes(registry["k"].metrics()) == {vote: 5}
    if vote == "failures":
        assert registry["k"].state is State.OPEN
        assert "the stream ended before its first event)" in str(registry["k"].refusal())
