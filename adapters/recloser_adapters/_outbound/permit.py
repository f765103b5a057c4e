"""Permits of outbound calls: one that is also a watch, one that reports its end, one with a scope."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, ClassVar, TypeAlias, cast

from recloser import Breaker, LoosePermit, Outcome, Permit, Pieces, Registry
from recloser_adapters._outbound.scopes import Scopes
from recloser_adapters._outbound.usage import size_of

# Outcomes of calls that were answered, and not asked to wait.
_ANSWERED = (Outcome.SUCCESS, Outcome.IGNORED)


@dataclass(frozen=True, slots=True)
class CallReport:
    """One admitted call, after its end.

    Attributes:
        key: The breaker's key.
        outcome: How the call ended.
        latency: Seconds to the headers, or to the first chunk of an event stream. None if the call
            ended before that.
        duration: Seconds to the end of the call. If the answer has a body, that is the end of the
            body.
    """

    key: str
    outcome: Outcome
    latency: float | None
    duration: float


class WatchingPermit(LoosePermit):
    """A permit that is also the `BodyWatch` of a good answer, which saves one object per call.

    The end and the close of the body are both a success. A caller that closes early has its
    answer: an OpenAI stream usually ends this way, because clients stop reading at `[DONE]`.
    """

    __slots__ = ()

    # The adapter has judged the status already. An error of the body has no status to read.
    reads_status: ClassVar[bool] = False
    reads: ClassVar[bool] = False
    decided: ClassVar[bool] = True
    cuts_off: ClassVar[bool] = False
    patience: ClassVar[float] = inf
    longest_wait: ClassVar[float] = inf

    def arrived(self, data: bytes) -> None:
        """The body has begun to arrive: these bytes can be read, and were not read yet."""

    def asked(self) -> None:
        """The caller waits for the next chunk."""

    def chunk(self, data: bytes) -> None:
        """A chunk of the body has arrived."""

    def watched(self, chunks: Iterable[bytes]) -> Iterable[bytes]:
        """The same chunks: their content does not matter."""
        return chunks

    if TYPE_CHECKING:

        def eof(self) -> None:
            """The body is complete."""

        def closed(self) -> None:
            """The caller closed the body, complete or not."""

    else:
        # A method that calls `success` would cost one more frame per body.
        eof = closed = LoosePermit.success

    def failed(self, error: BaseException, *, local: bool = False) -> None:
        """Reading the body raised an error; `local` if the callee did not cause it."""
        if local:
            self.ignore()
        else:
            self.end_by_error(error)


class ReportedPermit:
    """A permit that keeps its outcome and reports it to `on_end`.

    Every end of the call goes through this object. The breaker and `on_end` therefore get the same
    outcome.

    Args:
        permit: The permit of the call. Only this object ends it.
        registry: Gives the time, and counts a fault of `on_end`.
        on_end: Called once, after the end, on the thread that ended the call.

    Attributes:
        outcome: How the call ended; None while it is in flight.
        request_bytes: The bytes of a request to a model, if its latency is explained by its size;
            else 0.
    """

    # Interrupted, `__init__` leaves an object that has only this, and that is collected as garbage.
    _on_end: Callable[[CallReport], None] | None = None

    def __init__(
        self,
        permit: Permit,
        registry: Registry,
        on_end: Callable[[CallReport], None] | None,
    ) -> None:
        self.outcome: Outcome | None = None
        self.request_bytes: int = 0
        self._permit = permit
        self._registry = registry
        self._on_end = on_end

    @property
    def timeout(self) -> float:
        """Seconds after which an answer is hopeless; see `Permit.timeout`."""
        return self._permit.timeout

    @property
    def breaker(self) -> Breaker:
        """The breaker that admitted the call."""
        return cast("Breaker", self._permit.breaker)

    @property
    def started(self) -> float:
        """When the call began, in seconds of the breaker's clock."""
        return self._permit.started

    def pieces(self) -> Pieces:
        """Take the latency, and watch for further pieces; see `Permit.pieces`."""
        return self._permit.pieces()

    def mark(self) -> None:
        """Take the latency here."""
        self._permit.mark()

    def wait(self) -> None:
        """The call waits for its own caller; see `LoosePermit.wait`."""
        if isinstance(self._permit, LoosePermit):
            self._permit.wait()

    def go_on(self, seconds: float) -> None:
        """The call waits for the callee again; see `LoosePermit.go_on`."""
        if isinstance(self._permit, LoosePermit):
            self._permit.go_on(seconds)

    def note_tokens(self, tokens: int) -> None:
        """Note how many tokens the answer of a model has, which explains how long it took."""
        self._permit.size = size_of(self.request_bytes, tokens)

    def success(self) -> None:
        """The callee answered."""
        self.end(Outcome.SUCCESS)

    def end(
        self,
        outcome: Outcome,
        *,
        error: BaseException | str | None = None,
        retry_after: float | None = None,
        quota: bool = False,
    ) -> None:
        """End the permit with an outcome. A second end has no effect."""
        if self.outcome is None:
            self.outcome = outcome
            counted = self._counted(outcome, retry_after, quota=quota)
            self._permit.end(counted, error=error, retry_after=retry_after, quota=quota)
            self._report(outcome)

    def _counted(self, outcome: Outcome, retry_after: float | None, *, quota: bool) -> Outcome:
        """The outcome that the breaker of the key counts."""
        return outcome

    def end_by_error(self, error: BaseException) -> None:
        """End the permit by the error that the call raised."""
        outcome, retry_after = self.classify(error)
        self.end(outcome, error=error, retry_after=retry_after)

    def classify(self, error: BaseException) -> tuple[Outcome, float | None]:
        """The outcome and the Retry-After of an error, as the wrapped permit classifies it."""
        return self._permit.classify(error)

    def _report(self, outcome: Outcome) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end is None:
            return
        permit = self._permit
        latency = None if permit.answered == inf else permit.answered - permit.started
        try:
            duration = self._registry.clock() - permit.started
            on_end(CallReport(permit.breaker.key, outcome, latency, duration))
        except Exception as error:
            self._registry.fault("on_end", error)

    def __del__(self) -> None:
        # The garbage collector cancels the wrapped permit, too.
        self._report(Outcome.CANCELLED)


class ScopedPermit(ReportedPermit):
    """A `ReportedPermit` whose waits go to their own scope; `scopes.py` says why.

    A throttled call is no vote at the breaker of the key, unless the scope is the key itself.

    Args:
        permit: The permit of the call. Only this object ends it.
        registry: Gives the time, and counts faults.
        on_end: Called once, after the end; None for nobody.
        scopes: The scopes of the registry.
        name: Returns the name of the scope.
        waiting: The permit of the scope, if it has something to wait for.
        llm: Whether it is a call to a known API of a model.

    Attributes:
        llm: Whether it is a call to a known API of a model.
    """

    def __init__(
        self,
        permit: Permit,
        registry: Registry,
        on_end: Callable[[CallReport], None] | None,
        scopes: Scopes,
        name: Callable[[], str],
        waiting: LoosePermit | None,
        *,
        llm: bool,
    ) -> None:
        super().__init__(permit, registry, on_end)
        self.llm: bool = llm
        self._scopes = scopes
        self._name = name
        self._waiting = waiting

    def _counted(self, outcome: Outcome, retry_after: float | None, *, quota: bool) -> Outcome:
        try:
            if outcome is Outcome.THROTTLED:
                if self._asked(retry_after, quota=quota):
                    return Outcome.IGNORED
            elif outcome in _ANSWERED:
                self._served()
        except Exception as fault:
            self._registry.fault("outbound wait", fault)
        return outcome

    def _asked(self, retry_after: float | None, *, quota: bool) -> bool:
        """Tell the scope that the call was asked to wait; return whether it has a scope."""
        name, breaker = self._name(), self._permit.breaker
        if name == breaker.key:
            return False
        waiting, self._waiting = self._waiting, None
        self._scopes.asked(name, waiting, self.breaker, retry_after, quota=quota)
        return True

    def _served(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._scopes.served(self._name(), waiting)


CallPermit: TypeAlias = LoosePermit | ReportedPermit
"""The permit of an outbound call."""
