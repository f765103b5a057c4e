"""The cost of a guarded request to a bare ASGI or WSGI app, in process, admitted and refused."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, Iterable
from math import inf
from typing import Any

from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response

import recloser.asgi
import recloser.wsgi
from recloser import Mode, Registry, State
from recloser._http.asgi_watch import RequestWatch
from recloser.asgi import PERMIT

from .floors import (
    FLOOR,
    FLOOR_REFUSED,
    App,
    AsgiFloor,
    Message,
    Receive,
    Send,
    WsgiApp,
    WsgiFloor,
)
from .report import Goal, Reach, Section, timed
from .rounds import Candidate, Effort, Timings, awaited, measure, plain, unshared

SCOPE: Message = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": "/items/42",
    "raw_path": b"/items/42",
    "query_string": b"",
    "root_path": "",
    "headers": [(b"host", b"127.0.0.1"), (b"accept", b"*/*")],
    "client": ("127.0.0.1", 50000),
    "server": ("127.0.0.1", 8000),
}
ENVIRON: dict[str, Any] = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/items/42",
    "QUERY_STRING": "",
    "SERVER_NAME": "127.0.0.1",
    "SERVER_PORT": "8000",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "wsgi.url_scheme": "http",
    "wsgi.version": (1, 0),
    "wsgi.input": io.BytesIO(),
    "wsgi.multithread": True,
    "wsgi.multiprocess": False,
    "wsgi.run_once": False,
}
START: Message = {"type": "http.response.start", "status": 200, "headers": []}
BODY: Message = {"type": "http.response.body", "body": b"ok"}
DRIVER = "the driver alone"
BARE = "bare app"
NOOP = "no-op class"
BREAKER = "recloser"
REFUSED = "recloser, refused"
REFUSED_AT_ONCE = "recloser, refused in one function"
BASE_HTTP = "no-op BaseHTTPMiddleware"
# The project's goals: what the ASGI breaker adds, as a multiple of what a no-op class adds, and a
# refusal, as a multiple of a bare response.
MOST_OF_ASGI = 9.5
MOST_OF_REFUSAL = 2.5
_OPEN, _ENFORCE = State.OPEN, Mode.ENFORCE


async def receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message: Message) -> None:
    pass


async def two_messages(scope: Message, receive: Receive, send: Send) -> None:
    await send(START)
    await send(BODY)


class NoopAsgi:
    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


def _key(scope: Message) -> str:
    return "route"


class RefusesInOneFunction(recloser.asgi.BreakerMiddleware):
    """A refusal with all that recloser does for it, but in one function. Other requests go their usual way.

    It shows what is left of a refusal if all that can be saved is what its calls of functions cost.
    """

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        gate = self._gate
        method = scope["method"]
        is_http = recloser.asgi._WATCHES[scope["type"]] is RequestWatch
        is_guarded = method in gate._guarded and scope["path"] in gate._guarded[method]
        key_of = gate._key
        key = key_of(scope) or ""
        is_keyed = key != recloser.asgi.UNMATCHED and key in gate._breakers
        answers_itself = self._on_refuse is None and not self.passes_refusals and gate._enforces
        if not (is_http and is_guarded and is_keyed and answers_itself) or PERMIT in scope:
            return await super().__call__(scope, receive, send)
        breaker = gate._breakers[key]
        clock = breaker.clock
        now = clock()
        circuit = breaker._circuit
        is_open = circuit.state is _OPEN and now < circuit.probe_at and breaker._mode is _ENFORCE
        if now < breaker._calls.quick_until or not is_open or not hasattr(breaker, "_refused"):
            return await super().__call__(scope, receive, send)
        circuit.counts.refused += 1
        refused = breaker._refused
        refused.at, refused.probe_at = now, circuit.probe_at
        scope[recloser.asgi.REFUSED] = True
        until, probe_at, answers = self._refusals._kept[refused]
        if now >= until or circuit.probe_at != probe_at:
            answers = self._refusals._prepare(refused)
        refusal = next(answers)
        headers = [*refusal.raw_headers]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        body = b"" if method == "HEAD" else refusal.body
        return await send({"type": "http.response.body", "body": body})


class NoopBaseHttp(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


def requests_to(app: App) -> Callable[[], Awaitable[None]]:
    # A new scope for each request, as a server makes it, because a breaker writes into the scope.
    async def request() -> None:
        await app(dict(SCOPE), receive, send)

    return unshared(request)


async def _driver() -> None:
    dict(SCOPE)


def opened(registry: Registry, key: str) -> Registry:
    registry[key].open(for_=3600.0)
    return registry


def asgi_requests(effort: Effort, tick: Callable[[], None]) -> Section:
    """Time a request to a bare two-message ASGI app, without and with middleware."""

    def guarded(registry: Registry) -> App:
        return recloser.asgi.BreakerMiddleware(unshared(two_messages), registry, key=_key)

    def floor(open_for: float = -inf) -> App:
        return AsgiFloor(unshared(two_messages), _key, open_for)

    in_one_function = RefusesInOneFunction(
        unshared(two_messages), opened(Registry(), "route"), key=_key
    )
    with asyncio.Runner() as runner:
        candidates = [
            Candidate(DRIVER, awaited(runner, _driver)),
            Candidate(BARE, awaited(runner, requests_to(unshared(two_messages)))),
            Candidate(NOOP, awaited(runner, requests_to(NoopAsgi(unshared(two_messages))))),
            Candidate(BREAKER, awaited(runner, requests_to(guarded(Registry())))),
            Candidate(FLOOR, awaited(runner, requests_to(floor()))),
            Candidate(REFUSED, awaited(runner, requests_to(guarded(opened(Registry(), "route"))))),
            Candidate(FLOOR_REFUSED, awaited(runner, requests_to(floor(3600.0)))),
            Candidate(REFUSED_AT_ONCE, awaited(runner, requests_to(in_one_function))),
            Candidate(
                BASE_HTTP, awaited(runner, requests_to(NoopBaseHttp(unshared(two_messages))))
            ),
        ]
        timings = measure(candidates, effort, tick)
    most = MOST_OF_ASGI * timings.added(NOOP, BARE)
    section = timed(
        "An ASGI request, bare app",
        timings,
        over=BARE,
        reach={BREAKER: Reach(FLOOR, most), REFUSED: _reach_of_refusal(timings)},
    )
    section.notes.append(
        "A refusal takes "
        f"{_refusal(timings):.2f} bare responses, and {timings.median(REFUSED_AT_ONCE) / timings.median(BARE):.2f}"
        " where all of it is written into one function."
    )
    ours = timings.added(BREAKER, BARE)
    section.goals += [
        Goal(
            "the ASGI breaker, to a no-op class's added cost",
            ours / timings.added(NOOP, BARE),
            MOST_OF_ASGI,
        ),
        Goal(
            "the ASGI breaker, to a no-op BaseHTTPMiddleware's added cost",
            ours / timings.added(BASE_HTTP, BARE),
            1 / 40,
        ),
        Goal("an ASGI refusal, to a bare response", _refusal(timings), MOST_OF_REFUSAL),
    ]
    return section


def _refusal(timings: Timings) -> float:
    return timings.median(REFUSED) / timings.median(BARE)


def _reach_of_refusal(timings: Timings) -> Reach:
    # A refusal stands in for the bare response.
    return Reach(FLOOR_REFUSED, (MOST_OF_REFUSAL - 1.0) * timings.median(BARE))


def _wsgi_app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"ok"]


def _wsgi_stream(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [])
    yield b"ok"


class _NoopWsgi:
    def __init__(self, app: WsgiApp) -> None:
        self.app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return self.app(environ, start_response)


def _start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
    pass


def wsgi_requests_to(app: Any) -> Callable[[], None]:
    # As a server does: iterate over the body, then close it if it has a `close`.
    def request() -> None:
        body = app(dict(ENVIRON), _start_response)
        for _ in body:
            pass
        close = getattr(body, "close", None)
        if close is not None:
            close()

    return unshared(request)


def wsgi_requests(effort: Effort, tick: Callable[[], None]) -> Section:
    """Time a request to a bare WSGI app, with a list and with a generator as the body."""

    def guarded(app: WsgiApp, registry: Registry) -> Any:
        return recloser.wsgi.BreakerMiddleware(unshared(app), registry, key=lambda environ: "route")

    def floor(open_for: float = -inf) -> WsgiFloor:
        return WsgiFloor(unshared(_wsgi_app), lambda environ: "route", open_for)

    refusing = guarded(_wsgi_app, opened(Registry(), "route"))
    candidates = [
        Candidate(DRIVER, plain(lambda: dict(ENVIRON))),
        Candidate(BARE, plain(wsgi_requests_to(unshared(_wsgi_app)))),
        Candidate(NOOP, plain(wsgi_requests_to(_NoopWsgi(unshared(_wsgi_app))))),
        Candidate(BREAKER, plain(wsgi_requests_to(guarded(_wsgi_app, Registry())))),
        Candidate(FLOOR, plain(wsgi_requests_to(floor()))),
        Candidate(REFUSED, plain(wsgi_requests_to(refusing))),
        Candidate(FLOOR_REFUSED, plain(wsgi_requests_to(floor(3600.0)))),
        Candidate("bare streaming app", plain(wsgi_requests_to(unshared(_wsgi_stream)))),
        Candidate(
            "recloser, streaming", plain(wsgi_requests_to(guarded(_wsgi_stream, Registry())))
        ),
    ]
    timings = measure(candidates, effort, tick)
    section = timed(
        "A WSGI request, bare app",
        timings,
        over=BARE,
        reach={REFUSED: _reach_of_refusal(timings)},
    )
    streaming = timings.added("recloser, streaming", "bare streaming app")
    section.notes.append(f"To the bare streaming app the breaker adds {streaming:,.0f} ns.")
    section.goals.append(
        Goal("a WSGI refusal, to a bare response", _refusal(timings), MOST_OF_REFUSAL)
    )
    return section
