"""What guards each route of a project: a row for each key, and for each exempt route."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from recloser import Registry
from recloser_adapters._routes.rows import Row, Rows
from recloser_adapters.django._keys import UrlKeys
from recloser_adapters.django._routes import Route
from recloser_adapters.django._state import RecloserState, current_state
from recloser_adapters.django._views import protections, serves_files

# Of a view whose methods are not known. What it really answers is known only when it is called.
_LIKELY: Final = ("GET", "POST")


def guarded_keys() -> dict[Registry, set[str]]:
    """Return the keys that guard URL patterns of the project, by the registry of their breakers.

    Not known are keys that a function of the user makes. A view that does not say which methods it
    answers is listed for GET and POST. A registry may have none that is known.

    Raises:
        ImproperlyConfigured: The setting `RECLOSER` is not valid.
    """
    state = current_state()
    if not state.enabled:
        return {}
    keys: dict[Registry, set[str]] = {state.registry: set()}
    for row in rows_of(state):
        if row.registry is not None and row.rules:
            keys.setdefault(row.registry, set()).add(row.key)
    return keys


def rows_of(state: RecloserState) -> list[Row]:
    """Return a row for each key and each exempt route, by name; also for keys of no route."""
    rows = Rows(state.registry, state.exempt)
    by_route = isinstance(state.key, UrlKeys)
    for route, method in _requests():
        name = route.name(method)
        protected = [
            rows.guarded(registry, key, name) for registry, key in protections(route.view, method)
        ]
        if by_route:  # a user's function may make the key from any part of the request
            why = "static files" if serves_files(route.view) else "marked so"
            rows.route(
                name, method, route.template, route.key(method), why, protected=bool(protected)
            )
    return rows.all()


def _requests() -> Iterator[tuple[Route, str]]:
    for route in UrlKeys().routes():
        for method in sorted(route.methods) or _LIKELY:
            yield route, method
