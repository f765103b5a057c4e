"""What guards each route of a project: a row for each key, and for each exempt route."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from recloser import Registry
from recloser_adapters._routes.cover import Cover, cover
from recloser_adapters._routes.rows import Row
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
    rows: dict[tuple[Registry | None, str], Row] = {}

    def guarded(registry: Registry | None, key: str, *rules: str) -> Row:
        home = state.registry if registry is None else registry
        row = rows.setdefault((home, key), Row(key, home))
        row.rules += [rule for rule in rules if rule not in row.rules]
        return row

    by_route = isinstance(state.key, UrlKeys)
    for route, method in _requests():
        name = route.name(method)
        protected = [
            guarded(registry, key, name) for registry, key in protections(route.view, method)
        ]
        if not by_route:
            # A user's function may make the key from any part of the request.
            continue
        key = route.key(method)
        everywhere, somewhere = _exempting(state, route, method)
        if key is not None and not everywhere:
            row = guarded(None, key, name)
            row.patterns += [pattern for pattern in somewhere if pattern not in row.patterns]
        elif not protected:
            rows.setdefault((None, name), _exempted(name, route, key, everywhere))
    for breaker in state.registry.breakers():
        guarded(None, breaker.key)
    return sorted(rows.values(), key=lambda row: row.key)


def _exempted(name: str, route: Route, key: str | None, patterns: list[str]) -> Row:
    if key is not None:
        return Row(name, None, "not guarded", patterns=patterns)
    why = "static files" if serves_files(route.view) else "marked so"
    return Row(name, None, f"not guarded: {why}")


def _requests() -> Iterator[tuple[Route, str]]:
    for route in UrlKeys().routes():
        for method in sorted(route.methods) or _LIKELY:
            yield route, method


def _exempting(state: RecloserState, route: Route, method: str) -> tuple[list[str], list[str]]:
    """The patterns that exempt all requests to a route, and those that exempt some."""
    patterns = () if callable(state.exempt) else state.exempt
    found = [(pattern, cover(pattern, method, route.template)) for pattern in patterns]
    everywhere = [pattern for pattern, covered in found if covered is Cover.ALL]
    return everywhere, [pattern for pattern, covered in found if covered is Cover.SOME]
