"""The table of `recloser status`: the worst first, the whole key, and nothing that a key can forge."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.dashboard_stub import VIEW, key_facts

from recloser import State
from recloser_adapters._command.table import STATES, age, cropped, held, lines_of, worst_first

WIDE = 160


def _shown(*keys: dict[str, Any], width: int | None = None, **view: Any) -> list[str]:
    lines = lines_of({"view": {**VIEW, **view}, "keys": list(keys)}, width)
    return ["".join(piece for piece, _ in line) for line in lines]


def test_every_state_has_a_sign_and_a_place() -> None:
    assert set(STATES) == {state.value for state in State}
    assert len({sign for sign, _ in STATES.values()}) == len(STATES)


def test_the_worst_keys_come_first() -> None:
    keys = [
        key_facts("calm"),
        key_facts("suspected", evidence=3.0),
        key_facts("would", "open", mode="observe"),
        key_facts("limited", "limited"),
        key_facts("half", "half_open"),
        key_facts("open", "open"),
        key_facts("open, with more refused", "open", refused=9),
        key_facts("of a state that is new here", "stuck"),
    ]

    order = [key["key"] for key in worst_first(keys)]

    assert order[0] in ("of a state that is new here", "open, with more refused")
    assert order[-6:] == ["open", "half", "limited", "would", "suspected", "calm"]


def test_the_head_counts_those_that_refuse_and_those_that_only_would() -> None:
    keys = [key_facts("a", "open"), key_facts("b", "open", mode="observe"), key_facts("c")]

    assert _shown(*keys)[0] == "web-3, process 4242, up 3 h: 3 keys, 1 open, 1 would refuse"
    assert _shown(keys[2], mode="observe")[0].endswith(": 1 key, all closed, mode observe")
    assert _shown() == ["web-3, process 4242, up 3 h: 0 keys, all closed", "no calls yet"]


def test_only_what_needs_a_look_has_a_sentence() -> None:
    keys: dict[str, dict[str, Any]] = {
        "closed": {},
        "open": {"state": "open"},
        "suspected": {"evidence": 1.0},
        "observing": {"mode": "observe", "spared": 3, "spared_good": 2},
        "in part": {"enforce_share": 0.5},
        "by hand": {"overrides": [{"what": "open", "state": "open", "age": 9, "left": None}]},
    }

    told = {name: len(_shown(key_facts("k", **facts))) - 3 for name, facts in keys.items()}

    assert told == {
        "closed": 0,
        "open": 1,
        "suspected": 1,
        "observing": 2,
        "in part": 1,
        "by hand": 1,
    }


def test_an_override_says_until_when_who_and_why() -> None:
    override = {
        "what": "mode",
        "mode": "observe",
        "enforce_share": 0.1,
        "age": 200.0,
        "left": 500.0,
    }
    facts = {"overrides": [{**override, "by": "ann", "reason": "roll-out"}, {"what": "open"}]}

    assert list(held(facts)) == [
        "by hand: observe, enforced for 10% of the callers, ends in 8 min, since 3 min, by ann: roll-out",
        "by hand: open, does not expire, since -",
    ]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, WIDE])
def test_it_fits_the_terminal(width: int) -> None:
    keys = [
        key_facts("GET /customers/{customer}/orders", "open", explain="it is bad " * 30),
        key_facts("k" * 10_000, limit=8, calls=10**9, refused=10**9),
    ]

    lines = _shown(*keys, width=width)

    assert all(len(line) <= width for line in lines)


def test_figures_give_way_to_keys() -> None:
    key = "GET /customers/{customer}/orders"

    heads = {width: _shown(key_facts(key), width=width)[1].split() for width in (60, 80, WIDE)}

    assert all(key in _shown(key_facts(key), width=width)[2] for width in heads)
    assert heads[60] == ["state", "for", "refused", "key"]
    assert "calls" in heads[WIDE]


def test_keys_and_reasons_forge_no_line_and_move_no_cursor() -> None:
    evil = "a\n■ open  b\x1b[2J\x9b0m\u202e"
    override = {"what": evil, "reason": evil, "by": evil, "age": 1, "left": 1}
    key = key_facts(evil, "open", explain=evil, overrides=[override])

    lines = _shown(key, host=evil)

    assert len(lines) == 5
    assert all(char.isprintable() for line in lines for char in line)


def test_an_answer_of_another_version_is_shown_as_far_as_it_is_understood() -> None:
    strange: dict[str, Any] = {
        "key": "k",
        "state": None,
        "p95": "fast",
        "limit": float("inf"),
        "calls": True,
        "overrides": [7, {}],
        "explain": None,
    }

    lines = lines_of({"view": 7, "keys": [strange, {"key": "bare"}]}, 80)

    assert len(lines) >= 4


def test_what_does_not_fit_is_counted() -> None:
    lines = [[(f"{number}", "")] for number in range(10)]

    assert cropped(lines, 10) == lines
    assert [line[0][0] for line in cropped(lines, 4)] == ["0", "1", "2", "… 7 more lines"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.0, "0 s"), (119.0, "119 s"), (150.0, "2 min"), (9000.0, "2 h"), (2e5, "2 d")],
)
def test_a_time_has_one_unit(seconds: float | None, text: str) -> None:
    assert age(seconds) == text
