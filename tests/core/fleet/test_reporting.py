"""Reporting: a turn is short, and the keys that are waited for come first."""

from __future__ import annotations

from math import inf
from types import SimpleNamespace
from typing import Any, cast

import pytest

from recloser import State
from recloser._events import Reason
from recloser._fleet.facts import KeyFact
from recloser._fleet.known_key import KnownKey
from recloser._fleet.reporting import Reporting


class Keys:
    """Some keys, of which none has a breaker here, in a store whose work takes `takes` seconds."""

    def __init__(self, takes: float) -> None:
        self.now, self.takes, self.done = 7.0, takes, list[str]()
        self.keys: dict[str, KnownKey] = {}
        for key, state in (("open", State.OPEN), ("closed", State.CLOSED), ("told", State.OPEN)):
            known = self.keys[key] = KnownKey()
            known.fact = KeyFact(state=state, leader="x", lease=9.0, reason=Reason("", ""))
            known.rings = key == "told"
        shared = SimpleNamespace(
            keys=self.keys,
            pace=0.05,
            pace_of=lambda *_: 0.05,
            circuit_of=lambda _: None,
            store=SimpleNamespace(ring=lambda: None),
        )
        leading = SimpleNamespace(may_take_over=lambda *_: False, decide=self._decide)
        self.reporting = Reporting(cast("Any", shared), cast("Any", leading), lambda: self.now)

    def _decide(self, key: str, *_: object) -> None:
        self.done.append(key)
        self.now += self.takes


def test_a_turn_with_a_quick_store_does_all_and_the_most_urgent_first() -> None:
    keys = Keys(0.001)

    assert keys.reporting.turn(7.0) == pytest.approx(0.05)

    assert keys.done == ["told", "closed", "open"]


def test_with_a_slow_store_each_key_has_a_turn_with_a_time_of_its_own() -> None:
    keys = Keys(0.1)

    assert keys.reporting.turn(7.0) == 0.0
    assert keys.done == ["told"]
    keys.keys["told"].report_at = inf
    assert keys.reporting.turn(keys.now) == 0.0
    keys.keys["closed"].report_at = inf
    assert keys.reporting.turn(keys.now) > 0.0

    assert keys.done == ["told", "closed", "open"]
    assert keys.keys["open"].report_at == pytest.approx(7.2 + 0.25)


def test_how_long_the_work_on_a_key_takes_is_averaged() -> None:
    keys = Keys(0.1)
    for _ in range(30):
        keys.reporting.turn(keys.now)

    assert keys.reporting.takes == pytest.approx(0.1, rel=0.01)
    assert keys.reporting.watched == 3
