"""What the server keeps of us, and what becomes of it: time to live, clocks, garbage, losses."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.support.valkey import Server

from recloser.fleet import MAX_EPOCH, StoreError
from recloser_adapters.redis import RedisStore

FACTS = "recloser:{recloser}:facts"
QUIET = "recloser:{recloser}:quiet:"


def keys(server: Server) -> set[str]:
    return {word for word in server.command("KEYS", "*").decode().split("\r\n") if ":" in word}


def milliseconds(server: Server) -> int:
    """The time of the server."""
    _, _, seconds, _, micros, _ = server.command("TIME").decode().split("\r\n")
    return int(seconds) * 1000 + int(micros) // 1000


def test_every_key_has_a_time_to_live_and_lies_in_one_slot(
    server: Server, store: RedisStore
) -> None:
    store.news(0)
    store.swap("loud", 0, 1, "a", 60)
    store.swap("quiet", 0, 1, "a", 60, loud=False)
    store.send("box", "a")
    store.beat("me", "a", 60)

    assert keys(server) == {
        f"recloser:{{recloser}}:{rest}"
        for rest in ("facts", "quiet:quiet", "mail:box", "beats", "beats:texts")
    }
    for key in keys(server):
        assert 0 < int(server.command("PTTL", key)[1:]) <= 24 * 3600 * 1000


def test_the_facts_live_as_long_as_the_one_that_lives_longest(
    server: Server, store: RedisStore
) -> None:
    week = 7 * 24 * 3600
    store.swap("long", 0, 1, "a", week)
    store.swap("short", 0, 1, "a", 60)
    store.swap("long", 1, 2, "b", 2 * week, loud=False)

    assert week * 1000 < int(server.command("PTTL", FACTS)[1:]) <= 2 * week * 1000


def test_workers_that_only_listen_keep_the_version_alive(server: Server, store: RedisStore) -> None:
    store.swap("a", 0, 1, "a", 60)
    server.command("PEXPIRE", FACTS, "1000")

    store.news(1)

    assert int(server.command("PTTL", FACTS)[1:]) > 10_000_000


def test_a_name_has_one_fact_whether_loud_or_quiet(store: RedisStore, other: RedisStore) -> None:
    assert store.swap("a", 0, 1, "one", 60, loud=False)
    assert not other.swap("a", 0, 5, "two", 60)
    assert other.swap("a", 1, 2, "two", 60)
    assert not store.swap("a", 1, 5, "three", 60, loud=False)
    assert store.swap("a", 2, 3, "three", 60, loud=False)

    (fact,) = store.news(0).facts
    assert (fact.epoch, fact.text) == (3, "three")
    assert store.get("a") is not None
    # The quiet change was no news.
    assert store.news(1).facts == ()
    assert store.news(0).version == 1


def test_who_is_a_few_versions_behind_gets_what_was_changed(store: RedisStore) -> None:
    for number in range(1, 11):
        store.swap(f"fact {number % 4}", number - 4, number, str(number), 60)

    assert [fact.text for fact in store.news(7).facts] == ["8", "9", "10"]
    assert [fact.text for fact in store.news(0).facts] == ["7", "8", "9", "10"]
    assert store.news(10).facts == ()


def test_who_is_far_behind_gets_all(server: Server, store: RedisStore) -> None:
    store.swap("early", 0, 1, "early", 60)
    for number in range(1, 301):
        store.swap("often", number - 1, number, str(number), 60)

    assert [fact.text for fact in store.news(0).facts] == ["early", "300"]
    assert [fact.text for fact in store.news(1).facts] == ["300"]
    # And the names of changes are not kept for ever.
    assert int(server.command("HLEN", FACTS)[1:]) < 270


def test_a_fact_whose_time_is_over_is_gone_and_its_place_is_free(
    server: Server, store: RedisStore
) -> None:
    store.swap("a", 0, 7, "old", 60)
    old = f"7 1 {milliseconds(server) - 60_000} 60000 old"
    server.command("HSET", FACTS, "f:a", old)

    assert store.get("a") is None
    assert store.news(0).facts == ()
    assert store.swap("a", 3, 4, "new", 60)
    assert store.news(0).version == 2


@pytest.mark.parametrize("loud", [True, False])
def test_ages_are_neither_negative_nor_endless_if_the_clock_of_the_server_is_set_back(
    server: Server, store: RedisStore, loud: bool
) -> None:
    """What was written before is of the future. It lives for its time from now on."""
    store.swap("a", 0, 1, "a", 60, loud=loud)
    future = f"1 {int(loud)} {milliseconds(server) + 86_400_000} 60000 a"
    if loud:
        server.command("HSET", FACTS, "f:a", future)
    else:
        server.command("SET", f"{QUIET}a", future, "PX", "99999999")

    fact = store.get("a")

    assert fact is not None
    assert fact.age == 0.0
    kept = server.command(*(["HGET", FACTS, "f:a"] if loud else ["GET", f"{QUIET}a"])).split()
    assert int(kept[3]) <= milliseconds(server)
    if not loud:
        assert int(server.command("PTTL", f"{QUIET}a")[1:]) <= 60_000
    assert store.swap("a", 1, 2, "b", 60, loud=loud)


def test_mail_and_workers_of_the_future_are_bounded(server: Server, store: RedisStore) -> None:
    future = milliseconds(server) + 86_400_000
    server.command("RPUSH", "recloser:{recloser}:mail:box", f"{future} a")
    server.command("ZADD", "recloser:{recloser}:beats", str(future), "ghost")

    assert store.receive("box") == [("a", 0.0)]
    assert store.beat("me", "a", 5) == 1
    assert store.workers() == {"me": "a"}


def test_old_mail_is_not_delivered(server: Server, store: RedisStore) -> None:
    store.send("box", "new")
    old = milliseconds(server) - 10_001
    server.command("LPUSH", "recloser:{recloser}:mail:box", f"{old} old")

    assert [text for text, _ in store.receive("box")] == ["new"]


def test_a_box_has_bounds_and_the_oldest_go_first(store: RedisStore) -> None:
    for number in range(1003):
        store.send("box", str(number))

    found = [int(text) for text, _ in store.receive("box")]

    assert found == list(range(3, 1003))
    assert store.receive("box") == []


GARBAGE: list[str | bytes] = [
    "",
    "hello",
    "1 2 3",
    "x 1 1 1 a",
    b"\xff\xfe\x00",
    "9" * 99,
    "1 1 -1 5 a",
]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_in_our_keys_counts_as_nothing_and_is_replaced(
    server: Server, store: RedisStore, garbage: str | bytes
) -> None:
    store.swap("good", 0, 1, "good", 60)
    server.command("HSET", FACTS, "f:bad", garbage, "other", garbage, b"\xff", garbage)
    server.command("HSET", FACTS, "#1", garbage)
    server.command("SET", f"{QUIET}quiet", garbage)
    server.command("RPUSH", "recloser:{recloser}:mail:box", garbage)

    assert [fact.text for fact in store.news(0).facts] == ["good"]
    assert store.get("bad") is None
    assert store.get("quiet") is None
    assert store.receive("box") == []
    assert store.swap("bad", 0, 1, "mended", 60)
    assert store.swap("quiet", 0, 1, "mended", 60, loud=False)
    assert [fact.text for fact in store.news(0).facts] == ["good", "mended"]
    assert [fact.text for fact in store.news(1).facts] == ["mended"]


@pytest.mark.parametrize("loud", [True, False])
@pytest.mark.parametrize("epoch", [MAX_EPOCH + 1, 2**63 - 1, 10**29])
def test_an_epoch_that_is_garbage_is_told_once_and_written_over(
    server: Server, store: RedisStore, epoch: int, loud: bool
) -> None:
    store.swap("good", 0, 1, "good", 60)
    now = milliseconds(server)
    server.command("HSET", FACTS, "f:name", f"{epoch} 2 {now} 60000 text", "#2", "name")
    server.command("HSET", FACTS, "version", "2")
    server.command("SET", f"{QUIET}quiet", f"{epoch} 0 {now} 60000 text")

    assert store.get("name") is None
    assert store.get("quiet") is None
    assert [fact.epoch for fact in store.news(0).facts] == [1, epoch]
    assert [fact.epoch for fact in store.news(0).facts] == [1]
    for name in ("name", "quiet"):
        assert store.swap(name, 6, 7, "mended", 60, loud=loud)
        fact = store.get(name)
        assert fact is not None
        assert (fact.epoch, fact.text) == (7, "mended")


@pytest.mark.parametrize("field", ["version", "life"])
def test_without_its_version_or_its_name_a_life_has_ended(
    server: Server, store: RedisStore, field: str
) -> None:
    store.swap("a", 0, 1, "a", 60)
    before = store.news(0)
    server.command("HDEL", FACTS, field)

    after = store.news(1)

    assert after.life != before.life
    assert (after.version, after.facts) == (0, ())
    assert store.news(0).life == after.life


@pytest.mark.parametrize("loss", [["FLUSHALL"], ["DEL", FACTS]])
def test_what_was_lost_begins_another_life(
    server: Server, store: RedisStore, loss: list[str]
) -> None:
    store.swap("a", 0, 1, "a", 60)
    store.swap("a", 1, 2, "a", 60)
    before = store.news(0)
    server.command(*loss)

    after = store.news(2)

    assert after.life != before.life
    assert after.version == 0
    assert store.swap("a", 2, 3, "again", 60)
    assert store.news(0).version == 1
    assert store.news(0).life == after.life


def test_namespaces_share_nothing(server: Server, store_of: Callable[..., RedisStore]) -> None:
    one, two = (store_of(server.url, namespace=name) for name in ("one", "two"))
    one.swap("a", 0, 1, "a", 60)
    one.send("box", "a")
    one.beat("me", "a", 60)

    assert two.get("a") is None
    assert two.news(0).facts == ()
    assert two.receive("box") == []
    assert two.workers() == {}


TEXTS = ["", "a b\nc\r\n", "\x00", "ä€😀", "x" * 1_000_000, "1 2 3 4 5"]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_any_text_comes_back_as_it_was(store: RedisStore, text: str) -> None:
    name = f"key {text[:100]}\ud800"

    assert store.swap(name, 0, 1, text, 60)
    store.send(name, text)
    store.beat(name, text, 60)

    (fact,) = store.news(0).facts
    assert (fact.name, fact.text) == (name, text)
    assert [each for each, _ in store.receive(name)] == [text]
    assert store.workers() == {name: text}
    assert store.swap(name, 1, MAX_EPOCH, text, 60)
    assert not store.swap(name, 1, 2, text, 60)
    fact_now = store.get(name)
    assert fact_now is not None
    assert fact_now.epoch == MAX_EPOCH


def test_of_many_writers_one_wins_each_epoch(server: Server, store_of: Callable[..., Any]) -> None:
    stores = [store_of(server.url) for _ in range(4)]

    def write(store: RedisStore) -> int:
        return sum(store.swap("a", epoch, epoch + 1, "a", 60) for epoch in range(1, 200))

    stores[0].swap("a", 0, 1, "a", 60)
    with ThreadPoolExecutor(4) as threads:
        won = sum(threads.map(write, stores))

    news = stores[0].news(0)
    assert news.version == won + 1 == news.facts[0].epoch


def test_a_worker_that_does_not_beat_is_gone(server: Server, store: RedisStore) -> None:
    store.beat("short", "a", 0.05)
    until = time.monotonic() + 5
    while store.beat("me", "b", 60) > 1:
        assert time.monotonic() < until

    assert store.workers() == {"me": "b"}
    assert server.command("HLEN", "recloser:{recloser}:beats:texts") == b":1\r\n"
    store.leave("me")
    assert store.workers() == {}


@pytest.mark.parametrize(
    ("key", "use"),
    [
        (FACTS, lambda store: store.news(0)),
        (FACTS, lambda store: store.get("a")),
        (f"{QUIET}a", lambda store: store.swap("a", 0, 1, "a", 60)),
        ("recloser:{recloser}:mail:box", lambda store: store.send("box", "a")),
        ("recloser:{recloser}:mail:box", lambda store: store.receive("box")),
        ("recloser:{recloser}:beats", lambda store: store.workers()),
        ("recloser:{recloser}:beats:texts", lambda store: store.beat("me", "a", 60)),
    ],
    ids=["news", "get", "swap", "send", "receive", "workers", "beat"],
)
def test_a_key_of_another_type_is_named_and_left_alone(
    server: Server, store: RedisStore, key: str, use: Callable[[RedisStore], object]
) -> None:
    server.command("XADD", key, "*", "theirs", "1")

    with pytest.raises(StoreError) as caught:
        use(store)

    assert f"{key} (stream)" in str(caught.value)
    assert "delete it, or give another namespace" in str(caught.value)
    assert server.command("TYPE", key) == b"+stream\r\n"
    server.command("DEL", key)
    use(store)
