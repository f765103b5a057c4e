"""Modes: what overrides the mode of a key by hand in one worker holds in all of them.

Each worker knows when an override ends and ends it by itself, so only what was done by hand is told.
The last word holds: that of the highest epoch; and where the store has lost its epochs, the one that
was said last.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from math import inf
from threading import get_ident
from typing import TYPE_CHECKING

from recloser._fleet.facts import ModeFact, mode_name
from recloser._fleet.member_state import LIVES_BY_HAND, TRIES_BY_HAND, MemberState
from recloser._state import Mode

if TYPE_CHECKING:
    from recloser._overrides import Override

# An override lives in the store this many seconds longer than it lasts, so that nobody takes the end for
# a loss.
_LIVES_LONGER = 120.0
# What the store has lost is written again within this many seconds. The first worker does it, and the
# others hear of it.
_RESTORED = 1.0
# Two moments that are no further apart than this may be the same one. A round trip takes up to a quarter
# of a second, and the store reads its clock at some time within it.
_ROUNDING = 0.3


@dataclass(frozen=True, slots=True)
class _Known:
    """The last word about the mode of one key. Times are seconds of this worker's clock.

    Attributes:
        epoch: Its epoch.
        fact: What was said.
        said: When.
        until: When it ends by itself; infinite if it does not.
    """

    epoch: int
    fact: ModeFact
    said: float
    until: float

    def holds(self, now: float) -> bool:
        """Whether it overrides the mode at `now` seconds."""
        return not self.fact.ended and now < self.until

    def written(self, now: float) -> ModeFact:
        """What to write at `now` seconds."""
        left, ago = max(self.until - now, 0.0), max(now - self.said, 0.0)
        return replace(self.fact, left=left, ago=ago)


class Modes:
    """The overrides that are known.

    Args:
        shared: What the parts of the member share.
    """

    def __init__(self, shared: MemberState) -> None:
        self._shared = shared
        self._known: dict[str, _Known] = {}
        self._restored_at: dict[str, float] = {}  # by key: when it is written again, in seconds
        # What operators leave here, in their threads: one operation on it is atomic.
        self._untold: deque[tuple[str, Override, bool]] = deque(maxlen=1_000)
        # What others have told is being done, by this thread for this key.
        self._obeying: tuple[int, str] | None = None

    # What this worker tells

    def note(self, key: str, override: Override, ended: bool) -> None:
        """Note that an override has begun or ended here, unless the fleet has told it."""
        if self._obeying == (get_ident(), key):
            return
        # What has ended by itself here may have been prolonged elsewhere.
        if not (ended and override.until <= self._shared.registry.clock()):
            self._untold.append((key, override, ended))

    @property
    def has_news(self) -> bool:
        """Whether the fleet has not been told all."""
        return bool(self._untold)

    def work_off(self, now: float) -> None:
        """Tell the fleet what has been noted. What a failing store stops is told in the next turn.

        Raises:
            StoreError: The store does not work.
        """
        while self._untold:
            key, override, ended = self._untold[0]
            # One that was replaced has ended, too; the one that has replaced it is told.
            if not (ended and self._overrides_now(key)):
                self._tell(key, override, ended, now)
            self._untold.popleft()

    def _overrides_now(self, key: str) -> bool:
        breaker = self._shared.registry.get(key)
        return breaker is not None and any(each.state is None for each in breaker.overrides)

    def _tell(self, key: str, override: Override, ended: bool, now: float) -> None:
        fact = ModeFact(
            mode="" if override.mode is None else override.mode.value,
            share=override.enforce_share,
            reason=override.reason,
            by=override.by,
            ended=ended,
        )
        said = now if ended else override.since
        store, name = self._shared.store, mode_name(key)
        for _ in range(TRIES_BY_HAND):
            there, known = store.get(name), self._known.get(key)
            before = 0 if there is None else there.epoch
            epoch = max(before, 0 if known is None else known.epoch) + 1
            if self._write(key, before, _Known(epoch, fact, said, override.until), now):
                return

    def _write(self, key: str, before: int, known: _Known, now: float) -> bool:
        fact = known.written(now)
        lives = min(fact.left, LIVES_BY_HAND) + _LIVES_LONGER
        store, name = self._shared.store, mode_name(key)
        if not store.swap(name, before, known.epoch, fact.as_text(), lives):
            return False
        self._known[key] = known
        self._restored_at.pop(key, None)
        return True

    # What others tell

    def hear(self, key: str, epoch: int, fact: ModeFact, written: float, now: float) -> None:
        """Do what another worker has told, unless what is known here was said later.

        Args:
            key: The key.
            epoch: The epoch of the fact.
            fact: The fact.
            written: When it was written, in seconds of this worker's clock.
            now: Seconds.
        """
        known, said = self._known.get(key), written - fact.ago
        if known is not None and epoch == known.epoch and _is_same(known.fact, fact):
            self._restored_at.pop(key, None)  # it is read again, maybe after a step of a clock
            return
        if known is not None and epoch <= known.epoch and said <= known.said + _ROUNDING:
            if epoch == known.epoch:
                self._restored_at.pop(key, None)
            else:  # somebody has restored what was not the last word
                self._restore_soon(key, now)
            return
        self._known[key] = _Known(epoch, fact, said, written + fact.left)
        self._restored_at.pop(key, None)
        # What an operator has done here meanwhile is told next, and is the last word then.
        if all(name != key for name, _, _ in self._untold.copy()):
            self._obey(key, now)

    def obey(self, key: str, now: float) -> None:
        """Let a breaker that is new do what is known at `now` seconds."""
        known = self._known.get(key)
        if known is not None and known.holds(now):
            self._obey(key, now)

    def _obey(self, key: str, now: float) -> None:
        breaker, known = self._shared.registry.get(key), self._known[key]
        if breaker is None:
            return
        fact = known.fact
        self._obeying = get_ident(), key
        try:
            if not known.holds(now):
                breaker.end_override(fact.reason if fact.ended else "its time is over", fact.by)
                return
            breaker.override(
                None if not fact.mode else Mode(fact.mode),
                enforce_share=fact.share,
                for_=None if known.until == inf else known.until - now,
                reason=fact.reason,
                by=fact.by,
            )
        finally:
            self._obeying = None

    # What the store has lost

    def lost(self, now: float) -> None:
        """Note that the store has lost what it had, at `now` seconds."""
        for key, known in self._known.items():
            if known.holds(now):
                self._restore_soon(key, now)

    def _restore_soon(self, key: str, now: float) -> None:
        self._restored_at.setdefault(key, now + _RESTORED * self._shared.random())

    def restore(self, now: float) -> float:
        """Write again what the store has lost and nobody else has written.

        Returns:
            For how many seconds there is nothing to do.

        Raises:
            StoreError: The store does not work. It is done in a later turn.
        """
        for key, at in [*self._restored_at.items()]:
            if now >= at:
                self._restore(key, now)
                self._restored_at.pop(key, None)
        return min(self._restored_at.values(), default=inf) - now

    def _restore(self, key: str, now: float) -> None:
        there, known = self._shared.store.get(mode_name(key)), self._known[key]
        before = 0 if there is None else there.epoch
        if there is not None:
            try:
                fact = ModeFact.from_text(there.text)
            except ValueError:  # it was counted when it was read, and is written over
                known = replace(known, epoch=max(known.epoch, before + 1))
            else:
                self.hear(key, before, fact, now - there.age, now)
                known = self._known[key]
        if before < known.epoch:
            self._write(key, before, known, now)


def _is_same(known: ModeFact, fact: ModeFact) -> bool:
    """Whether two facts are one, apart from what depends on when it was written."""
    return replace(known, left=0.0, ago=0.0) == replace(fact, left=0.0, ago=0.0)
