"""Foresight: calls that are not overdue yet may already tell that nothing comes back any more.

At 50 calls a second some ten are in flight before the first is overdue, at 2,000 six hundred.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log

from recloser._circuit.evidence import FLOOR, Evidence, deeper
from recloser._circuit.histogram import ExponentialHistogram
from recloser._policy import Policy

# What a call says, in nats, that came back while older ones did not: only what would let one in a
# thousand come back is foreseen. Slower ones have to be overdue.
_CAME_BACK = log(1000.0)


def foresee(
    evidence: Evidence,
    policy: Policy,
    late: list[tuple[int, float]],
    came_back: int,
    history: Callable[[], ExponentialHistogram],
) -> list[int]:
    """Weigh the calls that are late; the permits of those that are enough to open, or none.

    Each tells as much as so long a call is rare, among those that are not slow. Each that was
    begun later and has ended tells against it.

    Args:
        evidence: What is known without them.
        policy: The bounds to what is enough.
        late: Permits and ages (s) of the calls in flight that are late, oldest first.
        came_back: How many of the calls begun after them have ended.
        history: Latencies so far.
    """
    if not evidence.idle:
        late = [(token, age) for token, age in late if token >= evidence.since]
    # The least that it costs to know that there is nothing: a busy key looks often.
    needed = evidence.enough + _CAME_BACK * came_back
    if not late or evidence.surprise - len(late) * log(FLOOR) < needed:
        return []
    tokens: list[int] = []
    latencies, before = history(), late[0][0] - 1
    surprise, depth = evidence.surprise, evidence.depth
    bad, expected = float(evidence.bad), evidence.expected_bad
    for token, age in late:
        surprise -= _CAME_BACK * (token - before - 1)
        if surprise <= 0.0:
            tokens.clear()
            surprise, depth, bad, expected = 0.0, 0, 0.0, 0.0
        slow, failed = evidence.normal_shares(depth, bad, expected)
        surprise -= log(slow + (1.0 - slow) * latencies.share_above(age))
        expected += slow + failed
        bad += 1.0
        depth = deeper(depth)
        before = token
        tokens.append(token)
    bad, calls = evidence.bad + len(tokens), evidence.calls + len(tokens)
    if bad < max(policy.min_failures, policy.failure_rate_threshold * calls):
        return []
    return tokens if surprise >= needed else []
