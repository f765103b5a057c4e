"""What guards each rule of a Flask application: a row for each key, and for each exempt rule."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Flask
from werkzeug.routing import Rule

from recloser import Registry
from recloser_adapters._routes.rows import Row, Rows
from recloser_adapters._routes.views import is_static
from recloser_adapters.flask._config import EXTENSION, RecloserState
from recloser_adapters.flask._rules import FlaskKeys, protections
from recloser_adapters.werkzeug import RuleKeys


def guarded_keys(app: Flask) -> dict[Registry, set[str]]:
    """Return the keys that guard rules of an application, by the registry of their breakers.

    Not known are keys that a function of the user makes. A registry may have none that is known.

    Args:
        app: An application, with or without `Recloser`.
    """
    state: RecloserState | None = app.extensions.get(EXTENSION)
    if state is None or not state.enabled:
        return {}
    keys: dict[Registry, set[str]] = {state.registry: set()}
    for row in rows_of(app, state):
        if row.registry is not None and row.rules:
            keys.setdefault(row.registry, set()).add(row.key)
    return keys


def rows_of(app: Flask, state: RecloserState) -> list[Row]:
    """Return a row for each key and each exempt rule, by name; also for keys of no rule."""
    rows = Rows(state.registry, state.exempt)
    keys = state.key
    names = keys if isinstance(keys, RuleKeys) else FlaskKeys(app)
    for rule, method in _requests(app):
        name = names.name_of(rule, method)
        protected = [
            rows.guarded(registry, key, name) for registry, key in protections(app, rule, method)
        ]
        if isinstance(keys, RuleKeys):  # a user's function may make it from any part of the request
            why = "static files" if is_static(rule.endpoint, rule.rule) else "marked so"
            rows.route(
                name, method, rule.rule, keys.of_rule(rule, method), why, protected=bool(protected)
            )
    return rows.all()


def _requests(app: Flask) -> Iterator[tuple[Rule, str]]:
    for rule in app.url_map.iter_rules():
        # Rules of these two kinds have no view.
        if not rule.build_only and rule.redirect_to is None:
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield rule, method
