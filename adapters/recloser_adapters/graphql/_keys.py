"""The keys of operations, bounded, because clients choose the names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from recloser_adapters.graphql._request import ANONYMOUS, BATCH, PERSISTED, Operation

OTHER: Final = "<other>"
"""Of operations that are not among those that have a key of their own."""
_MOST_HASHES: Final = 1000


class OperationKeys:
    """Gives the operations of requests their keys, such as `GRAPHQL Orders`.

    Args:
        operations: The names that have a key of their own; all others share `GRAPHQL <other>`. By
            default the first `most` names that are seen have one: enough for an API whose clients
            are known. Where anybody can send operations, name yours, or clients use up the places.
        most: Names that have a key of their own without `operations`, >= 1.
        prefix: The text before the name.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: `most` is below 1.
    """

    def __init__(
        self, operations: Iterable[str] | None = None, *, most: int = 100, prefix: str = "GRAPHQL "
    ) -> None:
        if isinstance(operations, str):
            raise TypeError(f"operations must be several names, not the str {operations!r}")
        if isinstance(most, bool) or not isinstance(most, int):
            raise TypeError(f"max_operations must be an int, not {most!r}")
        if most < 1:
            raise ValueError(f"max_operations must be 1 or more, not {most}")
        self._given = None if operations is None else frozenset(operations)
        for name in self._given or ():
            if not isinstance(name, str):
                raise TypeError(f"operations must be names, not {name!r}")
        self._most = most
        self._prefix = prefix
        self._known: set[str] = set()
        self._by_hash: dict[str, str] = {}

    def key_of(self, operations: Sequence[Operation]) -> str:
        """The key of a request by its operations, >= 1."""
        names = {self._name_of(each) for each in operations}
        name = names.pop() if len(names) == 1 else BATCH
        return self._prefix + name

    def _name_of(self, operation: Operation) -> str:
        name = operation.name
        if operation.is_persisted:
            name = name or self._by_hash.get(operation.sha256, PERSISTED)
        elif operation.sha256 and name:
            self._remember(operation.sha256, name)
        return name if name == PERSISTED else self._allowed(name or ANONYMOUS)

    def _allowed(self, name: str) -> str:
        if name == ANONYMOUS:
            return name
        if self._given is not None:
            return name if name in self._given else OTHER
        if name not in self._known:
            if len(self._known) >= self._most:
                return OTHER
            self._known.add(name)
        return name

    def _remember(self, sha256: str, name: str) -> None:
        if len(self._by_hash) >= _MOST_HASHES:
            self._by_hash.clear()
        self._by_hash[sha256] = name
