"""The registries that one test has to do with: found through its fixtures, reset at its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from recloser import Breaker, Mode, Policy, Registry
from recloser_adapters._pytest.apps import known_keys
from recloser_adapters._pytest.transitions import Transitions

_Settings: TypeAlias = tuple[Policy, Mode, float]


class OfTest:
    """What the fixtures of one test share.

    Args:
        registry: The registry of the fixture `recloser_registry`.
        node: The test; its fixtures are looked at for apps and clients.

    Attributes:
        transitions: All changes of state in the registries that were seen.
    """

    def __init__(self, registry: Registry, node: Any) -> None:
        self._node = node
        self._seen: dict[Registry, _Before] = {}
        self.transitions: Transitions = Transitions()
        self._see(registry)
        # A test may still add middleware to its app.
        self.look(build=False)

    def look(self, within: Any = None, *, build: bool = True) -> dict[Registry, set[str]]:
        """Return the registries and the keys that are known of them.

        Args:
            within: Where to look: an app, a test client or a registry; None for the fixtures of the
                test, and for what was seen before.
            build: See `known_keys`.
        """
        things = [within]
        keys: dict[Registry, set[str]] = {}
        if within is None:
            things = list(getattr(self._node, "funcargs", {}).values())
            keys = {registry: set() for registry in self._seen}
        for thing in things:
            for registry, names in known_keys(thing, build=build).items():
                keys.setdefault(registry, set()).update(names)
        for registry, names in keys.items():
            self._see(registry)
            names.update(breaker.key for breaker in registry.breakers())
        return keys

    def _see(self, registry: Registry) -> None:
        if registry not in self._seen:
            self._seen[registry] = _Before(
                registry.subscribe(self.transitions),
                _settings_of(registry),
                {breaker: _settings_of(breaker) for breaker in registry.breakers()},
            )

    def end(self) -> None:
        """Leave nothing to the next test: no state, nothing that was learned, no other settings."""
        for registry, before in self._seen.items():
            before.unsubscribe()
            for breaker in registry.breakers():
                breaker.end_override()
                breaker.reset()
            _restore(registry, before.settings)
            for breaker, settings in before.breakers.items():
                _restore(breaker, settings)


@dataclass(frozen=True, slots=True)
class _Before:
    """What a registry was when the test began with it."""

    unsubscribe: Callable[[], None]
    settings: _Settings
    breakers: dict[Breaker, _Settings]


def _settings_of(thing: Registry | Breaker) -> _Settings:
    return thing.policy, thing.mode, thing.enforce_share


def _restore(thing: Registry | Breaker, settings: _Settings) -> None:
    # Only what was changed: to set one of a registry changes those of all its breakers.
    policy, mode, share = settings
    if thing.policy != policy:
        thing.policy = policy
    if thing.mode is not mode:
        thing.mode = mode
    if thing.enforce_share != share:
        thing.enforce_share = share
