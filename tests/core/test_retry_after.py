"""Retry-After is obeyed where it is meant, and harmless where it is not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recloser._retry_after import parse_retry_after, retry_after_of

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


@pytest.mark.parametrize("skew", [-240.0, 0.0, 240.0])
def test_a_date_is_compared_with_the_date_of_the_answer(skew: float) -> None:
    sent = formatdate(NOW + skew, usegmt=True)
    headers = {"Date": sent, "Retry-After": formatdate(NOW + skew + 60, usegmt=True)}

    assert parse_retry_after(headers, NOW) == 60.0
    assert parse_retry_after({**headers, "Date": "now"}, NOW) == max(60.0 + skew, 0.0)


# Limits


SOON, LATER = "2023-11-14T22:13:50Z", "2023-11-14T23:13:20+01:00"  # 30 s after NOW, and 0 s


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-ratelimit-reset-requests": "1s"}, 1.0),
        ({"x-ratelimit-reset-tokens": "6m0s"}, 360.0),
        ({"x-ratelimit-reset-tokens": "120ms"}, 0.12),
        ({"x-ratelimit-reset-tokens": "1h2m3.5s"}, 3723.5),
        ({"x-ratelimit-reset-requests": "59.5"}, 59.5),
        ({"x-ratelimit-reset": "30"}, 30.0),
        ({"x-ratelimit-reset": f"{NOW + 30:.0f}"}, 30.0),
        ({"x-ratelimit-reset": f"{NOW + 30:.0f}000"}, 30.0),
        ({"x-rate-limit-reset": f"{NOW + 30:.0f}"}, 30.0),
        ({"x-ratelimit-reset-after": "1.25"}, 1.25),
        ({"ratelimit-reset": "30"}, 30.0),
        ({"RateLimit": '"default";r=0;t=30'}, 30.0),
        ({"RateLimit": '"burst";r=3;t=900, "day";r=0;t=30'}, 30.0),
        ({"RateLimit": "limit=100, remaining=0, reset=30"}, 30.0),
        ({"anthropic-ratelimit-tokens-reset": SOON}, 30.0),
        ({"x-ratelimit-reset": formatdate(NOW + 30, usegmt=True)}, 30.0),
    ],
)
def test_each_form_of_a_limit_is_read(headers: dict[str, str], seconds: float) -> None:
    assert parse_retry_after(headers, NOW) == pytest.approx(seconds)
    assert parse_retry_after(headers, NOW, limits=False) is None


def test_what_an_answer_asks_for_comes_before_its_limits() -> None:
    assert parse_retry_after({"retry-after": "3", "x-ratelimit-reset": "900"}, NOW) == 3.0


@pytest.mark.parametrize("over", ["0", formatdate(NOW - 90, usegmt=True)])
def test_a_wait_that_is_over_leaves_the_limits(over: str) -> None:
    assert parse_retry_after({"retry-after": over, "x-ratelimit-reset": "9"}, NOW) == 9.0
    assert parse_retry_after({"retry-after-ms": "0", "retry-after": "2"}, NOW) == 2.0


def test_the_longest_limit_that_is_used_up_counts() -> None:
    headers = {
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "2s",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "7s",
        "anthropic-ratelimit-tokens-remaining": "100",
        "anthropic-ratelimit-tokens-reset": SOON,
    }

    assert parse_retry_after(headers, NOW) == 7.0
    assert parse_retry_after({**headers, "anthropic-ratelimit-tokens-remaining": "0"}, NOW) == 30.0


@pytest.mark.parametrize(
    "headers",
    [
        {"x-ratelimit-remaining": "5", "x-ratelimit-reset": "30"},
        {"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "30s"},
        {"x-ratelimit-remaining": "5", "x-ratelimit-reset-after": "30"},
        {"ratelimit-remaining": "5", "ratelimit-reset": "30"},
        {"RateLimit": '"default";r=5;t=30'},
        {"RateLimit": '"default";q=5;w=30'},
        {"RateLimit": "limit=100, remaining=5, reset=30"},
        {"anthropic-ratelimit-tokens-reset": LATER},
        {"x-ratelimit-reset": f"{NOW - 30:.0f}"},
        {"x-ratelimit-limit": "30", "x-ratelimit-policy": "30"},
        *(
            {"x-ratelimit-reset": value}
            for value in (
                "",
                "-5",
                "nan",
                "inf",
                "1e9",
                "-1s",
                "6m-1s",
                "s",
                "1" * 40,
                "1w",
                "soon",
            )
        ),
        {"anthropic-ratelimit-tokens-reset": "2023-13-14T22:13:50Z"},
        {"anthropic-ratelimit-tokens-reset": "2023-11-14T22:13:50"},
        {"RateLimit": "t=30;r=zero"},
    ],
)
def test_a_limit_that_is_not_used_up_or_is_over_or_malformed_is_no_wait(
    headers: dict[str, str],
) -> None:
    assert parse_retry_after(headers, NOW) is None


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


@given(st.sampled_from(["x-ratelimit-reset", "ratelimit", "date"]), st.one_of(st.text(), _NUMBERS))
def test_no_limit_raises(name: str, value: str) -> None:
    date = formatdate(NOW, usegmt=True)
    answer = parse_retry_after({"retry-after": date, name: value, f"{name}-{value}": value})

    assert answer is None or (answer >= 0.0 and math.isfinite(answer))


class _Response:
    def __init__(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.status_code, self.headers, self._content = status, headers, body


class _SdkError(Exception):
    def __init__(self, response: _Response) -> None:
        super().__init__()
        self.response = response


@pytest.mark.parametrize(
    ("response", "seconds"),
    [
        (_Response(429, {"retry-after": "3"}, b'{"retryDelay": "9s"}'), 3.0),
        (_Response(429, {"x-ratelimit-reset": "5"}), 5.0),
        (_Response(429, {}, b'{"retryDelay": "45.8s"}'), 45.8),
        (_Response(429, {}), None),
        (_Response(503, {"x-ratelimit-reset": "5"}, b'{"retryDelay": "45.8s"}'), None),
        (_Response(503, {"retry-after": "5"}), 5.0),
    ],
)
def test_the_wait_of_an_error_is_that_of_its_response(
    response: _Response, seconds: float | None
) -> None:
    assert retry_after_of(_SdkError(response)) == seconds


@pytest.mark.parametrize(
    ("name", "value", "seconds"),
    [
        ("x-ms-retry-after-ms", "2500", 2.5),
        ("X-Retry-After", "5", 5.0),
        ("x-ratelimit-retry-after", "5", 5.0),
        ("X-Rate-Limit-Retry-After-Seconds", "8", 8.0),
        ("x-retry-after-milliseconds", "800", 0.8),
        ("x-retry-after", "soon", None),
        ("x-retry-after-count", "3", None),
        ("no-retry-afterwards", "3", None),
    ],
)
def test_headers_that_mean_the_same_count(name: str, value: str, seconds: float | None) -> None:
    assert parse_retry_after({name: value}, NOW, limits=False) == seconds


def test_retry_after_itself_comes_before_them() -> None:
    assert parse_retry_after({"x-retry-after": "9", "retry-after": "2"}, NOW) == 2.0
