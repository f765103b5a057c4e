"""The app for `INSTALLED_APPS`: `manage.py check` finds mistakes, `manage.py recloser` shows breakers."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core.checks import Tags, register

from recloser_adapters.django._checks import check_project

__all__ = ["RecloserConfig"]


class RecloserConfig(AppConfig):
    """The app. It has no models."""

    name: Any = "recloser_adapters.django"
    label: Any = "recloser"
    verbose_name: Any = "Recloser"

    def ready(self) -> None:
        """Register the checks."""
        register(check_project, Tags.urls)
