"""What libraries see of an app's arguments and of its answer is the same with a breaker and without.

Each object that a middleware replaces is asked what others ask of it: `inspect` and `asyncio`
whether it is async, `weakref`, `copy` and `pickle` whether they can deal with it, and the abstract
classes what it can do. A generator alone is no generator any more: it must be watched.
"""

from __future__ import annotations

import asyncio
import collections.abc
import copy
import gc
import inspect
import pickle
import warnings
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

import recloser.asgi
import recloser.wsgi
from recloser import Registry
from recloser.asgi import permit_of

ABILITIES: tuple[type, ...] = (
    collections.abc.Iterable,
    collections.abc.Iterator,
    collections.abc.Sized,
    collections.abc.Container,
    collections.abc.Awaitable,
    collections.abc.AsyncIterator,
    collections.abc.Hashable,
)


def works(ask: Callable[[Any], object], thing: Any) -> bool:
    try:
        ask(thing)
    except (TypeError, AttributeError, pickle.PicklingError):
        return False
    return True


def seen(thing: Any) -> dict[str, object]:
    """What libraries see of an object."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # asyncio's, on Python 3.14
        is_async = inspect.iscoroutinefunction(thing)
    return {
        "inspect: async": inspect.iscoroutinefunction(thing),
        "asyncio: async": is_async,
        "async in a partial": inspect.iscoroutinefunction(partial(thing))
        if callable(thing)
        else None,
        "callable": callable(thing),
        "inspect: awaitable": inspect.isawaitable(thing),
        "weakref": works(weakref.ref, thing),
        "copy": works(copy.copy, thing),
        "deepcopy": works(copy.deepcopy, thing),
        "pickle": works(pickle.dumps, thing),
        "abilities": [kind.__name__ for kind in ABILITIES if isinstance(thing, kind)],
    }


# ASGI


async def receive() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message: Any) -> None:
    await asyncio.sleep(0)


def shown(scope: Any, wrap: Callable[[Any], Any]) -> dict[str, dict[str, object]]:
    """What an ASGI app sees of its arguments."""
    found: dict[str, dict[str, object]] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.update(scope=seen(scope), receive=seen(receive), send=seen(send))

    asyncio.run(wrap(app)(scope, receive, send))
    return found


@pytest.mark.parametrize("cut_off", [False, True])
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_an_asgi_app_shows_others_the_arguments_of_its_server(
    registry: Registry, kind: str, cut_off: bool
) -> None:
    def guard(app: Any) -> Any:
        return recloser.asgi.BreakerMiddleware(app, registry, cut_off=cut_off)

    scope = {"type": kind, "method": "GET", "path": "/x", "headers": [], "state": {}}

    bare = shown(dict(scope), lambda app: app)
    guarded = shown(dict(scope), guard)

    if cut_off:  # its `send` is made for each request
        for found in (bare, guarded):
            del found["send"]["pickle"]
    assert guarded == bare


def test_an_asgi_app_itself_is_seen_as_another_middleware_is(registry: Registry) -> None:
    class Other:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app(scope, receive, send)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({})

    # To pickle an app is not sensible: it has connections, locks and functions.
    other, ours = seen(Other(app)), seen(recloser.asgi.BreakerMiddleware(app, registry))
    del other["pickle"], ours["pickle"]
    assert ours == other


def test_a_copied_request_has_the_same_permit_and_a_pickled_one_has_none(
    registry: Registry,
) -> None:
    judged: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        elsewhere = pickle.loads(pickle.dumps(scope))
        permit_of(elsewhere).failure("not here")
        judged.append(permit_of(scope).ended)
        for copied in (copy.copy(scope), copy.deepcopy(scope)):
            assert permit_of(copied) is permit_of(scope)
        gc.collect()
        permit_of(copy.deepcopy(scope)).failure("stale")

    scope = {"type": "http", "method": "GET", "path": "/x", "headers": []}
    asyncio.run(recloser.asgi.BreakerMiddleware(app, registry)(scope, receive, send))

    assert judged == [False]
    assert registry["app"].metrics().failures == 1


@pytest.mark.parametrize("spec", [None, "2.3", "2.4"])
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_a_message_that_is_never_sent_leaves_no_warning_of_ours(
    registry: Registry, kind: str, spec: str | None
) -> None:
    """A task that is cancelled before its first step throws into a coroutine that has not begun."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        message = {"type": "http.response.start", "status": 200, "headers": []}
        if kind == "websocket":
            message = {"type": "websocket.accept"}
        sending = asyncio.ensure_future(send(message))
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)

    scope: dict[str, Any] = {"type": kind, "method": "GET", "path": "/x", "headers": []}
    if spec is not None:
        scope["asgi"] = {"spec_version": spec}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(recloser.asgi.BreakerMiddleware(app, registry)(scope, receive, send))
        gc.collect()


# WSGI


class Iterable_:  # noqa: N801 - it is only that
    def __iter__(self) -> Iterator[bytes]:
        return iter([b"one"])


class SizedIterable(Iterable_):
    color = "red"

    def __len__(self) -> int:
        return 1


class OwnIterator:
    def __iter__(self) -> OwnIterator:
        return self

    def __next__(self) -> bytes:
        raise StopIteration


class SizedIterator(OwnIterator):
    def __len__(self) -> int:
        return 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: [b"one"],
        lambda: (b"one",),
        lambda: (piece for piece in [b"one"]),
        lambda: map(bytes, [b"one"]),
        Iterable_,
        SizedIterable,
        OwnIterator,
        SizedIterator,
    ],
    ids=["list", "tuple", "generator", "map", "iterable", "sized", "iterator", "sized iterator"],
)
def test_a_wsgi_server_sees_the_body_of_the_app(registry: Registry, make: Any) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return make()

    guarded: Any = recloser.wsgi.BreakerMiddleware(app, registry)
    body = guarded({"REQUEST_METHOD": "GET"}, lambda status, headers: None)

    bare, guarded_too = seen(make()), seen(body)
    if not bare["weakref"]:  # iterators of the standard library; that ours can be does no harm
        del guarded_too["weakref"], bare["weakref"]
    assert guarded_too == bare


def test_the_body_of_the_app_keeps_its_attributes_and_its_copies_are_its_own(
    registry: Registry,
) -> None:
    body = SizedIterable()

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return body

    guarded: Any = recloser.wsgi.BreakerMiddleware(app, registry)
    watched = guarded({}, lambda status, headers: None)

    assert watched.color == "red"
    assert not hasattr(watched, "colour")
    for copied in (copy.copy(watched), copy.deepcopy(watched), pickle.loads(pickle.dumps(watched))):
        assert type(copied) is SizedIterable
        del copied
    assert registry["app"].metrics().in_flight == 1


def start_response_of_server(status: str, headers: Any, exc_info: Any = None) -> Any:
    return write_of_server


def write_of_server(data: bytes) -> None:
    pass


def test_a_wsgi_app_sees_the_functions_of_its_server(registry: Registry) -> None:
    found: list[dict[str, Any]] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        about = seen(start_response)
        del about["pickle"]  # functions that servers make for each request cannot be pickled either
        found.append({"start": about, "write": write, "environ": seen(environ)})
        return []

    for each in (app, recloser.wsgi.BreakerMiddleware(app, registry)):
        each({"REQUEST_METHOD": "GET"}, start_response_of_server)

    assert found[0] == found[1]
