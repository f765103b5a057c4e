"""Admission: a permit, a refusal, or a call that is not guarded."""

from __future__ import annotations

import pytest

from recloser import Registry
from recloser.testing import ManualClock


def test_an_admission_that_fails_is_an_admission(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(clock=clock)
    breaker = registry["k"]
    breaker.open(for_=1.0)
    clock.advance(1.0)

    def bug(*_: object) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(type(breaker._circuit), "admit", bug)

    for _ in range(10):
        breaker.acquire().success()
    assert registry.faults == 10
