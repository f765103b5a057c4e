"""How long a fleet watches a key that is closed, and how closely its leader looks.

While a key is watched, all workers report what their calls do. Most suspicions come up by chance, so a
watch that shows nothing ends soon; and on a key with few calls, there is little to look at.
"""

from __future__ import annotations

from recloser._circuit.pooled import PooledCircuit
from recloser._state import State

# As a plain global: to look up a member of an enum takes 60 ns on Python 3.11.
_CLOSED = State.CLOSED
LEASE = 2.0
"""Seconds for which a leader leads if it says no more; longer if it looks more rarely."""
_LEASE_LOOKS = 16.0  # then it leads for this many looks
# This share of the evidence that opens, seen by more than one worker, prolongs a watch.
_MUCH = 0.4
# `Evidence.level` is lowered only when the next call comes. Without calls it stays as it was, so it
# counts for this many seconds after the last bad call.
_KEPT = 300.0
# A watch without that ends after both `_CALM` seconds and `_CALM_CALLS` calls, but at the latest after
# `_LONGEST` seconds.
_CALM, _CALM_CALLS, _LONGEST = 3.0, 10.0, 30.0
# One in which the key was always closed ends sooner: as soon as there is no evidence after this many
# seconds and calls.
_NOTHING, _NOTHING_CALLS = 0.5, 30.0
# A leader looks each time this many calls have come, at the latest after this many seconds.
_LOOKS, _LOOKS_AT_LATEST = 0.2, 1.5
# It looks at this many calls per second. If there are more, it looks at one in N of them; N is at most
# `_FEWEST`.
_LOOKED_AT, _FEWEST = 1_000.0, 1_048_576.0


class Watch:
    """A watch of one key.

    Args:
        circuit: The circuit of the fleet.
        now: Seconds.

    Attributes:
        demand: How many calls workers want to make, per second.
        has_changed: Whether the circuit has been anything but closed.
    """

    def __init__(self, circuit: PooledCircuit, now: float) -> None:
        self.demand = 0.0
        self.has_changed = False
        self._circuit = circuit
        self._now = self._begun_at = self._suspected_at = self._bad_at = now
        self._bad = 0
        self._lasts = False

    def note(self, now: float) -> None:
        """Note the state of the circuit at `now` seconds."""
        self._now, circuit = now, self._circuit
        evidence = circuit.detector.evidence
        # What only one worker sees is no reason to watch all of them for ever.
        is_much = circuit.is_shared and evidence.level >= _MUCH * evidence.threshold
        if evidence.bad != self._bad:
            self._bad, self._bad_at = evidence.bad, now
        self._lasts = (
            is_much or (circuit.is_shared and circuit.divided.lasts)
        ) and now - self._bad_at <= _KEPT
        if circuit.state is not _CLOSED or self._lasts:
            self._suspected_at = now

    @property
    def is_over(self) -> bool:
        """Whether the key has been closed and calm for long enough."""
        circuit = self._circuit
        if circuit.state is not _CLOSED:
            return False
        if self._now - self._suspected_at > self._lasting(_CALM, _CALM_CALLS):
            return True
        if self.has_changed or self._lasts or not circuit.detector.evidence.idle:
            return False
        return self._now - self._begun_at > self._lasting(_NOTHING, _NOTHING_CALLS)

    def _lasting(self, seconds: float, calls: float) -> float:
        """How long it takes until both the seconds and the calls are over: `_LONGEST` at most."""
        return min(max(seconds, calls / max(self.demand, 1e-3)), _LONGEST)

    def rate(self, one_in: int) -> float:
        """How many calls per second there are now or usually, whichever is more.

        Args:
            one_in: One call in this many is written down.
        """
        return max(self.demand, self._circuit.counts.rate * one_in)

    def sample(self, one_in: int) -> int:
        """One call in how many is to be written down from now on: a power of two.

        Args:
            one_in: One call in this many is written down until now.
        """
        enough = min(self.demand / _LOOKED_AT, _FEWEST)
        if 0.25 * one_in <= enough <= one_in:
            return one_in
        one_in = 1
        while one_in < enough:
            one_in *= 2
        return one_in

    def looks_every(self, one_in: int) -> float:
        """Seconds between two looks at what workers have reported; 0.0 for as often as they do.

        Args:
            one_in: One call in this many is written down.
        """
        if self._circuit.state is not _CLOSED:
            return 0.0
        # If no rate is known, no call has come since it began: so there are fewer than that.
        known = max(self._now - self._begun_at, 1e-3)
        return min(_LOOKS / max(self.rate(one_in), 1.0 / known), _LOOKS_AT_LATEST)

    def lease(self, one_in: int) -> float:
        """Seconds for which the leader leads if it says no more; `one_in` as above."""
        return max(LEASE, _LEASE_LOOKS * self.looks_every(one_in))
