"""A real MCP server, for a subprocess: `python -m tests.support.mcp_shop stdio` or `http PORT`."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import anyio
import mcp

IS_NEW = hasattr(mcp, "MCPError")
MCPServer: Any = (
    import_module("mcp.server").MCPServer
    if IS_NEW
    else import_module("mcp.server.fastmcp").FastMCP  # before version 2
)


def add_tools(server: Any) -> None:
    """Tools that do what they are called."""

    async def find(name: str) -> str:
        """Find a thing."""
        return f"found {name}"

    async def broken() -> str:
        """Raise, which the SDK turns into a result with isError."""
        raise ValueError("no such shelf")

    async def hang() -> str:
        """Take longer than any caller waits."""
        await anyio.sleep(60)
        return "late"

    async def crash() -> str:
        """End the server."""
        os._exit(3)

    async def fail(code: int) -> str:
        """Answer with an error of JSON-RPC; since version 2."""
        raise mcp.MCPError(code=code, message=f"as you say: {code}")

    for tool in (find, broken, hang, crash, fail):
        server.tool()(tool)


def main(transport: str, port: str = "0") -> None:
    if transport == "stdio":
        server = MCPServer("shop")
        add_tools(server)
        server.run("stdio")
    elif IS_NEW:
        server = MCPServer("shop")
        add_tools(server)
        server.run("streamable-http", host="127.0.0.1", port=int(port))
    else:
        server = MCPServer("shop", host="127.0.0.1", port=int(port))
        add_tools(server)
        server.run("streamable-http")


if __name__ == "__main__":
    main(*sys.argv[1:])
