"""The 503 for a refused call: of a request, or of what a view has called."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from recloser import BreakerOpenError, Permit, Registry
from recloser.wsgi import Refusal, note_refusal
from recloser.wsgi import permit_of as permit_of_environ


def refuse(request: HttpRequest, error: object) -> HttpResponse:
    """Answer a `BreakerOpenError` with the middleware's 503, not counted against the view.

    In a view that catches the error:

        except BreakerOpenError as error:
            return refuse(request, error)

    With Django Ninja, which answers 500 itself while `DEBUG` is on:

        api.add_exception_handler(BreakerOpenError, refuse)

    Args:
        request: The request; that of Django REST framework will do.
        error: The refusal. For another error, the answer says to come again in a second.
    """
    note_refusal(request.META)
    answer = Refusal.after(getattr(error, "retry_after", 0.0))
    return quiet(HttpResponse(answer.body, status=503, headers=dict(answer.headers)))


def quiet(response: HttpResponse) -> HttpResponse:
    """Let Django write no log record for a refusal.

    It would be one of level ERROR, and a mail to the administrators, for each request that is refused.
    That a breaker has opened is in the log once.
    """
    response._has_been_logged = True  # type: ignore[attr-defined]  # Django's own mark
    return response


def permit_of(request: HttpRequest) -> Permit:
    """The permit of the innermost breaker around a view; one without effect if there is none.

    With it a view ends its call itself: `permit_of(request).failure("stale data served")`.

    Args:
        request: The request; that of Django REST framework will do.
    """
    return permit_of_environ(request.META)


def answer_refused(
    on_refuse: Any, request: HttpRequest, error: BreakerOpenError, registry: Registry
) -> HttpResponseBase:
    """Answer a refusal: by a function of the user, or if that fails or there is none, by a 503.

    Args:
        on_refuse: The function, which gets request and error; None if there is none.
        request: The request.
        error: The refusal.
        registry: Counts the faults of the function.
    """
    if on_refuse is not None:
        try:
            response = checked(on_refuse(request, error))
        except Exception as fault:
            registry.fault("on_refuse", fault)
        else:
            note_refusal(request.META)
            return response
    return refuse(request, error)


def checked(response: object) -> HttpResponseBase:
    """Check that a function of the user has returned a response.

    Raises:
        TypeError: It has not.
    """
    if not isinstance(response, HttpResponseBase):
        raise TypeError(f"ON_REFUSE must return an HttpResponse, not {response!r}")
    return response
