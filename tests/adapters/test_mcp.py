"""The MCP adapter, on real servers: in a subprocess (stdio), and on loopback (streamable HTTP)."""

from __future__ import annotations

import copy
import pickle
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

mcp: Any = pytest.importorskip("mcp")

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from tests.support.breaker_state import votes
from tests.support.waiting import until

from recloser import LONG_POLL, Breaker, Policy, Registry, State
from recloser_adapters.mcp import BreakerOpenMCPError, guarded, wrap_session

pytestmark = pytest.mark.anyio

IS_NEW = hasattr(mcp, "MCPError")
Error: Any = mcp.MCPError if IS_NEW else mcp.McpError
since_2 = pytest.mark.skipif(not IS_NEW, reason="the server of SDK 1 cannot raise such an error")
ROOT = Path(__file__).resolve().parent.parent.parent
SHORT: Any = 0.3 if IS_NEW else timedelta(seconds=0.3)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def command(*arguments: str) -> StdioServerParameters:
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "tests.support.mcp_shop", *arguments],
        env={"PYTHONPATH": str(ROOT)},
        cwd=str(ROOT),
    )


@asynccontextmanager
async def shop(registry: Registry, **settings: Any) -> AsyncIterator[ClientSession]:
    """A guarded session with a server in a subprocess."""
    async with (
        stdio_client(command("stdio")) as (read, write),
        guarded(ClientSession(read, write), registry, server="shop", **settings) as session,
    ):
        await session.initialize()
        yield session


@pytest.fixture
def server(registry: Registry) -> Breaker:
    return registry["shop"]


def tool(registry: Registry, name: str) -> Breaker:
    return registry[f"shop {name}"]


def text_of(result: Any) -> str:
    text: str = result.content[0].text
    return text


async def test_good_calls_are_successes_of_the_server_and_of_the_tool(
    registry: Registry, server: Breaker
) -> None:
    async with shop(registry) as session:
        await session.list_tools()
        result = await session.call_tool("find", {"name": "tea"})

    assert text_of(result) == "found tea"
    assert votes(tool(registry, "find").metrics()) == {"successes": 1}
    assert votes(server.metrics()) == {"successes": 3}
    assert registry.faults == 0


async def test_a_result_with_an_error_is_an_answer(registry: Registry, server: Breaker) -> None:
    async with shop(registry) as session:
        await session.list_tools()
        for _ in range(20):
            await session.call_tool("broken", {})

    assert votes(tool(registry, "broken").metrics()) == {"ignored": 20}
    assert tool(registry, "broken").state is State.CLOSED
    assert votes(server.metrics()) == {"successes": 22}


async def test_it_can_be_a_failure_of_the_tool_and_only_of_that(
    registry: Registry, server: Breaker
) -> None:
    async with shop(registry, tool_errors_fail=True) as session:
        await session.list_tools()
        for _ in range(30):
            if tool(registry, "broken").state is State.OPEN:
                break
            await session.call_tool("broken", {})
        with pytest.raises(BreakerOpenMCPError) as refused:
            await session.call_tool("broken", {})
        assert text_of(await session.call_tool("find", {"name": "tea"})) == "found tea"

    assert refused.value.key == "shop broken"
    assert server.state is State.CLOSED


@since_2
@pytest.mark.parametrize("code", [-32602, -32601, -32600, -32002, -32042])
async def test_codes_of_json_rpc_that_are_the_callers_fault(registry: Registry, code: int) -> None:
    async with shop(registry) as session:
        with pytest.raises(Error):
            await session.call_tool("fail", {"code": code})

    assert votes(tool(registry, "fail").metrics()) == {"ignored": 1}
    assert votes(registry["shop"].metrics()) == {"successes": 2}


@since_2
@pytest.mark.parametrize("code", [-32603, -32700, -32050, 7])
async def test_codes_of_json_rpc_that_are_failures_of_the_tool(
    registry: Registry, code: int
) -> None:
    async with shop(registry) as session:
        with pytest.raises(Error):
            await session.call_tool("fail", {"code": code})

    assert votes(tool(registry, "fail").metrics()) == {"failures": 1}
    assert votes(registry["shop"].metrics()) == {"successes": 2}


async def test_a_time_out_is_a_failure_of_the_tool(registry: Registry, server: Breaker) -> None:
    async with shop(registry) as session:
        await session.list_tools()
        with pytest.raises(Error):
            await session.call_tool("hang", {}, read_timeout_seconds=SHORT)

    assert votes(tool(registry, "hang").metrics()) == {"failures": 1}
    assert votes(server.metrics()) == {"successes": 2, "cancelled": 1}


async def test_a_server_that_crashes_has_failed_and_not_its_tool(
    registry: Registry, server: Breaker
) -> None:
    async with shop(registry) as session:
        if not IS_NEW:
            pytest.skip("SDK 1 does not notice that its server has ended")
        with pytest.raises(Error):
            await session.call_tool("crash", {})
        with pytest.raises(Error):
            await session.call_tool("find", {"name": "tea"})

    assert votes(tool(registry, "crash").metrics()) == {"ignored": 1}
    assert votes(server.metrics()) == {"successes": 1, "failures": 2}


async def test_who_cancels_a_call_leaves_no_vote(registry: Registry, server: Breaker) -> None:
    import anyio

    async with shop(registry) as session:
        with anyio.move_on_after(0.2):
            await session.call_tool("hang", {})

    assert votes(tool(registry, "hang").metrics()) == {"cancelled": 1}
    assert votes(server.metrics()) == {"successes": 1, "cancelled": 1}


# Refusals


async def test_a_refused_tool_call_is_an_error_of_the_sdk_written_for_a_model(
    registry: Registry,
) -> None:
    async with shop(registry) as session:
        tool(registry, "find").open("by hand")
        with pytest.raises(Error) as refused:
            await session.call_tool("find", {"name": "tea"})

    assert isinstance(refused.value, BreakerOpenMCPError)
    assert "shop find is not available" in refused.value.error.message
    assert "Do not call it again" in refused.value.error.message
    assert "breaker 'shop find' is open" in str(refused.value)


async def test_a_refused_tool_call_can_be_a_result(registry: Registry) -> None:
    async with shop(registry, on_refuse="result") as session:
        tool(registry, "find").open("by hand", for_=30.0)
        result: Any = await session.call_tool("find", {"name": "tea"})
        registry["shop"].open("by hand")
        with pytest.raises(BreakerOpenMCPError):
            await session.list_tools()

    assert getattr(result, "is_error", None) or getattr(result, "isError", None)
    assert "for 30 seconds" in text_of(result)


async def test_a_sick_server_refuses_its_tools_and_loses_no_permit(
    registry: Registry, server: Breaker
) -> None:
    async with shop(registry) as session:
        server.open("by hand")
        with pytest.raises(BreakerOpenMCPError) as refused:
            await session.call_tool("find", {"name": "tea"})

    assert refused.value.key == "shop"
    assert tool(registry, "find").metrics().in_flight == 0


def test_the_refusal_can_be_copied_and_pickled() -> None:
    error = BreakerOpenMCPError("shop find", retry_after=2.5)

    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (twin.key, twin.retry_after) == ("shop find", 2.5)
        assert twin.error.message == error.error.message


# Settings


async def test_a_label_explains_a_tool_and_a_fault_in_it_refuses_nothing(
    registry: Registry,
) -> None:
    seen: list[tuple[str, dict[str, Any]]] = []

    def label_by(name: str, arguments: dict[str, Any]) -> str:
        seen.append((name, arguments))
        if name == "broken":
            raise LookupError(name)
        return LONG_POLL

    async with shop(registry, label_by=label_by) as session:
        await session.call_tool("find", {"name": "tea"})
        await session.call_tool("broken", {})

    assert seen == [("find", {"name": "tea"}), ("broken", {})]
    assert registry.faults == 1


async def test_a_model_that_makes_up_names_makes_no_keys_without_end(registry: Registry) -> None:
    for begin in (0, 150):  # also if it connects anew
        async with shop(registry) as session:
            await session.list_tools()
            for number in range(begin, begin + 150):
                try:
                    await session.call_tool(f"made up {number}", {})
                except Error:
                    continue

    assert len(registry) == 257  # 256 tools, and the server


async def test_a_session_is_wrapped_once(registry: Registry, server: Breaker) -> None:
    async with stdio_client(command("stdio")) as (read, write), ClientSession(read, write) as bare:
        session = wrap_session(bare, registry, server="shop")
        assert wrap_session(session, registry, server="shop") is bare
        await session.initialize()

    assert votes(server.metrics()) == {"successes": 1}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"server": ""}, "server must not be empty"),
        ({"server": 7}, "server must be a str"),
        ({"server": "s", "registry": Policy()}, r"write Registry\(policy\)"),
        ({"server": "s", "tool_error_fails": True}, "unexpected keyword argument"),
        ({"server": "s", "tool_errors_fail": 1}, "tool_errors_fail must be True or False"),
        ({"server": "s", "on_refuse": "ignore"}, "on_refuse must be"),
        ({"server": "s", "label_by": "x"}, "label_by must be a callable"),
    ],
)
def test_a_mistake_is_told_at_once(settings: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        guarded(object(), **settings)


def test_what_is_no_session_is_told_at_once() -> None:
    session: Any = object()
    with pytest.raises(TypeError, match="session must be a ClientSession, not object"):
        wrap_session(session, server="shop")


# Streamable HTTP


@pytest.fixture
def http_server() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server on loopback: its URL, and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.mcp_shop", "http", str(port)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    until(listens, "the server listens")
    yield f"http://127.0.0.1:{port}/mcp", process
    process.kill()
    process.wait(20)


@since_2
async def test_over_http_a_server_that_goes_is_noticed(
    registry: Registry, server: Breaker, http_server: tuple[str, subprocess.Popen[bytes]]
) -> None:
    url, process = http_server

    async def use() -> None:
        async with guarded(mcp.Client(url), registry, server="shop") as client:
            assert text_of(await client.call_tool("find", {"name": "tea"})) == "found tea"
            assert (await client.call_tool("broken", {})).is_error
            process.kill()
            process.wait(20)
            await client.call_tool("find", {"name": "tea"})

    with pytest.raises(Exception):  # noqa: B017, PT011  # a group, or an error of the SDK
        await use()

    assert server.metrics().failures == 1
    assert tool(registry, "find").metrics().failures == 0


@since_2
async def test_what_the_block_raises_is_not_of_the_server(
    registry: Registry, server: Breaker, http_server: tuple[str, subprocess.Popen[bytes]]
) -> None:
    url, _ = http_server

    async def use() -> None:
        async with guarded(mcp.Client(url), registry, server="shop") as client:
            await client.list_tools()
            raise OSError("mine")

    with pytest.raises(Exception):  # noqa: B017, PT011  # the SDK puts it in a group
        await use()

    assert server.metrics().failures == 0


@since_2
async def test_a_server_that_cannot_be_reached_is_refused_at_the_next_connection(
    registry: Registry, server: Breaker, http_server: tuple[str, subprocess.Popen[bytes]]
) -> None:
    url, process = http_server
    process.kill()
    process.wait(20)

    async def connect() -> None:
        async with guarded(mcp.Client(url), registry, server="shop"):
            pytest.fail("nobody listens")

    for _ in range(30):
        if server.state is State.OPEN:
            break
        with pytest.raises(Exception):  # noqa: B017, PT011  # a group, or an error of the SDK
            await connect()
    with pytest.raises(BreakerOpenMCPError):
        await connect()
