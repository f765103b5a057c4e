"""What the settings of the project say, made once in a process: its registry and its keys."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.core.signals import setting_changed
from django.http import HttpRequest

from recloser import Mode, Registry
from recloser.wsgi import enabled as environment_allows
from recloser_adapters._routes.settings import more_lenient
from recloser_adapters._routes.unused import UnusedPatterns
from recloser_adapters.django._config import SETTING, Settings, given_settings
from recloser_adapters.django._keys import UrlKeys

_OF_ROUTES: Final = frozenset({"ROOT_URLCONF", "MIDDLEWARE", "LANGUAGES", "LANGUAGE_CODE"})


@dataclass(frozen=True, slots=True)
class RecloserState:
    """What the settings say.

    Attributes:
        settings: The settings.
        registry: The project's breakers.
        key: The function that makes the key of a request: `UrlKeys`, or the user's own.
        exempt: The requests that are not guarded: patterns, or a function of the request.
        enabled: Whether anything is guarded.
        limit: The strictest mode of a breaker here; `Mode.DISABLED` if `enabled` is False.
    """

    settings: Settings
    registry: Registry
    key: Callable[[HttpRequest], str | None]
    exempt: tuple[str, ...] | Callable[[Any], bool]
    enabled: bool
    limit: Mode

    @property
    def mode(self) -> Mode:
        """The mode of the project's breakers now."""
        return self.mode_in(self.registry)

    def mode_in(self, registry: Registry) -> Mode:
        """The mode of a registry's breakers here: the more lenient of `limit` and its own mode."""
        return more_lenient(self.limit, registry.mode)


_lock = threading.Lock()
_states: list[RecloserState] = []


def current_state() -> RecloserState:
    """What the settings say. It is made at the first call.

    Raises:
        ImproperlyConfigured: They are not valid.
    """
    try:
        return _states[0]
    except IndexError:
        pass
    with _lock:
        if not _states:
            _states.append(_made())
        return _states[0]


def get_registry() -> Registry:
    """Return the registry that holds the breakers of the project's URL patterns.

    Raises:
        ImproperlyConfigured: The setting `RECLOSER` is not valid.
    """
    return current_state().registry


def _made() -> RecloserState:
    settings = given_settings()
    registry = settings.new_registry()
    exempt = settings.patterns()
    key = settings.key
    if key is None:
        key = UrlKeys()
        key.unused = UnusedPatterns(_users_own(settings.exempt), registry)
    enabled = settings.enabled and environment_allows()
    limit = (settings.mode or Mode.ENFORCE) if enabled else Mode.DISABLED
    return RecloserState(settings, registry, key, exempt, enabled, limit)


def _users_own(exempt: Any) -> Any:
    """What the user has exempted: of the defaults nobody has to be told that they match nothing."""
    return () if exempt is None else exempt


def _forget(*, setting: str, **_: object) -> None:
    """Read the settings anew when a test has changed them."""
    if setting == SETTING:
        _states.clear()
    elif setting in _OF_ROUTES:
        for state in _states:
            if isinstance(state.key, UrlKeys):
                state.key.clear()


setting_changed.connect(_forget, dispatch_uid="recloser")
