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

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypedDict, TypeVar, Unpack

import mcp
from mcp import ClientSession, types

from recloser import (
    LONG_POLL,
    Breaker,
    BreakerOpenError,
    Outcome,
    Permit,
    Policy,
    Reason,
    Registry,
    State,
)

__all__ = ["BreakerOpenMCPError", "SessionSettings", "guarded", "wrap_session"]

if TYPE_CHECKING:
    from mcp import MCPError as _MCPError
else:
    # It was renamed in version 2.
    _MCPError = mcp.MCPError if hasattr(mcp, "MCPError") else mcp.McpError

ClientT = TypeVar("ClientT")
# Codes of errors that tell of no answer: the SDK makes them on this side.
_CONNECTION_CLOSED = -32000
_TIMED_OUT = (-32001, 408)
# What the SDK says of an HTTP error that is none of JSON-RPC.
_HTTP_ERROR = "Server returned an error response"
_REFUSED = -32098
"""The JSON-RPC code of a refusal: in the range for servers, and used by none that is known."""
_MOST_TOOLS = 256
_CALL = "tools/call"
_WAITS = "subscriptions/listen"


class BreakerOpenMCPError(BreakerOpenError, _MCPError):
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
        self.error = types.ErrorData(code=_REFUSED, message=_for_models(refusal))

    def __str__(self) -> str:
        return BreakerOpenError.__str__(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.key, self.state, self.reason, self.retry_after)


class SessionSettings(TypedDict, total=False):
    """The settings of a guarded session, as keyword arguments. Each of them is optional.

    Attributes:
        tool_errors_fail: Whether a tool result with `isError` is a failure of the tool; by default
            False. Set it for servers whose tools report outages so: those made with `FastMCP` or
            `MCPServer` report each exception of a tool so, also that of a bad argument.
        on_refuse: How a refused tool call is answered. `"raise"`, the default, raises a
            `BreakerOpenMCPError`. `"result"` returns a result with `isError` and a text that tells
            a model to do without the tool. Other requests raise in any case.
        label_by: What explains the latency of a tool call: a callable that returns a label, a size or
            None from the name of the tool and its arguments, as for `Breaker.acquire`. Return
            `recloser.LONG_POLL` for a tool that waits for people: its latency is not judged. If the
            callable raises, that is a fault (`Registry.faults`), and nothing is known.
    """

    tool_errors_fail: bool
    on_refuse: Literal["raise", "result"]
    label_by: Callable[[str, dict[str, Any]], str | float | None] | None


class guarded(Generic[ClientT]):  # noqa: N801  # it is used like a function
    """Connect a client under guard, and guard its requests: `async with guarded(client, ...)`.

    Args:
        client: A `Client` (version 2) or a `ClientSession` that is not entered yet.
        registry: Holds the breakers; by default a new one.
        server: The key of the server's breaker, and the first part of those of its tools.
        **settings: `tool_errors_fail`, `on_refuse` and `label_by`: see `SessionSettings`.

    Raises:
        TypeError: An argument has the wrong type, or a setting does not exist.
        ValueError: `server` is empty, or `on_refuse` is unknown.
    """

    def __init__(
        self,
        client: ClientT,
        registry: Registry | None = None,
        *,
        server: str,
        **settings: Unpack[SessionSettings],
    ) -> None:
        self._client: Any = client
        self._guard = _Guard(registry, server, settings)

    async def __aenter__(self) -> ClientT:
        if isinstance(self._client, ClientSession):
            # It sends nothing yet: `initialize()` does, as the first request.
            entered: Any = await self._client.__aenter__()
            self._guard.wrap(entered)
            return entered  # type: ignore[no-any-return]
        try:
            permit = self._guard.breaker.acquire("connect")
        except BreakerOpenError as refusal:
            raise _error_of(refusal) from None
        with permit:
            entered = await self._client.__aenter__()
        self._guard.wrap(entered.session)
        return entered  # type: ignore[no-any-return]

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        suppresses: bool | None = await self._client.__aexit__(kind, error, traceback)
        return suppresses


def wrap_session(
    session: ClientSession,
    registry: Registry | None = None,
    *,
    server: str,
    **settings: Unpack[SessionSettings],
) -> ClientSession:
    """Guard the requests of a session. One that is guarded already stays unchanged.

    Args:
        session: The session, entered or not; that of a `Client` is `client.session`.
        registry: Holds the breakers; by default a new one.
        server: The key of the server's breaker, and the first part of those of its tools.
        **settings: `tool_errors_fail`, `on_refuse` and `label_by`: see `SessionSettings`.

    Returns:
        The same session.

    Raises:
        TypeError: An argument has the wrong type, or a setting does not exist.
        ValueError: `server` is empty, or `on_refuse` is unknown.
    """
    if not isinstance(session, ClientSession):
        raise TypeError(f"session must be a ClientSession, not {type(session).__name__}")
    _Guard(registry, server, settings).wrap(session)
    return session


class _Asked(NamedTuple):
    """What a request asks for; `tool` is "" if it calls none."""

    method: str
    tool: str
    arguments: dict[str, Any]


def _read(request: Any) -> _Asked:
    inner = getattr(request, "root", request)  # version 1 has it in a `ClientRequest`
    method = getattr(inner, "method", "")
    if method != _CALL:
        return _Asked(method, "", {})
    return _Asked(method, inner.params.name, inner.params.arguments or {})


@dataclass(frozen=True, slots=True)
class _Permits:
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
        data = getattr(error, "error", None) if isinstance(error, _MCPError) else None
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


class _Guard:
    """Guards the requests of the sessions with one server.

    Attributes:
        breaker: The breaker of the server.
    """

    def __init__(self, registry: Registry | None, server: str, settings: SessionSettings) -> None:
        _check(registry, server, settings)
        self._registry = Registry() if registry is None else registry
        self._server = server
        self._tool_errors_fail = settings.get("tool_errors_fail", False)
        self._on_refuse = settings.get("on_refuse", "raise")
        self._label_by = settings.get("label_by")
        self._tools: set[str] = set()

    @property
    def breaker(self) -> Breaker:
        return self._registry[self._server]

    def wrap(self, session: Any) -> None:
        send = session.send_request
        if getattr(send, "recloser_guard", None) is not None:
            return

        async def send_request(request: Any, *args: Any, **kwargs: Any) -> Any:
            asked = _read(request)
            try:
                permits = self._admit(asked)
            except BreakerOpenError as refusal:
                if asked.tool and self._on_refuse == "result":
                    return _result_of(refusal)
                raise _error_of(refusal) from None
            try:
                result = await send(request, *args, **kwargs)
            except BaseException as error:
                permits.end_by_error(error)
                raise
            permits.end_by_result(result)
            return result

        send_request.recloser_guard = self  # type: ignore[attr-defined]
        # All requests of a session go through this one method. It has no hook for them.
        session.send_request = send_request

    def _admit(self, asked: _Asked) -> _Permits:
        """Ask for admission of a request.

        Raises:
            BreakerOpenError: It is refused.
        """
        if not asked.tool:
            label = LONG_POLL if asked.method == _WAITS else asked.method
            return _Permits(self.breaker.acquire(label), None, self._tool_errors_fail)
        # First the tool: a permit of the server that is not used would be a wasted probe.
        tool = self._tool_permit(asked)
        try:
            # How long a tool takes says nothing about the server.
            server = self.breaker.acquire(LONG_POLL)
        except BaseException:
            if tool is not None:
                tool.ignore()
            raise
        return _Permits(server, tool, self._tool_errors_fail)

    def _tool_permit(self, asked: _Asked) -> Permit | None:
        if asked.tool not in self._tools:
            if len(self._tools) >= _MOST_TOOLS:
                return None
            self._tools.add(asked.tool)
        breaker = self._registry[f"{self._server} {asked.tool}"]
        known: str | float | None = None
        if self._label_by is not None:
            try:
                known = self._label_by(asked.tool, asked.arguments)
            except Exception as error:
                self._registry.fault("label", error)
        return breaker.acquire(known) if isinstance(known, str) else breaker.acquire(size=known)


def _error_of(refusal: BreakerOpenError) -> BreakerOpenMCPError:
    return BreakerOpenMCPError(
        refusal.key, refusal.state, refusal.reason, refusal.retry_after
    )


def _for_models(refusal: BreakerOpenError) -> str:
    wait = "" if refusal.retry_after == inf else f" for {max(refusal.retry_after, 1.0):.0f} seconds"
    return (
        f"{refusal.key} is not available, and was not called, because earlier calls failed."
        f" Do not call it again{wait}; do without it, or tell the user."
    )


def _result_of(refusal: BreakerOpenError) -> types.CallToolResult:
    text = {"type": "text", "text": _for_models(refusal)}
    return types.CallToolResult.model_validate({"content": [text], "isError": True})


def _check(registry: object, server: object, settings: SessionSettings) -> None:
    if registry is not None and not isinstance(registry, Registry):
        hint = ": write Registry(policy)" if isinstance(registry, Policy) else ""
        raise TypeError(f"registry must be a Registry, not {registry!r}{hint}")
    if not isinstance(server, str):
        raise TypeError(f"server must be a str, the key of its breaker, not {server!r}")
    if not server:
        raise ValueError("server must not be empty: write the key of its breaker")
    for name in settings:
        if name not in SessionSettings.__optional_keys__:
            there_are = ", ".join(sorted(SessionSettings.__optional_keys__))
            raise TypeError(f"unexpected keyword argument {name!r}: the settings are {there_are}")
    fails = settings.get("tool_errors_fail", False)
    if not isinstance(fails, bool):
        raise TypeError(f"tool_errors_fail must be True or False, not {fails!r}")
    on_refuse = settings.get("on_refuse", "raise")
    if on_refuse not in ("raise", "result"):
        raise ValueError(f'on_refuse must be "raise" or "result", not {on_refuse!r}')
    label_by = settings.get("label_by")
    if label_by is not None and not callable(label_by):
        raise TypeError(f"label_by must be a callable, not {label_by!r}")
