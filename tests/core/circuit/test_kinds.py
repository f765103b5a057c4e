"""Kinds of calls: what is known of a call."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from recloser._circuit.kinds import NOTHING, kind_of


def test_sizes_within_a_factor_of_two_are_alike() -> None:
    assert kind_of(None, 512) == kind_of("", 1023.9)
    assert len({kind_of(None, 2.0**octave) for octave in range(-5, 20)}) == 25
    assert kind_of(None, 0) == kind_of(None, 0.0)


def test_a_call_without_a_label_has_an_empty_one() -> None:
    assert kind_of(None, 3)[0] == kind_of(None, None)[0] == ""


def test_label_and_size_together_are_one_kind() -> None:
    assert len({kind_of("a", 1), kind_of("b", 1), kind_of("a", 2), kind_of("a", None)}) == 4
    assert kind_of(None, None) == kind_of("", None) == NOTHING


@pytest.mark.parametrize("size", [-1, inf, nan, "many", [1], 10**400])
def test_what_is_no_size_is_refused(size: Any) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        kind_of(None, size)


def test_what_is_no_label_is_refused() -> None:
    with pytest.raises(TypeError, match="label must be a str, not 5"):
        kind_of(5, None)  # type: ignore[arg-type]
