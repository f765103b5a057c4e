"""Maps the errors and responses of a Flask view to outcomes."""

from __future__ import annotations

from types import GeneratorType
from typing import Any, Final, cast

from flask import Response, current_app, has_request_context, request
from werkzeug.exceptions import HTTPException

from recloser import BreakerOpenError, Outcome
from recloser.wsgi import REFUSED, WatchedBody
from recloser_adapters._routes.endpoint_watch import EndpointWatch

_BODILESS: Final = (204, 304)  # RFC 9110: No Content, Not Modified


class ViewWatch(EndpointWatch):
    """Ends the permit of one call to a view."""

    __slots__ = ()

    def status_of_error(self, error: BaseException) -> int | None:
        """The status of an `HTTPException`, or of the response that it carries."""
        if not isinstance(error, HTTPException) or isinstance(error, BreakerOpenError):
            return None
        status: int = getattr(error.get_response(), "status_code", 500)
        return status

    def outcome_of_status(self, status: int) -> Outcome:
        """The outcome of a status; IGNORED if it is the answer to another breaker's refusal."""
        outcome = Outcome.of_status(status)
        if outcome is Outcome.FAILURE and has_request_context() and request.environ.get(REFUSED):
            return Outcome.IGNORED
        return outcome

    def returned(self, result: Any) -> Response:
        """Make a response from what the view returned, and watch its body if it streams."""
        # Flask would do the same next. Only a response has a status.
        response = current_app.make_response(result)
        if self.answered(response.status_code, streams=_is_streamed(response)):
            response.response = cast(
                "Any", WatchedBody(response.response, self.permit, marked=True)
            )
        return response


def _is_streamed(response: Response) -> bool:
    """Whether the response has a body that has not been produced yet and is not a file."""
    is_head = has_request_context() and request.method == "HEAD"
    if is_head or response.status_code in _BODILESS or not response.is_streamed:
        return False
    return not response.direct_passthrough or type(response.response) is GeneratorType
