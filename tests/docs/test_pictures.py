"""The pictures of the documentation are what the real breaker does today."""

from __future__ import annotations

import pytest
from benchmarks.pictures.__main__ import FOLDER, pictures
from benchmarks.pictures.plays import failures, outage, recovery

from recloser import State


@pytest.mark.parametrize("name", ["latency.svg", "evidence.svg", "recovery.svg", "states.svg"])
def test_the_picture_is_that_of_a_run(name: str) -> None:
    assert (FOLDER / name).read_text() == pictures()[name], "run python -m benchmarks.pictures"


def test_what_the_page_says_of_the_outage_is_so() -> None:
    """docs/how-it-decides.md names these times."""
    limited, opened, *_ = outage().changes
    back = [change for change in outage().changes if change.at > 50.0]

    assert (limited.after, opened.after) == (State.LIMITED, State.OPEN)
    assert limited.at - 30.0 == pytest.approx(0.3, abs=0.05)
    assert opened.at - 30.0 == pytest.approx(1.7, abs=0.05)
    assert back[-1].at - 50.0 == pytest.approx(1.0, abs=0.05)
    assert all(call.fate is not None for call in outage().calls if call.begun > back[-1].at)


def test_six_failures_open_a_callee_that_fails_now_and_then() -> None:
    opened = next(change for change in failures().changes if change.after is State.OPEN)

    assert opened.at > 60.0
    assert opened.reason.sentence.startswith("6 of the last 6 calls were bad")


def test_it_closes_soon_after_the_recovery() -> None:
    [closed] = [change for change in recovery().changes if change.after is State.CLOSED]

    assert 30.0 < closed.at < 31.0


def test_the_picture_of_the_demo_fetches_nothing() -> None:
    text = (FOLDER / "demo.svg").read_text()

    assert "Everything" in text
    assert "@font-face" not in text
    assert text.count("http") == text.count("http://www.w3.org/")
