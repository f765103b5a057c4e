"""When an attempt that has no answer is given up, and what cut-offs teach.

To cut off a call that would have been answered is expensive: it is paid twice. So slowness is no
reason to do it. These are, if another healthy provider can take over:

- **Nothing else is known.** The attempt takes `patience` times as long as hardly any call of its
  kind (`Permit.timeout`), and no less than `_ALONE`.
- **Hardly anything is known of the provider.** Then what is hopeless by its first few answers holds
  (`_circuit/hopeless.py`). Without that, ten times as long as hardly any such call takes at another
  provider is hopeless; one call in eight may take twice as long, and so on. A call of which nothing is
  known anywhere is not cut off: the client's own time-out holds.
- **The provider hangs.** It has answered no call since the attempt began, and either its breaker is
  not closed any more, or another call had waited for longer than usual when the attempt began. Then
  patience is no use: it may take as long as hardly any call of its kind, but no more than
  `_HANGS_AFTER` slow thresholds: while few calls are known, the longest one may be an outlier.
- **The provider was open already**, and the attempt is a probe. It may take two slow thresholds. One
  probe in eight may take twice as long, one in 64 four times, and so on, so that a provider that has
  become slower for good is found well.

A call that was cut off is never answered, so it teaches no latency. Two things show that it would
have been answered: the provider answers other calls, or the next provider took longer for the same
call. Then the limit becomes twice the time after which it was cut off, or twice that of the next
provider. So it does if an answer comes after longer than hardly any call takes. So the same mistake
is made a few times, not for ever.
"""

from __future__ import annotations

from math import inf

from recloser._circuit.hopeless import CUT_OFF_IF_FEW, time_limit_of
from recloser._operations import OperableCircuit
from recloser._permit import Permit
from recloser._policy import Policy
from recloser._state import State

# No attempt is cut off before so many seconds: if it is not known whether the provider hangs, and if
# it is. A few calls wait for so long in each outage. That costs less than to pay an answer twice.
_ALONE, _HANGING = 2.0, 1.0
# Slow thresholds after which a call to a provider that hangs is hopeless.
_HANGS_AFTER = 4.0
# How many times as long as at another provider an answer may take at one of which nothing is known.
_ELSEWHERE = 10.0
# Slow thresholds that a probe of an open provider may take, and seconds at least: it may have to
# connect, which the calls before did not.
_PROBE, _SHORTEST_PROBE = 2.0, 0.3
# Cut-offs teach for as long as one generation of latencies (`Policy.history_span`).
_REMEMBERED = 600.0  # seconds
_MOST = 1000  # breakers remembered at most
_DEFAULT_CEILING = Policy().slow_ceiling
_CLOSED, _OPEN, _HALF_OPEN = State.CLOSED, State.OPEN, State.HALF_OPEN


class CutOffs:
    """What one `Failover` knows about calls without an answer, by the key of a breaker.

    Times are seconds of the registry's clock. Each change is one store into a dict, so threads need
    no lock.
    """

    __slots__ = ("_answered_at", "_cut_after", "_longer", "_waiting_since")

    def __init__(self) -> None:
        self._answered_at: dict[str, float] = {}
        # The start of the first call since the last answer.
        self._waiting_since: dict[str, float] = {}
        # After how many seconds a call was cut off, if none has been answered since.
        self._cut_after: dict[str, float] = {}
        # Calls may take so many seconds at least, and until when that holds.
        self._longer: dict[str, tuple[float, float]] = {}

    # What happens

    def begun(self, key: str, now: float) -> None:
        """An attempt begins."""
        if len(self._waiting_since) >= _MOST:
            for known in (self._answered_at, self._waiting_since, self._cut_after, self._longer):
                known.clear()
        self._waiting_since.setdefault(key, now)

    def answered(self, permit: Permit, now: float) -> None:
        """The provider has answered a call, well or badly."""
        key, state = permit.breaker.key, permit.breaker.state
        self._answered_at[key] = now
        self._waiting_since.pop(key, None)
        after = self._cut_after.pop(key, 0.0)
        # If the provider was open, it did hang.
        if after and state is not _OPEN and state is not _HALF_OPEN:
            self.would_have_taken(key, after, now)

    def served(self, permit: Permit, now: float) -> None:
        """The provider has served a call."""
        took = now - permit.started
        if took > _usual(permit.breaker, permit.token):
            self.would_have_taken(permit.breaker.key, took, now)
        self.answered(permit, now)

    def left(self, permit: Permit) -> None:
        """The caller of an attempt went away."""
        if self._waiting_since.get(permit.breaker.key) == permit.started:
            self._waiting_since.pop(permit.breaker.key, None)

    def cut(self, key: str, after: float) -> None:
        """An attempt was given up after so many seconds."""
        self._cut_after[key] = after

    def would_have_taken(self, key: str, seconds: float, now: float) -> None:
        """A call that was cut off would have been answered, after more than so many seconds."""
        self._cut_after.pop(key, None)
        self._longer[key] = max(2.0 * seconds, self._longest(key, now)), now + _REMEMBERED

    # What follows from it

    def hopeless_after(self, permit: Permit, patience: float, elsewhere: float = inf) -> float:
        """Seconds after which an attempt is given up if another healthy provider can take over.

        Args:
            permit: The permit of the attempt.
            patience: `Failover(patience=...)`.
            elsewhere: Seconds that hardly any such call takes at another healthy provider; infinite
                if that is not known.

        Returns:
            Seconds; infinite if that is not known, or nothing may be cut off.
        """
        breaker, token = permit.breaker, permit.token
        if permit.timeout == inf:
            return inf
        ceiling, own = breaker.policy.slow_ceiling, _own_ceiling(breaker)
        slow, usual = _slow(breaker, token), _usual(breaker, token)
        if breaker.state is _OPEN or breaker.state is _HALF_OPEN:
            probe = max(_PROBE * slow, _SHORTEST_PROBE) if slow < ceiling else inf
            return min(time_limit_of(probe, token, inf), own)
        key, started = breaker.key, permit.started
        if not breaker.knows_latency:
            if usual >= ceiling:
                usual = time_limit_of(max(_ELSEWHERE * elsewhere, CUT_OFF_IF_FEW), token, inf)
            return min(max(usual, self._longest(key, started)), own)
        if usual >= ceiling:
            return own  # such calls are not known
        hangs = started - self._waiting_since.get(key, started) > slow or key in self._cut_after
        if hangs:
            limit = max(min(usual, _HANGS_AFTER * slow), _HANGING)
        else:
            limit = max(patience * usual, _ALONE)
        return min(max(limit, self._longest(key, started)), own)

    def look_after(self, permit: Permit) -> float:
        """Seconds from the start of an attempt after which it may be given up if it hangs."""
        breaker, token = permit.breaker, permit.token
        hopeless = min(_usual(breaker, token), _HANGS_AFTER * _slow(breaker, token))
        return max(hopeless, _HANGING, self._longest(breaker.key, permit.started))

    def hangs(self, permit: Permit, waited: float) -> bool:
        """Whether a provider is known to hang: not closed, and no answer since an attempt began.

        Args:
            permit: The permit of the attempt.
            waited: Seconds for which it has waited. While hardly anything is known of the provider,
                that is no less than what is hopeless then.
        """
        breaker = permit.breaker
        breaker.notice()
        if breaker.state is _CLOSED:
            return False
        if not breaker.knows_latency and waited < _usual(breaker, permit.token):
            return False
        return self._answered_at.get(breaker.key, -inf) < permit.started

    def _longest(self, key: str, now: float) -> float:
        longer, until = self._longer.get(key, (0.0, 0.0))
        return longer if now < until else 0.0


def _slow(breaker: OperableCircuit, token: int) -> float:
    """The latency above which a call is slow, in seconds; `Policy.slow_ceiling` if unknown."""
    return min(breaker.slow_threshold * breaker.ratio_of(token), breaker.policy.slow_ceiling)


def _usual(breaker: OperableCircuit, token: int) -> float:
    """Seconds that hardly any call of a kind exceeds; `Policy.slow_ceiling` if unknown."""
    return min(breaker.timeout * breaker.ratio_of(token), breaker.policy.slow_ceiling)


def _own_ceiling(breaker: OperableCircuit) -> float:
    """`Policy.slow_ceiling` if the user has lowered it, in seconds; else infinite.

    The default is no limit: no default may be below the time-out of the user's own client.
    """
    ceiling = breaker.policy.slow_ceiling
    return ceiling if ceiling < _DEFAULT_CEILING else inf
