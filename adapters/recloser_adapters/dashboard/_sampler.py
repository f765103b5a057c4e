"""Measures the keys now and then, in a thread of its own: nothing is done while a call is made."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from hashlib import blake2b
from math import inf
from operator import attrgetter

from recloser import Breaker, Metrics, Registry, State
from recloser_adapters._forks import in_forked_process
from recloser_adapters.dashboard._history import STEP, History
from recloser_adapters.dashboard._record import Record

# Seconds between two measurements while somebody looks, and for how long one request says so.
_LIVE = 0.25
_LOOKS_FOR = 6.0
# The thread takes at most this share of the time, however many keys there are.
_SHARE = 0.05
# If measuring takes no longer than this, each request does it: nobody else waits for long.
_SHORT = 0.005
# Seconds after which the thread seems to be gone, so that the request measures.
_OLD = 2 * STEP
COUNTS = (
    "calls",
    "successes",
    "failures",
    "slow",
    "throttled",
    "ignored",
    "cancelled",
    "refused",
    "spared",
    "spared_good",
    "in_flight",
)
"""The counts of `Metrics` that are shown of a key."""
FIGURES = ("p50", "p95", "p99", "slow_threshold", "evidence", "evidence_threshold", "limit")
"""The other figures of `Metrics` that are shown, where an infinite one is null."""
# What is shown of the figures, except for what changes as time goes by.
_STEADY = attrgetter("state", "mode", "enforce_share", "generation", *COUNTS, *FIGURES)


def digest(key: str) -> str:
    """A name of a key for URLs, where a key may be too long or be changed on the way."""
    return f"={blake2b(key.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"


class Row:
    """What is known of one key.

    Attributes:
        breaker: Its breaker.
        id: Its `digest`.
        metrics: Its latest figures.
        history: Its last minutes.
        changed_at: When its state changed, in seconds of the registry's clock.
    """

    __slots__ = ("breaker", "changed_at", "history", "id", "metrics")

    def __init__(self, breaker: Breaker, step: int, is_new: bool) -> None:
        self.breaker = breaker
        self.id = digest(breaker.key)
        self.history = History(step, is_new)
        self.measure(step)

    def measure(self, step: int) -> None:
        """Take over the figures of now."""
        self.metrics: Metrics = self.breaker.metrics()
        self.changed_at: float = self.breaker.clock() - self.metrics.since
        self.history.add(step, self.metrics)

    def signature(self) -> int:
        """A number that changes if anything does that is shown of the key in a list."""
        breaker = self.breaker
        held = not breaker.retry_after
        return hash((_STEADY(self.metrics), self.history.signature(), breaker.overrides, held))

    def has_rested(self) -> bool:
        """Whether the figures cannot have changed since they were measured."""
        known, breaker = self.metrics, self.breaker
        return (
            known.state is State.CLOSED
            and not known.in_flight
            and not known.evidence
            and breaker.asked == known.calls
            and breaker.state is State.CLOSED
            and breaker.mode is known.mode
            and breaker.enforce_share == known.enforce_share
        )


class Sampler:
    """Measures the keys of a registry, every five seconds, and more often while somebody looks.

    Args:
        registry: The registry.
        record: Knows what has changed since.
        clock: Monotonic seconds.
    """

    def __init__(
        self, registry: Registry, record: Record, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._registry = registry
        self._record = record
        self._clock = clock
        self._rows: dict[str, Row] = {}
        self._ids: dict[str, Row] = {}
        self._measured_at = -inf
        self._full_step = -1
        self._looked_at = -_LOOKS_FOR
        self._took = 0.0
        self._stopped = False
        self._make_locks()
        in_forked_process(self, Sampler.begin_anew)

    def _make_locks(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Event()

    def start(self) -> None:
        """Begin to measure."""
        arguments = (weakref.ref(self), self._wake)
        thread = threading.Thread(
            target=_run, args=arguments, name="recloser-dashboard", daemon=True
        )
        thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped = True
        self._wake.set()

    def begin_anew(self) -> None:
        """Begin again in a process that was forked: threads stay in the parent."""
        self._make_locks()
        if not self._stopped:
            self.start()

    def rows(self) -> list[Row]:
        """All keys, with figures of this moment or nearly so."""
        now = self._clock()
        was_looked_at, self._looked_at = self._looked_at, now
        if self._took <= _SHORT or now - self._measured_at >= _OLD:
            self.measure()
        else:
            self._measure_changed()
        if self._took > _SHORT and now - was_looked_at >= _LOOKS_FOR:
            self._wake.set()
        return list(self._rows.values())

    def row(self, name: str) -> Row | None:
        """The row of a key, by its id or the key itself, measured now; None if there is none."""
        self.rows()
        found = self._ids.get(name) or self._rows.get(name)
        if found is None or self._registry.get(found.breaker.key) is not found.breaker:
            # It is new, was evicted, or has been made anew.
            breakers = {each.key: each for each in self._registry.breakers()}
            breaker = breakers.get(found.breaker.key if found else name)
            if breaker is None:
                return None
            found = self._row_of(breaker)
        with self._lock:
            found.measure(self.step())
        return found

    def step(self) -> int:
        """The number of this step of the histories."""
        return int(self._clock() // STEP)

    def measure(self) -> None:
        """Measure all keys that may have changed."""
        began = time.perf_counter()
        step = self.step()
        full, self._full_step = step != self._full_step, step
        breakers = self._registry.breakers()
        for breaker in breakers:
            row = self._row_of(breaker)
            if full or not row.has_rested():
                with self._lock:
                    row.measure(step)
        # Also for keys that came and went in between: the record has been told of them.
        if full or len(self._rows) > len(breakers):
            self._forget_others({breaker.key for breaker in breakers})
        self._measure_changed()
        self._measured_at = self._clock()
        self._took = time.perf_counter() - began

    def _measure_changed(self) -> None:
        changed = self._record.changed
        for key in changed.copy():
            changed.discard(key)
            row = self._rows.get(key)
            if row is not None:
                with self._lock:
                    row.measure(self.step())

    def _row_of(self, breaker: Breaker) -> Row:
        row = self._rows.get(breaker.key)
        if row is None:
            row = Row(breaker, self.step(), is_new=self._measured_at >= 0.0)
            self._rows[breaker.key] = self._ids[row.id] = row
        row.breaker = breaker
        return row

    def _forget_others(self, keys: set[str]) -> None:
        for key in list(self._rows):
            if key not in keys:
                self._ids.pop(self._rows.pop(key).id, None)
        self._record.forget_others(keys)

    def run_once(self) -> float | None:
        """Measure, and return the seconds until the next time; None if that was the last one."""
        if self._stopped:
            return None
        try:
            self.measure()
        except Exception as error:
            self._registry.fault("dashboard", error)
        if self._took > _SHORT and self._clock() - self._looked_at < _LOOKS_FOR:
            return max(_LIVE, self._took / _SHARE)
        # At the end of a step, so that what is found has happened in it.
        left = STEP - self._clock() % STEP - 0.1
        return left if left > 0.0 else left + STEP


def _run(sampler: weakref.ref[Sampler], wake: threading.Event) -> None:
    # Only a weak reference: a dashboard that nobody has any more ends its thread.
    while (each := sampler()) is not None:
        pause = each.run_once()
        del each
        if pause is None:
            return
        wake.wait(pause)
        wake.clear()
