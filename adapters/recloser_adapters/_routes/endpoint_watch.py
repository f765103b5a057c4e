"""The watch of one call to an endpoint. The watch ends the permit of the call."""

from __future__ import annotations

from typing import Any, Self

from recloser import LoosePermit, Outcome, Permit


class EndpointPermit(LoosePermit):
    """The permit of a call to an endpoint.

    An exception that leaves the endpoint becomes a 500. A status that the exception carries, such
    as that of an upstream, does not count.
    """

    __slots__ = ()

    reads_status = False


class EndpointWatch:
    """Ends the permit of one call according to what the endpoint raised or returned.

    It is a context manager around the call. A subclass per framework decides what the framework's
    errors and responses mean. In this base class every return value is a success.

    Args:
        permit: The permit of the call.

    Attributes:
        permit: The permit of the call.
        goes_on: Whether the call goes on after the endpoint has returned, as a stream does. The
            watch of the stream then ends the permit.
    """

    __slots__ = ("goes_on", "permit")

    def __init__(self, permit: Permit) -> None:
        self.permit: Permit = permit
        self.goes_on: bool = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            self.raised(error)
        elif not self.goes_on:
            self.permit.success()

    def raised(self, error: BaseException) -> None:
        """End the call by the exception that the endpoint raised."""
        status = self.status_of_error(error)
        if status is None or Outcome.of_error(error) is Outcome.IGNORED:  # it stands for a refusal
            self.permit.end_by_error(error)
        else:
            self._end(status, error)

    def returned(self, result: object) -> Any:
        """Take what the endpoint returned.

        Returns:
            The value to give to the framework instead.
        """
        return result

    def answered(self, status: int, *, streams: bool) -> bool:
        """End the call by the status of a response, unless the response is good and streams.

        Args:
            status: The HTTP status.
            streams: Whether the response has a body that has not been produced yet.

        Returns:
            Whether the call goes on, so that the body must be watched.
        """
        outcome = self.outcome_of_status(status)
        if streams and outcome is Outcome.SUCCESS:
            self.goes_on = True
            self.permit.mark()
        else:
            self._end(status, f"HTTP {status}")
        return self.goes_on

    def _end(self, status: int, what: BaseException | str) -> None:
        outcome = self.outcome_of_status(status)
        if outcome is Outcome.IGNORED and status < 500:
            self.permit.mark()  # a 4xx has no vote, but shows that the endpoint works
        self.permit.end(outcome, error=what)

    def status_of_error(self, error: BaseException) -> int | None:
        """The HTTP status of an error that the framework turns into a response; None for others."""
        return None

    def outcome_of_status(self, status: int) -> Outcome:
        """The outcome of a call that the endpoint answered with a status."""
        return Outcome.of_status(status)
