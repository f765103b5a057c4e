"""A Django project for each test: URL patterns, the setting `RECLOSER`, and a client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from recloser import Registry

if TYPE_CHECKING:
    from tests.support.django_project import Start

if find_spec("django") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    # Before the tests are imported: libraries read the settings when they are.
    from tests.support.django_project import set_up

    set_up()


@pytest.fixture
def start(registry: Registry) -> Iterator[Start]:
    """Starts a project with URL patterns; options in lower case are those of `RECLOSER`."""
    from django.test.utils import override_settings
    from tests.support.django_project import MIDDLEWARE, Project, Urlconf

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
    from django.conf import settings
    from django.utils import translation

    yield
    translation.activate(settings.LANGUAGE_CODE)
