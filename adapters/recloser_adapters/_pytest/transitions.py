"""`recloser_transitions`: the changes of state of a test, and what a test may say of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import pytest

from recloser import State, Transition
from recloser_adapters._close_keys import did_you_mean


class Transitions(Sequence[Transition]):
    """The transitions so far, oldest first."""

    def __init__(self) -> None:
        self._all: list[Transition] = []

    def on_transition(self, transition: Transition) -> None:
        """Keep a transition."""
        self._all.append(transition)

    @overload
    def __getitem__(self, index: int) -> Transition: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Transition]: ...
    def __getitem__(self, index: int | slice) -> Transition | Sequence[Transition]:
        return self._all[index]

    def __len__(self) -> int:
        return len(self._all)

    def of(self, key: str) -> list[str]:
        """The names of the states that a key has got, oldest first, such as `["open", "closed"]`."""
        return [each.after.value for each in self._all if each.key == key]

    def expect(self, key: str, *states: State | str) -> None:
        """Fail the test unless a key has got these states, in this order, and no others.

        Args:
            key: The key.
            states: Names of states, such as `open`; none for a key that must not have changed.
        """
        __tracebackhide__ = True
        expected = [_name_of(state) for state in states]
        found = self.of(key)
        if found == expected:
            return
        others = {each.key for each in self._all}
        hint = "" if key in others else did_you_mean(key, others)
        lines = "\n".join(f"  {each}" for each in self._all) or "  none"
        pytest.fail(
            f"{key!r} was expected to become {_path(expected)}, but became {_path(found)}{hint}\n"
            f"All changes of state:\n{lines}"
        )

    def clear(self) -> None:
        """Forget those so far, for the next part of a test."""
        self._all.clear()

    def __repr__(self) -> str:
        return f"[{', '.join(map(str, self._all))}]"


def _name_of(state: State | str) -> str:
    try:
        return State(state).value
    except ValueError:
        known = ", ".join(each.value for each in State)
        raise ValueError(f"a state must be one of {known}, not {state!r}") from None


def _path(states: list[str]) -> str:
    return ", then ".join(states) if states else "nothing else"
