"""`manage.py recloser status`: the breaker that guards each URL pattern, and its state."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from recloser_adapters._command.credentials import password_of
from recloser_adapters._command.dashboard_api import CommandError, DashboardApi
from recloser_adapters._command.status import show_status
from recloser_adapters._command.table import lines_of
from recloser_adapters._routes.status_lines import status_lines, status_report
from recloser_adapters.django._keys import UrlKeys
from recloser_adapters.django._rows import rows_of
from recloser_adapters.django._state import current_state

__all__ = ["Command"]


class Command(BaseCommand):
    """The command."""

    help: Any = "Inspect this project's circuit breakers."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the one thing that can be asked for, and its options."""
        commands = parser.add_subparsers(dest="what", required=True, metavar="status")
        status = commands.add_parser(
            "status",
            help="Show every URL pattern, its key and its breaker.",
            description=(
                "Show every URL pattern, its key and its breaker, as this process knows them. This "
                "process is a new one, whose breakers have seen no calls. With --url, the keys of "
                "the process that serves are shown instead."
            ),
        )
        status.add_argument("--json", action="store_true", dest="as_json", help="Print JSON.")
        status.add_argument(
            "--url", help="Where a Dashboard of the running application is mounted."
        )
        status.add_argument(
            "--user", help="For --url; the password is read from RECLOSER_PASSWORD, or asked for."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Show the status."""
        if options["url"] is not None:
            self._show_served(options["url"], options["user"], options["as_json"])
            return
        state = current_state()
        rows = rows_of(state)
        if options["as_json"]:
            report = status_report(rows, enabled=state.enabled, mode=state.mode)
            self.stdout.write(json.dumps(report, indent=2))
            return
        key = None if isinstance(state.key, UrlKeys) else state.key
        for line in status_lines(rows, mode=state.mode, key=key, exempt=state.exempt):
            self.stdout.write(line)

    def _show_served(self, url: str, user: str | None, as_json: bool) -> None:
        try:
            api = DashboardApi(url, user, password_of(user))
            show_status(api.keys, lines_of, as_json=as_json)
        except CommandError as error:
            self.stderr.write(f"recloser: {error}")
            raise SystemExit(error.status) from None
