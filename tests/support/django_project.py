"""A Django project for tests: its settings are made once in a process, and overridden by each test."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import Any

import django
from django.conf import settings
from django.test.utils import override_settings

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
