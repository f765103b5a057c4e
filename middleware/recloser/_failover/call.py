"""Call: what is known of one call through a failover, checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, TypedDict

from recloser.hints import meant, no_setting


class CallOptions(TypedDict, total=False):
    """What may be said about one call, as keyword arguments. `Call` explains them."""

    repeatable: bool
    prefer: str | None
    only: str | None
    model: str | None
    label: str | None
    size: float | None


# Without `eq` and `repr`: nothing uses them, and they are a third of the class's import time.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Call:
    """What is known of one call.

    Args:
        repeatable: Whether it is safe to make the call twice, so that it may be sent again after a
            failure.
        prefer: Key of the provider to try first; None for no preference.
        only: Key of the only provider that may serve the call, such as the one that made the file
            which is asked for; None for all.
        model: What is asked of a provider: the name of a model, a route. Each provider has a breaker
            of its own for it, so one sick model does not shut the others. None for the breaker of
            the provider itself.
        label: What kind of call it is, for latency that this explains; see `Breaker.acquire`.
        size: How much work it is, in any unit, >= 0; see `Breaker.acquire`.
    """

    repeatable: bool = False
    prefer: str | None = None
    only: str | None = None
    model: str | None = None
    label: str | None = None
    size: float | None = None


_NAMES = tuple(each.name for each in fields(Call))


def call_of(options: CallOptions, keys: Iterable[str]) -> Call:
    """Check what was said about a call.

    Args:
        options: The keyword arguments.
        keys: The keys of the providers.

    Raises:
        TypeError: An argument does not exist, or `model` is not a str.
        ValueError: `prefer` or `only` is not the key of a provider.
    """
    given: dict[str, Any] = {**options}
    for name in given:
        if name not in _NAMES:
            raise no_setting("", name, _NAMES)
    call = Call(**given)
    known = [*keys]
    for name, key in (("prefer", call.prefer), ("only", call.only)):
        if key is not None and key not in known:
            hint = meant(key, known)
            raise ValueError(f"{name} must be one of {sorted(known)!r}, not {key!r}{hint}")
    if call.model is not None and not isinstance(call.model, str):
        raise TypeError(f"model must be a str, not {call.model!r}")
    return call
