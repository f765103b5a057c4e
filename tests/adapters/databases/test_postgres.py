"""What PostgreSQL says, through psycopg and through SQLAlchemy: the same verdict on both ways."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from tests.support import postgres
from tests.support.breaker_state import votes
from tests.support.waiting import PATIENCE, until

from recloser import Breaker

psycopg: Any = pytest.importorskip("psycopg")
sqlalchemy: Any = pytest.importorskip("sqlalchemy")
pools: Any = pytest.importorskip("psycopg_pool")

pytestmark = pytest.mark.skipif(postgres.binaries() is None, reason="PostgreSQL is not installed")

FAILED, REJECTED = {"failures": 1}, {"ignored": 1}
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgres.running() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
            connection.execute("INSERT INTO t VALUES (1, 0), (2, 0)")
            connection.execute("CREATE ROLE few LOGIN CONNECTION LIMIT 0")
        yield url


class _Psycopg:
    def __init__(self, url: str, options: str = "") -> None:
        self.connection = psycopg.connect(url, options=options)

    def run(self, statement: str) -> None:
        self.connection.execute(statement)

    def close(self) -> None:
        self.connection.close()


class _SQLAlchemy:
    def __init__(self, url: str, options: str = "") -> None:
        self.engine = sqlalchemy.create_engine(
            url.replace("postgresql:", "postgresql+psycopg:"), connect_args={"options": options}
        )
        self.connection = self.engine.connect()

    def run(self, statement: str) -> None:
        self.connection.execute(sqlalchemy.text(statement))

    def close(self) -> None:
        with suppress(Exception):
            self.connection.close()
        self.engine.dispose()


@pytest.fixture(params=[_Psycopg, _SQLAlchemy])
def connect(request: pytest.FixtureRequest, url: str) -> Iterator[Run]:
    opened: list[Any] = []

    def connect(options: str = "", where: str = url) -> Any:
        opened.append(request.param(where, options))
        return opened[-1]

    yield connect
    for each in opened:
        each.close()


def said(function: Callable[[], object]) -> dict[str, int]:
    """The verdict on what a function raises."""
    breaker = Breaker("db")
    with pytest.raises(Exception):  # noqa: B017, PT011 - the verdict is what matters
        breaker.call(function)
    return votes(breaker.metrics())


@pytest.mark.parametrize(
    ("statement", "verdict"),
    [
        ("SELEC 1", REJECTED),
        ("SELECT * FROM nowhere", REJECTED),
        ("INSERT INTO t VALUES (1, 0)", REJECTED),
        ("SELECT 1 / 0", REJECTED),
        ("SELECT 'x'::int", REJECTED),
        ("DO $$ BEGIN RAISE EXCEPTION 'own'; END $$", REJECTED),
        ("SELECT pg_terminate_backend(pg_backend_pid())", FAILED),
    ],
)
def test_a_statement_that_is_wrong_is_the_callers_own(
    connect: Run, statement: str, verdict: dict[str, int]
) -> None:
    connection = connect()

    assert said(lambda: connection.run(statement)) == verdict


def test_an_aborted_transaction_is_the_callers_own(connect: Run) -> None:
    connection = connect()
    with suppress(Exception):
        connection.run("SELEC 1")

    assert said(lambda: connection.run("SELECT 1")) == REJECTED


def test_a_statement_that_takes_too_long_is_a_failure(connect: Run) -> None:
    connection = connect("-c statement_timeout=50")

    assert said(lambda: connection.run("SELECT pg_sleep(30)")) == FAILED


def test_a_server_that_only_reads_is_a_failure(connect: Run) -> None:
    connection = connect("-c default_transaction_read_only=on")

    assert said(lambda: connection.run("UPDATE t SET n = 1")) == FAILED


def test_a_lock_that_is_not_free_is_none(connect: Run) -> None:
    one, other = connect(), connect()
    one.run("SELECT * FROM t WHERE id = 1 FOR UPDATE")

    assert said(lambda: other.run("SELECT * FROM t WHERE id = 1 FOR UPDATE NOWAIT")) == REJECTED


def test_a_failed_serialization_is_none(connect: Run) -> None:
    one, other = (connect("-c default_transaction_isolation=serializable") for _ in range(2))
    for each in (one, other):
        each.run("SELECT sum(n) FROM t")
    one.run("UPDATE t SET n = n + 1 WHERE id = 1")
    one.run("COMMIT")

    assert said(lambda: other.run("UPDATE t SET n = n + 1 WHERE id = 1")) == REJECTED


def test_a_deadlock_is_none(connect: Run) -> None:
    one, other = connect(), connect("-c deadlock_timeout=10")
    one.run("UPDATE t SET n = 1 WHERE id = 1")
    other.run("UPDATE t SET n = 1 WHERE id = 2")
    waiting = threading.Thread(target=one.run, args=("UPDATE t SET n = 1 WHERE id = 2",))
    waiting.start()

    verdict = said(lambda: other.run("UPDATE t SET n = 1 WHERE id = 1"))

    other.close()
    waiting.join(30)
    assert verdict == REJECTED


def test_a_server_without_a_place_is_a_failure(connect: Run, url: str) -> None:
    assert said(lambda: connect("", url.replace("app@", "few@"))) == FAILED


def test_a_server_that_is_not_there_is_a_failure(connect: Run) -> None:
    assert said(lambda: connect("", "postgresql://app@/postgres?host=/nowhere")) == FAILED


def test_a_pool_that_gives_no_connection_in_time_is_a_failure(url: str) -> None:
    with pools.ConnectionPool(url, min_size=1, max_size=1, timeout=0.05) as pool:
        pool.wait(PATIENCE)
        with pool.connection(timeout=PATIENCE):
            assert said(lambda: pool.getconn()) == FAILED


def test_a_pool_whose_queue_is_full_or_that_is_closed_says_nothing(url: str) -> None:
    with pools.ConnectionPool(url, min_size=1, max_size=1, max_waiting=1) as pool:
        pool.wait(PATIENCE)
        with pool.connection():
            waiting = threading.Thread(target=lambda: pool.putconn(pool.getconn()))
            waiting.start()
            until(lambda: pool.get_stats().get("requests_waiting", 0) == 1, "somebody waits")
            assert said(lambda: pool.getconn()) == REJECTED
        waiting.join(PATIENCE)
    assert said(lambda: pool.getconn()) == REJECTED
