"""Tallies: counts of calls by place, held in values that keys share while they are empty."""

from __future__ import annotations

Tally = dict[tuple[int, int], float]
"""Number of calls by row and kind, see `evidence.py`."""
Ends = tuple[float, float]
"""Number of slow calls that have ended: only slow, very slow."""

# Initial values. All keys share them, so nothing is ever put in.
NO_COUNTS: Tally = {}
NO_ENDS: Ends = (0.0, 0.0)


def sum_of(some: Tally, more: Tally) -> Tally:
    """Add two tallies, place by place."""
    return {place: some.get(place, 0.0) + more.get(place, 0.0) for place in {**some, **more}}


def one_more(ends: Ends, *, very_slow: bool) -> Ends:
    """Count one more slow call that has ended."""
    slow_only, very = ends
    return (slow_only, very + 1.0) if very_slow else (slow_only + 1.0, very)
