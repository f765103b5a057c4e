"""How the settings of frameworks are read: what a value must be, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from recloser import Mode, Policy, Registry

_BY_LENIENCE: Final = (Mode.ENFORCE, Mode.OBSERVE, Mode.DISABLED)


def more_lenient(one: Mode, other: Mode) -> Mode:
    """The mode of two that refuses less."""
    return max(one, other, key=_BY_LENIENCE.index)


def mode_of(value: Any) -> Mode:
    """A mode, or its name in small or capital letters."""
    return Mode(value.lower() if isinstance(value, str) else value)


def max_keys_of(value: Any) -> Any:
    """A number of keys that a registry takes."""
    Registry(max_keys=value)
    return value


def policy_of(value: Policy | Mapping[Any, Any]) -> Policy:
    """A policy, or one of the fields in a mapping; their names may be in capitals.

    Raises:
        TypeError: It is neither, or a field is unknown or of another type.
        ValueError: A field is out of its range.
    """
    if isinstance(value, Policy):
        return value
    if not isinstance(value, Mapping):
        raise TypeError(f"must be a Policy or a dict of its fields, not {value!r}")
    return Policy(**{str(name).lower(): each for name, each in value.items()})


def policies_of(value: Mapping[Any, Any]) -> dict[str, Policy]:
    """Policies by key or pattern, each as `policy_of` takes it.

    Raises:
        TypeError: It is no mapping.
        ValueError: A key or a policy is not valid.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"must map keys to policies, not {value!r}")
    policies: dict[str, Policy] = {}
    for key, each in value.items():
        try:
            policies[key] = policy_of(each)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{key!r}: {error}") from error
    Registry(policies=policies)
    return policies
