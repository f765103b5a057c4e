"""Which policy a key gets."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from recloser._policy import Policy
from recloser.hints import instead, wrong


class Policies:
    """The policies of a registry.

    Args:
        default: The policy of keys that have none of their own; None for `Policy()`.
        policies: From a key, or a pattern of keys with `*`, `?` and `[...]`, to a policy.

    Raises:
        TypeError: An argument has the wrong type.

    Attributes:
        default: As given.
        exact: As given, by key or pattern. Replaced as a whole, never changed in place.
    """

    __slots__ = ("_patterns", "default", "exact")

    def __init__(self, default: Policy | None, policies: Mapping[str, Policy]) -> None:
        if not isinstance(policies, Mapping):
            raise TypeError(f"policies must be a mapping of str to Policy, not {policies!r}")
        for key, each in policies.items():
            if not isinstance(key, str) or not isinstance(each, Policy):
                raise TypeError(
                    f"policies must map str to Policy, not {key!r} to {each!r}"
                    f"{instead('Policy', each)}"
                )
        if default is not None and not isinstance(default, Policy):
            raise wrong("policy", "a Policy", default)
        self.default: Policy = default if default is not None else Policy()
        self._replace(dict(policies))

    def _replace(self, policies: dict[str, Policy]) -> None:
        self.exact: dict[str, Policy] = policies
        self._patterns = [
            (key, each) for key, each in policies.items() if any(char in key for char in "*?[")
        ]

    def set(self, key: str, policy: Policy) -> None:
        """Set the policy of a key or pattern, which then is the first one; `*` for the default."""
        others = {each: its for each, its in self.exact.items() if each != key}
        if key == "*":
            self.default = policy
            self._replace(others)
        else:
            self._replace({key: policy, **others})

    def of(self, key: str) -> Policy:
        """The policy of a key: its own, or that of a pattern or beginning, or the default."""
        policy = self.exact.get(key)
        if policy is not None:
            return policy
        for pattern, each in self._patterns:
            if fnmatchcase(key, pattern):
                return each
        while self.exact and " " in key:
            key = key.rpartition(" ")[0]
            if key in self.exact:
                return self.exact[key]
        return self.default


def check_policy(key: object, policy: object) -> None:
    """Check a key and its policy.

    Raises:
        TypeError: The key is not a str, or the policy not a Policy.
    """
    if not isinstance(key, str):
        raise wrong("key", "a str", key)
    if not isinstance(policy, Policy):
        raise wrong("policy", "a Policy", policy)
