"""The Python peers, set up as in their documentation. Peers that are not installed are left out.

They have no types, only this benchmark uses them, and they are no dependency of the project:
`pip install circuitbreaker pybreaker nopanic interlock-cb purgatory`.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

Plain = Callable[[], object]
Async = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer's guard around the same function; `guard_async` is None without an async form."""

    name: str
    guard: Callable[[Plain], Plain]
    guard_async: Callable[[Async], Async] | None = None


def installed() -> tuple[list[Peer], list[str]]:
    """Return the peers that can be imported, and the distributions of those that cannot."""
    peers: list[Peer] = []
    missing: list[str] = []
    for distribution, module, make in _KNOWN:
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError:
            missing.append(distribution)
        else:
            peers += make(found)
    return peers, missing


def _circuitbreaker(module: ModuleType) -> list[Peer]:
    def guard(call: Any) -> Any:
        return module.CircuitBreaker(name=repr(call))(call)

    return [Peer("circuitbreaker", guard, guard)]


def _pybreaker(module: ModuleType) -> list[Peer]:
    # There is no async form: around an `async def` it counts no failure.
    return [Peer("pybreaker", lambda call: module.CircuitBreaker()(call))]


def _nopanic(module: ModuleType) -> list[Peer]:
    def guard(call: Any) -> Any:
        return module.circuit_breaker(failure_threshold=0.5, min_calls=10)(call)

    def guard_slow(call: Any) -> Any:
        return module.circuit_breaker(
            failure_threshold=0.5, min_calls=10, slow_call_duration=1.0, slow_call_threshold=0.5
        )(call)

    return [Peer("nopanic", guard, guard), Peer("nopanic, slow calls too", guard_slow, guard_slow)]


def _interlock(module: ModuleType) -> list[Peer]:
    def guard(call: Any) -> Any:
        return module.CircuitBreaker(name=repr(call))(call)

    return [Peer("interlock-cb", guard, guard)]


def _purgatory(module: ModuleType) -> list[Peer]:
    def guard(call: Any) -> Any:
        return module.SyncCircuitBreakerFactory()("key")(call)

    def guard_async(call: Any) -> Any:
        return module.AsyncCircuitBreakerFactory()("key")(call)

    return [Peer("purgatory", guard, guard_async)]


_KNOWN: list[tuple[str, str, Callable[[ModuleType], list[Peer]]]] = [
    ("circuitbreaker", "circuitbreaker", _circuitbreaker),
    ("pybreaker", "pybreaker", _pybreaker),
    ("nopanic", "nopanic", _nopanic),
    ("interlock-cb", "interlock", _interlock),
    ("purgatory", "purgatory", _purgatory),
]
