"""The code of docs/how-to/mcp.md, on real servers."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

mcp: Any = pytest.importorskip("mcp")

from tests.support.markdown import code_blocks
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parent.parent.parent
BLOCKS = [code for _, code in code_blocks(ROOT / "docs" / "how-to" / "mcp.md")]
SHOP = ["-m", "tests.support.mcp_shop"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    nothing = subprocess.DEVNULL
    process = subprocess.Popen(
        [sys.executable, *SHOP, "http", str(port)], cwd=ROOT, stdout=nothing, stderr=nothing
    )

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    until(listens, "the server listens")
    yield f"http://127.0.0.1:{port}/mcp"
    process.kill()
    process.wait(20)


def stdio() -> Any:
    return mcp.StdioServerParameters(
        command=sys.executable, args=[*SHOP, "stdio"], env={"PYTHONPATH": str(ROOT)}, cwd=str(ROOT)
    )


@pytest.mark.parametrize("code", BLOCKS, ids=range(len(BLOCKS)))
def test_it_runs(code: str, url: str) -> None:
    if "Client(" in code.replace("guarded(ClientSession(", "") and not hasattr(mcp, "Client"):
        pytest.skip("SDK 1 has no Client")
    names: dict[str, Any] = {}
    exec(code.replace("http://localhost:8000/mcp", url), names)
    find = names["find"]

    text = asyncio.run(find(stdio()) if "server: Stdio" in code else find())

    assert text == "found tea" if "on_refuse" not in code else "for 30 seconds" in text


def test_the_first_block_is_short() -> None:
    pasted = [line for line in BLOCKS[0].splitlines() if "recloser" in line or "registry" in line]

    assert len(pasted) == 4
