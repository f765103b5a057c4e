"""Provider: one of several services that can serve the same call."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from typing import Generic, TypeVar

from recloser._failover.settings import check_range

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Provider(Generic[T]):
    """One of several services that can serve the same call.

    Args:
        key: The key of its breaker in the registry.
        target: What a call needs to reach it: a base URL, a client, a function. Failover does not
            look at it; it is `Attempt.target`.
        weight: Its share of the first attempts where the order is `weighted`, finite, >= 0. With
            0 it is tried only after all providers that have a weight.

    Raises:
        ValueError: `key` is empty, or `weight` is negative, infinite or NaN.
        TypeError: `key` is no str, or `weight` is no number.
    """

    key: str
    target: T
    _: KW_ONLY
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.key, str):
            raise TypeError(f"key must be a str, not {type(self.key).__name__}")
        if not self.key:
            raise ValueError("key must not be empty")
        check_range("weight", self.weight, 0.0, math.inf)


def checked_providers(providers: Iterable[Provider[T]]) -> tuple[Provider[T], ...]:
    """Check the providers of one `Failover`, and return them as a tuple.

    Raises:
        ValueError: There is none, or two have the same key.
        TypeError: One of them is no `Provider`.
    """
    checked = tuple(providers)
    if not checked:
        raise ValueError("providers must name at least one Provider")
    seen: set[str] = set()
    for each in checked:
        if not isinstance(each, Provider):
            raise TypeError(f"providers must be of Provider, not {type(each).__name__}")
        if each.key in seen:
            raise ValueError(f"providers must have each key once, not {each.key!r} twice")
        seen.add(each.key)
    return checked
