"""Gate: whether a request is guarded at all, and what its handler finds in it."""

from __future__ import annotations

import pytest

from recloser._http.gate import enabled, permit_of


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0", False), ("false", False), (" No ", False), ("OFF", False), ("1", True), ("", True)],
)
def test_the_environment_switches_it_off(
    value: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECLOSER_ENABLED", value)

    assert enabled() is expected


@pytest.mark.parametrize("value", ["disabled", "n", "2"])
def test_an_environment_that_says_neither_is_an_error(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECLOSER_ENABLED", value)

    with pytest.raises(ValueError, match=f"RECLOSER_ENABLED must be one of .*, not '{value}'"):
        enabled()


def test_where_no_breaker_guards_there_is_a_permit_without_effect() -> None:
    permit = permit_of({})

    permit.mark()
    permit.failure("stale data served")

    assert permit.ended
    assert not permit.is_probe
    assert permit.breaker.metrics().calls == 0
