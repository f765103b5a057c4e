"""The watch over one call to an endpoint, which ends its permit."""

from __future__ import annotations

from typing import Any, Self

from recloser import LoosePermit, Outcome, Permit


class EndpointPermit(LoosePermit):
    """The permit of a call to an endpoint.

    An error that the endpoint lets out becomes a 500, also where the error has another status, such
    as that of an upstream.
    """

    __slots__ = ()

    reads_status = False


class EndpointWatch:
    """Ends the permit of one call by what the endpoint raised or returned.

    It is a context manager around the call. A framework's subclass says what the framework's own
    errors and responses mean; without one, any return value is a success.

    Args:
        permit: Of the call.

    Attributes:
        permit: The same.
        goes_on: Whether the call goes on after the endpoint has returned, as a stream does. The
            permit is then ended by whoever watches the stream.
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
        """End the call by what the endpoint raised."""
        status = self.status_of_error(error)
        if status is None:
            self.permit.end_by_error(error)
        else:
            self.permit.end(self.outcome_of_status(status), error=error)

    def returned(self, result: object) -> Any:
        """Take what the endpoint returned.

        Returns:
            What the framework gets instead.
        """
        return result

    def answered(self, status: int, *, streams: bool) -> bool:
        """End the call by the status of a response, unless a good response goes on as a stream.

        Args:
            status: The HTTP status.
            streams: Whether the response has a body that is still to be made.

        Returns:
            Whether the call goes on, so that the body must be watched.
        """
        outcome = self.outcome_of_status(status)
        if streams and outcome is Outcome.SUCCESS:
            self.goes_on = True
            self.permit.mark()
        else:
            self.permit.end(outcome, error=f"HTTP {status}")
        return self.goes_on

    def status_of_error(self, error: BaseException) -> int | None:
        """The HTTP status of an error that is the framework's way to answer, None for others."""
        return None

    def outcome_of_status(self, status: int) -> Outcome:
        """What a status that the endpoint answered with says about the call."""
        return Outcome.of_status(status)
