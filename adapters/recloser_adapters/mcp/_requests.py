"""One request of a session: what it asks for, and how its permits end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from recloser import BreakerOpenError, Permit
from recloser_adapters.mcp._errors import MCPError

# Codes of errors that tell of no answer: the SDK makes them on this side.
_CONNECTION_CLOSED = -32000
_TIMED_OUT = (-32001, 408)
# What the SDK says of an HTTP error that is none of JSON-RPC.
_HTTP_ERROR = "Server returned an error response"
_CALL = "tools/call"


class Asked(NamedTuple):
    """What a request asks for; `tool` is "" if it calls none."""

    method: str
    tool: str
    arguments: dict[str, Any]


def read(request: Any) -> Asked:
    """Read what a request asks for."""
    inner = getattr(request, "root", request)  # version 1 has it in a `ClientRequest`
    method = getattr(inner, "method", "")
    if method != _CALL:
        return Asked(method, "", {})
    return Asked(method, inner.params.name, inner.params.arguments or {})


@dataclass(frozen=True, slots=True)
class Permits:
    """The permits of one request; that of the tool is None if it calls none of its own breaker."""

    server: Permit
    tool: Permit | None
    tool_errors_fail: bool

    def end_by_result(self, result: object) -> None:
        """The server has answered."""
        self.server.success()
        if self.tool is None:
            return
        if not _is_error(result):
            self.tool.success()
        elif self.tool_errors_fail:
            self.tool.failure("isError")
        else:
            self.tool.mark()
            self.tool.ignore()

    def end_by_error(self, error: BaseException) -> None:
        """The request raised."""
        data = getattr(error, "error", None) if isinstance(error, MCPError) else None
        code, message = getattr(data, "code", None), getattr(data, "message", "")
        if isinstance(error, BreakerOpenError) or not isinstance(error, Exception):
            self._end_both(error)
        elif code == _CONNECTION_CLOSED or (data is None and not _is_malformed(error)):
            # Of the transport: it says nothing about one tool.
            self.server.end_by_error(error)
            if self.tool is not None:
                self.tool.ignore()
        elif code in _TIMED_OUT:
            # It may be the tool alone. If no other request is answered either, the breaker of the
            # server sees that from the calls that were given up.
            if self.tool is None:
                self.server.failure(error)
            else:
                self.server.cancel()
                self.tool.failure(error)
        elif message == _HTTP_ERROR:
            self._fail_both(error)
        else:
            self._end_answered(error)

    def _end_both(self, error: BaseException) -> None:
        self.server.end_by_error(error)
        if self.tool is not None:
            self.tool.end_by_error(error)

    def _fail_both(self, error: Exception) -> None:
        self.server.failure(error)
        if self.tool is not None:
            self.tool.ignore()

    def _end_answered(self, error: Exception) -> None:
        """The server has answered by an error, or with what is no valid result."""
        permit = self.server if self.tool is None else self.tool
        if _is_malformed(error):
            permit.failure(error)
        else:
            permit.end_by_error(error)
        self.server.success()


def _is_malformed(error: BaseException) -> bool:
    # By its name: pydantic, which raises it, is the SDK's own dependency.
    return type(error).__name__ == "ValidationError"


def _is_error(result: object) -> bool:
    return bool(getattr(result, "is_error", False) or getattr(result, "isError", False))
