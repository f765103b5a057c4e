"""Permit: the right to one call, and the duty to say how it ended."""

from __future__ import annotations

from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self, TypeVar

from recloser._circuit.in_flight import WAITING, CallTimes
from recloser._outcome import Outcome

if TYPE_CHECKING:
    from recloser._breaker import Breaker

NO_TOKEN = 0
"""The token of a permit that has ended, or never had a vote."""
LONGEST = 1e9
"""Seconds from which a latency is none: nobody waits 31 years, and its square is still finite."""
# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_SUCCESS, _FAILURE, _THROTTLED = Outcome.SUCCESS, Outcome.FAILURE, Outcome.THROTTLED
_IGNORED, _CANCELLED = Outcome.IGNORED, Outcome.CANCELLED

AnyPermit = TypeVar("AnyPermit", bound="Permit")


class Permit(CallTimes):
    """The right to one call, and the duty to say how it ended.

    Exactly one of `success`, `failure`, `throttled`, `ignore` and `cancel` ends it, on any
    thread; a second one does nothing, and none of them raises. A permit that is dropped unended
    is cancelled. As a context manager, sync or async, it classifies what the block raised.

    Attributes:
        breaker: The breaker that gave it.
        started: When, in seconds of the breaker's clock.
        answered: When the callee began to answer, in the same seconds; infinite until `mark()`.
        is_loose: Whether its holder may lose it.
        reads_status: Whether an HTTP status on what the call raised is the callee's. Not so where
            the caller knows the status by itself, and for a handler: what it lets out is its own.
    """

    __slots__ = ("_outer", "_token", "_twin", "breaker")

    is_loose: ClassVar[bool] = False
    reads_status: ClassVar[bool] = True
    started: float
    answered: float
    breaker: Breaker
    _token: int
    _outer: Permit | None
    _twin: CallTimes

    # Made and filled by the breaker with plain stores: an __init__ would cost each call one more
    # frame. Further slots are left to subclasses.

    def success(self) -> None:
        """The callee answered."""
        token, self._token = self._token, NO_TOKEN
        if not token:
            return
        breaker = self.breaker
        calls = breaker._calls
        try:
            answered = self.answered
            latency = (breaker._clock() if answered == inf else answered) - self.started
            if 0.0 <= latency <= calls.good_until:
                # Most calls end here, without the lock: see `Calls`.
                del calls.in_flight[token]
                calls.recent.append(latency)
                return
        except KeyError:
            pass  # its generation is over, or somebody else ended it
        except BaseException as fault:
            breaker._lose(token, fault)
            return
        try:
            self._report(token, _SUCCESS)
        except BaseException as fault:
            breaker._lose(token, fault)

    def failure(
        self, error: BaseException | str | None = None, *, retry_after: float | None = None
    ) -> None:
        """The callee failed.

        Args:
            error: What to name in the reason, should this open the breaker: `HTTP 502`.
            retry_after: Seconds for which it asked to be left alone, if it did. It stays open at
                least that long, should it open.
        """
        self._end(_FAILURE, error, retry_after)

    def throttled(self, retry_after: float | None = None, *, quota: bool = False) -> None:
        """The callee said "later": leave it alone until then, with no vote on its health.

        Args:
            retry_after: Seconds, capped by `Policy.max_retry_after`; None or <= 0 only counts.
            quota: Money or quota is used up, which will not heal soon: without `retry_after`
                leave it alone for `Policy.quota_open_for`.
        """
        self._end(_THROTTLED, None, retry_after, "quota" if quota else "retry_after")

    def ignore(self) -> None:
        """The call says nothing of the callee: the caller's own fault."""
        self._end(_IGNORED)

    def cancel(self) -> None:
        """The caller went away: no vote, unless the call had already been slow."""
        self._end(_CANCELLED)

    def end(
        self,
        outcome: Outcome,
        *,
        error: BaseException | str | None = None,
        retry_after: float | None = None,
    ) -> None:
        """End it with an outcome; the general form of the five above."""
        if outcome is _SUCCESS:
            self.success()
        else:
            self._end(outcome, error, retry_after)

    def end_by_error(self, error: BaseException | None) -> None:
        """End it with what the call raised, None if nothing.

        A refusal by another breaker and what `Policy.ignore_errors` names say nothing. An error
        that names an HTTP status counts as that, see `reads_status`: a 4xx is the caller's own
        fault, a 429 throttles. Any other `Exception` is a failure, and what is none cancels.
        """
        if error is None:
            self.success()
        elif self._token:
            breaker, retry_after = self.breaker, None
            try:
                if isinstance(error, breaker.policy.ignore_errors):
                    outcome = _IGNORED
                elif self.reads_status:
                    # Not before the first error: it would slow the import.
                    from recloser._outcome import classify_error
                    from recloser._retry_after import retry_after_of

                    outcome, retry_after = classify_error(error), retry_after_of(error)
                else:
                    outcome = Outcome.of_error(error)
            except Exception as fault:  # a metaclass of the user, or a group nested without end
                breaker._listeners.fault("classifier", fault)
                outcome = _FAILURE
            except BaseException:
                # A signal handler wants out, and nobody comes this way again.
                self.cancel()
                raise
            self._end(outcome, error, retry_after)

    def _end(
        self,
        outcome: Outcome,
        error: BaseException | str | None = None,
        retry_after: float | None = None,
        rule: str = "retry_after",
    ) -> None:
        token, self._token = self._token, NO_TOKEN
        if not token:
            return
        try:
            self._report(token, outcome, error, retry_after, rule)
        except BaseException as fault:
            self.breaker._lose(token, fault)

    def _report(
        self,
        token: int,
        outcome: Outcome,
        error: BaseException | str | None = None,
        retry_after: float | None = None,
        rule: str = "retry_after",
    ) -> None:
        """Have the circuit decide what an end means."""
        breaker = self.breaker
        circuit = breaker._circuit
        now = breaker._clock()
        answered = self.answered
        latency = (now if answered == WAITING else min(now, answered)) - self.started
        if not 0.0 <= latency < LONGEST:
            breaker._listeners.strange_latencies += 1
            now, latency = self.started, 0.0
            if outcome is _SUCCESS:
                outcome = _IGNORED
        if outcome is _SUCCESS:
            breaker._decide(now, circuit.succeed, token, latency, now)
        elif outcome is _FAILURE:
            wait = _capped(breaker, retry_after, rule)
            breaker._decide(now, circuit.fail, token, latency, now, _name(error), wait)
        elif outcome is _THROTTLED:
            wait = _capped(breaker, retry_after, rule)
            breaker._decide(now, circuit.throttle, token, now, wait, rule)
        else:
            breaker._decide(now, circuit.end_without_vote, token, outcome, latency, now)

    def mark(self) -> None:
        """Take the latency here (the first byte); the verdict still comes at the end.

        From here on the call is not overdue, however long the answer is.
        """
        try:
            self.answered = self.breaker._clock()
        except Exception as error:
            self.breaker._listeners.fault("clock", error)

    @property
    def ended(self) -> bool:
        """Whether the call has ended, or never had a vote (mode observe or disabled)."""
        return self._token == NO_TOKEN

    @property
    def is_probe(self) -> bool:
        """Whether the call decides about a recovery."""
        return self.breaker._circuit.is_probe(self._token)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end_by_error(error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end_by_error(error)

    def __repr__(self) -> str:
        state = "ended" if self.ended else "probe" if self.is_probe else "in flight"
        return f"<Permit {self.breaker.key!r} {state}>"


class LoosePermit(Permit):
    """A permit whose holder may lose it: it is then cancelled by the collector.

    `Calls` would keep it alive, so a twin stands there for it. The permits of decorated functions
    and of the ASGI middleware stand there themselves: the stack that has them ends them.
    """

    __slots__ = ()

    is_loose = True
    answered: float

    def mark(self) -> None:
        """Take the latency here (the first byte); the verdict still comes at the end."""
        try:
            self.answered = self._twin.answered = self.breaker._clock()
        except Exception as error:
            self.breaker._listeners.fault("clock", error)

    def __del__(self) -> None:
        # No lock here: the collector may run while this very thread holds it.
        if self._token:
            self.breaker._calls.dropped.append(self._token)


def voteless(breaker: Breaker, kind: type[AnyPermit]) -> AnyPermit:
    """A permit that has ended already: for a call that is made, but not guarded."""
    permit = kind()
    permit.breaker = breaker
    permit.started = permit.answered = 0.0
    permit._token = NO_TOKEN
    permit._outer = None
    permit._twin = permit
    return permit


def _capped(breaker: Breaker, retry_after: float | None, rule: str) -> float:
    """The wait that an upstream may impose, in seconds; 0.0 for none."""
    policy = breaker.policy
    if retry_after is None:
        return policy.quota_open_for if rule == "quota" else 0.0
    try:
        wait = float(retry_after)
    except (TypeError, ValueError, OverflowError) as error:
        breaker._listeners.fault("retry_after", error)
        return 0.0
    # NaN and negative: as if nothing was said.
    return min(wait, policy.max_retry_after) if wait > 0.0 else 0.0


def _name(error: BaseException | str | None) -> str:
    """Name a failure in a reason: type and message, never the traceback and its frames."""
    # repr() keeps control characters of a message, or of a class made from one, out of logs.
    name = repr(type(error).__name__)[1:-1] if isinstance(error, BaseException) else ""
    try:
        message = str(error or "")[:120]
    except Exception:  # the user's own __str__
        return name
    if not name:
        return repr(message)[1:-1]
    return f"{name}: {message!r}" if message else name
