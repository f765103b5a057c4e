"""Requests that ask the callee to wait, without a client: by what they are known."""

from __future__ import annotations

import pytest

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.long_polls import TAILS, waits


@pytest.mark.parametrize(
    "query",
    [
        "timeout=30",
        "offset=7&timeout=50",
        "index=7&wait=5m",
        "wait=true",
        "since=s72&timeout=30000",
        "Action=ReceiveMessage&WaitTimeSeconds=20",
        "wait_seconds=9",
        "longpoll=1",
        "long_polling=true",
        "block=5000",
        "maxWait=2s",
        "timeout_ms=5",
        "timeoutMs=5",
        "wait_for=created",
        "waitTime=5",
        "wait_ms=5",
        "wait_timeout=5",
        "max_wait=5",
        "WAIT_TIME_SECONDS=20",
        "poll_timeout=5",
        "poll=1",
        "long_poll=1",
        "timeout=0.5",
        "wait=now",
        "wait=node-1",
    ],
)
def test_a_query_that_asks_to_wait_is_known(query: str) -> None:
    assert waits(query)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "q=timeout",
        "timeout=0",
        "wait=0s",
        "wait=000",
        "wait=0.000",
        "wait=0ms&page=2",
        "wait=FALSE",
        "wait=no",
        "wait=no&page=2",
        "wait=off",
        "wait=none",
        "poll=&page=2",
        "wait=false",
        "timeout=",
        "awaits=3",
        "waitlist=7",
        "timeout_id=3",
        "poll_id=9",
    ],
)
def test_one_that_does_not_is_no_long_poll(query: str) -> None:
    assert not waits(query)


@pytest.mark.parametrize(
    "tail",
    ["getUpdates", "getupdates", "poll", "longpoll", "long-poll", "long_poll", "longPolling"],
)
def test_a_post_that_asks_to_wait_is_known_by_its_last_segment(tail: str) -> None:
    assert tail in TAILS
