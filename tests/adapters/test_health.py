"""Readiness: which states of which keys take a process out, and which never do."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from tests.support.asgi_client import Exchange as AsgiExchange
from tests.support.scripted_handler import Answer
from tests.support.wsgi_client import Exchange as WsgiExchange

from recloser import Mode, Registry, State
from recloser.testing import ManualClock, open_breaker
from recloser_adapters.health import NEVER_ASKED, StatusEndpoint, readiness

KEY = "api.payments.example"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def _of(registry: Registry, key: str = KEY) -> Any:
    [found] = readiness(registry, keys=[key]).keys
    return found


def test_a_key_that_nobody_asked_is_ready_and_has_a_state_of_its_own(registry: Registry) -> None:
    found = _of(registry)

    assert (found.ready, found.state, found.mode) == (True, NEVER_ASKED, "")
    assert NEVER_ASKED not in {state.value for state in State}
    # Looking made no breaker.
    assert len(registry) == 0


def test_only_an_open_key_that_waits_for_its_probe_is_not_ready(
    registry: Registry, clock: ManualClock
) -> None:
    breaker = registry[KEY]
    told = {"closed": _of(registry).ready}
    breaker.open(for_=10.0)
    told["open"] = _of(registry).ready
    assert _of(registry).retry_after == 10.0
    clock.advance(10.0)
    assert breaker.state is State.OPEN
    told["due"] = _of(registry).ready
    probe = breaker.acquire()
    told["half_open"] = _of(registry).ready
    probe.cancel()
    breaker.half_open()
    told["half_open by hand"] = _of(registry).ready

    assert [name for name, ready in told.items() if not ready] == ["open"]


def test_a_limited_key_serves_and_is_ready(registry: Registry, clock: ManualClock) -> None:
    breaker = registry[KEY]
    held = [breaker.acquire() for _ in range(8)]
    clock.advance(breaker.policy.slow_ceiling + 1.0)
    assert held
    assert breaker.try_acquire() is None
    assert breaker.state is State.LIMITED

    assert _of(registry).ready


def test_what_was_opened_by_hand_without_a_time_is_not_ready(
    registry: Registry, clock: ManualClock
) -> None:
    open_breaker(registry[KEY])
    clock.advance(1e6)

    assert not _of(registry).ready


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.DISABLED])
def test_where_nothing_is_refused_a_key_is_ready(registry: Registry, mode: Mode) -> None:
    open_breaker(registry[KEY])
    registry.mode = mode

    found = _of(registry)

    assert (found.ready, found.state, found.mode) == (True, "open", mode.value)


def test_where_a_share_of_the_callers_is_refused_a_key_is_ready(registry: Registry) -> None:
    open_breaker(registry[KEY])
    registry.enforce_share = 0.9
    assert _of(registry).ready

    registry.enforce_share = 1.0
    assert not _of(registry).ready


def test_other_keys_have_no_say_and_one_of_those_named_suffices(registry: Registry) -> None:
    open_breaker(registry["elsewhere"])
    assert readiness(registry, keys=[KEY])

    told = readiness(registry, keys=(each for each in (KEY, "elsewhere", KEY)))

    assert not told
    assert [(each.key, each.ready) for each in told.keys] == [(KEY, True), ("elsewhere", False)]
    assert told.retry_after == registry["elsewhere"].retry_after


def test_an_evicted_key_that_is_in_use_is_found(clock: ManualClock) -> None:
    registry = Registry(clock=clock, max_keys=1)
    breaker = registry[KEY]
    registry["another"].acquire().success()
    registry["a third"].acquire().success()
    assert KEY not in registry

    assert _of(registry).state == breaker.state.value == "closed"


@pytest.mark.parametrize(
    ("keys", "error", "says"),
    [
        (KEY, TypeError, r"keys must be several keys, such as \['api.payments.example'\]"),
        ([], ValueError, "keys must name at least one key"),
        ([KEY, 7], TypeError, "a key must be a str, not 7"),
        (None, TypeError, "keys must be several keys"),
    ],
)
def test_what_cannot_be_checked_is_an_error_at_construction(
    registry: Registry, keys: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        readiness(registry, keys)
    with pytest.raises(error, match=says):
        StatusEndpoint(registry, keys)


def test_other_arguments_are_checked_too(registry: Registry) -> None:
    with pytest.raises(TypeError, match="registry must be a Registry, not 7"):
        StatusEndpoint(7, [KEY])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expose_details must be True or False"):
        StatusEndpoint(registry, [KEY], expose_details=1)  # type: ignore[arg-type]


def test_a_fault_of_ours_takes_no_process_out() -> None:
    def broken() -> float:
        raise OSError("no clock")

    registry = Registry(clock=ManualClock())
    open_breaker(registry[KEY])
    registry[KEY].clock = broken

    found = _of(registry)

    assert (found.ready, found.state) == (True, "unknown")
    assert registry.faults == 1


# The endpoint


def _by_asgi(endpoint: StatusEndpoint, method: str = "GET") -> Answer:
    import asyncio

    return asyncio.run(AsgiExchange(method, "/ready/x").run(endpoint))


def _by_wsgi(endpoint: StatusEndpoint, method: str = "GET") -> Answer:
    return WsgiExchange(method, "/ready/x").run(endpoint.wsgi)


@pytest.fixture(params=[_by_asgi, _by_wsgi], ids=["asgi", "wsgi"])
def ask(request: pytest.FixtureRequest) -> Callable[..., Answer]:
    by: Callable[..., Answer] = request.param
    return by


def test_a_ready_process_answers_200(registry: Registry, ask: Callable[..., Answer]) -> None:
    registry[KEY].acquire().success()

    answer = ask(StatusEndpoint(registry, keys=[KEY, "other"]))

    assert answer.error is None
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert "retry-after" not in answer.headers
    assert json.loads(answer.body) == {
        "ready": True,
        "keys": [
            {"key": KEY, "ready": True, "state": "closed", "mode": "enforce", "retry_after": 0.0},
            {"key": "other", "ready": True, "state": NEVER_ASKED, "mode": "", "retry_after": 0.0},
        ],
    }


def test_a_process_that_is_not_ready_answers_503_and_says_for_how_long(
    registry: Registry, ask: Callable[..., Answer]
) -> None:
    registry[KEY].open("the disk of db-7.internal is full", for_=7.5)
    endpoint = StatusEndpoint(registry, keys=[KEY])

    answer = ask(endpoint)

    assert (answer.status, answer.headers["retry-after"]) == (503, "8")
    assert json.loads(answer.body)["ready"] is False
    assert b"db-7.internal" not in answer.body
    detailed = ask(StatusEndpoint(registry, keys=[KEY], expose_details=True))
    assert "db-7.internal" in json.loads(detailed.body)["keys"][0]["explanation"]


def test_head_is_get_without_its_body_and_other_methods_are_not_allowed(
    registry: Registry, ask: Callable[..., Answer]
) -> None:
    open_breaker(registry[KEY])
    endpoint = StatusEndpoint(registry, keys=[KEY])

    get, head, post = ask(endpoint), ask(endpoint, "HEAD"), ask(endpoint, "POST")

    assert (head.status, head.headers, head.body) == (get.status, get.headers, b"")
    assert (post.status, post.headers["allow"]) == (405, "GET, HEAD")


def test_it_is_mounted_in_a_guarded_starlette_app_and_its_503_opens_nothing(
    registry: Registry,
) -> None:
    pytest.importorskip("starlette")
    testclient = pytest.importorskip("starlette.testclient")
    from starlette.applications import Starlette
    from starlette.routing import Mount, Route

    from recloser_adapters.starlette import BreakerMiddleware

    open_breaker(registry[KEY])
    endpoint = StatusEndpoint(registry, keys=[KEY])
    app = Starlette(routes=[Mount("/internal", endpoint), Route("/one", endpoint)])
    app.add_middleware(BreakerMiddleware, registry=registry)
    with testclient.TestClient(app) as client:
        statuses = {
            client.get(path).status_code for path in ("/internal", "/one") for _ in "123456"
        }

    assert statuses == {503}
    assert [each.key for each in registry] == [KEY]


def test_it_may_be_the_whole_asgi_app_of_a_server(registry: Registry) -> None:
    testclient = pytest.importorskip("starlette.testclient")
    from starlette.websockets import WebSocketDisconnect

    with testclient.TestClient(StatusEndpoint(registry, keys=[KEY])) as client:
        assert client.get("/").status_code == 200
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/"):
            pass


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        return


@pytest.fixture
def served(registry: Registry) -> Iterator[int]:
    endpoint = StatusEndpoint(registry, keys=[KEY])
    with make_server("127.0.0.1", 0, endpoint.wsgi, _Server, _Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_real_server_serves_it(registry: Registry, served: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{served}/", timeout=20) as answer:
        assert json.load(answer)["ready"] is True

    open_breaker(registry[KEY])
    connection = HTTPConnection("127.0.0.1", served, timeout=20)
    connection.request("GET", "/")
    with connection.getresponse() as refused:
        assert refused.status == 503
    connection.close()


def test_it_may_be_a_route_of_starlette_and_answers_without_a_slash(registry: Registry) -> None:
    pytest.importorskip("starlette")
    from starlette.applications import Starlette
    from starlette.routing import Route
    from starlette.testclient import TestClient

    app = Starlette()
    app.routes.append(Route("/ready", StatusEndpoint(registry, keys=["pay"])))
    client = TestClient(app)

    assert client.get("/ready", follow_redirects=False).status_code == 200
    registry["pay"].open()
    assert client.get("/ready", follow_redirects=False).status_code == 503
