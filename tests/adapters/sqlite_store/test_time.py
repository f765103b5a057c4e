"""Ages and times to live: by the clock of the host that nobody sets, and what is deleted by them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.waiting import PATIENCE

from recloser.fleet import Fact
from recloser_adapters.sqlite import SqliteStore, _store


def fact_of(store: SqliteStore) -> Fact:
    fact = store.get("name")
    assert fact is not None
    return fact


@pytest.mark.parametrize("step", [-1e9, 1e9])
def test_a_wall_clock_that_is_set_changes_nothing(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    wall = time.time
    store.swap("name", 0, 1, "text", 60.0)
    store.beat("worker", "text", 60.0)
    store.send("box", "text")

    monkeypatch.setattr(time, "time", lambda: wall() + step)

    assert 0.0 <= fact_of(store).age < PATIENCE
    assert store.workers() == {"worker": "text"}
    [(text, age)] = store.receive("box")
    assert text == "text"
    assert 0.0 <= age < PATIENCE


def _of_another_boot(sql: Callable[..., list[Any]], ago: float) -> None:
    wall = time.time() - ago
    sql(
        *(
            f"UPDATE {table} SET boot = 'another', written = 1e9, wall = {wall!r}"
            for table in ("facts", "mail", "workers")
        )
    )


def test_what_another_boot_has_left_ages_by_the_wall_clock(
    store: SqliteStore, sql: Callable[..., list[Any]]
) -> None:
    store.swap("name", 0, 1, "text", 60.0)
    store.close()

    _of_another_boot(sql, 30.0)
    assert 30.0 <= fact_of(store).age < 30.0 + PATIENCE
    store.close()
    _of_another_boot(sql, 61.0)
    assert store.get("name") is None


def test_what_another_boot_has_left_is_moved_to_the_clock_of_this_one(
    store: SqliteStore, sql: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then a wall clock that is set later, when the network is there, ends nothing."""
    store.swap("name", 0, 1, "text", 60.0)
    store.close()
    _of_another_boot(sql, -1e8)

    assert 0.0 <= fact_of(store).age < PATIENCE
    monkeypatch.setattr(time, "time", lambda: 2e9)

    assert 0.0 <= fact_of(store).age < PATIENCE
    assert sql("SELECT count(*) FROM facts WHERE boot = 'another'") == [(0,)]


def test_who_has_another_clock_at_the_same_time_is_understood(
    store: SqliteStore, sql: Callable[..., list[Any]]
) -> None:
    """Such as a container with a clock of its own."""
    store.swap("name", 0, 1, "text", 60.0)
    _of_another_boot(sql, 30.0)
    assert 30.0 <= fact_of(store).age < 30.0 + PATIENCE

    # Its wall clock may be a little ahead.
    _of_another_boot(sql, -1.0)
    assert fact_of(store).age == 0.0


def test_mail_lives_for_ten_seconds(store: SqliteStore, sql: Callable[..., list[Any]]) -> None:
    for text in ("old", "young"):
        store.send("box", text)
    sql("UPDATE mail SET written = written - 10 WHERE text = 'old'")

    assert [text for text, _ in store.receive("box")] == ["young"]


def test_what_nobody_wants_any_more_is_deleted(
    store: SqliteStore, sql: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = ("facts", "mail", "workers")
    store.swap("name", 0, 1, "text", 60.0)
    store.swap("kept", 0, 1, "text", 600.0)
    version = store.news(0).version
    store.send("box", "text")
    store.beat("worker", "text", 60.0)
    sql(*(f"UPDATE {table} SET written = written - 100" for table in tables))
    store.send("box", "kept")
    store._tidy_at = 0.0

    store.beat("kept", "text", 60.0)

    assert [sql(f"SELECT count(*) FROM {table}") for table in tables] == [[(1,)]] * 3
    # The version is no lower, although the fact that had it may be gone.
    sql("DELETE FROM facts")
    assert store.news(0).version == version
    assert store.swap("name", 0, 1, "text", 60.0)
    assert store.news(version).version > version


def test_a_box_that_nobody_empties_stays_small(
    store: SqliteStore, sql: Callable[..., list[Any]]
) -> None:
    for number in range(_store._MAX_MAIL + 3 * _store._BOUND_EVERY):
        store.send("box", str(number))
    store.send("another", "text")

    [(held,)] = sql("SELECT count(*) FROM mail WHERE box = 'box'")
    assert held < _store._MAX_MAIL + _store._BOUND_EVERY
    assert len(store.receive("another")) == 1


def test_to_ask_for_news_where_there_are_none_reads_no_row(
    store: SqliteStore, other: SqliteStore
) -> None:
    store.swap("name", 0, 1, "text", 60.0)
    version = store.news(0).version
    statements: list[str] = []
    database = store._connection._db
    assert database is not None
    database.set_trace_callback(statements.append)

    for _ in range(3):
        store.news(version)
    assert statements == ["PRAGMA data_version"] * 3

    other.send("box", "text")
    store.news(version)
    assert len(statements) == 5
