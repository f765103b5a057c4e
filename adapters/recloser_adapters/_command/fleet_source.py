"""Where `recloser fleet status` gets the status of a fleet: a store, or a worker's dashboard."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import parse_qs, urlsplit

from recloser.fleet import Store, StoreError, read_status, store_at
from recloser_adapters._command.dashboard_api import NO_ANSWER, WRONG_USE, CommandError
from recloser_adapters._fleet_json import fleet_json

VARIABLE = "RECLOSER_STORE"


class StoreSource:
    """A store, which is read and not written.

    Args:
        place: The path of a file, or a URL, as `Registry(store=...)` takes it; None for what
            RECLOSER_STORE names.
        namespace: The name of the fleet there; None for the usual one.

    Raises:
        CommandError: There is no such store, or it cannot be used.
    """

    def __init__(self, place: str | None, namespace: str | None = None) -> None:
        if place is not None and _has_password(place):
            raise CommandError(
                "no password in --store, where other users of this machine can read it: "
                f"set {VARIABLE} instead",
                WRONG_USE,
            )
        place = place if place is not None else os.environ.get(VARIABLE, "")
        self._store = _opened(place, namespace)

    def fleet(self, *, news_only: bool = False) -> dict[str, Any]:
        """Return what the store knows of its fleet.

        Args:
            news_only: As for a dashboard; a store tells all it knows each time.

        Raises:
            CommandError: The store does not answer.
        """
        try:
            return fleet_json(read_status(self._store))
        except StoreError as error:
            place = self._store.place
            why = f"{error}".removeprefix(f"{place}: ")
            raise CommandError(f"no answer from {place}: {why}", NO_ANSWER) from None

    def close(self) -> None:
        """Give back its connections."""
        self._store.close()


def _opened(place: str, namespace: str | None) -> Store:
    if not place:
        raise CommandError(
            "which fleet? Give --store PLACE, the path of a file or a URL such as "
            f"redis://cache:6379/0; or set {VARIABLE}; or give --url URL of a dashboard",
            WRONG_USE,
        )
    if "://" not in place:
        _check_file(place)
    try:
        return store_at(place, namespace)
    except ImportError as error:
        raise CommandError(f"{error}", WRONG_USE) from None
    except (TypeError, ValueError) as error:
        raise CommandError(f"this store cannot be read: {error}", WRONG_USE) from None
    except StoreError as error:
        raise CommandError(f"no answer from the store: {error}", NO_ANSWER) from None


def _check_file(path: str) -> None:
    """Check that there is a file: to open it would make it."""
    try:
        os.stat(path)
    except PermissionError:
        raise CommandError(
            f"permission denied: this user may not look into the folder of {path!r}; run this as the "
            "user of the workers",
            NO_ANSWER,
        ) from None
    except (OSError, ValueError):
        raise CommandError(
            f"there is no file {path!r}: give the path that the workers have, or a URL such as "
            "redis://cache:6379/0",
            NO_ANSWER,
        ) from None


def _has_password(place: str) -> bool:
    if "://" not in place:
        return False
    try:
        parts = urlsplit(place)
        return bool(parts.password or parse_qs(parts.query).get("password"))
    except ValueError:
        return False  # `store_at` says what is wrong with it
