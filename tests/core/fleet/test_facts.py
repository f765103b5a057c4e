"""Facts: what a fleet has decided survives being a text, and garbage is told from it."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recloser import Reason, State
from recloser._circuit.learned import Learned
from recloser._fleet import facts
from recloser._fleet.facts import KeyFact, ModeFact
from recloser._fleet.store import MAX_EPOCH, Fact

LEARNED = Learned(80, (1.0, 2.0), 3.0, {(1, 2): 1.0}, (0.0, 1.0), 5.0, 60.0)
WHOLE = KeyFact(
    state=State.LIMITED,
    leader="host/1/a",
    lease=2.05,
    reason=Reason("limited", "slow", {"limit": 4.0}, by="ann"),
    by_hand="open",
    since=1.5,
    wait=3.25,
    size=4.0,
    permits=5.5,
    demand=100.0,
    workers=3,
    tickets=("host/1/a", "host/2/b"),
    ticket=1.0,
    places=2,
    one_in=4,
    overrules=True,
    expected=(0.25, 0.125),
    learned=LEARNED,
)
MODE = ModeFact(mode="observe", share=0.5, left=30.0, reason="deploy", by="ann")


def changed(fact: KeyFact | ModeFact, **values: Any) -> str:
    return json.dumps({**json.loads(fact.as_text()), **values})


def test_a_fact_about_a_key_survives_being_a_text() -> None:
    assert KeyFact.from_text(WHOLE.as_text()) == WHOLE


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("tickets", [None, (), ("a",)])
@pytest.mark.parametrize("wait", [0.0, inf])
def test_nobody_everybody_and_for_ever_survive_too(
    state: State, tickets: tuple[str, ...] | None, wait: float
) -> None:
    fact = KeyFact(
        state=state, leader="", lease=0.0, reason=Reason("", ""), tickets=tickets, wait=wait
    )

    assert KeyFact.from_text(fact.as_text()) == fact


def test_a_text_is_json_for_every_reader() -> None:
    """Numbers that JSON does not know are left out: some readers refuse the whole text."""
    reason = Reason("failures", "x", {"good": 1.0, "unknown": nan, "for_ever": inf})
    fact = KeyFact(state=State.OPEN, leader="a", lease=1.0, reason=reason, wait=inf)

    def refuse(name: str) -> None:
        raise AssertionError(name)

    assert json.loads(fact.as_text(), parse_constant=refuse)["numbers"] == {"good": 1.0}


def test_no_text_grows_without_bounds() -> None:
    reason = Reason("failures", "x" * 100_000, by="y" * 100_000)
    fact = KeyFact(state=State.OPEN, leader="a", lease=1.0, reason=reason)
    mode = ModeFact(mode="observe", reason="x" * 100_000, by="y" * 100_000)

    assert len(fact.as_text()) < 3_000
    assert len(mode.as_text()) < 3_000


@pytest.mark.parametrize(
    ("state", "leader", "is_over"),
    [
        (State.CLOSED, "", True),
        (State.CLOSED, "a", False),
        (State.OPEN, "", False),
    ],
)
def test_it_is_over_when_it_is_closed_and_nobody_watches(
    state: State, leader: str, is_over: bool
) -> None:
    fact = KeyFact(state=state, leader=leader, lease=0.0, reason=Reason("", ""))

    assert fact.is_over is is_over


GARBAGE = [
    "",
    "{",
    "[]",
    "7",
    "null",
    "{}",
    '{"format": 2}',
    '{"format": 1}',
    "[" * 100_000,
    "\x00",
]


@pytest.mark.parametrize("text", GARBAGE, ids=lambda text: text[:20])
@pytest.mark.parametrize("kind", [KeyFact, ModeFact])
def test_what_is_no_fact_raises_a_value_error(kind: type[KeyFact | ModeFact], text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        kind.from_text(text)


CHANGES: list[dict[str, Any]] = [
    {"format": 99},
    {"state": "ajar"},
    {"state": ["open"]},
    {"lease": -1.0},
    {"lease": "2"},
    {"lease": True},
    {"wait": nan},
    {"wait": -3.0},
    {"size": inf},
    {"permits": None},
    {"workers": []},
    {"tickets": 7},
    {"places": -1},
    {"one_in": {}},
    {"numbers": 7},
    {"numbers": {"x": "y"}},
    {"numbers": {"x": 10**400}},
    {"size": 10**400},
    {"expected": 7},
    {"expected": [0.5]},
    {"expected": [-0.5, 0.0]},
    {"expected": [0.0, "0.5"]},
    {"learned": {"first": 1}},
    {"learned": 7},
]


@pytest.mark.parametrize("change", CHANGES, ids=repr)
def test_a_fact_with_one_wrong_part_is_none(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        KeyFact.from_text(changed(WHOLE, **change))


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "sleep"},
        {"mode": None},
        {"share": -1.0},
        {"share": "half"},
        {"left": nan},
        {"left": 10**400},
    ],
    ids=repr,
)
def test_a_mode_with_one_wrong_part_is_none(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        ModeFact.from_text(changed(MODE, **change))


def test_numbers_that_would_divide_by_zero_are_at_least_one() -> None:
    fact = KeyFact.from_text(changed(WHOLE, workers=0, one_in=0))

    assert (fact.workers, fact.one_in) == (1, 1)


def test_numbers_of_a_reason_that_json_does_not_know_are_left_out() -> None:
    text = changed(WHOLE, numbers={"good": 1.0, "bad": nan, "worse": "inf"})

    assert KeyFact.from_text(text).reason.numbers == {"good": 1.0}


def test_parts_that_a_newer_version_has_added_are_no_garbage() -> None:
    assert KeyFact.from_text(changed(WHOLE, weather="fine")) == WHOLE


@pytest.mark.parametrize(
    "fact",
    [
        MODE,
        ModeFact(),
        ModeFact(mode="enforce"),
        ModeFact(mode="disabled", left=inf, ended=True),
    ],
    ids=repr,
)
def test_a_mode_survives_being_a_text(fact: ModeFact) -> None:
    assert ModeFact.from_text(fact.as_text()) == fact


def test_a_share_is_no_more_than_all() -> None:
    assert ModeFact.from_text(changed(MODE, share=7.0)).share == 1.0
    assert KeyFact.from_text(changed(WHOLE, expected=[7.0, 0.5])).expected == (1.0, 0.5)
    assert KeyFact.from_text(changed(WHOLE, expected=[0.5, 7.0])).expected == (0.5, 1.0)


def test_a_text_is_no_longer_than_it_must_be() -> None:
    """It is written again and again, and read by all workers."""
    precise = replace(WHOLE, since=1.23456, permits=2.34567, demand=3.45678, ticket=4.56789)

    text = precise.as_text()

    plain = json.loads(text)
    assert [plain[name] for name in ("since", "permits", "demand", "ticket")] == [
        1.235,
        2.346,
        3.457,
        4.568,
    ]
    assert " " not in text


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000], ids=lambda text: text[:20])
def test_a_text_that_is_no_json_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match="this is not JSON"):
        facts.plain_of(text)


def test_what_was_learned_of_each_key_has_a_name_of_its_own() -> None:
    assert facts.learned_name("a") != facts.learned_name("b")


@pytest.mark.parametrize("key", ["payments", "", "GET /a b", "key x", "mode y"])
def test_a_name_tells_the_key_and_what_the_fact_is_about(key: str) -> None:
    assert facts.key_of(facts.key_name(key)) == key
    assert facts.key_of_mode(facts.mode_name(key)) == key
    assert facts.key_of(facts.mode_name(key)) is None
    assert facts.key_of_mode(facts.key_name(key)) is None
    names = {facts.key_name(key), facts.mode_name(key), facts.learned_name(key)}
    assert len(names) == 3


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(st.sampled_from(sorted(json.loads(WHOLE.as_text()))), JSON)
def test_whatever_stands_in_one_part_nothing_but_a_value_error_is_raised(
    name: str, value: Any
) -> None:
    try:
        KeyFact.from_text(changed(WHOLE, **{name: value}))
    except ValueError:
        return


@pytest.mark.parametrize("number", [2**53, 10**400, 1e300])
@pytest.mark.parametrize("name", ["workers", "places", "one_in"])
def test_whole_numbers_that_json_does_not_keep_are_garbage(name: str, number: float) -> None:
    with pytest.raises(ValueError, match=name):
        KeyFact.from_text(changed(WHOLE, **{name: number}))


@pytest.mark.parametrize("epoch", [-1, 0, MAX_EPOCH + 1])
def test_an_epoch_that_no_store_keeps_is_garbage(epoch: int) -> None:
    with pytest.raises(ValueError, match="epoch"):
        facts.check_epoch(Fact("key k", epoch, "{}", 0.0))

    facts.check_epoch(Fact("key k", MAX_EPOCH, "{}", 0.0))
