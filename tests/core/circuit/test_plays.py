"""Recorded plays: no decision of the circuit changes unnoticed; see `tests/support/plays`.

If you changed a decision on purpose, `python -m tests.support.plays --write` writes the expected text
anew; read its difference before you commit it.
"""

from __future__ import annotations

import pytest
from tests.support.plays.expectations import PLAYS, load

EXPECTED = load()


@pytest.mark.parametrize("name", PLAYS)
def test_each_play_goes_as_it_did(name: str) -> None:
    assert PLAYS[name]().splitlines() == EXPECTED[name].splitlines()


def test_nothing_else_is_expected() -> None:
    assert [*EXPECTED] == [*PLAYS]
