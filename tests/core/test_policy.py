"""Policy: a mistake is refused at construction, by name."""

from __future__ import annotations

import inspect
import pickle
from dataclasses import FrozenInstanceError, fields, replace
from decimal import Decimal
from math import inf, nan
from typing import Any

import pytest

from recloser import Policy

NUMBERS = [field for field in fields(Policy) if field.type in ("int", "float")]
COUNTS = [field.name for field in NUMBERS if field.type == "int"]
TIMES_AND_RATES = [field.name for field in NUMBERS if field.type == "float"]
ALL = COUNTS + TIMES_AND_RATES


def refused(error: type[Exception], name: str, value: object) -> str:
    settings: dict[str, Any] = {name: value}
    with pytest.raises(error) as caught:
        Policy(**settings)
    return str(caught.value)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("value", [-1, 10**18])
def test_a_value_out_of_range_is_refused_by_field_range_and_value(name: str, value: int) -> None:
    message = refused(ValueError, name, value)

    assert message.startswith(f"{name} must be ")
    assert " from " in message
    assert " to " in message
    assert repr(value) in message


@pytest.mark.parametrize("name", TIMES_AND_RATES)
@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_what_is_not_finite_is_refused(name: str, value: float) -> None:
    message = refused(ValueError, name, value)

    assert message.startswith(f"{name} must be ")
    assert repr(value) in message


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [2.0, nan, inf])
def test_a_count_is_a_whole_number(name: str, value: float) -> None:
    message = refused(TypeError, name, value)

    assert message.startswith(f"{name} must be a whole number")
    assert repr(value) in message


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("value", ["5", None, True, Decimal(5), [5], 5j])
def test_a_value_of_another_type_is_refused(name: str, value: object) -> None:
    message = refused(TypeError, name, value)

    assert message.startswith(f"{name} must be ")
    assert repr(value) in message


@pytest.mark.parametrize("name", ["open_fro", "failure_treshold_z_score", "min_calls"])
def test_a_misspelt_field_is_refused_by_name(name: str) -> None:
    assert name in refused(TypeError, name, 1)


def test_settings_are_given_by_name() -> None:
    positional: tuple[Any, ...] = (2.5,)

    with pytest.raises(TypeError):
        Policy(*positional)


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [
        ({"slow_floor": 10.0}, {"slow_ceiling": 5.0}),
        ({"open_for": 10.0}, {"max_open_for": 5.0}),
        ({"min_history": 100}, {"history_size": 50}),
    ],
)
def test_contradictory_fields_are_refused_with_both_values(
    smaller: dict[str, Any], larger: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="must be at most") as caught:
        Policy(**smaller, **larger)

    for name, value in (smaller | larger).items():
        assert name in str(caught.value)
        assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    "errors", [ValueError, [ValueError], ("ValueError",), (ValueError(),), (int,), None]
)
def test_only_classes_of_exceptions_can_be_ignored(errors: Any) -> None:
    message = refused(TypeError, "ignore_errors", errors)

    assert message.startswith("ignore_errors must be ")
    assert repr(errors) in message


def test_a_policy_cannot_be_changed() -> None:
    policy = Policy()

    with pytest.raises(FrozenInstanceError):
        policy.open_for = 5.0  # type: ignore[misc]  # that is the point


def test_a_changed_copy_is_checked_too() -> None:
    assert replace(Policy(), open_for=2.0) == Policy(open_for=2.0)
    with pytest.raises(ValueError, match="open_for"):
        replace(Policy(), open_for=-1.0)


def test_a_policy_can_be_hashed_and_pickled() -> None:
    policy = Policy(open_for=2.0, ignore_errors=(KeyError,))

    assert {policy: 1}[Policy(open_for=2.0, ignore_errors=(KeyError,))] == 1
    assert pickle.loads(pickle.dumps(policy)) == policy


async def asks_first(error: BaseException) -> None: ...


@pytest.mark.parametrize("function", [KeyError, "a name", 3, asks_first])
def test_what_cannot_classify_an_error_is_refused(function: object) -> None:
    message = refused(TypeError, "classify_error", function)

    assert message.startswith("classify_error must be a plain function from an exception to an ")
    assert repr(function) in message


def test_every_field_is_checked_and_documented() -> None:
    assert set(ALL) | {"mode", "enforce_share", "ignore_errors", "classify_error"} == {
        field.name for field in fields(Policy)
    }
    documented = inspect.getdoc(Policy) or ""
    for field in fields(Policy):
        assert f"\n    {field.name}: " in documented


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("slow_celing", "slow_ceiling"),
        ("min_failure", "min_failures"),
        ("Open_For", "open_for"),
        ("max_retryafter", "max_retry_after"),
        ("ignored_errors", "ignore_errors"),
    ],
)
def test_a_typo_in_a_setting_is_told_with_what_may_be_meant(name: str, meant: str) -> None:
    settings: dict[str, Any] = {name: 3}
    with pytest.raises(TypeError) as caught:
        Policy(**settings)

    assert str(caught.value) == f"Policy has no setting {name!r}: did you mean {meant!r}?"


def test_a_setting_that_is_like_none_is_told_where_all_of_them_are() -> None:
    settings: dict[str, Any] = {"colour": "red"}
    with pytest.raises(TypeError, match=r"'colour': help\(Policy\) lists all settings"):
        Policy(**settings)


def test_it_shows_what_differs_from_the_defaults() -> None:
    assert repr(Policy()) == "Policy()"
    assert repr(Policy(slow_ceiling=5.0, ignore_errors=(KeyError,))) == (
        "Policy(slow_ceiling=5.0, ignore_errors=(<class 'KeyError'>,))"
    )


def test_its_signature_shows_all_settings() -> None:
    assert "slow_ceiling" in inspect.signature(Policy).parameters
