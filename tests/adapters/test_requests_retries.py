"""Retries of urllib3 in a guarded adapter of requests: their sleep is not the time of the host."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from tests.support.scripted_upstream import Upstream, answer

from recloser import Registry
from recloser.testing import ManualClock
from recloser_adapters.requests import BreakerAdapter, wrap_session

# As requests itself gets at it: urllib3 is its dependency, not ours.
Retry: Any = type(HTTPAdapter(max_retries=1).max_retries)


def test_the_sleep_between_retries_is_not_the_time_of_the_host(
    upstream: Upstream, registry: Registry, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    during: list[Any] = []

    def sleep(seconds: float) -> None:
        clock.advance(seconds)
        # Another call meanwhile would find one that is overdue.
        registry[upstream.host].acquire().ignore()
        during.append(registry[upstream.host].metrics().slow)

    monkeypatch.setattr("time.sleep", sleep)
    asked = answer(503, b"", {"retry-after": "100"})
    upstream.answers("/", lambda wire: clock.advance(0.2), asked)
    retries = Retry(total=2, status_forcelist=[503], raise_on_status=False)
    session = requests.Session()
    session.mount("http://", HTTPAdapter(max_retries=retries))
    wrap_session(session, registry)

    assert session.get(upstream.url).status_code == 503

    metrics = registry[upstream.host].metrics()
    assert during == [0, 0]
    assert metrics.mean == pytest.approx(0.6)
    assert metrics.in_flight == 0


def test_retries_that_tell_of_their_sleep_are_the_users_own_in_every_other_respect() -> None:
    class Patient(Retry):  # type: ignore[misc]  # read at run time
        pass

    mine = Patient(total=3, backoff_factor=0.5, status_forcelist=[502])
    adapter = BreakerAdapter(HTTPAdapter(max_retries=mine))
    theirs = adapter.max_retries

    assert isinstance(theirs, Patient)
    assert vars(theirs) == vars(mine)
    assert repr(theirs) == repr(mine)
    assert type(copy.copy(theirs)) is Patient
    assert isinstance(theirs.increment("GET", "/", error=None, response=None), Patient)
    assert type(pickle.loads(pickle.dumps(BreakerAdapter(HTTPAdapter(3)).max_retries))) is Retry
    assert BreakerAdapter(adapter.wrapped).max_retries is theirs
