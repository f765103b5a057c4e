"""What SQLite says, through SQLAlchemy, sync and with asyncio."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.breaker_state import votes

from recloser import Breaker

sqlalchemy: Any = pytest.importorskip("sqlalchemy")

FAILED, REJECTED = {"failures": 1}, {"ignored": 1}
SETTINGS: dict[str, Any] = {
    "pool_size": 1,
    "max_overflow": 0,
    "pool_timeout": 0.01,
    "connect_args": {"timeout": 0.01},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        connection.execute("INSERT INTO t VALUES (1)")
    connection.close()
    return file


@pytest.fixture
def locked(file: Path) -> Iterator[None]:
    """Another process writes."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    yield
    connection.close()


def asked(file: Path, statement: str) -> dict[str, int]:
    breaker = Breaker("db")
    engine = sqlalchemy.create_engine(f"sqlite:///{file}", **SETTINGS)

    @breaker
    def ask() -> None:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(statement))

    with pytest.raises(sqlalchemy.exc.SQLAlchemyError):
        ask()
    engine.dispose()
    return votes(breaker.metrics())


def awaited(file: Path, statement: str) -> dict[str, int]:
    pytest.importorskip("aiosqlite")
    asynchronous: Any = pytest.importorskip("sqlalchemy.ext.asyncio")
    breaker = Breaker("db")

    async def main() -> None:
        engine = asynchronous.create_async_engine(f"sqlite+aiosqlite:///{file}", **SETTINGS)

        @breaker
        async def ask() -> None:
            async with engine.begin() as connection:
                await connection.execute(sqlalchemy.text(statement))

        with pytest.raises(sqlalchemy.exc.SQLAlchemyError):
            await ask()
        await engine.dispose()

    asyncio.run(main())
    return votes(breaker.metrics())


@pytest.mark.parametrize("ask", [asked, awaited])
@pytest.mark.parametrize(
    "statement",
    ["SELEC 1", "SELECT * FROM nowhere", "INSERT INTO t VALUES (1)", "SELECT :missing"],
)
def test_a_statement_that_is_wrong_is_the_callers_own(ask: Any, file: Path, statement: str) -> None:
    assert ask(file, statement) == REJECTED


@pytest.mark.parametrize("ask", [asked, awaited])
@pytest.mark.usefixtures("locked")
def test_a_file_that_is_locked_is_a_failure(ask: Any, file: Path) -> None:
    assert ask(file, "INSERT INTO t VALUES (2)") == FAILED


def test_a_file_that_cannot_be_opened_is_a_failure(tmp_path: Path) -> None:
    assert asked(tmp_path / "no" / "folder", "SELECT 1") == FAILED


def test_a_pool_that_gives_no_connection_in_time_is_a_failure(file: Path) -> None:
    breaker = Breaker("db")
    engine = sqlalchemy.create_engine(f"sqlite:///{file}", **SETTINGS)

    with engine.connect(), pytest.raises(sqlalchemy.exc.TimeoutError):
        breaker.call(engine.connect)

    engine.dispose()
    assert votes(breaker.metrics()) == FAILED


def test_a_pool_of_asyncio_that_gives_no_connection_in_time_is_a_failure(file: Path) -> None:
    pytest.importorskip("aiosqlite")
    asynchronous: Any = pytest.importorskip("sqlalchemy.ext.asyncio")
    breaker = Breaker("db")

    async def main() -> None:
        engine = asynchronous.create_async_engine(f"sqlite+aiosqlite:///{file}", **SETTINGS)

        @breaker
        async def connect() -> None:
            async with engine.connect():
                raise AssertionError("there was a connection")

        async with engine.connect():
            with pytest.raises(sqlalchemy.exc.TimeoutError):
                await connect()
        await engine.dispose()

    asyncio.run(main())
    assert votes(breaker.metrics()) == FAILED


def test_a_session_that_is_used_wrongly_is_the_callers_own(file: Path) -> None:
    orm: Any = pytest.importorskip("sqlalchemy.orm")
    breaker = Breaker("db")
    engine = sqlalchemy.create_engine(f"sqlite:///{file}")
    base = orm.declarative_base()
    row_kind = type(
        "T",
        (base,),
        {"__tablename__": "t", "id": sqlalchemy.Column(sqlalchemy.Integer, primary_key=True)},
    )
    with orm.Session(engine) as session:
        row = session.get(row_kind, 1)
        session.commit()

    with pytest.raises(orm.exc.DetachedInstanceError):
        breaker.call(lambda: row.id)

    engine.dispose()
    assert votes(breaker.metrics()) == REJECTED
