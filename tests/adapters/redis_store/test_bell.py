"""The bell: who hears it, and what breaks it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.valkey import Server, running

from recloser.fleet import StoreError
from recloser_adapters.redis import RedisStore

LONG = 20.0  # seconds; nothing waits for so long unless it is broken
SHORT = 0.01


def test_a_loud_change_rings_for_the_others(
    store: RedisStore, other: RedisStore, never: int
) -> None:
    store.news(0)
    other.news(0)

    store.swap("a", 0, 1, "a", 60)

    assert other.wait(LONG, never)
    # Each ring is heard once, and not by who has rung.
    assert not other.wait(SHORT, never)
    assert not store.wait(SHORT, never)


def test_a_quiet_change_or_a_refused_one_does_not_ring(
    store: RedisStore, other: RedisStore, never: int
) -> None:
    other.news(0)
    store.swap("a", 0, 1, "a", 60, loud=False)
    store.swap("a", 0, 1, "a", 60)

    assert not other.wait(SHORT, never)


def test_a_ring_while_one_waits_is_heard_at_once(
    store: RedisStore, other: RedisStore, never: int
) -> None:
    other.news(0)
    ringing = threading.Timer(0.05, store.ring)
    ringing.start()
    try:
        assert other.wait(LONG, never)
    finally:
        ringing.join()


def test_many_rings_are_one(store: RedisStore, other: RedisStore, never: int) -> None:
    other.news(0)
    for _ in range(50):
        store.ring()

    assert other.wait(LONG, never)
    until = time.monotonic() + LONG
    while other.wait(SHORT, never):
        assert time.monotonic() < until


def test_who_is_woken_has_not_heard_it(store: RedisStore) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"x")
    try:
        store.news(0)
        began = time.monotonic()
        assert store.wait(LONG, reading) is False
        assert time.monotonic() - began < LONG / 2
        # It is left to be read.
        assert os.read(reading, 9) == b"x"
    finally:
        os.close(reading)
        os.close(writing)


def test_descriptors_over_1023_are_watched(store: RedisStore) -> None:
    import resource

    high = 1500
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft <= high:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(2 * high, hard), hard))
    reading, writing = os.pipe()
    os.dup2(reading, high)
    os.write(writing, b"x")
    try:
        store.news(0)
        began = time.monotonic()
        assert store.wait(LONG, high) is False
        assert time.monotonic() - began < LONG / 2
    finally:
        for each in (reading, writing, high):
            os.close(each)


@pytest.mark.parametrize("wake", [-1, 900])
def test_a_descriptor_that_is_none_does_not_break_the_waiting(
    store: RedisStore, other: RedisStore, wake: int
) -> None:
    store.news(0)
    other.news(0)
    began = time.monotonic()

    assert store.wait(0.1, wake) is False
    assert time.monotonic() - began > 0.09
    other.ring()
    assert store.wait(LONG, wake)


def test_without_a_server_it_waits_all_the_same(never: int) -> None:
    store = RedisStore("unix:///nowhere/redis.sock")
    began = time.monotonic()

    for _ in range(3):
        assert store.wait(0.05, never) is False

    assert time.monotonic() - began > 0.14


@pytest.mark.parametrize("kind", ["pubsub", "normal"])
def test_who_may_have_missed_a_ring_hears_one(
    server: Server, store: RedisStore, other: RedisStore, never: int, kind: str
) -> None:
    store.news(0)
    server.command("CLIENT", "KILL", "TYPE", kind)
    other.ring()

    store.wait(SHORT, never)
    store.news(0)
    assert store.wait(LONG, never)
    # And it is mended.
    assert not store.wait(SHORT, never)
    other.ring()
    assert store.wait(LONG, never)


def test_after_a_restart_it_rings_again(
    server: Server, store: RedisStore, other: RedisStore, never: int
) -> None:
    store.news(0)
    server.kill()
    assert not store.wait(SHORT, never)
    with pytest.raises(StoreError):
        store.news(0)
    server.start()
    store.news(0)

    assert store.wait(SHORT, never)
    other.ring()
    assert store.wait(LONG, never)


def test_after_a_hanging_server_it_rings_again(
    server: Server, store: RedisStore, other: RedisStore, never: int
) -> None:
    store.news(0)
    server.pause()
    with pytest.raises(StoreError):
        store.news(0)
    server.resume()
    store.news(0)

    assert store.wait(SHORT, never)
    other.ring()
    assert store.wait(LONG, never)


def test_foreign_messages_on_our_channel_are_a_ring_and_no_trouble(
    server: Server, store: RedisStore, never: int
) -> None:
    store.news(0)
    server.command("PUBLISH", "recloser:{recloser}:bell", b"\xff\x00")

    assert store.wait(LONG, never)


def test_a_user_who_may_not_use_the_channel_has_all_but_the_bell(
    binary: Path, store_of: Callable[..., RedisStore], never: int
) -> None:
    with running(binary) as server:
        server.command(
            "ACL", "SETUSER", "me", "on", ">secret", "resetchannels", "~recloser:*", "+@all"
        )
        store = store_of(server.url.replace("unix://", "unix://me:secret@"))
        other = store_of(server.url)

        assert store.swap("a", 0, 1, "a", 60)
        assert not store.wait(SHORT, never)
        with pytest.raises(StoreError, match="lacks a permission"):
            store.ring()
        assert other.news(0).facts[0].text == "a"


def test_a_user_with_the_rights_that_are_documented_has_all(
    server: Server, store_of: Callable[..., RedisStore], never: int
) -> None:
    rights = [
        "resetchannels",
        "&recloser:*",
        "+evalsha",
        "+eval",
        "+publish",
        "+subscribe",
        "+@hash",
        "+@list",
        "+@sortedset",
        "+@string",
        "+del",
        "+pttl",
        "+pexpire",
        "+time",
        "+type",
    ]
    server.command("ACL", "SETUSER", "me", "on", ">secret", "~recloser:*", *rights)
    store, other = (store_of(server.url.replace("//", "//me:secret@")) for _ in range(2))
    other.news(0)

    store.news(0)
    store.swap("a", 0, 1, "a", 60)
    store.swap("b", 0, 1, "a", 60, loud=False)
    store.get("b")
    store.send("box", "a")
    assert len(store.receive("box")) == 1
    assert store.beat("me", "a", 60) == 1
    assert store.workers() == {"me": "a"}
    store.leave("me")
    assert other.wait(LONG, never)


def test_closing_twice_is_closing_once_and_the_next_call_connects(
    server: Server, store: RedisStore, other: RedisStore, never: int
) -> None:
    store.news(0)
    store.close()
    store.close()
    # The one that asks.
    assert server.command("CLIENT", "LIST").count(b"id=") == 1

    store.news(0)
    assert store.wait(SHORT, never)
    other.ring()
    assert store.wait(LONG, never)
