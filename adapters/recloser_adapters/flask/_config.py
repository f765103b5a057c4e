"""The settings of a Flask application: reads and checks `RECLOSER_*` in its config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Self

from recloser import Mode, Policy, Registry
from recloser.hints import meant
from recloser.wsgi import DEFAULT_EXEMPT, BreakerMiddleware
from recloser_adapters._routes.settings import (
    max_keys_of,
    mode_of,
    more_lenient,
    policies_of,
    policy_of,
)

EXTENSION: Final = "recloser"
"""The name under which `app.extensions` has the `RecloserState`."""

_PREFIX: Final = "RECLOSER_"
_TRUE: Final = ("1", "true", "yes", "on")
_FALSE: Final = ("0", "false", "no", "off")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings. The config name of each is `RECLOSER_` plus its name in capitals."""

    enabled: bool = True
    mode: Mode | None = None
    exempt: Any = DEFAULT_EXEMPT
    expose_details: bool = False
    max_keys: int = 1000
    policy: Policy | None = None
    policies: Mapping[str, Policy] | None = None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """Read a configuration.

        Raises:
            ValueError: A value is not valid, or a name is unknown. The message begins with the
                name.
        """
        known = {_PREFIX + field.name.upper(): field.name for field in fields(cls)}
        values: dict[str, Any] = {}
        for name, value in config.items():
            if not name.startswith(_PREFIX):
                continue
            if name not in known:
                raise ValueError(f"{name} is unknown{meant(name, known)}")
            try:
                values[known[name]] = _READERS[known[name]](value)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{name}: {error}") from error
        return cls(**values)

    def overridden(self, **given: Any) -> Self:
        """Return the settings, with each given value that is not `None` in place of the old one."""
        return replace(self, **{name: value for name, value in given.items() if value is not None})

    def registry(self) -> Registry:
        """Make the registry that these settings describe."""
        return Registry(
            self.policy,
            policies=self.policies or {},
            max_keys=self.max_keys,
            mode=self.mode or Mode.ENFORCE,
        )


@dataclass(frozen=True, slots=True)
class RecloserState:
    """What `app.extensions["recloser"]` holds.

    Attributes:
        registry: The application's breakers.
        key: The function that makes the key of a request: `RuleKeys`, or the user's own.
        exempt: The requests that are not guarded: patterns, or a function of the environ.
        enabled: Whether the extension guards this application.
        limit: The strictest mode of a breaker here; `Mode.DISABLED` if `enabled` is False.
    """

    registry: Registry
    key: Callable[[Any], str | None]
    exempt: tuple[str, ...] | Callable[[Any], bool]
    enabled: bool
    limit: Mode

    @property
    def mode(self) -> Mode:
        """The mode of the application's breakers now."""
        return self.mode_in(self.registry)

    def mode_in(self, registry: Registry) -> Mode:
        """The mode of a registry's breakers here: the more lenient of `limit` and its own mode."""
        return more_lenient(self.limit, registry.mode)


def _boolean(value: Any) -> bool:
    # Environment variables have no booleans; see Flask's Config.from_prefixed_env.
    word = str(value).strip().lower()
    if word not in _TRUE + _FALSE:
        raise ValueError(f"must be true or false, not {value!r}")
    return word in _TRUE


def _exempt(value: Any) -> Any:
    # The middleware checks the value, and its error says what is wrong.
    BreakerMiddleware(lambda environ, start_response: [], exempt=value)
    return value


_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "enabled": _boolean,
    "mode": mode_of,
    "exempt": _exempt,
    "expose_details": _boolean,
    "max_keys": max_keys_of,
    "policy": policy_of,
    "policies": policies_of,
}
