"""The command `flask recloser status`: the breaker that guards each rule, and its state."""

from __future__ import annotations

from typing import Any, Final, cast

import click
from flask import current_app, json
from flask.cli import AppGroup

from recloser_adapters._command.credentials import password_of
from recloser_adapters._command.dashboard_api import CommandError, DashboardApi
from recloser_adapters._command.status import show_status
from recloser_adapters._command.table import lines_of
from recloser_adapters._routes.status_lines import status_lines, status_report
from recloser_adapters.flask._config import EXTENSION, RecloserState
from recloser_adapters.flask._rows import rows_of
from recloser_adapters.werkzeug import RuleKeys

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
        report = status_report(rows, enabled=state.enabled, mode=state.mode)
        click.echo(json.dumps(report, indent=2))
        return
    key = None if isinstance(state.key, RuleKeys) else state.key
    for line in status_lines(rows, mode=state.mode, key=key, exempt=state.exempt):
        click.echo(line)


def _show_served(url: str, user: str | None, as_json: bool) -> None:
    try:
        api = DashboardApi(url, user, password_of(user))
        show_status(api.keys, lines_of, as_json=as_json)
    except CommandError as error:
        click.echo(f"recloser: {error}", err=True)
        raise SystemExit(error.status) from None
