"""Middleware of other people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from recloser import BreakerOpenError, State


def by_host(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Another URLconf for another host, as django-hosts does it."""

    def middleware(request: HttpRequest) -> Any:
        if request.get_host() == "other.example":
            request.urlconf = settings.OTHER_URLCONF
        return get_response(request)

    return middleware


def failing(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    def middleware(request: HttpRequest) -> Any:
        raise ZeroDivisionError

    return middleware


def refused(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """A middleware that needs a service whose breaker is open."""

    def middleware(request: HttpRequest) -> Any:
        raise BreakerOpenError("users", State.OPEN, None, 7.0)

    return middleware
