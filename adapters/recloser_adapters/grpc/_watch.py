"""One admitted call: what its status says, and when its latency is taken."""

from __future__ import annotations

from math import inf
from threading import Lock
from typing import Any, Protocol

import grpc

from recloser import LONG_POLL, LoosePermit, Outcome, Pieces
from recloser_adapters.grpc._pushback import pause_of

_CODES = grpc.StatusCode
# What gRPC says of this side, with a status of the server: a message that could not be made, a
# request iterator that raised, metadata such as a value with a line break, a message above the limit
# of either side.
_LOCAL = (
    *("Exception serializing request!", "Exception iterating requests!"),
    "Invalid metadata",
)
_TOO_LARGE = "message larger than max"
# With these, the server may not have answered at all.
_SILENT = (
    *(_CODES.UNAVAILABLE, _CODES.DEADLINE_EXCEEDED, _CODES.INTERNAL, _CODES.UNKNOWN),
    _CODES.DATA_LOSS,
)
# A stream of fewer messages says nothing about how streams of its method end.
_SEVERAL = 2


class EndedCall(Protocol):
    """The end of an RPC, as both kinds of clients tell it."""

    def code(self) -> grpc.StatusCode | None:
        """Its status."""
        ...

    def details(self) -> str | None:
        """What the server, or gRPC, says of it."""
        ...


class CallWatch:
    """Ends the permit of one call, and watches its messages. None of its methods raises.

    Requests of a stream are sent by another thread, so what changes the permit is done under a lock.

    Args:
        permit: The permit of the call. Only this object ends it.
        method: The name of the method: its streams are alike.
        deadline: Seconds that the caller gives the call; None for no limit.
    """

    __slots__ = (
        "_is_poll",
        "_last_sent",
        "_lock",
        "_messages",
        "_method",
        "_permit",
        "_pieces",
        "_waits",
        "is_own_fault",
    )

    def __init__(self, permit: LoosePermit, method: str, deadline: object = None) -> None:
        self._permit = permit
        self._method = method
        self._is_poll: bool = permit.label == LONG_POLL
        self._lock = Lock()
        self._messages = 0
        self._pieces: Pieces | None = None
        self._waits = False
        self._last_sent: float = permit.started
        # The rest of another deadline may be used up before anything is sent.
        self.is_own_fault: bool = isinstance(deadline, (int, float)) and deadline <= 0.0

    # Requests of a stream

    def sends(self) -> None:
        """The server waits for requests: that is no latency of it."""
        with self._lock:
            if not self._is_poll:
                self._waits = True
                self._permit.wait()

    def sent(self) -> None:
        """One more request is sent."""
        self._last_sent = self._now()

    def sent_all(self) -> None:
        """There are no more requests: from now on the answer is awaited."""
        self._last_sent = self._now()
        with self._lock:
            self._go_on()

    def _go_on(self) -> None:
        if self._waits:
            self._waits = False
            permit = self._permit
            permit.go_on(max(0.0, self._last_sent - permit.started))

    def _now(self) -> float:
        try:
            clock = self._permit.breaker.clock
            return clock()
        except Exception as error:
            self._permit.breaker.fault("clock", error)
            return self._last_sent

    # Messages of a stream

    def asked(self) -> None:
        """The caller waits for the next message."""
        if self._pieces is not None:
            self._pieces.asked()

    def arrived(self) -> None:
        """A message has come. The first one is the answer, as far as latency goes."""
        self._messages += 1
        if self._messages > 1:
            if self._pieces is not None:
                self._pieces.arrived()
            return
        permit = self._permit
        with self._lock:
            self._go_on()
            if permit.answered == inf:
                permit.mark()
        try:
            if not self._is_poll and permit.breaker.are_answers(self._method):
                self._pieces = permit.pieces()
        except Exception as error:
            permit.breaker.fault("pieces", error)

    def read_all(self) -> None:
        """The server has ended its stream."""
        self._learn(by_server=True)

    def _learn(self, *, by_server: bool) -> None:
        if self._pieces is not None:
            self._pieces.arrived()  # what comes after the last message took so long
        messages, self._messages = self._messages, 1
        permit = self._permit
        if messages < _SEVERAL or self._is_poll:
            return
        try:
            prompt = permit.answered - permit.started <= permit.breaker.slow_threshold
            permit.breaker.learn_stream(self._method, prompt=prompt, ended=by_server)
        except Exception as error:
            permit.breaker.fault("pieces", error)

    # The end

    def end(self, call: EndedCall) -> None:
        """End the permit by the status of the call."""
        breaker = self._permit.breaker
        try:
            code = call.code()
            with self._lock:
                self._go_on()
                if code is _CODES.OK:
                    self._permit.success()
                else:
                    self._end_badly(call, code)
        except Exception as error:
            breaker.fault("outbound outcome", error)
            self._permit.cancel()

    def end_by_error(self, error: BaseException | None) -> None:
        """End the permit by what was raised in place of a status; None for nothing."""
        if isinstance(error, grpc.RpcError) and hasattr(error, "code"):
            self.end(error)  # gRPC raises some errors before there is a call
            return
        with self._lock:
            self._go_on()
            if isinstance(error, grpc.aio.UsageError):
                self._permit.ignore()  # the channel was closed on this side
            else:
                self._permit.end_by_error(error)

    def _end_badly(self, call: EndedCall, code: grpc.StatusCode | None) -> None:
        permit, details = self._permit, call.details() or ""
        if self.is_own_fault or details in _LOCAL:
            permit.ignore()
            return
        if code is _CODES.CANCELLED or code is None:
            self._left()
            return
        raised = getattr(call, "exception", None)
        if isinstance(call, grpc.Future) and raised is not None:
            error = raised()
            if error is not None and not isinstance(error, grpc.RpcError):
                permit.end_by_error(error)  # of another interceptor
                return
        self._judge(call, code, details)

    def _judge(self, call: EndedCall, code: grpc.StatusCode, details: str) -> None:
        permit = self._permit
        nothing = grpc.aio.Metadata()
        error = (
            call
            if isinstance(call, grpc.RpcError)
            else grpc.aio.AioRpcError(code, nothing, nothing, details)
        )
        outcome, _ = permit.classify(error)
        if outcome is Outcome.THROTTLED and _TOO_LARGE in details:
            outcome = Outcome.IGNORED
        if code is _CODES.DEADLINE_EXCEEDED and outcome is Outcome.FAILURE:
            if self._messages:
                self._left()
                return
            outcome = self._of_deadline()
        if code not in _SILENT and permit.answered == inf:
            permit.mark()
        metadata: Any = getattr(call, "trailing_metadata", tuple)()
        permit.end(outcome, error=f"gRPC {code.name}", retry_after=pause_of(metadata))

    def _of_deadline(self) -> Outcome:
        """What a deadline says that has passed without an answer.

        A caller may hand on what is left of its own deadline. One in which half of the usual calls
        would not have been answered says nothing; and neither does that of a call that waits for an
        event.
        """
        if self._is_poll:
            return Outcome.IGNORED
        breaker, waited = self._permit.breaker, self._now() - self._permit.started
        if breaker.knows_latency and waited < breaker.metrics().p50:
            return Outcome.CANCELLED
        return Outcome.FAILURE

    def left(self) -> None:
        """The caller has dropped the call."""
        with self._lock:
            self._go_on()
            self._left()

    def _left(self) -> None:
        # If messages had come, the caller has its answer.
        begun = self._messages > 0
        self._learn(by_server=False)
        self._permit.end(Outcome.SUCCESS if begun else Outcome.CANCELLED)
