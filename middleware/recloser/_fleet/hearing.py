"""Hearing: what a member reads in the store, and what it believes of that."""

from __future__ import annotations

from math import inf

from recloser._fleet.facts import KeyFact, ModeFact, check_epoch, key_of, key_of_mode
from recloser._fleet.member_state import MemberState
from recloser._fleet.modes import Modes
from recloser._fleet.obeying import obey
from recloser._fleet.store import MAX_EPOCH
from recloser._state import State

# If a store has lost what it had, the worker that leads a key writes it anew within this many seconds.
# Other workers know nothing of the key: what they have written meanwhile is believed only after that.
_DOUBTED = 1.0
# A worker that begins waits only this many seconds for those leaders. It rings the bell, and the leader of a
# key that is not closed looks at least every 0.25 s and writes it anew at once. With 1 s, a fleet that began
# together with an outage of 120 calls/s opened worker by worker: 110-180 calls were wasted, and not 68.
_BEGINS = 0.3
# If nobody has taken the lead of a key for this many seconds after its lease was over, no worker follows
# what was told last.
_ABANDONED = 5.0
# As a plain global: to look up a member of an enum takes 60 ns on Python 3.11.
_CLOSED = State.CLOSED


class Hearing:
    """What a member has read.

    Args:
        shared: What the parts of the member share.
        modes: What is known of modes.

    Attributes:
        at: When it has read last, in seconds.
    """

    def __init__(self, shared: MemberState, modes: Modes) -> None:
        self._shared = shared
        self._modes = modes
        self._version, self._life = 0, ""
        self._believes_at = inf  # when what was doubted is read again, in seconds
        self._believes = False
        self._complete_at = -inf
        self.at = -inf

    def forget(self) -> None:
        """Read all again the next time."""
        self._version = 0

    def is_complete(self, now: float) -> bool:
        """Whether what others know is in the store at `now` seconds, and so is known here.

        A worker that has just begun and finds an empty store cannot know whether the store has lost
        something: for a while it lets the others write first.
        """
        return now >= self._complete_at

    def read(self, now: float) -> None:
        """Read the news at `now` seconds, and do what they say.

        Raises:
            StoreError: The store does not work.
        """
        store = self._shared.store
        news = store.news(self._version)
        lost = bool(self._life) and (news.life != self._life or news.version < self._version)
        self._believes = now >= self._believes_at
        if lost:
            self._modes.lost(now)
            self._write_anew()
        if lost or self._believes:
            news = store.news(0)
            self._believes_at = now + _DOUBTED if lost else inf
        if not self._life and not news.version:
            self._complete_at = now + _BEGINS
        self._version, self._life, self.at = news.version, news.life, now
        # An emptied store counts from the beginning again; epochs do not.
        if news.version < MAX_EPOCH:
            self._shared.version = max(news.version, self._shared.version)
        for fact in news.facts:
            key, mode_key, written = key_of(fact.name), key_of_mode(fact.name), now - fact.age
            try:
                check_epoch(fact)
                if key is not None:
                    self.hear(key, fact.epoch, KeyFact.from_text(fact.text), written, now)
                elif mode_key is not None:
                    self._modes.hear(
                        mode_key, fact.epoch, ModeFact.from_text(fact.text), written, now
                    )
            except ValueError as error:
                self._shared.note_garbage(error)

    def _is_abandoned(self, key: str, fact: KeyFact, age: float) -> bool:
        """Whether nobody follows a fact any more: each worker has decided alone since it was told.

        So a worker that is closed stays closed. What was done by hand holds however old it is.
        """
        if fact.state is _CLOSED or fact.by_hand or age < fact.lease + _ABANDONED:
            return False
        found = self._shared.circuit_of(key)
        return found is None or found[1].state is _CLOSED

    def _write_anew(self) -> None:
        """Let what this worker leads be told at once: the store has lost it."""
        for known in self._shared.keys.values():
            if known.incident is not None and known.fact is not None:
                known.incident.tell(known.fact, -inf)
                known.report_at = -inf

    def hear(self, key: str, epoch: int, fact: KeyFact, written: float, now: float) -> None:
        """Believe a fact about a key, unless it is known, or what is known here is newer.

        Args:
            key: The key.
            epoch: The epoch of the fact.
            fact: The fact.
            written: When it was written, in seconds of this worker's clock.
            now: Seconds.
        """
        known = self._shared.known(key)
        if epoch == known.epoch and known.fact is not None:
            return
        leads = known.incident is not None
        if epoch < known.epoch and known.is_watched and (leads or not self._believes):
            return  # the store has lost what is known here
        known.epoch = epoch
        if self._is_abandoned(key, fact, now - written):
            known.heard_at = now
            return
        if fact.leader == self._shared.name:
            if leads:
                return
            # This worker led it, and has given up meanwhile: somebody must take the lead.
            known.take_over_at = now
        else:
            known.incident = None  # another worker leads
            known.take_over_at = inf
        known.take(fact, written, now)
        obey(self._shared, key, now)
