"""The table that shows what guards each route of an application."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from recloser import Registry
from recloser_adapters._routes.cover import Cover, cover


@dataclass(slots=True)
class Row:
    """A key and the routes that have it, or a route that is exempt.

    Attributes:
        key: The key, or the exempt route.
        registry: Holds the breaker; None if the route is exempt.
        explanation: The text to print if there is no breaker.
        rules: The routes that have this key, as method and route.
        patterns: The patterns that exempt the route or, if it has a key, some of its paths.
    """

    key: str
    registry: Registry | None
    explanation: str = "no calls yet"
    rules: list[str] = field(default_factory=list[str])
    patterns: list[str] = field(default_factory=list[str])

    @property
    def state(self) -> str:
        """The name of its state; of a route that no breaker guards, `exempt`."""
        if self.registry is None:
            return "exempt"
        breaker = self.registry.get(self.key)
        return "closed" if breaker is None else breaker.state.value

    def report(self) -> dict[str, Any]:
        """The row as values for JSON."""
        # `get` and not `[]`, because a report on a key must not create its breaker.
        breaker = None if self.registry is None else self.registry.get(self.key)
        figures = None if breaker is None else breaker.metrics()
        return {
            "key": self.key,
            "state": self.state,
            "calls": 0 if figures is None else figures.calls,
            "refused": 0 if figures is None else figures.refused,
            "explanation": self.explanation if breaker is None else breaker.explain(),
            "rules": self.rules,
            "exempt": self.patterns,
        }

    def sentence(self) -> str:
        """The row in words."""
        said: str = self.report()["explanation"]
        if self.rules not in ([], [self.key]):
            said += f"; for {', '.join(self.rules)}"
        if self.patterns:
            said += ": the path matches " if self.registry is None else "; not where it matches "
            said += " or ".join(self.patterns)
        return said


class Rows:
    """The rows of an application, by registry and key.

    Args:
        registry: The application's breakers.
        exempt: What is not guarded: patterns, or a function.
    """

    def __init__(self, registry: Registry, exempt: Any) -> None:
        self._registry = registry
        self._patterns: tuple[str, ...] = () if callable(exempt) else tuple(exempt)
        self._rows: dict[tuple[Registry | None, str], Row] = {}

    def guarded(self, registry: Registry | None, key: str, *rules: str) -> Row:
        """The row of a key.

        Args:
            registry: Holds its breaker; None for that of the application.
            key: The key.
            rules: Routes that have it, as method and route.
        """
        home = self._registry if registry is None else registry
        row = self._rows.setdefault((home, key), Row(key, home))
        row.rules += [rule for rule in rules if rule not in row.rules]
        return row

    def route(
        self, name: str, method: str, template: str, key: str | None, why: str, *, protected: bool
    ) -> None:
        """Add a route whose key is known without a request.

        Args:
            name: Its name: method and route.
            method: The method.
            template: The template of its path.
            key: Its key; None if it has no breaker of the middleware.
            why: Why it has none, if no pattern exempts it.
            protected: Whether it has a breaker of its own all the same.
        """
        covered = [(pattern, cover(pattern, method, template)) for pattern in self._patterns]
        everywhere = [pattern for pattern, each in covered if each is Cover.ALL]
        somewhere = [pattern for pattern, each in covered if each is Cover.SOME]
        if key is not None and not everywhere:
            row = self.guarded(None, key, name)
            row.patterns += [pattern for pattern in somewhere if pattern not in row.patterns]
        elif not protected:
            said = "not guarded" if key is not None else f"not guarded: {why}"
            patterns = everywhere if key is not None else []
            self._rows.setdefault((None, name), Row(name, None, said, patterns=patterns))

    def all(self) -> list[Row]:
        """All rows by name, with one for each breaker of no route."""
        for breaker in self._registry.breakers():
            self.guarded(None, breaker.key)
        return sorted(self._rows.values(), key=lambda row: row.key)
