"""Permits: how many calls the workers of a fleet may have in flight so that a limit is used and kept.

A permit is not in use all the time: its worker waits for a call. So there are more permits than places.
How many more is computed from rates that are averaged over seconds. To follow what is in flight at a
moment, with the delay of the reports, makes the load swing between none and several times the limit.
"""

from __future__ import annotations

from recloser._fleet.reports import of_late

# Seconds over which rates are averaged, and over which calls in flight are.
_RATES_OVER, _RUNNING_OVER = 2.0, 0.2
# The most permits for each call in flight that a limit allows: more would make no difference.
_MOST = 20.0
# After a limit has changed, it takes seconds until as many calls are in flight. So the aim is the limit
# and `_BEYOND` of what is missing (if there are too many, it is less than the limit). It is at least
# `_LEAST_AIM` and at most `_MOST_AIM` of the limit.
_BEYOND, _LEAST_AIM, _MOST_AIM = 0.25, 0.3, 2.0
# If one worker has more busy permits than this, nearly all are in use: the formula is not needed.
_MANY = 1_000.0
# By Erlang's formula, some calls are refused however many permits there are. So the aim is to admit at
# most this part of them.
_NEARLY_ALL = 0.98


class Permits:
    """The number of permits of a fleet for one key.

    Args:
        usual: How many calls per second there usually are, in the whole fleet.

    Attributes:
        number: How many there are, in sum; 0.0 without a limit.
    """

    def __init__(self, usual: float) -> None:
        self.number = 0.0
        self._demand = self._ends = usual
        self._running = 0.0

    def note(self, asked: float, ended: float, running: float, passed: float) -> None:
        """Note what happened in the last `passed` seconds.

        Args:
            asked: How many calls the workers wanted to make.
            ended: How many have ended.
            running: How many are in flight.
            passed: Seconds, > 0.
        """
        self._demand = of_late(self._demand, asked, passed, _RATES_OVER)
        self._ends = of_late(self._ends, ended, passed, _RATES_OVER)
        self._running = of_late(self._running, running * passed, passed, _RUNNING_OVER)

    def choose(self, size: float, workers: int) -> None:
        """Choose how many there are for `size` calls in flight; 0.0 for no limit.

        With `size` calls in flight and as many ends per second as of late, a call takes `size / ends`
        seconds (Little's law). So if none were refused, `demand` times that would be in flight. Of its
        permits, a worker then has as many in use as are busy of a group of telephone lines (Erlang's
        loss formula).
        """
        offered = size / workers * self._demand / max(self._ends, 1e-9)
        aim = size + _BEYOND * (size - self._running)
        aim = min(max(aim, _LEAST_AIM * size), _MOST_AIM * size)
        busy = min(aim / workers, _NEARLY_ALL * offered)
        self.number = workers * lines_for(busy, offered, _MOST * size / workers)


def lines_for(busy: float, offered: float, most: float) -> float:
    """How many telephone lines a group needs so that `busy` of them are busy on average.

    The formula is Erlang's for calls that are lost if all lines are busy (1917).

    Args:
        busy: Lines that are busy on average, >= 0.0.
        offered: How many calls there would be at a time if none were lost, >= 0.0.
        most: Lines at most, >= 0.0.

    Returns:
        Lines; 1.25 means that every fourth group has two lines, and the others have one.
    """
    if busy > _MANY:
        return min(busy, most)
    lost, carried, lines = 1.0, 0.0, 0
    while busy > 0.0 and lines < most:
        lines += 1
        lost = offered * lost / (lines + offered * lost)
        before, carried = carried, offered * (1.0 - lost)
        if carried >= busy:
            return min(lines - 1 + (busy - before) / (carried - before), most)
    return most
