"""Durations are read as providers write them, and nothing else is."""

from __future__ import annotations

import pytest

from recloser._duration import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("120ms", 0.12),
        ("1h2m3.5s", 3723.5),
        ("1d", 86400.0),
        ("5m", 300.0),
        ("0s", 0.0),
        ("1s500ms", 1.5),
        ("7us", 0.0),
    ],
)
def test_each_unit_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "5", "-1s", "1.s", "1e3s", "1w", "1 s", "nan", "9" * 99])
def test_what_is_no_duration_is_none(text: str) -> None:
    assert parse_duration(text) is None
