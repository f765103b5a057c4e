"""State and Mode: names that users write, log and store."""

from __future__ import annotations

import pytest

from recloser import Mode, State


def test_their_values_are_identifiers_and_stay_what_they_are() -> None:
    """They are in logs, in refusals and in the configuration of applications."""
    assert [each.value for each in State] == ["closed", "limited", "open", "half_open"]
    assert [each.value for each in Mode] == ["enforce", "observe", "disabled"]


@pytest.mark.parametrize("kind", [State, Mode])
def test_a_value_names_its_member(kind: type[State | Mode]) -> None:
    assert [kind(each.value) for each in kind] == list(kind)


@pytest.mark.parametrize("value", ["enfroce", "ENFORCE", "", None, 1, True])
def test_an_unknown_mode_is_an_error_that_lists_the_known(value: object) -> None:
    with pytest.raises(ValueError, match="one of enforce, observe, disabled, not") as caught:
        Mode(value)

    assert repr(value) in str(caught.value)
