"""Reports: what a worker tells the leader survives being a text, with its times."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recloser import Outcome
from recloser._circuit.journal import Begun, Ended
from recloser._fleet.reports import Report

ENTRIES = (
    Begun(1, 99.0),
    Ended(1, 99.5, Outcome.FAILURE, 0.5, 3.0, "retry_after", "HTTP 503"),
    Ended(2, 99.75, Outcome.SUCCESS, 0.25),
)
WHOLE = Report(
    worker="host/1/a",
    written=100.0,
    entries=ENTRIES,
    refused=7,
    alone="open",
    why="5 of 5",
)


def changed(**values: Any) -> str:
    return json.dumps({**json.loads(WHOLE.as_text()), **values})


def test_a_report_survives_being_a_text() -> None:
    assert Report.from_text(WHOLE.as_text(), 100.0) == WHOLE


def test_times_are_those_of_the_readers_clock() -> None:
    """The clocks of two hosts have nothing to do with each other: only ages are sent."""
    report = Report.from_text(WHOLE.as_text(), 5_000.0)

    assert [entry.at for entry in report.entries] == [4_999.0, 4_999.5, 4_999.75]
    assert report.written == 5_000.0


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_can_be_told(outcome: Outcome) -> None:
    report = Report(worker="a", written=1.0, entries=(Ended(1, 1.0, outcome, 0.1),))

    assert Report.from_text(report.as_text(), 1.0) == report


def test_no_text_grows_without_bounds() -> None:
    end = Ended(1, 1.0, Outcome.FAILURE, 0.1, what="x" * 100_000)
    report = Report(worker="a", written=1.0, entries=(end,), why="y" * 100_000)

    assert len(report.as_text()) < 1_000


def test_of_a_report_that_is_too_long_the_beginning_is_read() -> None:
    text = changed(entries=[[1, 0.0]] * 50_000, open=[*range(50_000)])

    report = Report.from_text(text, 1.0)

    assert len(report.entries) == len(report.open) == 2_000


CHANGES: list[dict[str, Any]] = [
    {"format": 2},
    {"entries": 7},
    {"entries": [[]]},
    {"entries": [[1]]},
    {"entries": [["x", 1.0]]},
    {"entries": [[1, -1.0]]},
    {"entries": [[1, 1.0, "fine", 0.1, 0.0, "", ""]]},
    {"entries": [[1, 1.0, [], 0.1, 0.0, "", ""]]},
    {"entries": [[1, 1.0, "success", 0.1]]},
    {"entries": [{"token": 1}]},
    {"entries": None},
    {"open": "12"},
    {"open": 7},
    {"open": None},
    {"open": [-1]},
    {"open": [1.5]},
    {"open": [True]},
    {"refused": -1},
    {"refused": "7"},
    {"refused": 10**400},
    {"entries": [[10**400, 1.0]]},
    {"refused": None},
]


@pytest.mark.parametrize("change", CHANGES, ids=repr)
def test_a_report_with_one_wrong_part_is_none(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Report.from_text(changed(**change), 100.0)


@pytest.mark.parametrize("name", json.loads(WHOLE.as_text()))
def test_each_part_is_needed(name: str) -> None:
    plain = json.loads(WHOLE.as_text())
    del plain[name]

    with pytest.raises(ValueError, match=r"\w"):
        Report.from_text(json.dumps(plain), 100.0)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@given(st.sampled_from(["worker", "entries", "refused", "open", "alone", "why"]), JSON)
def test_whatever_stands_in_one_part_nothing_but_a_value_error_is_raised(
    name: str, value: Any
) -> None:
    try:
        Report.from_text(changed(**{name: value}), 100.0)
    except ValueError:
        return
