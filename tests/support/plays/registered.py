"""The plays by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.plays.world import World

from recloser import Policy

Script = Callable[[World], None]

PLAYS: dict[str, Callable[[], str]] = {}
"""Each plays itself and returns its paragraph."""


def play(name: str, policy: Policy | None = None, **world: Any) -> Callable[[Script], Script]:
    """Register a play; `world` has further arguments of `World`."""

    def register(script: Script) -> Script:
        assert name not in PLAYS, name

        def played() -> str:
            stage = World(name, policy, **world)
            script(stage)
            return stage.record.text()

        PLAYS[name] = played
        return script

    return register
