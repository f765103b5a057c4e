"""What the demo concludes from what it saw, by made-up events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest

pytest.importorskip("rich")
pytest.importorskip("uvicorn")

from rich.console import Console

from recloser import State
from recloser_adapters._command.demo.plain import PlainScreen, summary_lines
from recloser_adapters._command.demo.plan import (
    AFFECTED,
    BARE,
    GUARDED,
    INTRODUCTION,
    OTHER_ROUTES,
    PHASES,
    ROUTES,
    schedule,
)
from recloser_adapters._command.demo.record import ObservedPhase, Record
from recloser_adapters._command.demo.results import conclusion, evaluate
from recloser_adapters._command.demo.screen import STATES, picture
from recloser_adapters._command.demo.summary import summary

URLS = {GUARDED: "http://127.0.0.1:1", BARE: "http://127.0.0.1:2"}


def _phase(at: float, name: str) -> dict[str, Any]:
    return {"event": "phase", "at": at, "phase": name}


def _change(at: float, after: str, key: str = AFFECTED, before: str = "closed") -> dict[str, Any]:
    facts = {"key": key, "before": before, "after": after, "reason": f"so it is {after}"}
    return {"event": "transition", "at": at, **facts}


def _calls(
    at: float, *calls: tuple[str, str, float, float, str], late: float = 0.001
) -> dict[str, Any]:
    facts = {"calls": [list(call) for call in calls], "waiting": {GUARDED: 0, BARE: 3}}
    return {"event": "calls", "at": at, **facts, "late": [late]}


def _key(key: str, state: str) -> dict[str, Any]:
    counts = {"successes": 40, "bad": 5, "refused": 7, "in_flight": 1}
    latencies = {"median": 0.012, "slow_from": 0.05}
    return {"key": key, "state": state, "explained": f"{state}, as seen", **counts, **latencies}


def _good_run() -> list[dict[str, Any]]:
    """Ten seconds well, ten hanging, ten well; a hundred calls a phase wasted without a breaker."""
    neighbour = OTHER_ROUTES[0]
    return [
        _phase(0.0, "healthy"),
        _calls(9.0, (GUARDED, AFFECTED, 8.9, 0.01, "good"), (BARE, AFFECTED, 8.9, 0.01, "good")),
        _phase(10.0, "hanging"),
        _calls(10.5, *[(GUARDED, AFFECTED, 10.1, 3.0, "failed")] * 7),
        _change(10.2, "open"),
        _calls(11.0, *[(GUARDED, AFFECTED, 10.5, 0.002, "refused")] * 50),
        _change(15.0, "half_open", before="open"),
        _calls(18.1, (GUARDED, AFFECTED, 15.0, 3.0, "failed")),
        _change(15.1, "open", before="half_open"),
        _calls(19.0, *[(BARE, AFFECTED, 14.0, 3.0, "failed")] * 100),
        _calls(
            19.5, (GUARDED, neighbour, 19.0, 0.01, "good"), (BARE, neighbour, 16.0, 3.0, "failed")
        ),
        _phase(20.0, "healthy"),
        _change(21.0, "half_open", before="open"),
        _change(21.5, "closed", before="half_open"),
        _calls(23.0, (BARE, AFFECTED, 19.9, 3.0, "failed")),
        {
            "event": "keys",
            "at": 29.0,
            "keys": [_key(AFFECTED, "closed"), _key(neighbour, "closed")],
        },
        {"event": "over", "at": 30.0},
    ]


def _told(events: list[dict[str, Any]]) -> Record:
    record = Record()
    for event in events:
        record.add(event)
    return record


def test_a_good_run_meets_every_expectation() -> None:
    results = evaluate(_told(_good_run()))

    assert results.failed == []
    assert results.as_json()["ok"] is True


def test_the_summary_counts_what_each_app_wasted_and_how_fast_it_recovered() -> None:
    results = evaluate(_told(_good_run()))

    (outage,) = results.outages
    assert outage.limited_after is None
    assert outage.opened_after == pytest.approx(0.2)
    assert (outage.wasted_before, outage.wasted_after, outage.refused) == (7, 1, 50)
    assert outage.recovered_after == pytest.approx(1.5)
    assert outage.bare_wasted == 101
    assert outage.bare_well_after == pytest.approx(2.9)
    assert results.refusal_p50 == results.refusal_p99 == 0.002
    assert results.neighbours_well == {GUARDED: 1.0, BARE: 0.0}
    assert results.waited == pytest.approx({GUARDED: 24.0, BARE: 306.0})


def test_an_answer_that_came_too_late_was_wasted() -> None:
    events = _good_run()
    events.insert(3, _calls(10.4, *[(GUARDED, AFFECTED, 10.1, 0.3, "good")] * 3))

    assert evaluate(_told(events)).outages[0].wasted_before == 10


def _without(*gone: tuple[str, float]) -> Callable[[list[dict[str, Any]]], None]:
    def spoil(events: list[dict[str, Any]]) -> None:
        events[:] = [each for each in events if (each["event"], each["at"]) not in gone]

    return spoil


def _with(*more: dict[str, Any]) -> Callable[[list[dict[str, Any]]], None]:
    def spoil(events: list[dict[str, Any]]) -> None:
        events[-1:-1] = more

    return spoil


@pytest.mark.parametrize(
    ("spoil", "promises"),
    [
        (_without(("transition", 10.2), ("transition", 15.1)), ["hanging: it opens"]),
        (
            _without(("transition", 21.5)),
            [
                "hanging: it lets everybody through after the recovery",
                "it refuses nobody at the end",
            ],
        ),
        (
            _with(_calls(29.5, (GUARDED, AFFECTED, 29.4, 0.002, "refused"))),
            [
                "hanging: it lets everybody through after the recovery",
                "it refuses nobody at the end",
            ],
        ),
        (
            _with(_calls(29.0, *[(GUARDED, AFFECTED, 10.15, 3.0, "failed")] * 18)),
            ["hanging: it wastes at most 25 calls"],
        ),
        (
            _with(_calls(29.0, *[(GUARDED, AFFECTED, 15.0, 3.0, "failed")] * 18)),
            ["hanging: it wastes at most 25 calls"],
        ),
        (
            _with(_calls(29.0, *[(GUARDED, AFFECTED, 12.0, 0.9, "refused")] * 2)),
            ["99 % of refusals take at most 100 ms"],
        ),
        (
            _with(_calls(29.0, (GUARDED, AFFECTED, 5.0, 0.002, "refused"))),
            ["it refuses no call before the first outage"],
        ),
        (
            _with(_calls(29.0, (GUARDED, OTHER_ROUTES[1], 12.0, 0.002, "refused"))),
            ["it does not affect the other routes"],
        ),
        (
            _with(_change(12.0, "open", OTHER_ROUTES[0])),
            ["it does not affect the other routes"],
        ),
        (
            _with(_change(29.0, "open")),
            [
                "hanging: it lets everybody through after the recovery",
                "it refuses nobody at the end",
            ],
        ),
        (_without(("calls", 11.0)), ["99 % of refusals take at most 100 ms"]),
    ],
)
def test_what_went_wrong_is_named(
    spoil: Callable[[list[dict[str, Any]]], None], promises: list[str]
) -> None:
    events = _good_run()
    spoil(events)

    results = evaluate(_told(events))

    assert [each.promise for each in results.failed] == promises
    assert results.as_json()["ok"] is False


def _slow_run() -> list[dict[str, Any]]:
    """The same, but slow instead of hanging: the calls are limited, and still are at the end."""
    return [
        *_good_run()[:2],
        _phase(10.0, "slow"),
        _calls(10.5, *[(GUARDED, AFFECTED, 10.1, 0.4, "good")] * 5),
        _change(10.2, "limited"),
        _calls(11.0, *[(GUARDED, AFFECTED, 10.5, 0.002, "refused")] * 50),
        _calls(18.1, *[(GUARDED, AFFECTED, 15.0, 0.4, "good")] * 40),
        _calls(19.0, *[(BARE, AFFECTED, 14.0, 0.4, "good")] * 100),
        _phase(20.0, "healthy"),
        _calls(23.0, (GUARDED, AFFECTED, 20.5, 0.002, "refused")),
        {"event": "over", "at": 30.0},
    ]


def test_a_limit_that_refuses_nobody_any_more_is_a_recovery() -> None:
    results = evaluate(_told(_slow_run()))

    (outage,) = results.outages
    assert outage.limited_after == pytest.approx(0.2)
    assert outage.opened_after is None
    assert (outage.wasted_before, outage.wasted_after, outage.refused) == (5, 40, 50)
    assert outage.recovered_after == pytest.approx(0.5)
    assert results.failed == []


@pytest.mark.parametrize(
    ("spoil", "promises"),
    [
        (_without(("transition", 10.2)), ["slow: it limits the calls"]),
        (
            _with(_calls(29.0, *[(GUARDED, AFFECTED, 15.0, 0.4, "good")] * 56)),
            ["slow: it wastes at most 100 calls"],
        ),
        (
            _with(_calls(29.5, (GUARDED, AFFECTED, 29.1, 0.002, "refused"))),
            ["slow: it lets everybody through after the recovery", "it refuses nobody at the end"],
        ),
    ],
)
def test_what_went_wrong_with_a_limit_is_named(
    spoil: Callable[[list[dict[str, Any]]], None], promises: list[str]
) -> None:
    events = _slow_run()
    spoil(events)

    assert [each.promise for each in evaluate(_told(events)).failed] == promises


@pytest.mark.parametrize(("late", "failed"), [(0.02, True), (0.2, True), (0.25, False)])
def test_on_a_machine_that_is_busy_a_refusal_may_take_as_long_as_it_made_the_load_wait(
    late: float, failed: bool
) -> None:
    events = _good_run()
    slow_refusals = [(GUARDED, AFFECTED, 12.0, 0.9, "refused")] * 2
    _with(_calls(29.0, *slow_refusals, late=late))(events)

    results = evaluate(_told(events))

    promise = f"99 % of refusals take at most {max(100, 4000 * late):.0f} ms"
    assert promise in [each.promise for each in results.expectations]
    assert [each.promise for each in results.failed] == [promise] * failed


@pytest.mark.parametrize(
    ("late", "after", "failed"),
    [
        (0.012, "limited", True),
        (0.013, "limited", False),
        (0.013, "open", True),
        (0.012, "closed", False),
    ],
)
def test_a_healthy_route_may_be_limited_only_while_the_machine_makes_it_slow(
    late: float, after: str, failed: bool
) -> None:
    events = _good_run()
    _with(_calls(16.0, late=late), _change(17.0, after, OTHER_ROUTES[0]))(events)
    _with(_calls(26.0, late=0.5))(events)  # long afterwards

    promise = "it does not affect the other routes"
    assert [each.promise for each in evaluate(_told(events)).failed] == [promise] * failed


def test_plain_lines_say_what_happened_when_and_why() -> None:
    lines: list[str] = []
    screen = PlainScreen(lines.append)
    record = Record()
    for event in _good_run():
        record.add(event)
        screen.draw(record)

    text = "\n".join(lines)
    assert " 10.00 s  the upstream is hanging: it takes calls and never answers" in text
    assert f" 10.20 s  {AFFECTED}  closed -> open: so it is open" in text
    assert text.count("-> open") == 2
    assert "no breaker 1 well, 0 wasted, 3 waiting" in text


def test_plain_summary_marks_what_failed() -> None:
    events = _good_run()
    _with(_change(29.0, "open"))(events)

    lines = summary_lines(evaluate(_told(events)))

    assert "FAILED it refuses nobody at the end: 0 refused in the last second, it is open" in lines
    assert "ok     hanging: it opens: after 0.20 s" in lines
    assert lines[-1] == "2 of 7 expectations failed."


def test_the_last_line_is_the_conclusion() -> None:
    results = evaluate(_told(_good_run()))

    last = "Wasted with recloser: 8 calls and 24 s. Without: 101 calls and 306 s."
    assert summary_lines(results)[-1] == conclusion(results)[-1] == last
    assert len(last) < 80


def test_plain_lines_begin_with_what_there_is_to_see() -> None:
    lines: list[str] = []
    with PlainScreen(lines.append) as screen:
        screen.draw(_told([_phase(0.0, "healthy")]))

    introduced = " ".join(lines)
    assert "one has breakers, one has none" in introduced
    assert introduced.index("refused: told at once") < introduced.index("the upstream is healthy")


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_sign(state: State) -> None:
    console = Console(width=80, record=True, file=StringIO())
    keys = [_key(AFFECTED, state.value)]
    record = _told([_phase(0.0, "healthy"), {"event": "keys", "at": 1.0, "keys": keys}])

    console.print(picture(record, 45.0, URLS))

    assert state.value.replace("_", "-") in console.export_text()
    assert len({sign for sign, _ in STATES.values()}) == len(State)


def _picture(record: Record, height: int = 24, **urls: str) -> list[str]:
    console = Console(width=80, record=True, file=StringIO())
    console.print(picture(record, 45.0, {**URLS, **urls}, height))
    return console.export_text().splitlines()


def test_what_the_halves_show_is_said_before_the_first_outage_and_not_later() -> None:
    keys = [
        {**_key(route, "closed"), "explained": "closed: " + "it is well " * 20} for route in ROUTES
    ]
    told = [_phase(0.0, "healthy"), {"event": "keys", "at": 6.0, "keys": keys}]

    before = _picture(_told(told))
    after = _picture(_told([*told, _phase(7.0, "hanging")]))

    text = " ".join(" ".join(before).split())
    for sentence in INTRODUCTION:
        assert sentence in text
    assert len(before) <= 24
    assert len(after) <= 24
    assert "Upper half" not in " ".join(after)
    for lines in (before, after):
        assert any("The app with recloser: its breakers" in line for line in lines)
        assert any(line.strip().startswith("Both apps") for line in lines)


def test_the_title_has_the_address_of_the_dashboard() -> None:
    url = "http://127.0.0.1:65535/breakers/"

    lines = _picture(_told([_phase(0.0, "healthy")]), dashboard=url)

    assert url in lines[1]
    assert len(lines) <= 24


@pytest.mark.parametrize("phase", list(PHASES))
@pytest.mark.parametrize("key", [AFFECTED, OTHER_ROUTES[0]])
@pytest.mark.parametrize("words", [1, 11, 12, 13, 40, 200])
def test_the_picture_fits_however_long_the_reasons_are(key: str, phase: str, words: int) -> None:
    record = _told(_good_run())
    record.phases.append(ObservedPhase(phase, 30.0))
    record.changes = [replace(each, key=key, reason="word " * words) for each in record.changes]
    record.keys = [{**_key(each, "limited"), "explained": "word " * words} for each in ROUTES]

    lines = _picture(record)

    assert len(lines) <= 24
    assert all(len(line) <= 80 for line in lines)
    assert any("closed" in line and "word" in line for line in lines)


@pytest.mark.parametrize("height", [24, 30])
@pytest.mark.parametrize("seen", range(1, len(_good_run()) + 1))
def test_the_picture_fits_a_terminal_of_eighty_columns_at_every_moment(
    seen: int, height: int
) -> None:
    console = Console(width=80, record=True, file=StringIO())
    record = _told(_good_run()[:seen])
    record.changes = [replace(each, reason="every call was bad " * 5) for each in record.changes]
    record.keys = [{**each, "explained": "every call was bad " * 9} for each in record.keys]

    console.print(picture(record, 45.0, URLS, height))

    lines = console.export_text().splitlines()
    assert len(lines) <= height
    assert all(len(line) <= 80 for line in lines)
    # Nothing was cut off to make it fit.
    assert any(line.rstrip().endswith("slow at") for line in lines)
    assert not any("…" in line for line in lines)


def test_the_summary_on_a_terminal_says_what_it_said_and_what_it_cost() -> None:
    console = Console(width=80, record=True, file=StringIO())
    record = _told(_good_run())

    console.print(summary(record, evaluate(record)))

    text = console.export_text()
    assert "10.2 s  ■ open    so it is open" in text
    assert "calls wasted before that" in text
    assert "Everything went as it should." in text
    lines = text.rstrip().splitlines()
    assert lines[-1].strip() == conclusion(evaluate(record))[-1]
    # On a terminal of 24 lines, the costs and what follows them are seen together.
    assert len(lines) - next(at for at, line in enumerate(lines) if "Costs" in line) < 24


def test_a_summary_of_a_bad_run_names_what_failed_and_ends_with_that() -> None:
    events = _good_run()
    _with(_change(29.0, "open"))(events)
    console = Console(width=80, record=True, file=StringIO())
    record = _told(events)

    console.print(summary(record, evaluate(record)))

    text = console.export_text()
    assert "✗ it refuses nobody at the end" in text
    assert text.rstrip().endswith("2 of 7 expectations failed.")


def test_the_schedule_fits_the_seconds_and_ends_well() -> None:
    phases = schedule(30.0)

    assert sum(phase.seconds for phase in phases) == pytest.approx(30.0)
    assert [phase.name for phase in phases if phase.bad] == ["hanging", "failing", "slow"]
    assert not phases[0].bad
    assert not phases[-1].bad
