"""Breakers for the client of the MCP Python SDK, version 1.9 and later: `Client` and `ClientSession`.

    async with guarded(Client("http://localhost:8000/mcp"), registry, server="shop") as client:
        await client.call_tool("find", {"name": "tea"})

or `wrap_session(session, registry, server="shop")` for a session that a framework has opened. It works
with each transport, because it sits above it: what is guarded are the requests of the session.

There is a breaker for the server (`shop`), and one for each tool (`shop find`). A tool call asks both.
Trouble of the transport (a connection or a process that ends, an HTTP error) is a failure of the
server. A time-out, an internal error (JSON-RPC -32603, -32700, or a code that is not known), and a
result that does not fit the protocol are failures of the tool. Invalid parameters and unknown methods
are the caller's own fault. A result with `isError` is an answer, unless `tool_errors_fail` is set: what
a model has asked for in vain is no outage. Calls of the model's own making do not make keys without
end: beyond 256 tools, a tool has no breaker of its own.
"""

from __future__ import annotations

from recloser_adapters.mcp._errors import BreakerOpenMCPError
from recloser_adapters.mcp._guard import guarded, wrap_session
from recloser_adapters.mcp._settings import SessionSettings

__all__ = ["BreakerOpenMCPError", "SessionSettings", "guarded", "wrap_session"]
