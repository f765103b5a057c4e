"""Retry-After is obeyed where it is meant, and harmless where it is not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recloser._retry_after import parse_retry_after

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("0", 0.0), ("2", 2.0), ("120", 120.0), ("1.5", 1.5), (" 7\t", 7.0), ("0007", 7.0)],
)
def test_seconds_are_read_with_fractions(value: str, seconds: float) -> None:
    assert parse_retry_after({"retry-after": value}, NOW) == seconds


def test_milliseconds_come_before_seconds() -> None:
    assert parse_retry_after({"retry-after-ms": "1500", "retry-after": "9"}, NOW) == 1.5


def test_malformed_milliseconds_leave_the_seconds() -> None:
    assert parse_retry_after({"retry-after-ms": "-1", "retry-after": "9"}, NOW) == 9.0


@pytest.mark.parametrize(
    "date",
    [
        formatdate(NOW + 90, usegmt=True),
        "Tuesday, 14-Nov-23 22:14:50 GMT",
        "Tue Nov 14 22:14:50 2023",
    ],
)
def test_each_form_of_an_http_date_is_read(date: str) -> None:
    assert parse_retry_after({"retry-after": date}, NOW) == 90.0


def test_a_date_that_has_passed_is_no_wait() -> None:
    assert parse_retry_after({"retry-after": formatdate(NOW - 90, usegmt=True)}, NOW) == 0.0


def test_the_wall_clock_is_read_when_none_is_given() -> None:
    assert parse_retry_after({"retry-after": formatdate(0, usegmt=True)}) == 0.0


@pytest.mark.parametrize("name", ["Retry-After", "RETRY-AFTER", "retry-after"])
def test_a_plain_dict_may_spell_the_name_in_any_case(name: str) -> None:
    assert parse_retry_after({name: "3"}, NOW) == 3.0


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "soon",
        "-1",
        "+1",
        "-0",
        "nan",
        "NaN",
        "inf",
        "Infinity",
        "1e9",
        "0x10",
        "1_000",
        "1,5",
        ".5",
        "5.",
        "1.2.3",
        "1 2",
        "5s",
        "1" + "0" * 30,
        "9" * 5000,
        "\u0661\u0662",
        "\u00b2",
        "1\n",
        "1\r\nx: y",
        "\x001",
        "Tue, 99 Nov 2023 22:14:50 GMT",
        "Tue, 31 Feb 2023 22:14:50 GMT",
        "Tue, 14 Nov 2023 99:99:99 GMT",
        "Tue, 14 Xxx 2023 22:14:50 GMT",
        "Tue, 14 Nov 2023 22:14:50 +9999",
        "Tue, 14 Nov 2023 22:14:50 GMT" * 100,
    ],
)
def test_what_is_malformed_counts_as_not_there(value: str) -> None:
    assert parse_retry_after({"retry-after": value, "retry-after-ms": value}, NOW) is None


def test_no_header_says_nothing() -> None:
    assert parse_retry_after({}, NOW) is None


def test_a_value_that_is_no_text_counts_as_not_there() -> None:
    headers: Mapping[str, str] = {"retry-after": 5}  # type: ignore[dict-item]  # the point

    assert parse_retry_after(headers, NOW) is None


_NUMBERS = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.text(alphabet="0123456789.-+eE_ ", max_size=40),
    st.text(alphabet=st.characters(categories=["Nd", "No"]), max_size=12),
)
_DATES = st.from_regex(
    r"\A(Mon|Sunday)?,? ?[0-9]{1,3}[ -](Feb|Nov|Xyz)[ -][0-9]{1,7} "
    r"[0-9]{2}:[0-9]{2}:[0-9]{2} ?(GMT|[+-][0-9]{4})?\Z"
)


@given(st.one_of(st.text(), _NUMBERS, _DATES), st.one_of(st.text(), _NUMBERS))
def test_nothing_raises_and_every_answer_is_finite(seconds: str, milliseconds: str) -> None:
    answer = parse_retry_after({"retry-after": seconds, "retry-after-ms": milliseconds}, NOW)

    assert answer is None or (answer >= 0.0 and math.isfinite(answer))
