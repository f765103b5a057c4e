"""Keys whose breakers refuse nothing."""

from __future__ import annotations

import pytest

from recloser import Mode
from recloser._special_keys import OVERFLOW_KEY, UNMATCHED, mode_of


@pytest.mark.parametrize("mode", Mode)
def test_they_are_never_stricter_than_they_may_be(mode: Mode) -> None:
    assert mode_of(UNMATCHED, mode) is Mode.DISABLED
    assert mode_of(OVERFLOW_KEY, mode) is (Mode.OBSERVE if mode is Mode.ENFORCE else mode)
    assert mode_of("GET /", mode.value) is mode


def test_the_environment_limits_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECLOSER_MODE", "observe")

    assert mode_of("GET /", "enforce") is mode_of(OVERFLOW_KEY, "enforce") is Mode.OBSERVE
    with pytest.raises(ValueError, match="mode must be one of"):
        mode_of("GET /", "observed")
