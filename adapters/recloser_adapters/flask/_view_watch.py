"""What Flask's errors and responses say about a call to a view."""

from __future__ import annotations

from collections.abc import Iterator
from types import GeneratorType
from typing import Any, Final, cast

from flask import Response, current_app, has_request_context, request
from werkzeug.exceptions import HTTPException

from recloser import BreakerOpenError, Outcome, Permit
from recloser.wsgi import REFUSED
from recloser_adapters._routes.endpoint_watch import EndpointWatch

_BODILESS: Final = (204, 304)  # RFC 9110: No Content, Not Modified


class ViewWatch(EndpointWatch):
    """Ends the permit of one call to a view."""

    __slots__ = ()

    def status_of_error(self, error: BaseException) -> int | None:
        """The status of an `HTTPException`, as the response that it may carry has it."""
        if not isinstance(error, HTTPException) or isinstance(error, BreakerOpenError):
            return None
        status: int = getattr(error.get_response(), "status_code", 500)
        return status

    def outcome_of_status(self, status: int) -> Outcome:
        """What a status says; nothing where it answers the refusal of another breaker."""
        outcome = Outcome.of_status(status)
        if outcome is Outcome.FAILURE and has_request_context() and request.environ.get(REFUSED):
            return Outcome.IGNORED
        return outcome

    def returned(self, result: Any) -> Response:
        """Make a response of what the view returned, and watch its body if it streams."""
        # Flask would do the same a moment later; only a response has a status.
        response = current_app.make_response(result)
        if self.answered(response.status_code, streams=_is_streamed(response)):
            response.response = cast("Any", _WatchedBody(response.response, self.permit))
        return response


def _is_streamed(response: Response) -> bool:
    """Whether the response has a body that is still to be made, other than a file to be sent."""
    is_head = has_request_context() and request.method == "HEAD"
    if is_head or response.status_code in _BODILESS or not response.is_streamed:
        return False
    return not response.direct_passthrough or type(response.response) is GeneratorType


class _WatchedBody:
    """A streamed body that ends a permit with its last piece, its error, or its `close()`."""

    def __init__(self, body: Any, permit: Permit) -> None:
        self._body = body
        self._next = iter(body).__next__
        self._permit = permit

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return self._next()
        except StopIteration:
            self._permit.success()
            raise
        except BaseException as error:
            self._permit.end_by_error(error)
            raise

    def close(self) -> None:
        """Close the body; before its end this means that the client has left."""
        try:
            if hasattr(self._body, "close"):
                self._body.close()
        finally:
            self._permit.cancel()
