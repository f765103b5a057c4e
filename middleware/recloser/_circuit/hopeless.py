"""Hopeless calls: after how many seconds it makes no sense to wait for an answer any longer.

Pure functions of numbers. A call that is cut off is never answered, so it teaches no latency. Four
rules keep a time limit that was learned from the calls that it lets through from being too short:

- The time limit is never below two slow thresholds, and the threshold follows the median, which a few
  lost calls do not move.
- One call in eight may take twice as long as the time limit, one in 64 four times as long, and so on.
  So calls that have become slower are seen, and the time limit grows.
- Before latency is judged (`Policy.min_history`), a handful of answers says little: the time limit is
  far above the longest of them, and never below `CUT_OFF_IF_FEW`. Without any answer it is the ceiling.
- During an outage a probe may take as long as the outage has lasted. So a callee that has become
  much slower for good can answer, and becomes the new normal. While limited, that holds for every
  call, but not if most are fast: those that hang would take all threads.
"""

from __future__ import annotations

# The time limit as a multiple of the slow threshold, at least. In a simulation of eight threads with 25
# calls a second (`test_hopeless.py`), 88 % of the calls were served while one in eight hung, and 77 %
# while one in four did. With a time-out of 30 s instead, 17 % and 13 % were.
_SLOW = 2.0
# The time limit as a multiple of a latency that hardly any call exceeds, at least.
_ABOVE_TAIL = 1.5
# A latency is known to be exceeded by hardly any call if one in this many remembered calls does. With
# fewer calls the longest one is multiplied by the share that is missing: that is how much longer the
# longest of a thousand is where the tail is as heavy as it can be (Pareto, index 1: the mean is
# infinite). So after 30 calls the time limit is at least 50 times the longest of them.
_HARDLY_ANY = 1000.0
# Just below 1, so that rounding cannot put the rank behind the last call.
_LONGEST = 1.0 - 1e-9

SOONEST_IF_FEW = 10.0
"""Seconds: while only a handful of answers is known, no call is overdue before. After ten seconds a
user turns to other work (Nielsen 1993, "Usability Engineering")."""
CUT_OFF_IF_FEW = 45.0
"""Seconds: while only a handful of answers is known, no call is cut off before. The first long answer
of a language model may take 40 s, and a call that is cut off teaches nothing."""

# 2**32 divided by the golden ratio (Knuth's multiplicative hash). It spreads the calls with more
# time evenly, whatever pattern the calls themselves have, such as one backend in turn of eight.
_SPREAD = 0x9E3779B1
_MASK = 0xFFFFFFFF


def tail_share(calls: float) -> float:
    """The share of calls below the latency that counts as the tail, for a number remembered."""
    return 1.0 - 1.0 / _HARDLY_ANY if calls >= _HARDLY_ANY else _LONGEST


def hopeless_after(slow: float, tail: float, calls: float, ceiling: float) -> float:
    """Seconds after which an answer is hopeless.

    Args:
        slow: The slow threshold, in seconds.
        tail: The latency below which `tail_share(calls)` of the remembered calls lie, in seconds.
        calls: Number of calls remembered, > 0.
        ceiling: `Policy.slow_ceiling`, in seconds: the result is never above it.
    """
    unseen = max(_HARDLY_ANY / calls, 1.0)
    return min(max(_SLOW * slow, _ABOVE_TAIL * tail * unseen), ceiling)


def hopeless_if_few(longest: float, answers: float, ceiling: float) -> float:
    """Seconds after which an answer is hopeless while so few are known that latency is not judged.

    Args:
        longest: The longest latency so far, in seconds.
        answers: Number of answers, >= 0.
        ceiling: `Policy.slow_ceiling`, in seconds: the result is never above it.
    """
    if answers <= 0.0:
        return ceiling
    return min(max(_ABOVE_TAIL * longest * _HARDLY_ANY / answers, SOONEST_IF_FEW), ceiling)


def time_limit_of(hopeless: float, token: int, ceiling: float, outage: float = 0.0) -> float:
    """Seconds that one call may take.

    Args:
        hopeless: The result of `hopeless_after`.
        token: The number of the call, > 0. It decides whether the call may take longer than most.
        ceiling: `Policy.slow_ceiling`, in seconds: the result is never above it.
        outage: For how many seconds the breaker has not been closed; 0.0 if it is closed.
    """
    leading_zeros = _MASK.bit_length() - (token * _SPREAD & _MASK).bit_length()
    return min(max(hopeless, outage) * 2.0 ** (leading_zeros // 3), ceiling)
