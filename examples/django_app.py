"""A Django project in one file: every URL pattern gets a breaker, with one line in `MIDDLEWARE`.

Run it:  pip install '.[django]'
         python examples/django_app.py
Try it:  curl -i localhost:8000/orders/1
         curl -X PUT localhost:8000/ledger/down       # the service behind the orders fails
         for i in $(seq 9); do curl -i localhost:8000/orders/$i; done
                                                      # five times 502, then refused: 503 at once
         curl -i localhost:8000/about                 # the other URLs still work
         curl localhost:8000/breakers                 # why
         curl -X PUT localhost:8000/ledger/up         # it closes by itself, after eight good calls
         python examples/django_app.py check          # finds mistakes in the settings
         python examples/django_app.py recloser status
"""

from __future__ import annotations

import sys

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from recloser_adapters.django import exempt, get_registry

settings.configure(
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["recloser_adapters.django.BreakerMiddleware"],
    INSTALLED_APPS=["recloser_adapters.django"],
    RECLOSER={"EXPOSE_DETAILS": True},
    ALLOWED_HOSTS=["localhost", "127.0.0.1"],
    SECRET_KEY="only an example",
)
ledger = {"up": True}  # represents a database or another service


def order(request: HttpRequest, number: int) -> HttpResponse:
    if not ledger["up"]:
        return HttpResponse("the ledger is down", status=502)
    return JsonResponse({"order": number})


def about(request: HttpRequest) -> HttpResponse:
    return HttpResponse("We sell things.\n")


@exempt  # an endpoint for repairs must never be refused
def repair(request: HttpRequest, how: str) -> HttpResponse:
    ledger["up"] = how == "up"
    return JsonResponse(ledger)


@exempt
def breakers(request: HttpRequest) -> HttpResponse:
    return JsonResponse({breaker.key: breaker.explain() for breaker in get_registry()})


urlpatterns = [
    path("orders/<int:number>", order),
    path("about", about),
    path("ledger/<str:how>", repair),
    path("breakers", breakers),
]


def wsgi() -> WSGIHandler:
    """For another server: `gunicorn -w 1 'django_app:wsgi()'`."""
    return get_wsgi_application()


def asgi() -> ASGIHandler:
    """For another server: `uvicorn --factory django_app:asgi`."""
    return get_asgi_application()


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if not arguments or arguments[0].isdigit():
        port = arguments[0] if arguments else "8000"
        arguments = ["runserver", "--noreload", f"127.0.0.1:{port}"]
    execute_from_command_line([sys.argv[0], *arguments])
