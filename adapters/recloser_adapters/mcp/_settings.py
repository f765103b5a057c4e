"""The settings of a guarded session, and their checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypedDict

from recloser import Registry
from recloser.hints import check_registry
from recloser_adapters._outbound.settings import check_names


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


def check(registry: object, server: object, settings: SessionSettings) -> None:
    """Check the arguments of a user.

    Raises:
        TypeError: One has the wrong type, or does not exist.
        ValueError: `server` is empty, or `on_refuse` is unknown.
    """
    if registry is not None:
        check_registry(registry, Registry)
    if not isinstance(server, str):
        raise TypeError(f"server must be a str, the key of its breaker, not {server!r}")
    if not server:
        raise ValueError("server must not be empty: write the key of its breaker")
    check_names(settings, SessionSettings.__optional_keys__)
    fails = settings.get("tool_errors_fail", False)
    if not isinstance(fails, bool):
        raise TypeError(f"tool_errors_fail must be True or False, not {fails!r}")
    on_refuse = settings.get("on_refuse", "raise")
    if on_refuse not in ("raise", "result"):
        raise ValueError(f'on_refuse must be "raise" or "result", not {on_refuse!r}')
    label_by = settings.get("label_by")
    if label_by is not None and not callable(label_by):
        raise TypeError(f"label_by must be a callable, not {label_by!r}")
