"""What bodies that are cut off share, without a client: whose event loop runs."""

from __future__ import annotations

import asyncio
import sys

import pytest

pytest.importorskip("recloser_adapters")
from recloser_adapters._outbound.cut_off import runs_asyncio


async def asks() -> bool:
    return runs_asyncio()


def test_an_event_loop_of_asyncio_is_known() -> None:
    assert runs_asyncio() is False
    assert asyncio.run(asks()) is True
    assert runs_asyncio() is False


def test_one_of_trio_is_none() -> None:
    trio = pytest.importorskip("trio")

    assert trio.run(asks) is False


def test_a_program_that_has_not_imported_asyncio_runs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "asyncio")

    assert runs_asyncio() is False
