"""What is kept of what happened."""

from __future__ import annotations

import logging
from itertools import count, pairwise

import pytest

from recloser import Reason, State, Transition
from recloser.testing import ManualClock
from recloser_adapters.dashboard._record import Record

CLOSED, LIMITED, OPEN, HALF_OPEN = State.CLOSED, State.LIMITED, State.OPEN, State.HALF_OPEN


class Story:
    """Tells a record what happens to one key, a second apart."""

    def __init__(self, clock: ManualClock) -> None:
        self.record = Record(clock)
        self._clock = clock
        self._generations = count(1)

    def tell(self, *states: State, by: str = "") -> None:
        for before, after in pairwise(states):
            self._clock.advance(1.0)
            why = f"{before.value} {after.value}"
            reason = Reason("rule", why, {"share": 0.5}, by)
            number = next(self._generations)
            self.record.on_transition(
                Transition("a", before, after, reason, number, self._clock.now)
            )

    def told(self) -> list[tuple[str, str, int]]:
        return [
            (each["before"], each["after"], each["repeats"])
            for each in reversed(self.record.transitions("a"))
        ]


@pytest.fixture
def story(clock: ManualClock) -> Story:
    return Story(clock)


def test_probes_that_fail_again_and_again_do_not_push_out_the_opening(story: Story) -> None:
    story.tell(CLOSED, *(OPEN, HALF_OPEN) * 40, OPEN)

    assert story.told() == [
        ("closed", "open", 0),
        ("open", "half_open", 0),
        ("half_open", "open", 39),
    ]


def test_another_outage_is_told_anew(story: Story) -> None:
    story.tell(CLOSED, *(OPEN, HALF_OPEN) * 3, CLOSED, *(OPEN, HALF_OPEN) * 2, OPEN)

    assert story.told() == [
        ("closed", "open", 0),
        ("open", "half_open", 0),
        ("half_open", "open", 1),
        ("open", "half_open", 0),
        ("half_open", "closed", 0),
        ("closed", "open", 0),
        ("open", "half_open", 0),
        ("half_open", "open", 1),
    ]


def test_the_last_twenty_changes_are_kept(story: Story) -> None:
    story.tell(*(CLOSED, LIMITED) * 30)

    assert len(story.told()) == 20
    assert story.told()[-1] == ("closed", "limited", 0)


def test_an_outage_began_with_the_opening_however_often_it_was_probed(
    story: Story, clock: ManualClock
) -> None:
    story.tell(CLOSED, OPEN, HALF_OPEN, OPEN, HALF_OPEN)

    outage = story.record.outage("a")
    assert outage is not None
    assert outage["since"] == pytest.approx(3.0)
    assert outage["reason"]["sentence"] == "closed open"
    clock.advance(2.0)
    outage = story.record.outage("a")
    assert outage is not None
    assert outage["since"] == pytest.approx(5.0)


@pytest.mark.parametrize("end", [CLOSED, LIMITED])
def test_an_outage_ends_where_calls_pass_again(story: Story, end: State) -> None:
    story.tell(CLOSED, OPEN, HALF_OPEN, end)

    assert story.record.outage("a") is None


def test_what_is_done_by_hand_has_its_own_reason(story: Story) -> None:
    story.tell(CLOSED, OPEN)
    story.tell(OPEN, OPEN, by="anna")

    outage = story.record.outage("a")
    assert outage is not None
    assert outage["reason"]["sentence"] == "open open"


def test_actions_are_kept_and_logged_with_who_and_why(
    story: Story, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        story.record.act("a", "open", "anna", {"reason": "migration\nforged line", "for": 60.0})

    [entry] = story.record.actions("a")
    assert (entry["action"], entry["by"], entry["for"]) == ("open", "anna", 60.0)
    [line] = caplog.records
    assert line.getMessage().count("\n") == 0
    assert "migration" in line.getMessage()
    assert line.__dict__["recloser_key"] == "a"
    assert line.__dict__["recloser_by"] == "anna"


def test_numbers_that_json_does_not_know_are_null(clock: ManualClock) -> None:
    record = Record(clock)
    reason = Reason("rule", "why", {"endless": float("inf"), "unknown": float("nan"), "one": 1.0})
    record.on_transition(Transition("a", CLOSED, OPEN, reason, 1, clock.now))

    [told] = record.transitions("a")
    assert told["reason"]["numbers"] == {"endless": None, "unknown": None, "one": 1.0}
