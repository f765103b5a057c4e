"""A Django project for tests: its settings are made once in a process, and overridden by each test."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import django
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import AsyncClient, Client
from django.test.utils import override_settings

from recloser import Registry

MIDDLEWARE = "recloser_adapters.django.BreakerMiddleware"


class Urlconf:
    """A URLconf that is no module."""

    def __init__(self, urlpatterns: list[Any]) -> None:
        self.urlpatterns = urlpatterns


def set_up() -> None:
    """Make the settings, unless a test has done so."""
    if settings.configured:
        return
    libraries = [name for name in ("rest_framework", "ninja", "corsheaders") if find_spec(name)]
    settings.configure(
        SECRET_KEY="no secret",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=Urlconf([]),
        INSTALLED_APPS=["recloser_adapters.django", *libraries],
        MIDDLEWARE=[MIDDLEWARE],
        LOGGING_CONFIG=None,
        USE_TZ=True,
        # It needs neither users nor a database.
        REST_FRAMEWORK={"UNAUTHENTICATED_USER": None, "DEFAULT_AUTHENTICATION_CLASSES": []},
        CORS_ALLOWED_ORIGINS=["https://shop.example"],
    )
    logging.getLogger("django").addHandler(logging.NullHandler())
    django.setup()


Start = Callable[..., "Project"]


class Project:
    """A project that runs.

    Attributes:
        registry: Its breakers.
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    @property
    def keys(self) -> set[str]:
        """The keys of all calls that a breaker has guarded."""
        return {breaker.key for breaker in self.registry if breaker.metrics().calls}

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(path, headers=headers)

    @property
    def client(self) -> Client:
        return Client(raise_request_exception=False)

    @property
    def async_client(self) -> AsyncClient:
        return AsyncClient(raise_request_exception=False)

    def wsgi(self) -> WSGIHandler:
        return WSGIHandler()

    def asgi(self) -> ASGIHandler:
        return ASGIHandler()


class Overridden:
    """The settings that the present front end has overridden, until the next one."""

    def __init__(self) -> None:
        self._present: Any = None

    def by(self, **changed: Any) -> None:
        set_up()
        if self._present is not None:
            self._present.disable()
        self._present = override_settings(**changed)
        self._present.enable()


overridden = Overridden()
