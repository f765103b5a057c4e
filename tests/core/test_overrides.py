"""The arguments of what operators do by hand."""

from __future__ import annotations

from math import inf, nan
from typing import Any, cast

import pytest

from recloser import Override
from recloser._overrides import check_texts, checked_share, end_of


def test_what_an_override_does_not_say_it_does_not_change() -> None:
    override = Override(since=5.0)

    assert (override.state, override.mode, override.enforce_share) == (None, None, None)
    assert (override.until, override.reason, override.by) == (inf, "", "")


def test_a_time_lasts_from_now_on_and_none_for_ever() -> None:
    assert end_of(100.0, 5) == 105.0
    assert end_of(100.0, 0.0) == 100.0
    assert end_of(100.0, None) == end_of(100.0, inf) == inf
    assert end_of(100.0, 10**400) == inf


@pytest.mark.parametrize("value", ["10m", True, [1]])
def test_a_time_that_is_no_number_is_an_error(value: object) -> None:
    with pytest.raises(TypeError, match="for_ must be a number of seconds >= 0, or None"):
        end_of(0.0, cast("Any", value))


@pytest.mark.parametrize("value", [-1.0, nan, -inf])
def test_a_time_before_now_is_an_error(value: float) -> None:
    with pytest.raises(ValueError, match="for_ must be a number of seconds >= 0, or None"):
        end_of(0.0, value)


@pytest.mark.parametrize("value", [0, 0.25, 1])
def test_a_share_is_a_number_from_0_to_1(value: float) -> None:
    assert checked_share(value) == value
    assert isinstance(checked_share(value), float)


@pytest.mark.parametrize("value", ["0.1", None, True])
def test_a_share_of_another_type_is_an_error(value: object) -> None:
    with pytest.raises(TypeError, match="enforce_share must be a number from 0 to 1"):
        checked_share(cast("Any", value))


@pytest.mark.parametrize("value", [-0.1, 1.1, nan, inf])
def test_a_share_out_of_range_is_an_error(value: float) -> None:
    with pytest.raises(ValueError, match="enforce_share must be a number from 0 to 1"):
        checked_share(value)


def test_texts_are_texts() -> None:
    check_texts("why", "who")
    with pytest.raises(TypeError, match="reason must be a str, not 600: write for_="):
        check_texts(600, "who")
    with pytest.raises(TypeError, match="by must be a str, not None"):
        check_texts("why", None)
