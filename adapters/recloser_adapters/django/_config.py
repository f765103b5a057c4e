"""The settings of a Django project: reads and checks the dict `RECLOSER`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from inspect import iscoroutinefunction
from typing import Any, Final, Self

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from recloser import Mode, Outcome, Policy, Registry
from recloser.hints import meant
from recloser.wsgi import DEFAULT_EXEMPT, BreakerMiddleware
from recloser_adapters._routes.settings import max_keys_of, mode_of, policies_of, policy_of

SETTING: Final = "RECLOSER"
"""The name of the setting."""

_OF_REGISTRY: Final = ("STORE", "MAX_KEYS", "POLICY", "POLICIES")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings. The name of each in the dict is its name in capitals."""

    enabled: bool = True
    mode: Mode | None = None
    exempt: Any = None
    expose_details: bool = False
    registry: Registry | None = None
    store: Any = None
    max_keys: int = 1000
    policy: Policy | None = None
    policies: Mapping[str, Policy] | None = None
    key: Callable[[Any], str | None] | None = None
    classify: Callable[[int], Outcome] | None = None
    on_refuse: Callable[[Any, Any], Any] | None = None

    @classmethod
    def of(cls, given: object) -> Self:
        """Read the value of the setting.

        Raises:
            ImproperlyConfigured: It is no dict, a name is unknown, or a value is not valid. The
                message begins with the name.
        """
        if not isinstance(given, Mapping):
            raise ImproperlyConfigured(
                f"{SETTING} must be a dict such as {{'MODE': 'observe'}}, not {given!r}"
            )
        known = {field.name.upper(): field.name for field in fields(cls)}
        values: dict[str, Any] = {}
        for name, value in dict[Any, Any](given).items():  # pyright: ignore[reportUnknownArgumentType]
            if name not in known:
                raise ImproperlyConfigured(_unknown(name, known))
            try:
                values[known[name]] = _READERS[name](value)
            except (TypeError, ValueError, ImportError) as error:
                raise ImproperlyConfigured(f"{SETTING}[{name!r}]: {error}") from error
        for name in _OF_REGISTRY:
            if values.get("registry") is not None and name in given:
                raise ImproperlyConfigured(
                    f"{SETTING}[{name!r}] has no effect beside 'REGISTRY': "
                    f"write Registry({name.lower()}=...) where that is made"
                )
        return cls(**values)

    def new_registry(self) -> Registry:
        """The registry that these settings name or describe."""
        if self.registry is not None:
            return self.registry
        return Registry(
            self.policy,
            policies=self.policies or {},
            max_keys=self.max_keys,
            mode=self.mode or Mode.ENFORCE,
            store=self.store,
        )

    def patterns(self) -> Any:
        """What is exempt: patterns, or a function of the request."""
        if self.exempt is not None:
            return self.exempt
        return (*DEFAULT_EXEMPT, *_own_files())


def given_settings() -> Settings:
    """The settings of the project.

    Raises:
        ImproperlyConfigured: They are not valid.
    """
    return Settings.of(getattr(django_settings, SETTING, {}))


def _own_files() -> list[str]:
    """Patterns for static and media files, where Django or WhiteNoise may serve them."""
    urls = [getattr(django_settings, name, None) for name in ("STATIC_URL", "MEDIA_URL")]
    return [f"{url}*" for url in urls if isinstance(url, str) and url[:1] == "/" and len(url) > 1]


def _unknown(name: object, known: Iterable[str]) -> str:
    known = sorted(known)
    hint = meant(name, known).removeprefix(": ") or f"there are {', '.join(known)}"
    return f"{SETTING}[{name!r}]: unknown, {hint}"


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"must be True or False, not {value!r}")
    return value


def _imported(value: Any) -> Any:
    """An object that is named by its path, as Django's own settings do it."""
    return import_string(value) if isinstance(value, str) else value


def _function(value: Any) -> Any:
    function = _imported(value)
    if not callable(function):
        raise TypeError(f"must be a function or its dotted path, not {function!r}")
    if iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__):
        raise TypeError(f"must be a plain function, not the async {function!r}")
    return function


def _exempt(value: Any) -> Any:
    if isinstance(value, str) and not value.startswith(("/", "*")) and " " not in value:
        return _function(value)
    patterns: Any = value if callable(value) or not hasattr(value, "__iter__") else _kept(value)
    # The middleware checks the value, and its error says what is wrong.
    BreakerMiddleware(lambda environ, start_response: [], exempt=patterns)
    return patterns


def _kept(patterns: Any) -> Any:
    # An iterator can be read only once. A single string is an error that the middleware reports.
    return patterns if isinstance(patterns, str | bytes) else tuple(patterns)


def _registry(value: Any) -> Registry:
    registry = _imported(value)
    if not isinstance(registry, Registry):
        raise TypeError(f"must be a Registry or its dotted path, not {registry!r}")
    return registry


def _store(value: Any) -> Any:
    # Its path or URL is checked where the registry is made.
    return value


_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "ENABLED": _boolean,
    "MODE": mode_of,
    "EXEMPT": _exempt,
    "EXPOSE_DETAILS": _boolean,
    "REGISTRY": _registry,
    "STORE": _store,
    "MAX_KEYS": max_keys_of,
    "POLICY": policy_of,
    "POLICIES": policies_of,
    "KEY": _function,
    "CLASSIFY": _function,
    "ON_REFUSE": _function,
}
