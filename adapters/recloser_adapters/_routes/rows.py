"""One line of the table that shows what guards each route of an application."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from recloser import Registry


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
