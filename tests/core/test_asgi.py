"""With us is as without us, for legal and illegal apps, and for servers in any mood.

An app is a random list of steps; a server may fail at any of them. Both are played once bare and
once through the middleware, and the transcripts must be equal: the same message objects in the
same order, the same exceptions, the same return value. Whatever was played, every call then has
exactly one outcome and no permit is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import recloser.asgi
from recloser import Registry
from recloser.asgi import BreakerMiddleware
from recloser.testing import ManualClock

Steps = list[tuple[str, Any]]
Transcript = list[tuple[str, Any]]

TYPES = [
    "http.response.start",
    "http.response.body",
    "http.response.trailers",
    "http.response.pathsend",
    "http.response.zerocopysend",
    "http.response.push",
    "http.response.early_hint",
    "http.response.debug",
    "websocket.accept",
    "websocket.close",
    "websocket.send",
    "websocket.http.response.start",
    "websocket.http.response.body",
    "made.up",
    None,
    7,
]
messages: st.SearchStrategy[Any] = st.one_of(
    st.fixed_dictionaries(
        {"type": st.sampled_from(TYPES)},
        optional={
            "status": st.sampled_from([200, 204, 304, 404, 500, 503, 999, 0, -1, "200", None]),
            "headers": st.sampled_from([[], [(b"x", b"y")], None, 3]),
            "body": st.sampled_from([b"", b"chunk", "text", None]),
            "more_body": st.sampled_from([True, False, None, 1]),
            "trailers": st.booleans(),
            "more_trailers": st.booleans(),
            "reason": st.just("because"),
        },
    ),
    st.sampled_from([None, 5, [], "http.response.start", {}, {"status": 200}]),
)


class OwnError(Exception):
    pass


class HardExit(BaseException):
    pass


errors = st.sampled_from(
    [
        OwnError("own"),
        OSError("own"),
        asyncio.CancelledError(),
        GeneratorExit(),
        KeyboardInterrupt(),
        HardExit(),
        ExceptionGroup("several", [OwnError(), OSError()]),
        BaseExceptionGroup("several", [asyncio.CancelledError(), OwnError()]),
    ]
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), messages),
        st.tuples(st.just("try to send"), messages),
        st.tuples(st.just("receive"), st.none()),
        st.tuples(st.just("raise"), errors),
        st.tuples(st.just("return"), st.sampled_from([None, 0, "something", [1]])),
    ),
    max_size=8,
)
heard = st.lists(
    st.sampled_from(
        [
            {"type": "http.request", "body": b"", "more_body": False},
            {"type": "http.disconnect"},
            {"type": "websocket.connect"},
            {"type": "websocket.disconnect"},
            {},
            None,
        ]
    ),
    max_size=3,
)
# At which of its calls the server fails, and how.
moods = st.dictionaries(st.integers(0, 6), errors, max_size=2)


def play(
    wrap: Callable[[Any], Any], kind: str, steps: Steps, heard: list[Any], mood: dict[int, Any]
) -> tuple[Transcript, dict[str, Any]]:
    """Run an app to its end, without an event loop: nothing in it ever waits."""
    transcript: Transcript = []
    waiting = list(heard)
    calls = 0

    def fail_if_in_the_mood() -> None:
        nonlocal calls
        calls += 1
        if calls - 1 in mood:
            raise mood[calls - 1]

    async def receive() -> Any:
        transcript.append(("receive", None))
        fail_if_in_the_mood()
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Any) -> Any:
        transcript.append(("send", id(message)))
        fail_if_in_the_mood()
        return "sent"

    async def app(scope: Any, receive: Any, send: Any) -> Any:
        transcript.append(("scope", id(scope)))
        for step, what in steps:
            if step == "send":
                transcript.append(("send gave", await send(what)))
            elif step == "try to send":
                try:
                    await send(what)
                except Exception as error:
                    transcript.append(("send raised", error))
            elif step == "receive":
                transcript.append(("heard", await receive()))
            elif step == "raise":
                raise what
            else:
                return what
        return None

    scope: dict[str, Any] = {"type": kind, "method": "GET", "path": "/x", "headers": []}
    before = dict(scope)
    coroutine = wrap(app)(scope, receive, send)
    try:
        coroutine.send(None)
    except StopIteration as stop:
        transcript.append(("returned", stop.value))
    except BaseException as error:
        transcript.append(("raised", error))
    else:
        raise AssertionError("nothing waits here")
    assert scope == before
    # Every play has a scope of its own, at an address of its own.
    return [step if step[0] != "scope" else ("scope", None) for step in transcript], scope


@settings(max_examples=600)
@given(kind=st.sampled_from(["http", "websocket"]), steps=steps, heard=heard, mood=moods)
@example(kind="http", steps=[("return", "something")], heard=[], mood={})
@example(
    kind="http",
    steps=[
        ("send", {"type": "http.response.start", "status": 200, "headers": []}),
        ("send", {"type": "http.response.body", "body": b"", "more_body": True}),
        ("raise", OwnError()),
    ],
    heard=[],
    mood={},
)
def test_an_asgi_app_cannot_tell_and_neither_can_its_server(
    kind: str, steps: Steps, heard: list[Any], mood: dict[int, Any]
) -> None:
    clock = ManualClock(start=1.0)
    registry = Registry(clock=clock)

    bare, _ = play(lambda app: app, kind, steps, heard, mood)
    ours, _ = play(lambda app: BreakerMiddleware(app, registry), kind, steps, heard, mood)

    assert ours == bare
    metrics = registry["app"].metrics()
    verdicts = metrics.successes + metrics.failures + metrics.ignored + metrics.cancelled
    assert (metrics.calls, verdicts, metrics.in_flight) == (1, 1, 0)


def test_the_scope_is_the_servers_own_object() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/x", "headers": []}
    asyncio.run(BreakerMiddleware(app)(scope, app, app))  # type: ignore[arg-type]  # never called

    assert seen[0] is scope


def test_messages_after_the_end_still_pass() -> None:
    start = {"type": "http.response.start", "status": 200, "headers": []}
    end = {"type": "http.response.body"}
    late = {"type": "http.response.debug", "info": {}}

    transcript, _ = play(
        lambda app: BreakerMiddleware(app),
        "http",
        [("send", start), ("send", end), ("send", late), ("send", start)],
        [],
        {},
    )

    sent = [what for step, what in transcript if step == "send"]
    assert sent == [id(start), id(end), id(late), id(start)]


def test_each_refusal_has_headers_of_its_own(registry: Registry) -> None:
    """Middleware further out, CORS for one, adds to the very list that it is given."""
    registry["app"].open(for_=0.5)
    guarded = recloser.asgi.BreakerMiddleware(lambda *args: pytest.fail("called"), registry)
    seen: list[Any] = []

    async def send(message: Any) -> None:
        seen.append([*message.get("headers", [])])
        message.setdefault("headers", []).append((b"vary", b"origin"))
        message["status"] = 200

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    for _ in range(2):
        scope = {"type": "http", "method": "GET", "path": "/x", "headers": []}
        asyncio.run(guarded(scope, receive, send))

    assert seen[:2] == seen[2:]
    assert (b"vary", b"origin") not in seen[2]


@pytest.mark.parametrize(("origin", "broken"), [(True, False), (True, True), (False, False)])
def test_a_subclass_may_pass_a_refusal_on_and_if_it_fails_that_is_a_fault_of_ours(
    registry: Registry, origin: bool, broken: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Passing(BreakerMiddleware):
        passes_refusals = True

        def refusal_through(self, scope: Any, answer: Any) -> Any:
            async def through(scope: Any, receive: Any, send: Any) -> None:
                async def noted(message: Any) -> None:
                    await send({**message, "passed": True})

                await answer(scope, receive, noted)

            if broken:
                raise RuntimeError("no way through")
            return through

    registry["app"].open()
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    guarded = Passing(lambda *args: pytest.fail("called"), registry)
    headers = [(b"accept", b"*/*"), *[(b"origin", b"https://a.example")] * origin]
    scope = {"type": "http", "method": "GET", "path": "/x", "headers": headers}
    asyncio.run(guarded(scope, receive, send))

    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 503
    assert [message.get("passed", False) for message in sent] == [origin and not broken] * 2
    assert registry.faults == int(broken)
    if broken:
        assert "refusal_through" in caplog.text
