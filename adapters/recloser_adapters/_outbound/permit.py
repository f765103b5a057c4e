"""Permits of outbound calls: what ends them, and what reports their end to the user."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from recloser import LoosePermit, Outcome, Permit, Registry


@dataclass(frozen=True, slots=True)
class CallReport:
    """One admitted call, after its end.

    Attributes:
        key: The breaker's key.
        outcome: How it ended.
        latency: Seconds to the headers, or to the first chunk of an event stream; None if it
            ended before.
        duration: Seconds to its end: of the body, where it had one.
    """

    key: str
    outcome: Outcome
    latency: float | None
    duration: float


class WatchingPermit(LoosePermit):
    """A permit that also is the `BodyWatch` of a good answer: one object less for each call.

    The end and the close of the body are both a success. A caller who closes early has had its
    answer: that is the usual end of an OpenAI stream, which nobody reads beyond `[DONE]`.
    """

    __slots__ = ()

    # The adapter has read the status of the answer. A body that breaks has none.
    reads_status: ClassVar[bool] = False
    reads: ClassVar[bool] = False

    def begun(self) -> None:
        """The first piece of the body came."""

    def chunk(self, data: bytes) -> None:
        """A piece of the body came."""

    def watched(self, chunks: Iterable[bytes]) -> Iterable[bytes]:
        """The same pieces: what they say does not matter."""
        return chunks

    if TYPE_CHECKING:

        def eof(self) -> None:
            """The body is complete."""

        def closed(self) -> None:
            """The caller closed it, at whatever point."""

    else:
        # A method that calls `success` would cost each body one more frame.
        eof = closed = LoosePermit.success

    def failed(self, error: BaseException, *, local: bool = False) -> None:
        """Reading it raised; `local` if that was no fault of the callee."""
        if local:
            self.ignore()
        else:
            self.end_by_error(error)


class ReportedPermit:
    """A permit whose outcome is known after its end, and told to `on_end`.

    Whatever ends the call ends it here, with an outcome. The breaker and `on_end` are told the
    same one.

    Args:
        permit: The permit of the call; nobody else ends it.
        registry: Whose clock tells the time, and where a fault of `on_end` is counted.
        on_end: Called once, after the end, on the thread that ended the call.

    Attributes:
        outcome: How the call ended; None while it goes on.
    """

    def __init__(
        self,
        permit: Permit,
        registry: Registry,
        on_end: Callable[[CallReport], None] | None,
    ) -> None:
        self.outcome: Outcome | None = None
        self._permit = permit
        self._registry = registry
        self._on_end = on_end

    def mark(self) -> None:
        """Take the latency here."""
        self._permit.mark()

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
        """End it with an outcome; a second end does nothing."""
        if self.outcome is None:
            self.outcome = outcome
            self._permit.end(outcome, error=error, retry_after=retry_after, quota=quota)
            self._report(outcome)

    def end_by_error(self, error: BaseException) -> None:
        """End it with what the call raised."""
        outcome, retry_after = self.classify(error)
        self.end(outcome, error=error, retry_after=retry_after)

    def classify(self, error: BaseException) -> tuple[Outcome, float | None]:
        """What an error says of the callee, as the permit itself would tell."""
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
        # The permit itself is cancelled by its own collection.
        self._report(Outcome.CANCELLED)


CallPermit: TypeAlias = LoosePermit | ReportedPermit
"""The permit of an outbound call."""
