"""A member of a fleet: one worker's part in it, one turn after the other.

It has no thread and no clock: the thread that runs it passes the time in (`runner.py`), and so does a
simulation. All that it does with the store, it does within a turn. A call never waits for it.

What calls tell it, they leave in a few lists. A turn works them off, reads what the others have
decided, reports what the calls did, and decides what this worker leads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING

from recloser._circuit.transitions import is_of_fleet
from recloser._events import Transition
from recloser._fleet.beats import Beats
from recloser._fleet.hearing import Hearing
from recloser._fleet.keeping import Keeping
from recloser._fleet.leading import Leading
from recloser._fleet.member_state import ROUNDING, MemberState
from recloser._fleet.modes import Modes
from recloser._fleet.obeying import BY_HAND, obey
from recloser._fleet.reporting import Reporting
from recloser._fleet.slowness import Slowness
from recloser._fleet.status import FleetStatus, key_status, worker_status
from recloser._fleet.store import Store, StoreError
from recloser._state import State

if TYPE_CHECKING:
    from recloser._fleet.breakers import Breakers
    from recloser._overrides import Override

# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_CLOSED, _OPEN, _HALF_OPEN = State.CLOSED, State.OPEN, State.HALF_OPEN

# Seconds between two looks at the news, if the bell does not ring: usually, and while a key is watched.
_POLL, _POLL_SOON = 1.5, 0.25
# If the bell has rung, they are read after about this many keys were worked on: a worker with a slow store
# and many keys that are ill would do little else.
_KEYS = 3.0
# After a store has failed: the first and the longest pause, and how long its news count as known.
_RETRY, _RETRY_LATEST, _KNOWN_FOR = 0.1, 1.0, 1.0
# A pause is between these parts of that long, by chance, so that workers do not all come back at once.
_PAUSE_LEAST, _PAUSE_MOST = 0.75, 1.25


class Member:
    """One worker's part in a fleet.

    Args:
        registry: Its breakers.
        store: What it shares with the other workers.
        new_name: Makes a name for this worker that no other one has.
        random: Returns uniform numbers in 0.0-1.0.
        clock: Returns seconds, also within a turn; None for the clock of the registry.

    Attributes:
        store: As given.
        failures: How often the store has failed.
        failing_since: Since when the store fails, in seconds; infinite while it works.
        last_failure: What it said last.
        rung: Whether the bell has rung since the last turn.
    """

    def __init__(
        self,
        registry: Breakers,
        store: Store,
        new_name: Callable[[], str],
        random: Callable[[], float],
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._registry = registry
        self._clock = registry.clock if clock is None else clock
        self.store = store
        self._new_name = new_name
        self._random = random
        self._begin()

    def _begin(self) -> None:
        """Begin as a new worker, of which the fleet knows nothing yet."""
        self._shared = MemberState(self._registry, self.store, self._new_name(), self._random)
        self._modes = Modes(self._shared)
        self._hearing = Hearing(self._shared, self._modes)
        self._leading = Leading(self._shared, self._hearing.hear)
        self._reporting = Reporting(self._shared, self._leading, self._clock)
        self._slowness = Slowness()
        self._keeping = Keeping(self._shared)
        self._beats = Beats(self._shared)
        self.failures = 0
        self.failing_since = inf
        self.last_failure = ""
        self.rung = False
        self._read_takes = 0.0  # seconds that it took to read the news
        self._retry_at = -inf
        self._retry = _RETRY
        self._heard_at = -inf  # when the store last did what it was asked to
        # What calls leave here, in their threads: one operation on each of them is atomic.
        self._suspicious: dict[str, None] = {}
        self._changes: deque[Transition] = deque(maxlen=10_000)
        self._made: deque[str] = deque(maxlen=10_000)

    @property
    def name(self) -> str:
        """The name of this worker; another one after a fork."""
        return self._shared.name

    @property
    def workers(self) -> int:
        """How many workers are alive, as far as is known."""
        return self._shared.workers

    @property
    def garbage(self) -> int:
        """How many texts in the store were none of ours."""
        return self._shared.garbage

    @property
    def is_connected(self) -> bool:
        """Whether the store works."""
        return self.failing_since == inf and self._heard_at > -inf

    # What calls leave

    def suspect(self, key: str) -> bool:
        """Note that a key is suspicious; return whether that is new."""
        if key in self._suspicious:
            return False
        self._suspicious[key] = None
        return True

    def note_change(self, transition: Transition) -> bool:
        """Note a change of state; return whether the fleet must know of it soon."""
        if is_of_fleet(transition.reason.rule):
            return False
        self._changes.append(transition)
        return True

    def note_override(self, key: str, override: Override, ended: bool) -> None:
        """Note that the mode of a breaker was changed by hand."""
        self._modes.note(key, override, ended)

    def note_made(self, key: str) -> None:
        """Note that there is a breaker for a key."""
        self._made.append(key)

    @property
    def has_news(self) -> bool:
        """Whether the fleet has not been told all."""
        return bool(self._changes) or self._modes.has_news

    # The life of a worker

    def after_fork(self) -> None:
        """Begin as another worker in a forked process. Its breakers have forgotten their orders."""
        made = [*self._keeping.keys, *self._made]
        self._begin()
        self._made.extend(made)

    def leave(self, now: float) -> None:
        """Keep what was learned, and leave the fleet; a further turn joins it again."""
        with suppress(StoreError):
            self._keeping.keep_all(now)
            self.store.leave(self.name)
        self._heard_at = self._beats.at = -inf
        self._give_up_news(now)

    def status(self) -> FleetStatus:
        """What this worker knows of its fleet."""
        now, keys = self._registry.clock(), self._shared.keys
        return FleetStatus(
            self.store.place,
            self.name,
            self.is_connected,
            {name: worker_status(name, text) for name, text in [*self._beats.others.items()]},
            {
                key: key_status(key, known.fact, max(now - known.heard_at, 0.0))
                for key, known in [*keys.items()]
                if known.fact is not None and known.is_watched
            },
            self.failures,
            self.last_failure,
            self.garbage,
        )

    # A turn

    def turn(self, now: float) -> float:
        """Do what is due at `now` seconds; return for how many seconds there is nothing to do."""
        if now < self._retry_at:
            self._give_up_news(now)
            return self._retry_at - now
        try:
            wait = self._turn(now)
        except StoreError as error:
            self.note_failure(str(error), now)
            self._give_up_news(now)
            return self._retry_at - now
        self._note_success(now)
        return wait

    def note_failure(self, what: str, now: float) -> None:
        """Note what has failed; until the next turn that succeeds, this worker decides alone."""
        self.failures, self.last_failure = self.failures + 1, what
        if self.failing_since == inf:
            self.failing_since = now
            self._registry.warn(
                "store",
                f"the store at {self.store.place} fails ({what}): until it works again, "
                "this worker decides alone",
            )
        part = _PAUSE_LEAST + (_PAUSE_MOST - _PAUSE_LEAST) * self._random()
        self._retry_at = now + self._retry * part
        self._retry = min(2.0 * self._retry, _RETRY_LATEST)

    def _note_success(self, now: float) -> None:
        if self.failing_since < inf:
            lost = now - self.failing_since
            self._registry.warn(
                "store again", f"the store at {self.store.place} works again, after {lost:.3g} s"
            )
            self.failing_since = inf
            self._beats.count_again(now + _PAUSE_MOST * _RETRY_LATEST)
        self._retry = _RETRY
        self._heard_at = now

    def _give_up_news(self, now: float) -> None:
        """Decide alone, since nothing is heard from the fleet any more."""
        if now - self._heard_at < _KNOWN_FOR:
            return
        self._hearing.forget()
        for key, known in self._shared.keys.items():
            if known.incident is None and not known.is_watched:
                continue
            known.incident = known.fact = None
            found = self._shared.circuit_of(key)
            if found is not None:
                breaker, circuit = found
                breaker.in_turn(now, circuit.decide_alone)

    def _turn(self, now: float) -> float:
        if self.failing_since < inf:
            self._note_unheard()
        if self._slowness.since < inf:
            self._try_slow_store(now)
        self._beats.turn(now, rung=self.rung, suspects=bool(self._suspicious))
        busy = any(known.is_decided for known in self._shared.keys.values())
        poll = _POLL_SOON if busy else _POLL
        until_read = self._until_read(poll, now)
        if until_read <= ROUNDING:
            if self.rung:
                self._report_at_once()
            self.rung = False
            before = self._clock()
            self._hearing.read(now)
            self._read_takes = max(self._clock() - before, 0.0)
        self._work_off(now)
        wait = min(poll, self._modes.restore(now), self._reporting.turn(now))
        reporting = self._reporting
        watched = reporting.watched
        self._slowness.judge(watched * reporting.takes, watched, reporting.asked, now)
        self._keeping.turn(now)
        wait = min(wait, self._beats.wait(now, suspects=bool(self._suspicious)))
        return min(wait, self._until_read(poll, now))

    def _until_read(self, poll: float, now: float) -> float:
        """In how many seconds the news are to be read; with a slow store not after each ring."""
        after = min(self._read_takes * self._reporting.watched / _KEYS, poll) if self.rung else poll
        return self._hearing.at + after - now

    def _try_slow_store(self, now: float) -> None:
        """See whether the store is quick enough by now for the keys that are ill here.

        Raises:
            StoreError: It is not, or does not work.
        """
        before, shared = self._clock(), self._shared
        self._beats.beat(now)
        self._reporting.takes = max(self._clock() - before, 0.0)
        ill = 1 + sum(bool(shared.alone(key)) for key in shared.keys)
        self._slowness.judge(ill * self._reporting.takes, ill, 0.0, now)

    def _note_unheard(self) -> None:
        """Note what this worker has decided since the store began to fail, before it hears any news."""
        for change in self._changes.copy():
            is_own = change.after is not _CLOSED and change.reason.rule not in BY_HAND
            self._shared.known(change.key).decided_unheard(change.at if is_own else inf)

    def _report_at_once(self) -> None:
        """Look at once at what others have sent about probes, and report what they wait for."""
        for known in self._shared.keys.values():
            fact = known.fact
            probes = fact is not None and fact.state in (_OPEN, _HALF_OPEN)
            if known.is_watched and (known.incident is not None or not probes):
                known.report_at = -inf

    # Work

    def _work_off(self, now: float) -> None:
        """Work off what calls have left. What a failing store stops is done in the next turn."""
        shared = self._shared
        while self._made:
            key = self._made.popleft()
            self._keeping.note_made(key)
            if key in shared.keys:
                obey(shared, key, now)
            self._modes.obey(key, now)
        self._modes.work_off(now)
        while self._changes:
            change = self._changes[0]
            if change.reason.rule in BY_HAND:
                self._leading.act_by_hand(change, now)
            else:
                self._note_own_change(change)
            self._changes.popleft()
        for key in [*self._suspicious]:
            known = shared.known(key)
            misses = known.unheard_since < inf and shared.misses_others
            if misses or not self._hearing.is_complete(now):
                continue
            if shared.workers < 2 and not known.is_watched and self._beats.at < now:
                continue  # there may be others meanwhile: the next beat counts them
            del self._suspicious[key]
            if known.is_watched:
                shared.hurry(known, now)
            elif shared.workers > 1 and now >= known.cool_until:
                self._leading.begin_watch(key, known, now)

    def _note_own_change(self, change: Transition) -> None:
        known = self._shared.known(change.key)
        if change.after in (_CLOSED, _OPEN) and self.failing_since == inf:
            known.unheard_since = inf
        if change.after is not _CLOSED:
            self._suspicious[change.key] = None
            known.report_at, known.rings = -inf, change.after is _OPEN
