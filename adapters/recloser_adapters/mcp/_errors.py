"""The error, or the result, of a refused request."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import mcp
from mcp import types

from recloser import BreakerOpenError, Reason, State

if TYPE_CHECKING:
    from mcp import MCPError
else:
    # It was renamed in version 2.
    MCPError = mcp.MCPError if hasattr(mcp, "MCPError") else mcp.McpError

__all__ = ["BreakerOpenMCPError", "MCPError", "error_of", "result_of"]

_REFUSED = -32098
"""The JSON-RPC code of a refusal: in the range for servers, and used by none that is known."""


class BreakerOpenMCPError(BreakerOpenError, MCPError):
    """A breaker refused the request; nothing was sent.

    It is an `MCPError` (`McpError` before version 2), so frameworks for agents handle it as an error of
    the server. Its `error.message` is written for a model.
    """

    def __init__(
        self,
        key: str,
        state: State | str = State.OPEN,
        reason: Reason | str | None = None,
        retry_after: float = 0.0,
    ) -> None:
        # The constructor of the SDK's error differs between its versions.
        refusal = BreakerOpenError(key, state, reason, retry_after)
        Exception.__init__(self, *refusal.args)
        self.key: str = refusal.key
        self.state: State = refusal.state
        self.reason: Reason | None = refusal.reason
        self.retry_after: float = refusal.retry_after
        self.error: types.ErrorData = types.ErrorData(code=_REFUSED, message=_for_models(refusal))

    def __str__(self) -> str:
        return BreakerOpenError.__str__(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.key, self.state, self.reason, self.retry_after)


def error_of(refusal: BreakerOpenError) -> BreakerOpenMCPError:
    """The same refusal, as an error of the SDK."""
    return BreakerOpenMCPError(refusal.key, refusal.state, refusal.reason, refusal.retry_after)


def _for_models(refusal: BreakerOpenError) -> str:
    wait = "" if refusal.retry_after == inf else f" for {max(refusal.retry_after, 1.0):.0f} seconds"
    return (
        f"{refusal.key} is not available, and was not called, because earlier calls failed."
        f" Do not call it again{wait}; do without it, or tell the user."
    )


def result_of(refusal: BreakerOpenError) -> types.CallToolResult:
    """The result of a refused tool call."""
    text = {"type": "text", "text": _for_models(refusal)}
    return types.CallToolResult.model_validate({"content": [text], "isError": True})
