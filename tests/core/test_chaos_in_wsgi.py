"""Faults that are injected on purpose into the requests of a WSGI app."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from recloser import Registry, wsgi
from recloser.testing import ChaosError, ManualClock, chaos


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECLOSER_CHAOS", "1")


def request(app: Any) -> Any:
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/x"}
    return app(environ, lambda *args: lambda data: None)


def test_a_wsgi_request_gets_the_fault_in_place_of_the_handler(
    registry: Registry, clock: ManualClock
) -> None:
    served: list[str] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        served.append(environ["PATH_INFO"])
        start_response("200 OK", [])
        return [b"ok"]

    guarded = wsgi.BreakerMiddleware(app, registry)

    with chaos(registry, "app", fail=1.0), pytest.raises(ChaosError):
        request(guarded)
    assert served == []

    with chaos(registry, "app", slow=1.0, slow_by=2.0, sleep=clock.advance):
        assert list(request(guarded)) == [b"ok"]

    metrics = registry["app"].metrics()
    assert (metrics.failures, metrics.successes, metrics.in_flight) == (1, 1, 0)
    assert metrics.mean == 1.0


@pytest.mark.parametrize("breaks", [False, True])
def test_a_slow_call_is_judged_by_the_end_of_its_body(
    registry: Registry, clock: ManualClock, breaks: bool
) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])  # only when the first piece is asked for
        yield b"ok"
        if breaks:
            raise ValueError("broken off")

    guarded = wsgi.BreakerMiddleware(app, registry)
    with chaos(registry, "app", slow=1.0, slow_by=2.0, sleep=clock.advance):
        pieces = iter(request(guarded))
        assert next(pieces) == b"ok"
        assert registry["app"].metrics().in_flight == 1
        with pytest.raises(ValueError if breaks else StopIteration):
            next(pieces)

    metrics = registry["app"].metrics()
    assert (metrics.failures, metrics.successes) == (int(breaks), int(not breaks))
    assert (metrics.in_flight, metrics.mean) == (0, 2.0)
