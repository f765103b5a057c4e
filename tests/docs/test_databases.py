"""docs/how-to/databases.md: each recipe runs, on real servers where they are installed."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.support import postgres
from tests.support.breaker_state import votes
from tests.support.markdown import code_blocks
from tests.support.valkey import binaries, running

from recloser import BreakerOpenError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "databases.md"
BLOCKS = dict(code_blocks(PAGE))
FIRST = "Databases: Redis, SQLAlchemy, psycopg"


def run(heading: str, known: dict[str, Any], **written: str) -> dict[str, Any]:
    """Run a block; what is written in it is replaced by where the server is."""
    code = BLOCKS[heading]
    for name, url in written.items():
        found = {"redis": "redis://localhost", "postgresql": "postgresql://localhost/app"}[name]
        assert found in code
        code = code.replace(found, url)
    exec(compile(code, str(PAGE), "exec"), known)
    return known


def test_every_block_has_a_test_here() -> None:
    assert len(BLOCKS) == len(code_blocks(PAGE))
    assert set(BLOCKS) == {
        FIRST,
        "A cache that may be missing",
        "SQLAlchemy",
        "SQLAlchemy with asyncio",
        "psycopg, with a transaction that is run again",
        "Another verdict",
        "Testing",
    }


def test_a_cache_that_may_be_missing() -> None:
    pytest.importorskip("redis")
    if not binaries():
        pytest.skip("no server is installed")
    with running(next(iter(binaries().values()))) as server:
        known = run("A cache that may be missing", {}, redis=server.url)
        known["cache"].set("user:1", "Ada")
        assert known["cached"]("user:1") == b"Ada"

        run("Testing", known)
        assert known["cached"]("user:1") == b"Ada"
        server.kill()
        while known["cache_breaker"].metrics().refused < 3:
            assert known["cached"]("user:1") is None

    known["cache"].close()
    assert known["cache_breaker"].metrics().failures < 10


def test_sqlalchemy_sync_and_with_asyncio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sqlalchemy")
    pytest.importorskip("aiosqlite")
    monkeypatch.chdir(tmp_path)
    known = run("SQLAlchemy", {})
    run("SQLAlchemy with asyncio", known)
    run(FIRST, known)

    assert capsys.readouterr().out == "1 orders\n"
    assert known["find_order"](1) == "tea"
    no_result: Any = pytest.importorskip("sqlalchemy.exc").NoResultFound
    with pytest.raises(no_result):
        known["find_order"](2)
    known["engine"].dispose()
    assert votes(known["database"].metrics()) == {"successes": 1, "ignored": 1}
    assert votes(known["orders_db"].metrics()) == {"successes": 1}
    assert votes(known["async_db"].metrics()) == {"successes": 1}


def test_a_transaction_that_is_run_again(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("psycopg")
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    with ExitStack() as stack:
        url = stack.enter_context(postgres.running())
        known = run("psycopg, with a transaction that is run again", {}, postgresql=url)
        assert capsys.readouterr().out == "42\n"
        breaker = known["accounts_db"]
        tried: list[int] = []

        @breaker  # type: ignore[untyped-decorator]  # known by name only
        def conflicting(amount: int) -> int:
            tried.append(amount)
            if len(tried) < 3:
                raise known["SerializationFailure"]("could not serialize access")
            return amount

        known["book"] = conflicting
        assert known["book_again"](1) == 1

    assert votes(breaker.metrics()) == {"successes": 2, "ignored": 2}


def test_another_verdict() -> None:
    breaker = run("Another verdict", {})["reports_db"]

    with pytest.raises(OSError, match="user request"), breaker:
        raise OSError("canceling statement due to user request")
    with pytest.raises(OSError, match="reset"), breaker:
        raise OSError("connection reset")

    assert votes(breaker.metrics()) == {"ignored": 1, "failures": 1}
    breaker.open()
    with pytest.raises(BreakerOpenError):
        breaker.acquire()
