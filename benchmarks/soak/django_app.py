"""The Django app of the soak, for both interfaces."""

from __future__ import annotations

import json
import time
from typing import Any

import django
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from benchmarks.soak import work


def _has_no_length(request: HttpRequest) -> bool:
    """Under WSGI, Django takes the body of such a request for empty."""
    return not hasattr(request, "scope") and not request.META.get("CONTENT_LENGTH")


def upload(request: HttpRequest) -> HttpResponse:
    return HttpResponse(work.digest(request.body))


def numbers(request: HttpRequest) -> HttpResponse:
    if _has_no_length(request):
        return HttpResponse(status=411)
    return HttpResponse(work.total(json.loads(request.body)))


def form(request: HttpRequest) -> HttpResponse:
    if _has_no_length(request):
        return HttpResponse(status=411)
    file: Any = request.FILES["file"]
    return HttpResponse(work.fields({"name": request.POST["name"]}, file.read()))


def item(request: HttpRequest, number: int) -> HttpResponse:
    return HttpResponse(work.item(number))


def big(request: HttpRequest) -> HttpResponse:
    return HttpResponse(work.big())


def stream(request: HttpRequest) -> StreamingHttpResponse:
    async def pieces() -> Any:
        for piece in work.pieces():
            yield piece

    is_async = hasattr(request, "scope")
    return StreamingHttpResponse(pieces() if is_async else work.pieces(), content_type="text/plain")


def faulty(request: HttpRequest, number: int) -> HttpResponse:
    status, body, delay = work.checked(number)
    time.sleep(delay)
    return HttpResponse(body, status=status)


def outage(request: HttpRequest) -> HttpResponse:
    assert request.body is not None
    return HttpResponse(work.through_outage())


urlpatterns = [
    path("django/upload", upload),
    path("django/json", numbers),
    path("django/form", form),
    path("django/item/<int:number>", item),
    path("django/big", big),
    path("django/stream", stream),
    path("django/faulty/<int:number>", faulty),
    path("django/outage", outage),
]


def _set_up() -> None:
    settings.configure(
        SECRET_KEY="no secret",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        DATA_UPLOAD_MAX_MEMORY_SIZE=None,
        LOGGING_CONFIG=None,
        LOGGING={},
    )
    django.setup()


def wsgi() -> Any:
    _set_up()
    return WSGIHandler()


def asgi() -> Any:
    _set_up()
    return ASGIHandler()
