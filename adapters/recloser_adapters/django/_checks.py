"""The system checks: mistakes in `RECLOSER` and in `MIDDLEWARE` that would have no effect but a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, Final

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from recloser_adapters._routes.unused import UnusedPatterns
from recloser_adapters.django._config import SETTING
from recloser_adapters.django._keys import UrlKeys
from recloser_adapters.django._middleware import BreakerMiddleware
from recloser_adapters.django._state import RecloserState, current_state

_LINE: Final = "recloser_adapters.django.BreakerMiddleware"
# May stand above: it sets `request.urlconf`, adds headers that browsers need for each answer, or serves
# files and answers health checks itself.
_MAY_BE_ABOVE: Final = (
    "corsheaders.",
    "django_hosts.",
    "django.middleware.security.",
    "whitenoise.",
    "django_tenants.",
    "django_prometheus.",
    "opentelemetry.",
)


def check_project(app_configs: Any, **_: Any) -> list[checks.CheckMessage]:
    """Check the project, for `manage.py check`."""
    try:
        state = current_state()
    except ImproperlyConfigured as error:
        return [checks.Error(str(error), id="recloser.E001")]
    return [*_about_middleware(state), *_about_routes(state)]


def _about_middleware(state: RecloserState) -> Iterator[checks.CheckMessage]:
    paths: list[str] = list(settings.MIDDLEWARE)
    places = [place for place, path in enumerate(paths) if _is_breaker(path)]
    if not places:
        if state.enabled:
            yield checks.Warning(
                "Nothing is guarded: the breaker is not in MIDDLEWARE.",
                hint=f"Add {_LINE!r} at the top of MIDDLEWARE.",
                id="recloser.W001",
            )
        return
    if len(places) > 1:
        yield checks.Warning(
            "The breaker is in MIDDLEWARE more than once; the first one guards.",
            hint="Keep the first line.",
            id="recloser.W002",
        )
    above = [path for path in paths[: places[0]] if not path.startswith(_MAY_BE_ABOVE)]
    if above:
        yield checks.Warning(
            f"The breaker stands below {', '.join(above)} in MIDDLEWARE: what they do is not "
            "guarded, and it is done for refused requests, too.",
            hint=(
                "Move it up, unless they set request.urlconf. If that is so, add 'recloser.W003' to "
                "SILENCED_SYSTEM_CHECKS."
            ),
            id="recloser.W003",
        )


def _is_breaker(path: str) -> bool:
    try:
        kind: object = import_string(path)
    except ImportError:
        return False  # Django says so when it starts
    return isinstance(kind, type) and issubclass(kind, BreakerMiddleware)


def _about_routes(state: RecloserState) -> Iterator[checks.CheckMessage]:
    if not isinstance(state.key, UrlKeys):
        return  # the keys are not made from routes
    routes = [route.known() for route in state.key.routes()]
    given = state.settings.exempt
    own = () if given is None or callable(given) else given
    unused = UnusedPatterns(own, state.registry)
    for pattern in unused.unused_exemptions(routes):
        yield checks.Warning(
            f"{SETTING}['EXEMPT']: {pattern!r} matches no URL pattern of this project.",
            hint=_hint(pattern, [route.template for route in routes]),
            id="recloser.W004",
        )
    for name, near in unused.unused_policies(routes):
        yield checks.Warning(
            f"{SETTING}['POLICIES']: {name!r} is the key of no URL pattern of this project.",
            hint=f"Did you mean {near!r}?" if near else _hint(name, _keys(routes)),
            id="recloser.W005",
        )


def _keys(routes: Any) -> list[str]:
    return sorted({key for route in routes for key in route.keys})


def _hint(wrong: str, names: list[str]) -> str | None:
    near = difflib.get_close_matches(wrong, names, 1)
    return f"Did you mean {near[0]!r}?" if near else None
