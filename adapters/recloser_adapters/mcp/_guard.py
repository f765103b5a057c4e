"""The guard of the sessions with one server."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Generic, TypeVar, Unpack, cast
from weakref import WeakKeyDictionary

from mcp import ClientSession

from recloser import LONG_POLL, Breaker, BreakerOpenError, Permit, Registry
from recloser_adapters.mcp._errors import error_of, result_of
from recloser_adapters.mcp._requests import Asked, Permits, read
from recloser_adapters.mcp._settings import SessionSettings, check

ClientT = TypeVar("ClientT")
_MOST_TOOLS = 256
# By registry and server, because a program may connect anew for each task.
_known_tools: WeakKeyDictionary[Registry, dict[str, set[str]]] = WeakKeyDictionary()
_WAITS = "subscriptions/listen"


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
            raise error_of(refusal) from None
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
        try:
            suppresses: bool | None = await self._client.__aexit__(kind, error, traceback)
        except BaseException as raised:
            # Where a connection breaks, the SDK cancels what waits for it, and raises why only here.
            self._guard.ended_by(raised, error)
            raise
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


class _Guard:
    """Guards the requests of the sessions with one server.

    Attributes:
        breaker: The breaker of the server.
    """

    def __init__(self, registry: Registry | None, server: str, settings: SessionSettings) -> None:
        check(registry, server, settings)
        self._registry = Registry() if registry is None else registry
        self._server = server
        self._tool_errors_fail = settings.get("tool_errors_fail", False)
        self._on_refuse = settings.get("on_refuse", "raise")
        self._label_by = settings.get("label_by")
        known = _known_tools.setdefault(self._registry, {})
        self._tools: set[str] = known.setdefault(server, set())

    @property
    def breaker(self) -> Breaker:
        return self._registry[self._server]

    def wrap(self, session: Any) -> None:
        send = session.send_request
        if getattr(send, "recloser_guard", None) is not None:
            return

        async def send_request(request: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                asked = read(request)
            except Exception as fault:  # a request of the user's own class may lack anything
                self._registry.fault("mcp request", fault)
                asked = Asked("", "", {})
            try:
                permits = self._admit(asked)
            except BreakerOpenError as refusal:
                if asked.tool and self._on_refuse == "result":
                    return result_of(refusal)
                raise error_of(refusal) from None
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

    def ended_by(self, raised: BaseException, of_caller: BaseException | None) -> None:
        """A client has ended with an error; `of_caller` is what its block raised."""
        left: BaseException | None = None if raised is of_caller else raised
        if isinstance(left, BaseExceptionGroup):
            group = cast("BaseExceptionGroup[BaseException]", left)
            left = group.split(lambda each: each is of_caller)[1]
        if not isinstance(left, Exception):
            return
        permit = self.breaker.try_acquire("connect")
        if permit is not None:
            permit.end_by_error(left)

    def _admit(self, asked: Asked) -> Permits:
        """Ask for admission of a request.

        Raises:
            BreakerOpenError: It is refused.
        """
        if not asked.tool:
            label = LONG_POLL if asked.method == _WAITS else asked.method
            return Permits(self.breaker.acquire(label), None, self._tool_errors_fail)
        # First the tool: a permit of the server that is not used would be a wasted probe.
        tool = self._tool_permit(asked)
        try:
            # How long a tool takes says nothing about the server.
            server = self.breaker.acquire(LONG_POLL)
        except BaseException:
            if tool is not None:
                tool.ignore()
            raise
        return Permits(server, tool, self._tool_errors_fail)

    def _tool_permit(self, asked: Asked) -> Permit | None:
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
