"""A Django project for each test: URL patterns, the setting `RECLOSER`, and a client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from recloser import Registry

pytest.importorskip("django")

from tests.support.django_project import MIDDLEWARE, Project, Start, Urlconf, set_up

set_up()

from django.conf import settings
from django.test.utils import override_settings


@pytest.fixture
def start(registry: Registry) -> Iterator[Start]:
    """Starts a project with URL patterns; options in lower case are those of `RECLOSER`."""
    with ExitStack() as changed:

        def start(urlpatterns: Any, **options: Any) -> Project:
            given = {name: options.pop(name) for name in [*options] if name.isupper()}
            names = {"registry": registry, **options}
            names = {name.upper(): value for name, value in names.items() if value is not None}
            urlconf = Urlconf(urlpatterns) if isinstance(urlpatterns, list) else urlpatterns
            changed.enter_context(
                override_settings(
                    **{
                        "ROOT_URLCONF": urlconf,
                        "RECLOSER": names,
                        "MIDDLEWARE": [MIDDLEWARE],
                        **given,
                    }
                )
            )
            return Project(names.get("REGISTRY", registry))

        yield start


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    """No test may leave a language behind."""
    from django.utils import translation

    yield
    translation.activate(settings.LANGUAGE_CODE)
