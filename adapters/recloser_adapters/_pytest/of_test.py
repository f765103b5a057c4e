"""The registries that one test has to do with: found through its fixtures, reset at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recloser import Mode, Registry
from recloser_adapters._pytest.apps import known_keys
from recloser_adapters._pytest.transitions import Transitions


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
        self._seen: dict[Registry, tuple[Mode, Callable[[], None]]] = {}
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
            self._seen[registry] = (registry.mode, registry.subscribe(self.transitions))

    def end(self) -> None:
        """Leave nothing to the next test: neither a state, nor what was learned, nor a mode."""
        for registry, (mode, unsubscribe) in self._seen.items():
            unsubscribe()
            for breaker in registry.breakers():
                breaker.reset()
            registry.mode = mode
