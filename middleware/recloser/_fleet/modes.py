"""Modes: what overrides the mode of a key by hand in one worker holds in all of them."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from recloser._fleet.facts import ModeFact, mode_name
from recloser._fleet.workplace import Workplace
from recloser._state import Mode

if TYPE_CHECKING:
    from recloser._overrides import Override

# An override without an end lives for so many seconds in the store; others so much longer than they
# last, so that nobody takes the end for a loss.
_LIVES, _LIVES_LONGER = 30 * 86_400.0, 120.0
# An operator has the last word: if others write at the same time, it is tried again so many times.
_TRIES = 3


class Modes:
    """The overrides that are known.

    Args:
        place: What it works with.
    """

    def __init__(self, place: Workplace) -> None:
        self._place = place
        self._known: dict[str, ModeFact] = {}

    def tell(self, key: str, override: Override, *, ended: bool, now: float) -> None:
        """Tell the fleet of an override in this worker, unless it comes from there.

        Raises:
            StoreError: The store does not work.
        """
        fact = ModeFact(
            mode="" if override.mode is None else override.mode.value,
            share=override.enforce_share,
            left=max(override.until - now, 0.0),
            reason=override.reason,
            by=override.by,
            ended=ended,
        )
        if _is_same(self._known.get(key), fact):
            return
        store, name = self._place.store, mode_name(key)
        lives = min(fact.left, _LIVES) + _LIVES_LONGER
        for _ in range(_TRIES):
            there = store.get(name)
            epoch = 0 if there is None else there.epoch
            if store.swap(name, epoch, epoch + 1, fact.as_text(), lives):
                self._known[key] = fact
                return

    def hear(self, key: str, fact: ModeFact, age: float) -> None:
        """Do what another worker has told, so many seconds ago."""
        if not _is_same(self._known.get(key), fact):
            self._known[key] = fact
            self._obey(key, fact, age)

    def obey(self, key: str) -> None:
        """Let a breaker that is new do what is known."""
        fact = self._known.get(key)
        if fact is not None and not fact.ended:
            self._obey(key, fact, 0.0)

    def _obey(self, key: str, fact: ModeFact, age: float) -> None:
        breaker = self._place.registry.get(key)
        if breaker is None:
            return
        if fact.ended:
            breaker.end_override(fact.reason, fact.by)
        elif fact.left > age:
            breaker.override(
                None if not fact.mode else Mode(fact.mode),
                enforce_share=fact.share,
                for_=None if fact.left == inf else fact.left - age,
                reason=fact.reason,
                by=fact.by,
            )


def _is_same(known: ModeFact | None, fact: ModeFact) -> bool:
    """Whether two facts say the same, apart from the time that is left."""
    if known is None:
        return False
    return (known.mode, known.share, known.reason, known.by, known.ended) == (
        fact.mode,
        fact.share,
        fact.reason,
        fact.by,
        fact.ended,
    )
