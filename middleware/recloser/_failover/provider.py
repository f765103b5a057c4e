"""Provider: one of several services that can serve the same call."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Generic, TypeVar

from recloser._failover.settings import check_range
from recloser.hints import knows_fields

T = TypeVar("T")


@knows_fields
@dataclass(frozen=True, slots=True)
class Provider(Generic[T]):
    """One of several services that can serve the same call.

    Args:
        key: The key of its breaker in the registry.
        target: What a call needs to reach the provider: a base URL, a client, a function. Failover
            does not use it itself, but passes it on as `Attempt.target`.
        weight: Its share of the first attempts if the order is `weighted`, finite, >= 0. With 0, it
            is tried only after all providers with a higher weight.

    Raises:
        ValueError: `key` is empty, or `weight` is negative, infinite or NaN.
        TypeError: `key` is not a str, or `weight` is not a number.
    """

    key: str
    target: T
    _: KW_ONLY
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.key, str):
            raise TypeError(f"key must be a str, not {type(self.key).__name__}")
        if not self.key:
            raise ValueError("key must be a non-empty str, not ''")
        check_range("weight", self.weight, 0.0, math.inf)


def checked_providers(providers: Iterable[Provider[T]]) -> tuple[Provider[T], ...]:
    """Check the providers of one `Failover`, and return them as a tuple.

    Raises:
        ValueError: There is none, or two have the same key.
        TypeError: One of them is not a `Provider`.
    """
    given: object = providers
    if isinstance(given, Provider):
        raise TypeError("providers must be several, not one Provider: write [provider]")
    if isinstance(given, (str, Mapping)) or not isinstance(given, Iterable):
        kind = type(providers).__name__
        raise TypeError(f"providers must be a list, not {kind}: write [Provider(key, target), ...]")
    checked = tuple(providers)
    if not checked:
        raise ValueError("providers must contain at least one Provider")
    seen: set[str] = set()
    for each in checked:
        if not isinstance(each, Provider):
            raise TypeError(
                f"providers must contain Provider objects, not {type(each).__name__}: write "
                "[Provider(key, target), ...]"
            )
        if each.key in seen:
            raise ValueError(f"providers must have different keys, not {each.key!r} twice")
        seen.add(each.key)
    return checked
