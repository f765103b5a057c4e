"""Permit: the right to one call, and the duty to say how it ended."""

from __future__ import annotations

from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from recloser._circuit.in_flight import WAITING, CountedCall, Timing
from recloser._locked_circuit import NO_TOKEN
from recloser._operations import OperableCircuit
from recloser._outcome import Outcome

if TYPE_CHECKING:
    from recloser._pieces import Pieces

# As plain globals: to look up a member of an enum takes 60 ns on Python 3.11.
_SUCCESS, _FAILURE, _THROTTLED = Outcome.SUCCESS, Outcome.FAILURE, Outcome.THROTTLED
_IGNORED, _CANCELLED = Outcome.IGNORED, Outcome.CANCELLED

AnyPermit = TypeVar("AnyPermit", bound="Permit")
AnyLoosePermit = TypeVar("AnyLoosePermit", bound="LoosePermit")


class Permit(CountedCall):
    """The right to one call, and the duty to say how it ended.

    Exactly one of `success`, `failure`, `throttled`, `ignore` and `cancel` ends it, on any
    thread; a second one does nothing, and none of them raises. As a context manager, sync or
    async, it classifies what the block raised.

    A permit of this class must be ended: the breaker counts its call as in flight until then. One
    of `LoosePermit`, which `Breaker.acquire` gives, may be lost as well.

    Attributes:
        breaker: The breaker that gave it.
        token: The number of the call among those of its breaker; 0 once it has ended.
        started: When the call began, in seconds of the breaker's clock.
        answered: When the callee began to answer, in the same seconds; infinite until `mark()`.
        outer: The permit of the next breaker around the same request, None if there is none. Only
            the middlewares set it.
        reads_status: Whether an HTTP status on what the call raised is the callee's. It is not
            where the caller reads the status itself, and for a handler: what a handler raises is
            its own failure.
    """

    __slots__ = ("breaker", "outer")

    reads_status: ClassVar[bool] = True
    started: float
    answered: float
    breaker: OperableCircuit
    outer: Permit | None
    token: int

    # The breaker makes it and sets the slots: an __init__ would cost each call one more frame.
    # Subclasses set slots of their own.

    def success(self) -> None:
        """The callee answered."""
        token = self.token
        if not token:
            return
        breaker = self.breaker
        # Most calls end here, without the lock (see `in_flight.py`). By `breaker.end` an end takes
        # 2.3 us longer.
        calls = breaker._calls
        try:
            answered = self.answered
            if answered == inf:
                clock = breaker.clock
                answered = clock()
            latency = answered - self.started
            if latency <= calls.quick_latency and latency >= 0.0:
                self.token = NO_TOKEN
                del calls.voting[token]
                calls.recent.append(latency)
                return
        except KeyError:
            # Its generation is over, or somebody else ended it.
            self.token = token
        except BaseException as fault:
            self.token = NO_TOKEN
            breaker.lose(token, fault)
            return
        breaker.end(self, _SUCCESS)

    def failure(
        self, error: BaseException | str | None = None, *, retry_after: float | None = None
    ) -> None:
        """The callee failed.

        Args:
            error: What the reason names if this opens the breaker: an exception or `HTTP 502`.
            retry_after: Seconds for which the callee asked for a pause, if it did. While the breaker
                is open, it is believed for as long as each probe so far has asked for one.
        """
        self.breaker.end(self, _FAILURE, error, retry_after)

    def throttled(self, retry_after: float | None = None, *, quota: bool = False) -> None:
        """The callee answered "later". This is no vote on its health.

        The breaker opens for that time if so many calls in a row are asked to wait that all callers
        are, and not only some. `Failover` tries other providers first at once.

        Args:
            retry_after: Seconds, capped by `Policy.max_retry_after`. Without it (None or <= 0), the
                pauses begin with 1 s, and each is twice as long as the one before.
            quota: Money or quota is used up, which takes long to change. Without `retry_after`, the
                pause lasts `Policy.quota_open_for`.
        """
        self.breaker.end(self, _THROTTLED, None, retry_after, quota=quota)

    def ignore(self) -> None:
        """The call says nothing about the callee: it was the caller's own fault.

        If the callee answered all the same, as by a 4xx, say so by `mark()` before: it is alive.
        """
        self.breaker.end(self, _IGNORED)

    def cancel(self) -> None:
        """The caller went away. The call has no vote, unless it was slow already."""
        self.breaker.end(self, _CANCELLED)

    def end(
        self,
        outcome: Outcome,
        *,
        error: BaseException | str | None = None,
        retry_after: float | None = None,
        quota: bool = False,
    ) -> None:
        """End it with an outcome; the general form of the five above.

        Args:
            outcome: How the call ended.
            error: For a failure, as for `failure`.
            retry_after: Seconds for which the callee asked to be left alone, if it did.
            quota: For a throttled call, as for `throttled`.
        """
        if outcome is _SUCCESS:
            self.success()
        else:
            self.breaker.end(self, outcome, error, retry_after, quota=quota)

    def end_by_error(self, error: BaseException | None) -> None:
        """End it with what the call raised, None if nothing; see `classify`."""
        if error is None:
            self.success()
        elif self.token:
            try:
                outcome, retry_after, answered = self._judge(error)
                if answered and self.answered == inf:
                    self.mark()
                told = error if outcome is not _CANCELLED or self._is_cut_off(error) else None
                self.breaker.end(self, outcome, told, retry_after)
            except BaseException:
                # A signal handler raised, and this code will not run again for this call.
                self.cancel()
                raise

    def classify(self, error: BaseException) -> tuple[Outcome, float | None]:
        """Tell what an error says about the callee, and for how long (s) it asked for a pause.

        `Policy.classify_error` is asked first, and the errors in `Policy.ignore_errors` say nothing.
        Else an error with a status counts as that status (see `reads_status`): a 4xx is the caller's
        own fault, a 429 throttles. A refusal by another breaker and an error of the program itself,
        such as a `ValueError`, say nothing. Any other `Exception` is a failure. What is no
        `Exception` cancels the call.

        Returns:
            The outcome, and the seconds of a Retry-After if the error has one.
        """
        return self._judge(error)[:2]

    def _judge(self, error: BaseException) -> tuple[Outcome, float | None, bool]:
        """The same, and whether the error proves that the callee answered."""
        breaker = self.breaker
        try:
            # Imported at the first error, to keep the import of recloser fast.
            from recloser._classify_error import ask_policy, judge_error

            outcome = ask_policy(breaker.policy, error, breaker.fault)
            if not self.reads_status:
                return outcome or Outcome.of_error(error), None, False
            from recloser._retry_after import retry_after_of

            verdict = judge_error(error)
            if outcome is _IGNORED:
                return outcome, None, verdict.answered
            return outcome or verdict.outcome, retry_after_of(error), verdict.answered
        except Exception as fault:  # a metaclass of the user, or a group nested without end
            breaker.fault("classifier", fault)
            return _FAILURE, None, False

    def _is_cut_off(self, error: BaseException) -> bool:
        """Whether an error that cancels was thrown in by this program, not because a client left.

        A server cancels the handler of a client that has left.
        """
        if self.reads_status:
            return True
        from recloser._error_presets import is_time_out

        return is_time_out(error)

    def mark(self) -> None:
        """Take the latency now, at the first byte. The outcome is still decided at the end.

        From now on the call cannot become overdue, however long the answer is.
        """
        try:
            self.answered = self.breaker.clock()
        except Exception as error:
            self.breaker.fault("clock", error)

    def pieces(self) -> Pieces:
        """Note that the first piece of an answer has come, and that more pieces may follow.

        It takes the latency, unless `mark()` has done so. The object that it returns is told of
        each further piece; a stream that stalls is a failure. Call it once for each call.
        """
        # Imported at the first stream, to keep the import of recloser fast.
        from recloser._pieces import Pieces

        if self.answered == inf:
            self.mark()
        # Not below 0, should the clock have gone back.
        latency = max(0.0, self.answered - self.started)
        return Pieces(self.breaker, self.token, self.answered, latency)

    @property
    def label(self) -> str:
        """What kind of call it is, for latency that this explains; "" for none.

        Calls of different labels may take differently long. How long is learned, for 64 labels or
        sizes of each breaker. To set it before the call begins, use `Breaker.acquire(label=...)`.
        """
        return self.breaker.noted(self)[0]

    @label.setter
    def label(self, label: str) -> None:
        self.breaker.note(self, label, self.size)

    @property
    def size(self) -> float | None:
        """How much work it is, in any unit: bytes, tokens; None if unknown. It may be set at any time.

        It is remembered as the power of two below. Set it before the call begins if you know it then,
        by `Breaker.acquire(size=...)`: a call that hangs is noticed sooner.
        """
        octave = self.breaker.noted(self)[1]
        return None if octave is None else 2.0 ** (octave - 1)

    @size.setter
    def size(self, size: float) -> None:
        self.breaker.note(self, self.label, size)

    @property
    def ended(self) -> bool:
        """Whether the call has ended, or is not counted (mode disabled)."""
        return self.token == NO_TOKEN

    @property
    def is_probe(self) -> bool:
        """Whether the call decides about a recovery."""
        return self.breaker.is_probe(self.token)

    @property
    def timeout(self) -> float:
        """Seconds from the begin of the call after which an answer is hopeless.

        It is for the time-out of a client, and never raises. Usually it is `Breaker.timeout`. One
        call in eight may take twice as long, one in 64 four times as long, and so on, so that calls
        that have become slower are noticed. A probe may take as long as the outage has lasted. It
        is never above `Policy.slow_ceiling`. It is infinite where nothing may be cut off: in the
        modes observe and disabled, with an `enforce_share`, and after the end of the call.
        """
        return self.breaker.timeout_of(self.token)

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

    def __copy__(self) -> Self:
        """A copy is the same permit: there is one call. Else dropping the copy would end it."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # Unpickled, it has ended: what was pickled may be in flight still, in another process.
        return voteless, (self.breaker, LoosePermit)

    def __repr__(self) -> str:
        state = "ended" if self.ended else "probe" if self.is_probe else "in flight"
        return f"<Permit {self.breaker.key!r} {state}>"


class LoosePermit(Permit):
    """A permit whose holder may lose it: the garbage collector then ends it as cancelled.

    The table of calls in flight would keep it alive, so a `Timing` stands there for it. Permits of
    decorated functions and of the ASGI middleware are in the table themselves: the stack frame that
    holds such a permit ends it.
    """

    __slots__ = ("timing",)

    answered: float
    started: float
    timing: Timing
    token: int

    def mark(self) -> None:
        """Take the latency now, at the first byte. The outcome is still decided at the end."""
        try:
            self.answered = self.timing.answered = self.breaker.clock()
        except Exception as error:
            self.breaker.fault("clock", error)

    def wait(self) -> None:
        """The call waits for its own caller until `go_on()`, and cannot become overdue meanwhile."""
        if self.token and self.answered == inf:
            self.answered = self.timing.answered = WAITING

    def go_on(self, seconds: float) -> None:
        """The call waits for the callee again; the last `seconds` are no part of its latency."""
        call, token = self.timing, self.token
        if self.answered != WAITING or not isinstance(call, CountedCall):
            return
        self.answered = call.answered = inf
        try:
            now = self.breaker.clock()
            call.token, self.token = token, NO_TOKEN
            self.breaker.delay(call, seconds, now)
        except Exception as error:
            self.breaker.fault("clock", error)
        self.token, call.token = call.token or token, NO_TOKEN
        self.started = call.started

    def __del__(self) -> None:
        try:
            token = self.token
        except AttributeError:
            return  # no breaker has given it
        if token:
            self.breaker.drop(token)


class LabelledPermit(LoosePermit):
    """The permit of a call of which something is known when it begins: a label, a size.

    Its latency is not comparable with that of others. So it always ends by a decision.
    """

    __slots__ = ()

    def success(self) -> None:
        """The callee answered."""
        self.breaker.end(self, _SUCCESS)


def voteless(breaker: OperableCircuit, kind: type[AnyPermit]) -> AnyPermit:
    """A permit that has ended already: for a call that is made, but not counted."""
    permit = kind()
    permit.breaker = breaker
    try:
        permit.started = breaker.clock()
    except Exception as error:
        breaker.fault("clock", error)
        permit.started = 0.0
    permit.answered = inf
    permit.token = NO_TOKEN
    permit.outer = None
    if isinstance(permit, LoosePermit):
        permit.timing = Timing()
    return permit
