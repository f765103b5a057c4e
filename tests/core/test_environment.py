"""Environment: the variable that turns guarding off."""

from __future__ import annotations

import pytest

from recloser._environment import enabled


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
