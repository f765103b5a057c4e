"""The permit of one attempt of a failover transport, and what the caller gets if none serves."""

from __future__ import annotations

from typing import Any

from recloser import Attempt, Failover, Fate, Outcome
from recloser_adapters._outbound.permit import ReportedPermit


class AttemptPermit(ReportedPermit):
    """The permit of one attempt. Its outcome decides whether the next provider is tried.

    Attributes:
        attempt: The attempt.
    """

    def __init__(
        self, attempt: Attempt[Any], failover: Failover[Any], request_bytes: int = 0
    ) -> None:
        super().__init__(attempt.permit, failover.registry, None)
        self.request_bytes = request_bytes
        self.attempt: Attempt[Any] = attempt.reported_later()
        self._handed_over = False

    def hand_over(self, fate: Fate | None, what: str) -> None:
        """Give the answer to the caller: from now on its body ends the call.

        Args:
            fate: The fate of the attempt in records; None for that of its outcome.
            what: What to name there if the answer is not a good one.
        """
        self._handed_over = True
        outcome = self.outcome or Outcome.SUCCESS
        error = None if fate is None and outcome is Outcome.SUCCESS else what
        self.attempt.commit(outcome, fate=fate, error=error)

    def end_by_error(self, error: BaseException) -> None:
        """End the permit by the error that the call raised."""
        # Before the caller has an answer, the time limit of the attempt may be what cancels it.
        # Only the attempt can tell, so the attempt ends the permit.
        if self._handed_over or isinstance(error, Exception):
            super().end_by_error(error)


class Best:
    """The answer or the error that the caller gets if no provider serves the call.

    What says most of the request itself comes first. The last of several is kept, but a rejection of
    credentials or a model never hides the failure of another provider, nor an earlier rejection.
    """

    def __init__(self) -> None:
        self._kept: Any = None
        self._is_rejection = False

    def keep(self, found: Any, *, rejected: bool) -> None:
        """Keep an answer or an error of an attempt after which the call went on."""
        if self._kept is None or not rejected:
            self._kept, self._is_rejection = found, rejected

    def instead_of(self, found: Any, *, rejected: bool) -> Any:
        """What the caller gets, if `found` is the last answer or error."""
        return self._kept if rejected and self._kept is not None else found


def settled(found: Any) -> Any:
    """Return an answer, or raise an error: the end of a call."""
    if isinstance(found, BaseException):
        raise found
    return found
