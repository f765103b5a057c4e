"""Runs: how deep in a run of bad calls the last call was.

A bad call makes the run two deeper, up to a bound, and a good one makes it one less deep, so that
good calls among the bad ones do not hide a run: calls do not end in the order in which they began.
With a step of one both ways, every second call of a run looked like the first of a new run, and keys
whose slow calls come in runs opened three times as often.

What comes next is learned by the depth, and by whether the last call was good: each of these is a
row. Row 0 is outside of any run, then come the rows after a bad call, then those after a good one.
"""

from __future__ import annotations

DEEPEST = 4
_PLUNGE = 2


def deeper(depth: int) -> int:
    """The depth after one more bad call, which is also the row."""
    return min(depth + _PLUNGE, DEEPEST)


def depth_of(row: int) -> int:
    """The depth of a row; 0 outside of any run."""
    return row if row <= DEEPEST else row - DEEPEST


def row_after_good(row: int) -> int:
    """The row after one more good call."""
    depth = depth_of(row) - 1
    return depth + DEEPEST if depth > 0 else 0


def row_before(row: int) -> int:
    """The row with one less depth, > 0."""
    return 0 if row == 1 + DEEPEST else row - 1
