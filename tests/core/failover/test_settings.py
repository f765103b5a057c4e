"""Settings: which values a failover takes, and what it makes of the user's own rules."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from typing import Any

import pytest

from recloser import BreakerOpenError, Failover, Outcome, Policy, Provider, Registry, State
from recloser._classify_error import classify_error
from recloser._failover.settings import Settings, check_range
from recloser._outcome import nothing_sent
from recloser.testing import ManualClock


def settings(registry: Registry, **changed: Any) -> Settings:
    """The settings of a failover that is told nothing, but for some."""
    usual: dict[str, Any] = {
        "registry": registry,
        "order": "listed",
        "max_attempts": 3,
        "time_budget": 60.0,
        "patience": 2.0,
        "probe_wait": 60.0,
        "when_all_open": "refuse",
        "classify": classify_error,
        "nothing_sent": nothing_sent,
        "on_delivery": None,
        "random": random.random,
    }
    return Settings(**{**usual, **changed})


def raising(*_: object) -> Any:
    raise ZeroDivisionError


# Values


@pytest.mark.parametrize(
    ("option", "value", "kind"),
    [
        ("order", "random", ValueError),
        ("when_all_open", "panic", ValueError),
        ("max_attempts", 0, ValueError),
        ("max_attempts", 1.5, TypeError),
        ("max_attempts", True, TypeError),
        ("time_budget", 0.0, ValueError),
        ("time_budget", float("inf"), ValueError),
        ("time_budget", "60", TypeError),
        ("patience", 0.5, ValueError),
        ("probe_wait", -1.0, ValueError),
        ("classify", "x", TypeError),
        ("nothing_sent", None, TypeError),
        ("on_delivery", 3, TypeError),
        ("random", 0.5, TypeError),
    ],
)
def test_a_bad_setting_is_an_error_that_names_it(
    registry: Registry, option: str, value: Any, kind: type[Exception]
) -> None:
    with pytest.raises(kind, match=option):
        Failover(registry, [Provider("a", "")], **{option: value})


@pytest.mark.parametrize("registry_like", [None, {}, "registry"])
def test_a_registry_that_is_none_is_an_error(registry_like: Any) -> None:
    with pytest.raises(TypeError, match="registry"):
        Failover(registry_like, [Provider("a", "")])


@pytest.mark.parametrize(
    ("option", "lowest", "highest", "beyond"),
    [
        ("max_attempts", 1, 1000, 1),
        ("time_budget", 0.001, 86400.0, 0.0005),
        ("patience", 1.0, 1000.0, 0.01),
        ("probe_wait", 0.0, 86400.0, 0.01),
    ],
)
def test_a_range_includes_both_its_ends(
    registry: Registry, option: str, lowest: float, highest: float, beyond: float
) -> None:
    for value in (lowest, highest):
        assert getattr(settings(registry, **{option: value}), option) == value
    for value in (lowest - beyond, highest + beyond):
        with pytest.raises(ValueError, match=f"{option} must be finite and in "):
            settings(registry, **{option: value})


@pytest.mark.parametrize("option", ["order", "when_all_open"])
def test_a_choice_that_is_unknown_is_an_error_that_lists_the_known(
    registry: Registry, option: str
) -> None:
    known = {"order": "('listed', 'weighted')", "when_all_open": "('refuse', 'least_bad')"}

    with pytest.raises(ValueError, match=option) as caught:
        settings(registry, **{option: "other"})

    assert str(caught.value) == f"{option} must be one of {known[option]}, not 'other'"


@pytest.mark.parametrize("option", ["classify", "nothing_sent", "random", "on_delivery"])
def test_what_must_be_called_can_be(registry: Registry, option: str) -> None:
    with pytest.raises(TypeError, match=f"{option} must be a function, not 'x'"):
        settings(registry, **{option: "x"})


def test_settings_never_change(registry: Registry) -> None:
    made = settings(registry)

    with pytest.raises(dataclasses.FrozenInstanceError):
        made.patience = 3.0  # type: ignore[misc]  # that is the point


def test_the_clock_is_the_registrys(registry: Registry, clock: ManualClock) -> None:
    assert settings(registry).clock is clock


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (1.0, None),
        (2, None),
        (3.0, None),
        (0.999, ValueError),
        (3.001, ValueError),
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        (True, TypeError),
        ("2", TypeError),
        (None, TypeError),
        (2j, TypeError),
    ],
)
def test_a_number_is_finite_and_in_its_range(value: Any, error: type[Exception] | None) -> None:
    if error is None:
        check_range("number", value, 1.0, 3.0)
        return
    with pytest.raises(error, match="number must be "):
        check_range("number", value, 1.0, 3.0)


def test_a_range_without_end_takes_no_infinity() -> None:
    with pytest.raises(ValueError, match="finite"):
        check_range("number", float("inf"), 0.0, float("inf"))


# What an error says of a provider


@pytest.mark.parametrize("outcome", Outcome)
def test_the_users_rule_says_what_an_error_means(registry: Registry, outcome: Outcome) -> None:
    rules = settings(registry, classify=lambda error: outcome)

    assert rules.outcome_of("a", OSError()) is outcome
    assert registry.faults == 0


@pytest.mark.parametrize(
    "classify",
    [raising, lambda error: None, lambda error: "failure", lambda error: True],
    ids=["raises", "None", "str", "bool"],
)
@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (OSError(), Outcome.FAILURE),
        (BreakerOpenError("b", State.OPEN, None, 1.0), Outcome.IGNORED),
    ],
)
def test_a_rule_with_a_fault_is_counted_and_the_default_is_used(
    registry: Registry, classify: Any, error: Exception, outcome: Outcome
) -> None:
    rules = settings(registry, classify=classify)

    assert rules.outcome_of("a", error) is outcome
    assert registry.faults == 1


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyboardInterrupt(), SystemExit()])
def test_no_rule_is_asked_of_a_cancelled_call(registry: Registry, error: BaseException) -> None:
    rules = settings(registry, classify=lambda error: Outcome.FAILURE)

    assert rules.outcome_of("a", error) is Outcome.CANCELLED


def test_what_the_policy_ignores_is_ignored_whatever_the_rule_says(clock: ManualClock) -> None:
    ignoring = Policy(ignore_errors=(LookupError,))
    registry = Registry(policies={"a": ignoring}, clock=clock)
    rules = settings(registry, classify=lambda error: Outcome.FAILURE)

    assert rules.outcome_of("a", KeyError()) is Outcome.IGNORED
    # The policy is that of the provider's key.
    assert rules.outcome_of("b", KeyError()) is Outcome.FAILURE


# What an error proves


@pytest.mark.parametrize(
    ("said", "expected"), [(True, True), (False, False), (None, False), (1, False), ("yes", False)]
)
def test_only_true_proves_that_nothing_was_sent(
    registry: Registry, said: Any, expected: bool
) -> None:
    rules = settings(registry, nothing_sent=lambda error: said)

    assert rules.is_unsent(OSError()) is expected
    assert registry.faults == 0


def test_a_rule_that_raises_is_counted_and_proves_nothing(registry: Registry) -> None:
    rules = settings(registry, nothing_sent=raising)

    assert rules.is_unsent(ConnectionRefusedError()) is False
    assert registry.faults == 1


def test_an_interrupt_in_a_rule_reaches_the_caller(registry: Registry) -> None:
    def interrupted(error: BaseException) -> Any:
        raise KeyboardInterrupt

    rules = settings(registry, classify=interrupted, nothing_sent=interrupted)

    with pytest.raises(KeyboardInterrupt):
        rules.outcome_of("a", OSError())
    with pytest.raises(KeyboardInterrupt):
        rules.is_unsent(OSError())
    assert registry.faults == 0
