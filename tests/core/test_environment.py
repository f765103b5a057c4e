"""Environment: the variables that limit from outside what breakers may do."""

from __future__ import annotations

import pytest

from recloser import Breaker, Mode, Registry
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


MODES = [*Mode]


@pytest.mark.parametrize("code", MODES)
@pytest.mark.parametrize("environment", MODES)
def test_the_more_lenient_of_environment_and_code_holds_for_every_breaker(
    environment: Mode, code: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECLOSER_MODE", f" {environment.value.upper()} ")
    expected = max(environment, code, key=MODES.index)

    registry, alone = Registry(mode=code), Breaker("k", mode=code)
    assert registry.mode is registry["k"].mode is alone.mode is expected

    registry.mode = registry["other"].mode = alone.mode = code.value
    assert registry.mode is registry["k"].mode is registry["other"].mode is alone.mode is expected


def test_switched_off_no_breaker_does_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECLOSER_ENABLED", "0")
    monkeypatch.setenv("RECLOSER_MODE", "enforce")

    assert Registry()["k"].mode is Breaker("k").mode is Mode.DISABLED


def test_a_mode_that_there_is_not_is_an_error_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RECLOSER_MODE", "observ")

    for make in (Registry, lambda: Breaker("k"), enabled):
        with pytest.raises(
            ValueError,
            match="RECLOSER_MODE must be one of enforce, observe, disabled, not 'observ'",
        ):
            make()
