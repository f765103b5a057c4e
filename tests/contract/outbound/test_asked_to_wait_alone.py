"""The body of a bad answer, without a client: the pause that it asks for, and a quota that is used up."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from tests.support.breaker_state import votes

from recloser import LoosePermit, Outcome, Registry, State

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.asked_to_wait import AskedWatch, is_rate_limit, may_ask

IGNORED, THROTTLED = Outcome.IGNORED, Outcome.THROTTLED
QUOTA = b'{"error": {"code": "insufficient_quota"}}'
WAIT = b'{"retry_after": 50}'
NO_USE = {"x-should-retry": "false"}


def watch_of(registry: Registry, **settings: Any) -> AskedWatch:
    permit = registry["k"].admit(LoosePermit)
    assert isinstance(permit, LoosePermit)
    known = {"outcome": THROTTLED, "status": 429, "headers": {}, "said": None, "otherwise": 77.0}
    return AskedWatch(permit, **{**known, **settings})


def ended(watch: AskedWatch, way: str) -> None:
    if way == "failed":
        watch.failed(OSError(), local=True)
    else:
        getattr(watch, way)()


@pytest.mark.parametrize("way", ["eof", "closed", "failed"])
@pytest.mark.parametrize(
    ("settings", "body", "wait", "quota"),
    [
        ({}, b"", 1.0, False),
        ({}, WAIT, 50.0, False),
        ({}, QUOTA, 900.0, True),
        ({}, b"Please try again in 50s.", 50.0, False),
        ({"said": 20.0}, WAIT, 20.0, False),
        ({"said": 20.0}, QUOTA, 20.0, True),
        ({"said": 0.0}, WAIT, 50.0, False),
        ({"headers": NO_USE}, b"", 77.0, False),
        ({"headers": {"x-should-retry": "true"}}, b"", 1.0, False),
        ({"headers": NO_USE}, WAIT, 50.0, False),
        ({"headers": NO_USE, "said": 20.0}, b"", 20.0, False),
        ({"headers": NO_USE}, QUOTA, 900.0, True),
        # A 402 of a model, and other errors that speak of money
        ({"outcome": IGNORED, "status": 402}, b"", 900.0, True),
        ({"outcome": IGNORED, "status": 403}, QUOTA, 900.0, True),
        ({"outcome": IGNORED, "status": 403, "headers": NO_USE}, QUOTA, 900.0, True),
        ({"status": 402, "headers": NO_USE}, b"", 900.0, True),
    ],
)
def test_a_call_that_is_asked_to_wait_ends_with_the_pause(
    registry: Registry,
    settings: dict[str, Any],
    body: bytes,
    wait: float,
    quota: bool,
    way: str,
) -> None:
    for _ in range(4):
        watch = watch_of(registry, **settings)
        watch.chunk(body[:9])
        watch.chunk(body[9:])
        ended(watch, way)

    assert votes(registry["k"].metrics()) == {"throttled": 4}
    assert registry["k"].retry_after == pytest.approx(wait)
    reason = registry["k"].refusal().reason
    assert reason is not None
    assert (reason.rule == "quota") is quota


@pytest.mark.parametrize(
    ("outcome", "status", "vote"),
    [(IGNORED, 400, "ignored"), (IGNORED, 403, "ignored"), (Outcome.FAILURE, 500, "failures")],
)
@pytest.mark.parametrize("headers", [{}, NO_USE])
def test_an_error_that_asks_for_nothing_counts_as_its_status(
    registry: Registry, outcome: Outcome, status: int, vote: str, headers: dict[str, str]
) -> None:
    for _ in range(5):
        watch = watch_of(registry, outcome=outcome, status=status, headers=headers)
        watch.chunk(WAIT)
        watch.eof()

    assert votes(registry["k"].metrics()) == {vote: 5}
    if vote == "failures":
        assert registry["k"].state is State.OPEN
        assert f"HTTP {status})" in str(registry["k"].refusal())


@pytest.mark.parametrize(("before", "found"), [(0, True), (8_172, True), (8_173, False)])
@pytest.mark.parametrize("size", [100, 100_000])
def test_a_bounded_part_of_a_body_is_searched(
    registry: Registry, before: int, found: bool, size: int
) -> None:
    body = b" " * before + b'"insufficient_quota"' + b" " * 20_000
    watch = watch_of(registry)
    for at in range(0, len(body), size):
        watch.chunk(body[at : at + size])
    watch.eof()

    assert (registry["k"].asked_pause > 100.0) is found


def test_a_bounded_part_of_a_body_is_kept(registry: Registry) -> None:
    watch = watch_of(registry)
    watch.chunk(b" " * 8_191)
    watch.chunk(b" " * 20_000)
    watch.chunk(b" ")
    assert len(watch._seen) == 8_191 + 8_192
    watch = watch_of(registry)
    watch.chunk(b" " * 8_192)
    watch.chunk(b" ")
    assert len(watch._seen) == 8_192
    watch.eof()


def test_a_compressed_body_is_decoded(registry: Registry) -> None:
    watch = watch_of(registry, headers={"content-encoding": "deflate"})
    watch.chunk(zlib.compress(QUOTA))
    watch.eof()

    assert registry["k"].asked_pause == pytest.approx(900.0)


def test_one_that_cannot_be_decoded_says_nothing(registry: Registry) -> None:
    watch = watch_of(registry, headers={"content-encoding": "rot13"})
    watch.chunk(b"\x00" + QUOTA)
    watch.eof()

    assert registry["k"].asked_pause == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("outcome", "status", "llm", "expected"),
    [
        (THROTTLED, 429, False, True),
        (THROTTLED, 429, True, True),
        *((IGNORED, status, True, True) for status in (400, 402, 403)),
        *((IGNORED, status, False, False) for status in (400, 402, 403)),
        *((IGNORED, status, True, False) for status in (401, 404, 422)),
        (Outcome.FAILURE, 402, True, False),
        (Outcome.SUCCESS, 400, True, False),
    ],
)
def test_a_body_is_asked_where_it_may_ask_for_a_pause(
    outcome: Outcome, status: int, llm: bool, expected: bool
) -> None:
    assert may_ask(outcome, status, llm=llm) is expected


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (403, {"retry-after": ""}, True),
        (403, {"x-ratelimit-remaining": "0"}, True),
        (403, {"x-ratelimit-remaining": "00"}, False),
        (403, {"x-ratelimit-remaining": "1"}, False),
        (403, {}, False),
        (404, {"retry-after": "5", "x-ratelimit-remaining": "0"}, False),
    ],
)
def test_a_403_with_a_limit_is_one_of_the_rate(
    status: int, headers: dict[str, str], expected: bool
) -> None:
    assert is_rate_limit(status, headers) is expected
