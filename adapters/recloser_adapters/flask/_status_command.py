"""The command `flask recloser status`: the breaker that guards each rule, and its state."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, cast

import click
from flask import Flask, current_app, json
from flask.cli import AppGroup
from werkzeug.routing import Rule

from recloser import Mode, Registry
from recloser_adapters._command.credentials import password_of
from recloser_adapters._command.dashboard_api import CommandError, DashboardApi
from recloser_adapters._command.status import show_status
from recloser_adapters._routes.cover import Cover, cover
from recloser_adapters.flask._config import EXTENSION, RecloserState
from recloser_adapters.flask._rules import FlaskKeys, is_static, protections
from recloser_adapters.werkzeug import RuleKeys

_MEANING: Final = {
    Mode.ENFORCE: "",
    Mode.OBSERVE: ": nothing is refused",
    Mode.DISABLED: ": nothing is guarded",
}

commands: Final = AppGroup("recloser", help="Inspect this application's circuit breakers.")


@commands.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--url", help="Where a Dashboard of the running application is mounted.")
@click.option(
    "--user", help="For --url; the password is read from RECLOSER_PASSWORD, or asked for."
)
def _status(as_json: bool, url: str | None, user: str | None) -> None:
    """Show every rule, its key and its breaker, as this process knows them.

    This process is a new one, whose breakers have seen no calls. With --url, the keys of the
    process that serves are shown instead.
    """
    if url is not None:
        _show_served(url, user, as_json)
        return
    state: RecloserState = current_app.extensions[EXTENSION]
    rows = _rows(cast("Any", current_app)._get_current_object(), state)
    if as_json:
        report = {
            "enabled": state.enabled,
            "mode": state.mode.value,
            "process": os.getpid(),
            "keys": [row.report() for row in rows],
        }
        click.echo(json.dumps(report, indent=2))
        return
    for line in _lines(state, rows):
        # A key may contain text from a client, so control sequences and line breaks are escaped.
        click.echo("".join(char if char.isprintable() else ascii(char)[1:-1] for char in line))


def _lines(state: RecloserState, rows: list[_Row]) -> Iterator[str]:
    yield f"mode {state.mode.value}{_MEANING[state.mode]}"
    width = max((len(row.key) for row in rows), default=0)
    for row in rows:
        yield f"{row.key:<{width}}  {row.state:<9}  {row.sentence()}"
    if not isinstance(state.key, RuleKeys):
        yield f"Requests are named by {_name(state.key)}: only keys that were used are listed."
    if callable(state.exempt):
        yield f"{_name(state.exempt)} says which requests are exempt: no rule is listed as exempt."
    yield (
        "Each process has its own breakers. These are the breakers of the process of this command; "
        "--url shows those of a process that serves."
    )


def _show_served(url: str, user: str | None, as_json: bool) -> None:
    try:
        show_status(DashboardApi(url, user, password_of(user)), as_json=as_json)
    except CommandError as error:
        click.echo(f"recloser: {error}", err=True)
        raise SystemExit(error.status) from None


def _name(function: object) -> str:
    return getattr(function, "__qualname__", None) or repr(function)


@dataclass(slots=True)
class _Row:
    """A key and the rules that have it, or a rule that is exempt.

    Attributes:
        key: The key, or the exempt rule.
        registry: Holds the breaker; None if the rule is exempt.
        explanation: The text to print if there is no breaker.
        rules: The rules that have this key, as method and rule.
        patterns: The patterns that exempt the rule or, if it has a key, some of its paths.
    """

    key: str
    registry: Registry | None
    explanation: str = "no calls yet"
    rules: list[str] = field(default_factory=list[str])
    patterns: list[str] = field(default_factory=list[str])

    @property
    def state(self) -> str:
        if self.registry is None:
            return "exempt"
        breaker = self.registry.get(self.key)
        return "closed" if breaker is None else breaker.state.value

    def report(self) -> dict[str, Any]:
        # `get` and not `[]`, because a report on a key must not create its breaker.
        breaker = None if self.registry is None else self.registry.get(self.key)
        figures = None if breaker is None else breaker.metrics()
        return {
            "key": self.key,
            "state": self.state,
            "calls": 0 if figures is None else figures.calls,
            "refused": 0 if figures is None else figures.refused,
            "explanation": self.explanation if breaker is None else breaker.explain(),
            "rules": self.rules,
            "exempt": self.patterns,
        }

    def sentence(self) -> str:
        said: str = self.report()["explanation"]
        if self.rules not in ([], [self.key]):
            said += f"; for {', '.join(self.rules)}"
        if self.patterns:
            said += ": the path matches " if self.registry is None else "; not where it matches "
            said += " or ".join(self.patterns)
        return said


def _rows(app: Flask, state: RecloserState) -> list[_Row]:
    rows: dict[tuple[Registry | None, str], _Row] = {}

    def guarded(registry: Registry | None, key: str, *rules: str) -> _Row:
        home = state.registry if registry is None else registry
        row = rows.setdefault((home, key), _Row(key, home))
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


def _exempted(name: str, rule: Rule, key: str | None, patterns: list[str]) -> _Row:
    if key is not None:
        return _Row(name, None, "not guarded", patterns=patterns)
    return _Row(name, None, f"not guarded: {'static files' if is_static(rule) else 'marked so'}")


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
