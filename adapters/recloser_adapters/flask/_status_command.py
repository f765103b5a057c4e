"""The command `flask recloser status`: the breaker that guards each rule, and its state."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Final, cast

import click
from flask import current_app, json
from flask.cli import AppGroup

from recloser import Mode
from recloser_adapters._command.credentials import password_of
from recloser_adapters._command.dashboard_api import CommandError, DashboardApi
from recloser_adapters._command.status import show_status
from recloser_adapters._command.table import lines_of
from recloser_adapters.flask._config import EXTENSION, RecloserState
from recloser_adapters.flask._rows import Row, rows_of
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
    rows = rows_of(cast("Any", current_app)._get_current_object(), state)
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


def _lines(state: RecloserState, rows: list[Row]) -> Iterator[str]:
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
        api = DashboardApi(url, user, password_of(user))
        show_status(api.keys, lines_of, as_json=as_json)
    except CommandError as error:
        click.echo(f"recloser: {error}", err=True)
        raise SystemExit(error.status) from None


def _name(function: object) -> str:
    return getattr(function, "__qualname__", None) or repr(function)
