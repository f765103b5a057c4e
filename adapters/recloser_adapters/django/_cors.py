"""Refusals have the headers that `CorsMiddleware` of django-cors-headers adds, wherever it stands.

A browser hides an answer without CORS headers from the script that asked for it. A refusal passes that
middleware if it is further out than the breaker. If it is further in, the refusal is handed to another
one, with the same settings.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from recloser import Registry

_CORS: Final = ("corsheaders.middleware", "CorsMiddleware")


class CorsBelow:
    """The CORS middleware that stands below the breaker in `MIDDLEWARE`.

    Args:
        breaker: The class of the breaker middleware.
    """

    def __init__(self, breaker: type) -> None:
        self._breaker = breaker
        self._found: list[Any] | None = None

    def passed(
        self, request: HttpRequest, response: HttpResponseBase, registry: Registry
    ) -> HttpResponseBase:
        """The response to a refused request, with the headers that a browser asks for."""
        if "HTTP_ORIGIN" not in request.META:
            return response
        try:
            if self._found is None:
                self._found = self._below()
            for kind in self._found:
                response = kind(partial(_same, response))(request)
        except Exception as error:
            registry.fault("cors", error)
        return response

    def _below(self) -> list[Any]:
        found: list[Any] = []
        is_below = False
        for path in reversed(settings.MIDDLEWARE):
            kind: Any = import_string(path)
            if kind is self._breaker:
                is_below = True
                break
            names = {(base.__module__, base.__name__) for base in getattr(kind, "__mro__", ())}
            if _CORS in names:
                found.append(kind)
        return found if is_below else []


def _same(response: HttpResponseBase, request: HttpRequest) -> HttpResponseBase:
    return response
