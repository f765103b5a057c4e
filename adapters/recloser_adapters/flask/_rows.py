"""What guards each rule of a Flask application: a row for each key, and for each exempt rule."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Flask
from werkzeug.routing import Rule

from recloser import Registry
from recloser_adapters._routes.cover import Cover, cover
from recloser_adapters._routes.rows import Row
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
    rows: dict[tuple[Registry | None, str], Row] = {}

    def guarded(registry: Registry | None, key: str, *rules: str) -> Row:
        home = state.registry if registry is None else registry
        row = rows.setdefault((home, key), Row(key, home))
        row.rules += [rule for rule in rules if rule not in row.rules]
        return row

    keys = state.key
    names = keys if isinstance(keys, RuleKeys) else FlaskKeys(app)
    for rule, method in _requests(app):
        name = names.name_of(rule, method)
        protected = [
            guarded(registry, key, name) for registry, key in protections(app, rule, method)
        ]
        if not isinstance(keys, RuleKeys):
            # A user's function may make the key from any part of the request.
            continue
        key_of_rule = keys.of_rule(rule, method)
        everywhere, somewhere = _exempting(state, rule, method)
        if key_of_rule is not None and not everywhere:
            row = guarded(None, key_of_rule, name)
            row.patterns += [pattern for pattern in somewhere if pattern not in row.patterns]
        elif not protected:
            rows.setdefault((None, name), _exempted(name, rule, key_of_rule, everywhere))
    for breaker in state.registry.breakers():
        guarded(None, breaker.key)
    return sorted(rows.values(), key=lambda row: row.key)


def _exempted(name: str, rule: Rule, key: str | None, patterns: list[str]) -> Row:
    if key is not None:
        return Row(name, None, "not guarded", patterns=patterns)
    why = "static files" if is_static(rule.endpoint, rule.rule) else "marked so"
    return Row(name, None, f"not guarded: {why}")


def _requests(app: Flask) -> Iterator[tuple[Rule, str]]:
    for rule in app.url_map.iter_rules():
        # Rules of these two kinds have no view.
        if not rule.build_only and rule.redirect_to is None:
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                yield rule, method


def _exempting(state: RecloserState, rule: Rule, method: str) -> tuple[list[str], list[str]]:
    """The patterns that exempt all requests to a rule, and those that exempt some."""
    patterns = () if callable(state.exempt) else state.exempt
    found = [(pattern, cover(pattern, method, rule.rule)) for pattern in patterns]
    everywhere = [pattern for pattern, covered in found if covered is Cover.ALL]
    return everywhere, [pattern for pattern, covered in found if covered is Cover.SOME]
