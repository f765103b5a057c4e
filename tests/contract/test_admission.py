"""Admission of a request: one table of cases, the same on ASGI and on WSGI."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from tests.support import asgi_client, wsgi_client
from tests.support.breaker_state import votes

import recloser.asgi
import recloser.wsgi
from recloser import Permit, Registry, State
from recloser.testing import ManualClock, no_jitter

PERMIT, REFUSED, UNMATCHED = recloser.asgi.PERMIT, recloser.asgi.REFUSED, recloser.asgi.UNMATCHED


class Handler:
    """The app inside: answers with one status, and notes what it finds in each request."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.permits: list[Permit | None] = []
        self.seen: list[str] = []

    def note(self, request: Any) -> None:
        permit = request.get(PERMIT)
        self.permits.append(permit)
        if permit is None:
            self.seen.append("no permit")
        else:
            assert not permit.ended
            kind = "probe" if permit.is_probe else "permit"
            self.seen.append(kind if permit.outer is None else f"{kind} within a permit")


class Asgi:
    middleware: ClassVar[Any] = recloser.asgi.BreakerMiddleware

    def app(self, handler: Handler) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            handler.note(scope)
            start = {"type": "http.response.start", "status": handler.status, "headers": []}
            await send(start)
            await send({"type": "http.response.body", "body": b"handler"})

        return app

    def call(self, app: Any, path: str) -> tuple[int | None, Any]:
        exchange = asgi_client.Exchange(path=path)

        async def call() -> int | None:
            answer = await exchange.run(app)
            assert answer.error is None
            return answer.status

        return asyncio.run(call()), exchange.scope


class Wsgi:
    middleware: ClassVar[Any] = recloser.wsgi.BreakerMiddleware

    def app(self, handler: Handler) -> Any:
        def app(environ: Any, start_response: Any) -> Iterable[bytes]:
            handler.note(environ)
            start_response(f"{handler.status} Status", [])
            return [b"handler"]

        return app

    def call(self, app: Any, path: str) -> tuple[int | None, Any]:
        exchange = wsgi_client.Exchange(path=path)
        answer = exchange.run(app)
        assert answer.error is None
        return answer.status, exchange.environ


@dataclass
class World:
    """Two registries on one clock. Only nested middlewares use the second."""

    clock: ManualClock = field(default_factory=lambda: ManualClock(1000.0))
    held: list[Permit] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.registry = Registry(clock=self.clock, random=no_jitter)
        self.other = Registry(clock=self.clock, random=no_jitter)

    def disable(self) -> None:
        self.registry.mode = "disabled"

    def observe(self) -> None:
        self.registry.mode = "observe"

    def open(self) -> None:
        self.registry["app"].open()

    def open_and_observe(self) -> None:
        self.open()
        self.observe()

    def open_and_disable(self) -> None:
        self.open()
        self.disable()

    def time_to_probe(self) -> None:
        self.registry["app"].open(for_=1.0)
        self.clock.advance(1.0)

    def probe_in_flight(self) -> None:
        self.time_to_probe()
        self.held.append(self.registry["app"].acquire())

    def limit_reached(self) -> None:
        breaker = self.registry["app"]
        self.held += [breaker.acquire() for _ in range(8)]
        self.clock.advance(breaker.policy.slow_ceiling + 1.0)
        assert breaker.try_acquire() is None
        assert breaker.state is State.LIMITED

    def limit_with_a_place(self) -> None:
        self.limit_reached()
        self.held.pop().cancel()

    def know_unmatched(self) -> None:
        assert self.registry[UNMATCHED]

    def open_unmatched(self) -> None:
        self.registry[UNMATCHED].open()


def raising(request: Any) -> Any:
    raise ZeroDivisionError


def first_key(request: Any) -> str:
    return "first"


Outer = Callable[[World], tuple[Registry, dict[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case, and what is expected of it.

    Attributes:
        options: Of the middleware.
        outer: Registry and options of a second middleware around it.
        before: What happens before the first request.
        path: Of each request.
        status: What the handler answers.
        requests: How many there are.
        enabled: `RECLOSER_ENABLED`.
        answers: The status of each answer.
        sees: What the handler finds in each request, if it is called.
        counted: By key, what the registry counts. Other keys count nothing.
        other: The same of the second registry.
        marked: Whether the request is marked as refused afterwards.
        faults: Faults that are counted.
    """

    options: dict[str, Any] = field(default_factory=dict[str, Any])
    outer: Outer | None = None
    before: Callable[[World], object] = lambda world: None
    path: str = "/items/1"
    status: int = 200
    requests: int = 1
    enabled: str = "1"
    answers: int = 200
    sees: str | None = "no permit"
    counted: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    other: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    marked: bool = False
    faults: int = 0


GOOD = {"app": {"successes": 1}}
REFUSAL = {"app": {"refused": 1}}
SPARED = {"app": {"refused": 1, "spared": 1, "spared_good": 1}}


def failing(requests: int = 9, **more: Any) -> Case:
    """Requests that all fail, and are not guarded: the breaker would open at the sixth."""
    return Case(status=500, answers=500, requests=requests, **more)


CASES = {
    # Guarded.
    "a usual request": Case(sees="permit", counted=GOOD),
    "a request of a key": Case(
        options={"key": first_key}, sees="permit", counted={"first": {"successes": 1}}
    ),
    "not exempt by function": Case(
        options={"exempt": lambda request: False}, sees="permit", counted=GOOD
    ),
    "an exempt function replaces the paths": Case(
        options={"exempt": lambda request: False}, path="/healthz", sees="permit", counted=GOOD
    ),
    "a registry that observes": Case(before=World.observe, sees="permit", counted=GOOD),
    "a middleware that observes": Case(options={"mode": "observe"}, sees="permit", counted=GOOD),
    "half-open with a free place": Case(before=World.time_to_probe, sees="probe", counted=GOOD),
    "limited with a free place": Case(
        before=World.limit_with_a_place,
        sees="permit",
        counted={"app": {"successes": 1, "refused": 1, "cancelled": 8}},
    ),
    "limited without a free place, and it observes": Case(
        options={"mode": "observe"},
        before=World.limit_reached,
        sees="permit",
        counted={"app": {"refused": 2, "cancelled": 8, "spared": 1, "spared_good": 1}},
    ),
    # Refused.
    "open": Case(before=World.open, answers=503, sees=None, counted=REFUSAL, marked=True),
    "half-open without a free place": Case(
        before=World.probe_in_flight,
        answers=503,
        sees=None,
        counted={"app": {"refused": 1, "cancelled": 1}},
        marked=True,
    ),
    "limited without a free place": Case(
        before=World.limit_reached,
        answers=503,
        sees=None,
        counted={"app": {"refused": 2, "cancelled": 8}},
        marked=True,
    ),
    # Not guarded.
    "exempt path": failing(path="/healthz"),
    "exempt by a pattern": failing(options={"exempt": ["/items/*"]}),
    "exempt by function": failing(options={"exempt": lambda request: True}),
    "exempt while open": Case(before=World.open, path="/healthz"),
    "an exempt function that raises": failing(options={"exempt": raising}, faults=9),
    "no key": failing(options={"key": lambda request: None}),
    "unmatched": failing(options={"key": lambda request: UNMATCHED}),
    "unmatched, and a breaker has that name": failing(
        options={"key": lambda request: UNMATCHED}, before=World.know_unmatched
    ),
    "unmatched, and a breaker of that name is open": failing(
        options={"key": lambda request: UNMATCHED}, before=World.open_unmatched
    ),
    "a key function that raises": failing(options={"key": raising}, faults=9),
    "a key that is no str": failing(options={"key": lambda request: 5}, faults=9),
    "a disabled registry": failing(before=World.disable),
    "a disabled registry while open": Case(before=World.open_and_disable),
    "a registry that observes while open": Case(
        before=World.open_and_observe,
        sees="permit",
        counted=SPARED,
    ),
    "a middleware that observes while open": Case(
        options={"mode": "observe"}, before=World.open, sees="permit", counted=SPARED
    ),
    "a disabled middleware": failing(options={"mode": "disabled"}),
    "a disabled middleware while open": Case(options={"mode": "disabled"}, before=World.open),
    "turned off": failing(enabled="0"),
    "turned off while open": Case(enabled="0", before=World.open),
    # Within another middleware.
    "nested, the same breaker": Case(
        outer=lambda world: (world.registry, {}), sees="permit", counted=GOOD
    ),
    "nested, the same breaker, which is open": Case(
        outer=lambda world: (world.registry, {}),
        before=World.open,
        answers=503,
        sees=None,
        counted=REFUSAL,
        marked=True,
    ),
    "nested, the same breaker, with one free place": Case(
        outer=lambda world: (world.registry, {}),
        before=World.time_to_probe,
        sees="probe",
        counted=GOOD,
    ),
    "nested, another key": Case(
        outer=lambda world: (world.registry, {"key": first_key}),
        sees="permit within a permit",
        counted={"first": {"successes": 1}, **GOOD},
    ),
    "nested, another registry": Case(
        outer=lambda world: (world.other, {}),
        sees="permit within a permit",
        counted=GOOD,
        other=GOOD,
    ),
    "nested, another registry, the inner breaker is open": Case(
        outer=lambda world: (world.other, {}),
        before=World.open,
        answers=503,
        sees=None,
        counted=REFUSAL,
        other={"app": {"ignored": 1}},
        marked=True,
    ),
    "nested, another registry, the outer breaker is open": Case(
        outer=lambda world: (world.other, {}),
        before=lambda world: world.other["app"].open(),
        answers=503,
        sees=None,
        other=REFUSAL,
        marked=True,
    ),
    "nested, another registry, the inner one observes while open": Case(
        options={"mode": "observe"},
        outer=lambda world: (world.other, {}),
        before=World.open,
        sees="permit within a permit",
        counted=SPARED,
        other=GOOD,
    ),
    "nested, another registry, the inner one exempts": Case(
        options={"exempt": lambda request: True},
        outer=lambda world: (world.other, {}),
        sees="permit",
        other=GOOD,
    ),
}


def counted(registry: Registry) -> dict[str, dict[str, int]]:
    found = {breaker.key: votes(breaker.metrics()) for breaker in registry}
    return {key: counts for key, counts in found.items() if counts}


@pytest.mark.parametrize("side", [Asgi(), Wsgi()], ids=["asgi", "wsgi"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_request_is_admitted_refused_or_let_through(
    side: Asgi | Wsgi, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECLOSER_ENABLED", case.enabled)
    world, handler = World(), Handler(case.status)
    app = side.middleware(side.app(handler), world.registry, **case.options)
    if case.outer is not None:
        registry, options = case.outer(world)
        app = side.middleware(app, registry, **options)
    case.before(world)

    answers = [side.call(app, case.path) for _ in range(case.requests)]

    assert [status for status, _ in answers] == [case.answers] * case.requests
    assert handler.seen == ([] if case.sees is None else [case.sees] * case.requests)
    for permit in world.held:
        permit.cancel()
    # None is in flight: that would be counted.
    assert counted(world.registry) == case.counted
    assert counted(world.other) == case.other
    assert world.registry.faults + world.other.faults == case.faults
    for _, request in answers:
        assert (REFUSED in request) is case.marked
        assert recloser.asgi.permit_of(request).ended
    assert all(permit is None or permit.ended for permit in handler.permits)
