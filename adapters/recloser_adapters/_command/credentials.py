"""The user and the password for a dashboard. A password is never on the command line."""

from __future__ import annotations

import os
import sys
from getpass import getpass

from recloser_adapters._command.dashboard_api import WRONG_USE, CommandError

VARIABLE = "RECLOSER_PASSWORD"


def password_of(user: str | None) -> str:
    """Return the password of a user, from the environment or from a prompt; empty without a user.

    Raises:
        CommandError: There is neither, or the user has a password in it.
    """
    if user is None:
        return ""
    if ":" in user:
        # Basic authentication allows no colon in a name, so what follows is a password.
        raise CommandError(
            f"no password in --user: other users of this machine can read it; set {VARIABLE} "
            "instead, or type it when asked",
            WRONG_USE,
        )
    if VARIABLE in os.environ:
        return os.environ[VARIABLE]
    if not sys.stdin.isatty():
        raise CommandError(f"no password for {user!r}: set {VARIABLE}", WRONG_USE)
    try:
        return getpass(f"Password of {user}: ")
    except EOFError:
        raise CommandError(f"no password for {user!r}", WRONG_USE) from None
